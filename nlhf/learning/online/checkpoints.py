"""Checkpoints of learning in rounds: what was asked, answered and certified so far.

The file holds arrays and names, nothing that could run when it is read.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.algorithms.fingerprint import fingerprint
from nlhf.algorithms.sealed_file import SealedFile
from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import NotAllowed
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.models import Model, PreferenceClass
from nlhf.learning.online.explorers import Explorer
from nlhf.learning.online.oracles import Oracle
from nlhf.learning.online.runs import Round, Standing
from nlhf.learning.settings import Setting
from nlhf.results import Bound, Knows
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream

_MAGIC = b"nlhf online checkpoint 1\n"
_NUMBERS = ("answers", "radius", "ridge", "gamma", "increment")
_POLICIES = ("policy", "first", "second")
_BOUNDS = ("certificate", "value", "gap")
_ENDS = ("value", "low", "high", "confidence")
_PAIRS = ("stage", "first", "second")
_ANSWERS = ("counts", "wins")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a run is a run of; only that run may go on from its checkpoint.

    Attributes:
        setting: Fingerprint of the setting.
        preferences: Fingerprint of the preference class.
        oracle: What the oracle says that it is.
        explorer: The explorer as it prints itself, with its fingerprint.
        arguments: Rounds, queries, δ and λ.
        stream: The randomness.
    """

    setting: str
    preferences: str
    oracle: str
    explorer: str
    arguments: str
    stream: str

    @classmethod
    def of(
        cls,
        setting: Setting,
        preference_class: PreferenceClass,
        oracle: Oracle,
        explorer: Explorer,
        arguments: str,
        stream: Stream,
    ) -> "Identity":
        """Return the identity of a run."""
        return cls(
            setting=fingerprint(setting),
            preferences=fingerprint(preference_class),
            oracle=oracle.identity,
            explorer=f"{explorer!r} {fingerprint(explorer)}",
            arguments=arguments,
            stream=repr(stream),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """A run between two rounds.

    Attributes:
        rounds: The rounds so far.
        data: Their answers.
        seconds: The wall time that they took.
    """

    rounds: tuple[Round, ...]
    data: PreferenceData
    seconds: float = 0.0


class OnlineCheckpoint:
    """The checkpoint of one run.

    Args:
        path: The file.
        identity: What the run is a run of.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self._path, self._identity = path, identity
        self._file = SealedFile(path, _MAGIC, "checkpoint of learning online")

    def load(self, shape: tuple[int, int], link: Link) -> Progress | None:
        """Return what is saved, or `None` if there is no file yet.

        Args:
            shape: (L, m) of the setting.
            link: What payoffs say of preferences.

        Raises:
            InvalidData: If the file is no checkpoint or is damaged.
            NotAllowed: If it cannot be read, or is the checkpoint of another run.
        """
        content = self._file.read()
        if content is None:
            return None
        identity, _, body = content.partition(b"\n")
        self._check(json.loads(identity))
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            count = int(arrays["rounds"])
            rounds = tuple(_round(arrays, t, link) for t in range(1, count + 1))
            pairs = Pairs(shape, *(arrays[f"pairs/{name}"] for name in _PAIRS))
            data = PreferenceData(pairs, *(arrays[f"pairs/{name}"] for name in _ANSWERS))
            return Progress(rounds, data, float(arrays["seconds"]))

    def save(self, progress: Progress) -> None:
        """Replace the file by this progress, in one go.

        Raises:
            NotAllowed: If it cannot be written.
        """
        arrays = {"rounds": np.array(len(progress.rounds)), "seconds": np.array(progress.seconds)}
        for one in progress.rounds:
            arrays |= _arrays(one)
        arrays |= {f"pairs/{name}": getattr(progress.data.pairs, name) for name in _PAIRS}
        arrays |= {f"pairs/{name}": getattr(progress.data, name) for name in _ANSWERS}
        body = io.BytesIO()
        np.savez(body, allow_pickle=False, **arrays)
        content = json.dumps(asdict(self._identity)).encode() + b"\n" + body.getvalue()
        self._file.write(content)

    def _check(self, theirs: Mapping[str, str]) -> None:
        told = ("oracle", "explorer", "arguments", "stream")
        for part, ours in asdict(self._identity).items():
            if ours != theirs.get(part):
                detail = f": {theirs.get(part)}, not {ours}" if part in told else ""
                raise NotAllowed(
                    f"{self._path} is the checkpoint of a run with other {part}{detail}",
                    "give another path, or delete the file to start again",
                )


def _arrays(one: Round) -> dict[str, np.ndarray]:
    """Return a round as arrays, every number to the last bit."""
    at = f"round {one.number}"
    found = {
        f"{at}/numbers": np.array([getattr(one, name) for name in _NUMBERS]),
        f"{at}/table": one.model.table,
        f"{at}/parameters": one.model.parameters,
        f"{at}/log_likelihood": np.array(one.model.log_likelihood),
    }
    for name in _POLICIES:
        policy = getattr(one, name)
        found[f"{at}/{name}"] = np.stack([policy.log_probabilities, policy.probabilities])
    for name in _BOUNDS:
        bound = getattr(one, name)
        found[f"{at}/{name}"] = np.array([getattr(bound, end) for end in _ENDS])
    return found


def _round(arrays: Mapping[str, Any], number: int, link: Link) -> Round:
    """Return a round from its arrays."""
    at = f"round {number}"
    answers, radius, ridge, gamma, increment = map(float, arrays[f"{at}/numbers"])
    policy, first, second = (Policy(*arrays[f"{at}/{name}"]) for name in _POLICIES)
    standing = Standing(
        answers=answers,
        model=Model(
            arrays[f"{at}/table"],
            link,
            float(arrays[f"{at}/log_likelihood"]),
            arrays[f"{at}/parameters"],
        ),
        policy=policy,
        radius=radius,
        ridge=ridge,
        gamma=gamma,
        certificate=_bound(arrays[f"{at}/certificate"], Knows.UPPER, link),
        value=_bound(arrays[f"{at}/value"], Knows.LOWER, link),
        gap=_bound(arrays[f"{at}/gap"], Knows.UPPER, link),
    )
    return Round.of(standing, number, (first, second), increment)


def _bound(ends: Float[np.ndarray, "4"], knows: Knows, link: Link) -> Bound:
    value, low, high, confidence = map(float, ends)
    return Bound(value, knows, link.units, low, high, confidence)
