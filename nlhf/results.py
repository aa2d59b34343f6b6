"""What is known of a number, how an answer is certified, and why a run stopped."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
from jaxtyping import Float

from nlhf.errors import InvalidProblem, NotCertified, Unsupported

S = TypeVar("S")
E = TypeVar("E", bound=StrEnum)
Profile = tuple[S, ...]
"""One strategy per distinct player. A self-play game has one, played by both sides."""


def _no_truth(self: object) -> NoReturn:
    raise TypeError(f"{type(self).__name__} has no truth value: compare it, or use require()")


@unique
class Knows(StrEnum):
    """What a number says about the quantity it stands for."""

    EXACT = "exact"
    """The quantity itself, up to the stated rounding."""
    UPPER = "upper"
    """At least the quantity."""
    LOWER = "lower"
    """At most the quantity."""
    INTERVAL = "interval"
    """An estimate inside an interval of stated confidence."""

    __bool__ = _no_truth


@unique
class Stop(StrEnum):
    """Why a run stopped; it says nothing about the quality of the answer."""

    CERTIFIED = "certified"
    BUDGET = "budget"
    STALLED = "stalled"
    DIVERGED = "diverged"
    SOLVER = "solver"

    __bool__ = _no_truth


@unique
class Units(StrEnum):
    """Units of a bound."""

    WIN_PROBABILITY = "win probability"
    LOG_ODDS = "log-odds"
    PAYOFF = "payoff"
    NATS = "nats"

    __bool__ = _no_truth


@unique
class Quantity(StrEnum):
    """What a certificate measures."""

    DUALITY_GAP = "duality gap"
    EXPLOITABILITY = "exploitability"

    __bool__ = _no_truth


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A number together with what is known of it.

    Attributes:
        value: The number.
        knows: Whether it is exact, an upper or lower bound, or the centre of an interval.
        units: Its units.
        low: The quantity is at least this.
        high: The quantity is at most this.
        confidence: Probability with which `low` and `high` hold; 1 when nothing is random.
    """

    value: float
    knows: Knows
    units: Units
    low: float
    high: float
    confidence: float = 1.0

    __bool__ = _no_truth

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise InvalidProblem(
                f"a bound needs low <= value <= high, got low {self.low}, value {self.value} "
                f"and high {self.high}",
                "compute the ends with rounding outwards",
            )

    def __str__(self) -> str:
        known: str = self.knows
        if self.knows is Knows.INTERVAL:
            known = f"{self.low:.3g} to {self.high:.3g} at confidence {self.confidence:g}"
        return f"{self.value:.3g} {self.units} ({known})"

    @classmethod
    def exact(cls, value: float, units: Units, rounding: float = 0.0) -> "Bound":
        """Return a number known up to `rounding` on either side; an infinite one is just that."""
        if not isfinite(value):
            return cls(value, Knows.EXACT, units, value, value)
        return cls(value, Knows.EXACT, units, value - rounding, value + rounding)


@dataclass(frozen=True, slots=True, eq=False)
class Certificate(Generic[S]):
    """A claim about a profile that anybody can check.

    Attributes:
        quantity: What is measured.
        bound: The number, over all contexts with the game's weights.
        per_context: The same quantity in each context, shape ``(X,)``.
        distance: Per player and context, an upper bound on ‖π − π*‖₁, the distance of the policy
            from the true equilibrium, shape ``(players, X)``. Where the equilibrium may not be
            unique (temperature 0) it is 2, the largest possible distance: nothing is known. On a
            decision process π and π* stand for their distributions over trajectories; it does not
            bound the distance of the printed conditional policies, which may differ where they
            hardly ever come.
        witness: The deviation that attains the quantity, one strategy per player.
        method: How it was computed.
    """

    quantity: Quantity
    bound: Bound
    per_context: Float[np.ndarray, "context"]
    distance: Float[np.ndarray, "player context"]
    witness: Profile[S]
    method: str

    __bool__ = _no_truth

    def __str__(self) -> str:
        return f"{self.quantity} {self.bound.value:.3g} ({self.bound.knows}, {self.method})"


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One judged iteration of a run."""

    iteration: int
    seconds: float
    gap: float


@dataclass(frozen=True, slots=True)
class Trace:
    """The judged iterations of an algorithm, oldest first; an exact solution has none."""

    rows: tuple[TraceRow, ...] = ()


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for name in ("nlhf", "numpy", "scipy"):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "unknown"))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result comes from.

    Attributes:
        method: The solver or algorithm, with its configuration.
        choices: Every tie-breaking or normalisation choice that was made.
        iterations: Steps taken.
        seconds: Wall time.
        versions: Name and version of what computed it.
    """

    method: str
    choices: tuple[str, ...] = ()
    iterations: int = 0
    seconds: float = 0.0
    versions: tuple[tuple[str, str], ...] = field(default_factory=_versions)


