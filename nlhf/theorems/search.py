"""The search for violations: sampling that climbs, then a local optimiser. Both deterministic."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float

from nlhf.errors import InvalidProblem
from nlhf.theorems.isolation import isolated_engine
from nlhf.theorems.statement import Coordinates, Margin, Strategy

X = TypeVar("X")

_STARTS = 2
"""Instances kept, for each part of the claim, as starting points of the local search."""

_FAR = 1e12
"""Bound on the objectives handed to the engines, which need finite numbers."""


@dataclass(slots=True, eq=False)
class PartTally(Generic[X]):
    """What was seen of one part of a claim.

    Attributes:
        margins: The scaled margins of the instances on which this part was decisive.
        broken: Instances on which a defined value violates it.
        worst: Those nearest to a violation with their margins, worst first.
    """

    margins: list[float] = field(default_factory=list)
    broken: int = 0
    worst: tuple[tuple[Margin, X], ...] = ()

    @property
    def decided(self) -> int:
        """Instances on which this part was decisive."""
        return len(self.margins)


@dataclass(frozen=True, slots=True, eq=False)
class Break(Generic[X]):
    """An instance on which a part of a claim fails, with its margin there."""

    part: str
    margin: Margin
    instance: X


class Tally(Generic[X]):
    """Everything seen of a claim: what was evaluated and how near it came to failing.

    Args:
        accepts: Whether an instance is to be evaluated.
        margin: The claim.
        notify: Called after every evaluated instance.

    Attributes:
        evaluated: Accepted instances.
        rejected: Instances that were not accepted.
        undecided: Evaluated instances on which rounding hides every part of the claim.
        violations: Evaluated instances that violate the claim; undefined margins are among them.
        broken: Evaluated instances on which a defined value violates some part.
        margins: Of every evaluated instance, the scaled margin of the part nearest to failing.
        deepest: The violation with a defined value that goes furthest, over its scale.
        parts: What was seen of each part, by name.
    """

    def __init__(
        self,
        accepts: Callable[[X], bool],
        margin: Callable[[X], Margin],
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        self._accepts = accepts
        self._margin = margin
        self._notify = notify
        self.evaluated = 0
        self.rejected = 0
        self.undecided = 0
        self.violations = 0
        self.broken = 0
        self.margins: list[float] = []
        self.deepest: Break[X] | None = None
        self.parts: dict[str, PartTally[X]] = {}

    def see(self, instance: X) -> Margin | None:
        """Evaluate an instance; `None` if it is not accepted."""
        if not self._accepts(instance):
            self.rejected += 1
            return None
        margin = self._margin(instance)
        self.evaluated += 1
        self.violations += margin.violated
        self.broken += bool(margin.broken)
        self.undecided += not any(part.decisive for _, part in margin.named)
        self.margins.append(margin.scaled)
        for name, part in margin.named:
            seen = self.parts.setdefault(name, PartTally())
            if name in margin.broken:
                seen.broken += 1
                if self.deepest is None or part.excess > self.deepest.margin.excess:
                    self.deepest = Break(name, part, instance)
            if part.decisive:
                seen.margins.append(part.scaled)
                ranked = sorted((*seen.worst, (part, instance)), key=lambda pair: -pair[0].excess)
                seen.worst = tuple(ranked[:_STARTS])
        self._notify()
        return margin


def sample(strategy: Strategy[X], tally: Tally[X], count: int, seed: int) -> None:
    """Show `count` new instances of a strategy to the tally, climbing towards a violation.

    The engine is Hypothesis: the first half is drawn, and from then on the excess of each part of
    the margin is a target to climb. No database is read or written, and the seed decides
    everything, whatever other modules are loaded. The engine never repeats an instance, so a small
    strategy ends before `count`.

    Args:
        strategy: Where instances come from.
        tally: What evaluates them.
        count: Instances to evaluate.
        seed: Seed of the engine.

    Raises:
        Exception: Whatever the hypotheses or the margin raise on an instance.
    """
    if count <= 0:
        return
    from hypothesis import HealthCheck, Phase, given, reject, settings, target
    from hypothesis import seed as seeded
    from hypothesis.errors import Unsatisfiable

    last = tally.evaluated + count
    broken: list[Exception] = []

    def evaluate(instance: X) -> None:
        # The engine's own count may be exceeded by a few; ours is the promise.
        if tally.evaluated >= last or broken:
            return
        try:
            margin = tally.see(instance)
        except Exception as error:  # a defect of the theorem, not a finding for the engine
            broken.append(error)
            return
        if margin is None:
            reject()
        for name, part in margin.named:
            target(_bounded(part.excess), label=name)

    configure = settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        phases=(Phase.generate, Phase.target),
        suppress_health_check=tuple(HealthCheck),
    )
    of: Any = given  # typed for its own strategies only
    engine: Any = seeded(seed)(configure(of(strategy)(evaluate)))
    with suppress(Unsatisfiable), isolated_engine(), warnings.catch_warnings():
        # Unsatisfiable: nothing satisfied the hypotheses, and the tally says so. The warning:
        # run-time type checkers look at random entries of what a strategy computes with.
        warnings.filterwarnings("ignore", message="Do not use the `random` module")
        engine()
    if broken:
        raise broken[0]


def descend(coordinates: Coordinates[X], tally: Tally[X], count: int) -> None:
    """Spend `count` evaluations on local searches from the worst instances of every part.

    Nelder-Mead from each, and what is left on Powell's method from the worst of each part:
    neither needs derivatives, and margins are often not smooth.
    """
    from scipy.optimize import minimize

    last = tally.evaluated + tally.rejected + count
    starts = [(name, start) for name, seen in tally.parts.items() for _, start in seen.worst]
    plan: list[tuple[str, str, X | None]] = [("Nelder-Mead", name, start) for name, start in starts]
    plan += [("Powell", name, None) for name in tally.parts if tally.parts[name].worst]
    for position, (method, name, start) in enumerate(plan):
        share = (last - tally.evaluated - tally.rejected) // (len(plan) - position)
        template = tally.parts[name].worst[0][1] if start is None else start
        origin = _checked(coordinates.to_vector(template))
        if share < 2 or not origin.size:
            continue
        objective = _Objective(coordinates, tally, name, template, share)
        options = {"maxfev": share, "xatol": 1e-10, "fatol": 1e-14, "adaptive": True}
        if method == "Powell":
            options = {"maxfev": share, "xtol": 1e-10, "ftol": 1e-14}
        try:
            minimize(objective, origin, method=method, options=options)
        except _Spent:
            continue


class _Spent(Exception):
    """The share of one local search is used up."""


class _Objective(Generic[X]):
    """What a local search minimises: the negative excess of one part at a vector."""

    def __init__(
        self, coordinates: Coordinates[X], tally: Tally[X], name: str, template: X, share: int
    ) -> None:
        self._coordinates = coordinates
        self._tally = tally
        self._name = name
        self._template = template
        self._left = share

    def __call__(self, vector: Float[np.ndarray, "coordinate"]) -> float:
        if self._left == 0:
            raise _Spent
        self._left -= 1
        margin = self._tally.see(self._coordinates.from_vector(self._template, vector))
        part = None if margin is None else dict(margin.named).get(self._name)
        return _FAR if part is None else -_bounded(part.excess)


def _bounded(excess: float) -> float:
    return min(max(excess, -_FAR), _FAR)


def _checked(vector: Float[np.ndarray, "coordinate"]) -> Float[np.ndarray, "coordinate"]:
    if not np.isfinite(vector).all():
        raise InvalidProblem(
            f"the coordinates of an instance are {vector}",
            "let to_vector return finite numbers",
        )
    return vector
