"""Metrics of a run: names that are their definitions, one JSON object a line."""

import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nlhf.errors import InvalidProblem, MissingExtra
from nlhf.files import append_to_file, replace_file
from nlhf.lm.engine import Engine

METRICS: Mapping[str, str] = {
    "step": "steps of the algorithm taken, this one included",
    "seconds": "wall time of all steps so far with their evaluations, those before interruptions "
    "included, without loading and saving",
    "step_seconds": "wall time of this step, without evaluation and saving",
    "tokens_per_second": "response tokens drawn in this step by all processes, per second of it",
    "peak_memory_gib": "most memory that tensors held on the first process's accelerator since "
    "that process began, GiB",
    "loss": "loss of the last proximal step's last gradient step, before that step",
    "gradient_norm": "norm of the gradient there, before clipping",
    "prox_residual_nats": "KL from the new policy to the proximal point, on its own responses",
    "held_out_residual_nats": "half the variance of log policy/proximal point on responses of the "
    "policy before, which were not fitted on",
    "kl_to_reference_nats": "KL of whole responses from the new policy to the reference",
    "payoff": "mean payoff of the new policy's responses against what the step was taken against",
    "response_tokens": "mean tokens of the new policy's responses, the end token included",
    "win_rate_against_reference": "mean probability that a response of the policy is preferred to "
    "one of the reference, over evaluation prompts",
    "reward": "mean reward of the policy's responses, over evaluation prompts",
    "reward_of_reference": "mean reward of the reference's responses there",
    "group_utilities": "mean reward of the policy's responses there, for every group",
    "group_utilities_of_reference": "mean reward of the reference's responses there",
    "group_weights": "weights of the groups in this step's iterate",
    "evaluation_kl_to_reference_nats": "KL from the policy to the reference, over evaluation "
    "prompts",
    "evaluation_response_tokens": "mean tokens of the policy's responses there",
}
"""What every name means. `NAME_low` and `NAME_high` are the ends of its 95 % interval: over
responses to the step's prompts for `kl_to_reference_nats` and `payoff`, over prompts for the
others. A number that is not known is absent."""

_ENDINGS = ("_low", "_high")


class MetricsFile:
    """`metrics.jsonl` of a run, and TensorBoard beside it if wanted.

    Rows of steps after the one that a run goes on from are removed: they will be made again.

    Args:
        folder: Of the run.
        after: The step that the run goes on from.
        tensorboard: Also write for TensorBoard.

    Raises:
        NotAllowed: If the file cannot be written.
        MissingExtra: If TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, after: int, *, tensorboard: bool = False) -> None:
        self.path = folder / "metrics.jsonl"
        self._board: Any = _board(folder / "tensorboard", after) if tensorboard else None
        kept = [row for row in read_metrics(self.path) if row["step"] <= after]
        replace_file(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; values that are not finite numbers are left out.

        Raises:
            InvalidProblem: If a name is not in `METRICS`.
            NotAllowed: If the file cannot be written.
        """
        for name in row:
            base = next((name.removesuffix(e) for e in _ENDINGS if name.endswith(e)), name)
            if base not in METRICS:
                raise InvalidProblem(f"the metric {name} has no definition", "add it to METRICS")
        finite = finite_metrics(row)
        append_to_file(self.path, json.dumps(finite) + "\n")
        if self._board is not None:
            for name, value in finite.items():
                for tag, number in _scalars(name, value):
                    self._board.add_scalar(tag, number, row["step"])
            self._board.flush()

    def close(self) -> None:
        """Close what is open."""
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics file, none if there is none; a half-written line is no row."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return [row for row in rows if isinstance(row, dict) and "step" in row]


def finite_metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics that are finite numbers: what is not known is absent."""
    return {name: value for name, value in row.items() if _finite(value)}


def _finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return value is not None and math.isfinite(value)


def _scalars(name: str, value: Any) -> list[tuple[str, float]]:
    if isinstance(value, list | tuple):
        return [(f"{name}/{i}", each) for i, each in enumerate(value)]
    return [] if name == "step" else [(name, value)]


def _board(folder: Path, after: int) -> Any:
    if find_spec("tensorboard") is None:
        raise MissingExtra("tensorboard is not installed", "pip install tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=after + 1)


def pooled_mean(engine: Engine, mean: float, width: float, count: int) -> tuple[float, float]:
    """Return the mean over the prompts of all processes, with half its interval.

    Args:
        engine: Of the processes.
        mean: Over this process's prompts.
        width: Half its interval.
        count: How many prompts they are.
    """
    total, first, second = engine.totals([count, count * mean, (count * width) ** 2])
    return first / total, math.sqrt(second) / total