@dataclass(frozen=True, slots=True, eq=False)
class Solution(Generic[S]):
    """A profile, what is known of it, and why the run stopped.

    Attributes:
        profile: One strategy per distinct player.
        certificate: The claim about it, made by `certify`.
        stop: Why the run stopped.
        trace: The judged iterations of an algorithm; empty for an exact solution.
        provenance: Method, choices, cost and versions.
    """

    profile: Profile[S]
    certificate: Certificate[S]
    stop: Stop
    provenance: Provenance
    trace: Trace = field(default_factory=Trace)

    __bool__ = _no_truth

    def __repr__(self) -> str:
        count = self.provenance.iterations
        return f"Solution({self.certificate}; {self.stop} after {count} iterations)"

    @property
    def policy(self) -> Any:
        """Probabilities of the self-play policy, actions on the last axis.

        Responses: ``(n,)`` or ``(X, n)``; token trees ``(N, V)`` or ``(X, N, V)``; histories
        ``(N, A)``; finite horizons ``(H, S, A)``; discounted processes ``(S, A)``.

        Raises:
            Unsupported: If the players have different strategies; use `profile` then.
        """
        return self._only_strategy().probabilities

    @property
    def log_policy(self) -> Any:
        """Log-probabilities of the self-play policy, in the shape of `policy`."""
        return self._only_strategy().log_probabilities

    def require(self, gap: float) -> "Solution[S]":
        """Return the solution if its duality gap is certified to be at most `gap`.

        Raises:
            NotCertified: Otherwise; the exception carries this solution.
        """
        if self.certificate.bound.high <= gap and self.certificate.bound.knows is not Knows.LOWER:
            return self
        raise NotCertified(
            f"the {self.certificate.quantity} is at most {self.certificate.bound.high:.3g}, "
            f"not the required {gap:.3g} (stopped: {self.stop})",
            "give the algorithm more iterations, or solve exactly with nlhf.solve(game)"
            if self.trace.rows
            else "an exact solution is as good as float64 allows: require a larger gap",
            solution=self,
        )

    def _only_strategy(self) -> Any:
        if len(self.profile) != 1:
            raise Unsupported(
                f"this game has {len(self.profile)} players with strategies of their own",
                "use solution.profile[0] and solution.profile[1]",
            )
        return self.profile[0]


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a contiguous array that nobody can write to: a copy, unless it is one already."""
    if array.flags.writeable or array.base is not None or not array.flags.c_contiguous:
        array = np.array(array, order="C")
        array.flags.writeable = False
    return array


def weighted_mean(
    values: Float[np.ndarray, "context"], weights: Float[np.ndarray, "context"]
) -> float:
    """Return Σ_x w_x v_x, the mean over the prompt distribution."""
    return float(np.dot(values, weights))


def float_array(name: str, values: object) -> np.ndarray:
    """Return the values as a float64 array.

    Raises:
        InvalidProblem: If they are not real numbers in rows of equal length.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"entries of type {array.dtype}")
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise InvalidProblem(
            f"{name} cannot be read as an array of numbers: {error}",
            "pass real numbers, in rows of equal length",
        ) from error


def chosen(kind: type[E], value: object, name: str) -> E:
    """Return the member of an enumeration that a value is, or is the value of.

    Raises:
        InvalidProblem: If it is neither; the choices are named.
    """
    try:
        return kind(str(value))
    except ValueError as error:
        choices = ", ".join(repr(str(member)) for member in kind)
        raise InvalidProblem(f"{name} is {value!r}", f"choose from {choices}") from error


def unwrap(name: str, items: object, count: int) -> tuple[Any, ...]:
    """Return the items as a tuple after checking that there are `count` of them."""
    if not isinstance(items, Sequence | np.ndarray) or isinstance(items, str):
        raise InvalidProblem(
            f"{name} is {items!r}, not a sequence of {count}", f"pass a tuple of {count}"
        )
    if len(items) != count:
        raise InvalidProblem(
            f"{name} has {len(items)} entries, expected {count}", f"pass exactly {count}"
        )
    return tuple(items)
