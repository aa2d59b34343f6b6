"""Checkpoints of runs: folders that are whole or not there, and are known to be whole when read.

    step-00000020/
        manifest.json            digests and sizes of the others, written last
        state.json               the state of the algorithm, what the run is, how far it is
        arrays.safetensors       arrays of that state
        moments.safetensors      the realiser's moments
        strategies/KEY.safetensors

Randomness has no state: streams are functions of the seed and of names. No file is a pickle.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from nlhf.errors import Damaged, InvalidData, NotAllowed
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.base import RealiserState
from nlhf.lm.running.encoding import Encoded, decode, encode
from nlhf.lm.running.folders import FolderWriter, checked_files, finish_folder, remove_folder
from nlhf.lm.running.weights import checkpoint_of, moment_of, whole_moment, whole_weights
from nlhf.lm.strategies import digest

_STATE = "state.json"


_SEEN = 4096
"""Numbers of every frozen weight that are looked at to know it again."""


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _origin(model: LanguageModel) -> str:
    """Return a digest of what the model started from; beside adapters, of parts of its base."""
    weights = whole_weights(model, model.reference)
    if not weights:
        for name, p in model.module.named_parameters():
            if name not in model.trainable():
                whole = p.full_tensor() if isinstance(p, DTensor) else p
                numbers = whole.detach().flatten()
                weights[name] = numbers[:: max(1, len(numbers) // _SEEN)].cpu()
    return digest(weights)


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A run at the end of a step.

    Attributes:
        step: Steps taken.
        state: Of the algorithm.
        realiser: State of the realiser.
        seconds: Wall time so far.
    """

    step: int
    state: Any
    realiser: RealiserState
    seconds: float


class RunCheckpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they are; made if needed.
        model: The model of the run.
        identity: What the run is a run of, as JSON: only that run goes on from them.
        keep: How many are kept, the newest.
    """

    def __init__(
        self, folder: Path, model: LanguageModel, identity: Mapping[str, Any], keep: int
    ) -> None:
        self.folder, self.model, self.keep = folder, model, keep
        self.identity = json.loads(json.dumps(identity))
        self._main = model.engine.rank == 0
        self._reference = _origin(model)

    def save(self, saved: Saved) -> None:
        """Write a checkpoint; all processes call it, the first one writes.

        Whatever happens, those before are untouched until it is whole.

        Raises:
            NotAllowed: If it cannot be written.
            Unsupported: If the state holds what cannot be saved.
        """
        encoded = encode(saved.state, self.model.reference)
        weights = {
            key: whole_weights(self.model, each) for key, each in encoded.checkpoints.items()
        }
        moments = {
            name: whole_moment(self.model, name, value)
            for name, value in saved.realiser.tensors.items()
        }
        if self._main:
            try:
                self._write(saved, encoded, weights, moments)
            except (OSError, SafetensorError) as error:
                raise self._unwritten(saved.step, error) from error
        self.model.engine.wait()

    def newest(self, *, any_run: bool = False) -> Saved | None:
        """Return the newest checkpoint that is whole, or `None` if there is none.

        All processes call it; they share the file system.

        Args:
            any_run: Do not ask what the run is a run of: it is looked at, not gone on with. It
                must be of this model all the same: adapters are nothing without their base.

        Raises:
            NotAllowed: If it is that of another run, or of another model.
            InvalidData: If there are checkpoints, and none is whole.

        Warns:
            Damaged: Naming the file, for every one that is not.
        """
        step = self._whole(any_run) if self._main else None
        # One process decides: another might look when the next checkpoint is already there.
        agreed = self.model.engine.total_count(0 if step is None else step + 1) - 1
        found = None if agreed < 0 else self._read(self.folder / _name(agreed))
        self.model.engine.wait()  # before the first process removes what others still read
        return found

    def _whole(self, any_run: bool) -> int | None:
        """Return the step of the newest whole checkpoint, which is checked to be of this run."""
        damaged: list[str] = []
        for folder in reversed(self._there()):
            try:
                checked_files(folder)
            except InvalidData as error:
                damaged.append(error.found)
                warnings.warn(
                    f"{error.found}; the checkpoint before it is used", Damaged, stacklevel=3
                )
                continue
            said = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            if not any_run:
                self._check(folder, said)
            self._check_model(folder, said)
            return int(said["step"])
        if damaged:
            raise InvalidData(
                f"{self.folder} holds {len(damaged)} checkpoints and none is whole: {damaged[0]}",
                "restore one of them, or start the run anew with --fresh",
            )
        return None

    def clear(self) -> None:
        """Remove all checkpoints."""
        if self._main:
            for folder in self._there():
                remove_folder(folder)
        self.model.engine.wait()

    def _there(self, before: int | None = None) -> list[Path]:
        """Return the folders, oldest first; later steps may be damaged ones, passed over."""
        found = sorted(p for p in self.folder.glob("step-*") if p.is_dir())
        return [p for p in found if before is None or p.name < _name(before)]

    def _write(
        self,
        saved: Saved,
        encoded: Encoded,
        weights: Mapping[str, Mapping[str, torch.Tensor]],
        moments: Mapping[str, torch.Tensor],
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*-*"):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        final = self.folder / _name(saved.step)
        part = self.folder / f".part-{saved.step:08d}"
        previous = self._there(before=saved.step)[-1:]
        try:
            writer = FolderWriter(part)
            for key, tensors in weights.items():
                name = f"strategies/{key}.safetensors"
                if not (previous and writer.link(name, previous[0])):
                    writer.tensors(name, tensors)
            writer.tensors("arrays.safetensors", encoded.arrays)
            writer.tensors("moments.safetensors", moments)
            writer.document(
                _STATE,
                {
                    "identity": self.identity,
                    "reference": self._reference,
                    "step": saved.step,
                    "seconds": saved.seconds,
                    "state": encoded.document,
                    "strategies": sorted(weights),
                    "realiser": {"count": saved.realiser.count, "steps": saved.realiser.steps},
                },
            )
            finish_folder(writer, final)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        for old in self._there(before=saved.step + 1)[: -self.keep]:
            remove_folder(old)

    def _read(self, folder: Path) -> Saved:
        said = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        checkpoints = {
            key: checkpoint_of(
                self.model, load_file(folder / "strategies" / f"{key}.safetensors"), key
            )
            for key in said["strategies"]
        }
        arrays = load_file(folder / "arrays.safetensors")
        state = decode(Encoded(said["state"], arrays, checkpoints), self.model.reference)
        moments = {
            name: moment_of(self.model, name, value)
            for name, value in load_file(folder / "moments.safetensors").items()
        }
        realiser = RealiserState(said["realiser"]["count"], said["realiser"]["steps"], moments)
        return Saved(said["step"], state, realiser, said["seconds"])

    def _check(self, folder: Path, said: Mapping[str, Any]) -> None:
        """Refuse the checkpoint of another run."""
        theirs = said["identity"]
        for key in sorted(set(theirs) | set(self.identity)):
            if theirs.get(key) != self.identity.get(key):
                raise NotAllowed(
                    f"{folder} is of a run with {key} = {theirs.get(key)!r}, not "
                    f"{self.identity.get(key)!r}",
                    "set it back, give another out folder, or start anew with --fresh",
                )

    def _check_model(self, folder: Path, said: Mapping[str, Any]) -> None:
        """Refuse the checkpoint of a run from another model."""
        if said["reference"] != self._reference:
            raise NotAllowed(
                f"{folder} is of a run that started from other weights "
                f"({said['reference'][:8]}, not {self._reference[:8]})",
                "start from the same model, give another out folder, or start anew with --fresh",
            )

    def _unwritten(self, step: int, error: Exception) -> NotAllowed:
        reason = getattr(error, "strerror", None) or error
        there = self._there()
        kept = f"{there[-1].name} is whole" if there else "there is none yet"
        return NotAllowed(
            f"the checkpoint of step {step} cannot be written in {self.folder}: {reason}; {kept}",
            "free space or permission there, and resume: nothing before that step is lost",
        )
