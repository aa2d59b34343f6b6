"""The one loop that runs every algorithm, judged by whoever is passed in."""

import time
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, TypeVar

from nlhf.errors import HypothesisViolated
from nlhf.protocols import Algorithm, Dual, Game, Judge
from nlhf.results import Provenance, Solution, Stop, Trace, TraceRow
from nlhf.streams import Stream

S = TypeVar("S")
D = TypeVar("D", bound=Dual)


_WANTED = "gap >= 0, max_seconds >= 0, and whole numbers max_iterations >= 0, judge_every >= 1"


@dataclass(frozen=True, slots=True)
class StopRule:
    """When a run ends.

    Attributes:
        gap: Certified duality gap, in payoff units, at which the run is done.
        max_iterations: Steps after which it ends all the same.
        max_seconds: Wall time after which it ends all the same.
        judge_every: Steps between two certificates; the first and last iterates are always judged.
    """

    gap: float = 1e-8
    max_iterations: int = 10_000
    max_seconds: float = inf
    judge_every: int = 10

    def __post_init__(self) -> None:
        whole = isinstance(self.max_iterations, int) and isinstance(self.judge_every, int)
        if not (
            whole
            and self.gap >= 0.0
            and self.max_seconds >= 0.0
            and self.max_iterations >= 0
            and self.judge_every >= 1
        ):
            raise HypothesisViolated(f"{self} makes no sense", _WANTED)


def iterate(
    game: Game[S, D],
    algorithm: Algorithm[Any],
    judge: Judge[S],
    stop: StopRule,
    stream: Stream,
) -> Solution[S]:
    """Run an algorithm from the game's references until the rule says stop.

    Args:
        game: Any game.
        algorithm: Any algorithm.
        judge: What certifies a profile of this game.
        stop: When to end.
        stream: Randomness; step t draws from `stream.child("step", t)`.

    Returns:
        The last iterate with its certificate, the reason for stopping and the judged iterates.
    """
    begin = time.perf_counter()
    state = algorithm.init(game, game.start())
    rows: list[TraceRow] = []
    iteration = 0
    while True:
        seconds = time.perf_counter() - begin
        over = iteration >= stop.max_iterations or seconds >= stop.max_seconds
        if over or iteration % stop.judge_every == 0:
            certificate = judge(algorithm.profile(state))
            gap = certificate.bound.value
            rows.append(TraceRow(iteration, seconds, gap))
            reason = _reason(certificate.bound.high, gap, stop.gap, over)
            if reason is not None:
                break
        state = algorithm.step(game, state, stream.child("step", iteration))
        iteration += 1
    return Solution(
        profile=algorithm.profile(state),
        certificate=certificate,
        stop=reason,
        provenance=Provenance(
            method=repr(algorithm), iterations=iteration, seconds=time.perf_counter() - begin
        ),
        trace=Trace(tuple(rows)),
    )


def _reason(high: float, gap: float, wanted: float, over: bool) -> Stop | None:
    if high <= wanted:
        return Stop.CERTIFIED
    if not isfinite(gap):
        return Stop.DIVERGED
    return Stop.BUDGET if over else None
