"""The one loop that runs every algorithm, judged by whoever is passed in."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any, TypeVar

from nlhf.algorithms.checkpoint import Checkpoint, CheckpointFile, Identity, Point
from nlhf.algorithms.rates import ConvergesLinearly, promised_iterations
from nlhf.errors import HypothesisViolated
from nlhf.protocols import Algorithm, Dual, Game, Judge
from nlhf.results import Profile, Provenance, Solution, Stop, Trace, TraceRow
from nlhf.streams import Stream

S = TypeVar("S")
D = TypeVar("D", bound=Dual)

Observe = Callable[[TraceRow], None]
"""Called with every judged iteration, as it is judged."""

_PROGRESS = 1e-3
"""The lowest gap has fallen if it did by this share. A gap of C/T does so in T/1000 steps."""

_WANTED = (
    "gap >= 0, max_seconds >= 0, and whole numbers max_iterations >= 0, judge_every >= 1, "
    "patience >= 1"
)


@dataclass(frozen=True, slots=True)
class StopRule:
    """When a run ends.

    Attributes:
        gap: Certified duality gap, in payoff units, at which the run is done.
        max_iterations: Steps after which it ends all the same.
        max_seconds: Wall time after which it ends all the same.
        judge_every: Steps between two certificates; the first and last iterates are always judged.
        patience: Certificates over which the lowest gap has not fallen by 0.1 % when the run
            has stalled. They must also be half of all certificates, so that a gap that falls like
            a power of 1/T, however slowly, never stalls, and the largest gap among that half must
            not be below the largest of the quarter before it, so that a gap that swings under a
            falling envelope does not either; a cycle or a bias does. The default is 1,000 steps
            at the default `judge_every`: many turns of a spiral. A method with a linear rate has
            not stalled while the steps that it promises `gap` within are not over.
    """

    gap: float = 1e-8
    max_iterations: int = 10_000
    max_seconds: float = inf
    judge_every: int = 10
    patience: int = 100

    def __post_init__(self) -> None:
        counts = (self.max_iterations, self.judge_every, self.patience)
        if not (
            all(isinstance(count, int) for count in counts)
            and self.gap >= 0.0
            and self.max_seconds >= 0.0
            and self.max_iterations >= 0
            and self.judge_every >= 1
            and self.patience >= 1
        ):
            raise HypothesisViolated(f"{self} makes no sense", _WANTED)


def iterate(
    game: Game[S, D],
    algorithm: Algorithm[Any],
    judge: Judge[S],
    stop: StopRule,
    stream: Stream,
    *,
    start: Profile[S] | None = None,
    observe: Observe | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution[S]:
    """Run an algorithm until the rule says stop.

    Args:
        game: Any game.
        algorithm: Any algorithm.
        judge: What certifies a profile of this game.
        stop: When to end.
        stream: Randomness; step t draws from `stream.child("step", t)`.
        start: Where to start; the game's references by default.
        observe: Told of every judged iteration; a resumed run first repeats those before.
        checkpoint: Where to save the run, and to resume it from.

    Returns:
        The last iterate with its certificate, the reason for stopping and the judged iterates,
        which are those that the rule needed: a trace costs nothing more.

    Raises:
        HypothesisViolated: If the step size is not proven in this game and not allowed to be.
        InvalidData: If the checkpoint is damaged.
        NotAllowed: If the checkpoint is that of another run, or cannot be written.
    """
    start = game.start() if start is None else start
    point = Point(0, algorithm.init(game, start))
    file = None
    if checkpoint is not None:
        file = CheckpointFile(checkpoint, Identity.of(game, start, algorithm, stream))
        point = _resumed(file, point)
    begin = time.perf_counter() - point.seconds
    history = _History(stop, observe, point.rows, _promised(game, algorithm, stop.gap))
    try:
        while True:
            seconds = time.perf_counter() - begin
            over = point.iteration >= stop.max_iterations or seconds >= stop.max_seconds
            if over or point.iteration % stop.judge_every == 0:
                certificate = judge(algorithm.profile(point.state))
                history.add(TraceRow(point.iteration, seconds, certificate.bound.value))
                reason = history.reason(certificate.bound.high, over)
                if reason is not None:
                    break
            if file is not None and file.due():
                file.save(history.until(point, seconds))
            state = algorithm.step(game, point.state, stream.child("step", point.iteration))
            point = Point(point.iteration + 1, state)
    finally:
        if file is not None:
            file.save(history.until(point, time.perf_counter() - begin))
    return Solution(
        profile=algorithm.profile(point.state),
        certificate=certificate,
        stop=reason,
        provenance=Provenance(
            method=repr(algorithm),
            iterations=point.iteration,
            seconds=time.perf_counter() - begin,
        ),
        trace=Trace(tuple(history.rows)),
    )


def _resumed(file: CheckpointFile, point: Point) -> Point:
    saved = file.load()
    if saved is None:
        file.save(point)  # now, and not hours later, it is known whether it can be written
        return point
    return saved


def _promised(game: Game[S, D], algorithm: Algorithm[Any], gap: float) -> int:
    """Return the steps within which a linear rate promises the gap; 0 if nothing is promised."""
    if not isinstance(algorithm, ConvergesLinearly) or gap == 0.0:
        return 0
    with suppress(HypothesisViolated):
        return promised_iterations(game, algorithm, gap)
    return 0


class _History:
    """The judged iterations, and whether they still lead anywhere."""

    def __init__(
        self,
        stop: StopRule,
        observe: Observe | None,
        rows: tuple[TraceRow, ...],
        promised: int,
    ) -> None:
        self._stop = stop
        self._observe = observe
        self._promised = promised
        self._lowest = inf
        self._idle = 0
        self.rows: list[TraceRow] = []
        for row in rows:
            self.add(row)

    def add(self, row: TraceRow) -> None:
        self.rows.append(row)
        if row.gap < self._lowest * (1.0 - _PROGRESS) or len(self.rows) == 1:
            self._lowest, self._idle = row.gap, 0
        else:
            self._idle += 1
        if self._observe is not None:
            self._observe(row)

    def reason(self, high: float, over: bool) -> Stop | None:
        """Return why the run ends here, if it does; `high` bounds the gap with its rounding."""
        if high <= self._stop.gap:
            return Stop.CERTIFIED
        if not isfinite(self.rows[-1].gap):
            return Stop.DIVERGED
        if self._stalled():
            return Stop.STALLED
        return Stop.BUDGET if over else None

    def _stalled(self) -> bool:
        count, patience = len(self.rows), self._stop.patience
        if self.rows[-1].iteration < self._promised:
            return False
        # A look at the past now and then: at every certificate it would cost more than they do.
        if self._idle < max(patience, count / 2) or self._idle % patience:
            return False
        before, lately = self.rows[count // 4 : count // 2], self.rows[count // 2 :]
        envelope = max((row.gap for row in before), default=0.0) * (1.0 - _PROGRESS)
        return max(row.gap for row in lately) >= envelope

    def until(self, point: Point, seconds: float) -> Point:
        """Return the point with the time and the rows that a run going on from it has behind it."""
        before = tuple(row for row in self.rows if row.iteration < point.iteration)
        return replace(point, seconds=seconds, rows=before)
