"""Search for an instance on which a rule breaks an axiom; the engine is Hypothesis."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from nlhf.errors import HypothesisViolated
from nlhf.social_choice.axioms import AxiomReport, Violation
from nlhf.social_choice.profiles import RankingProfile
from nlhf.streams import Stream

R = TypeVar("R")
X = TypeVar("X")

DEFAULT_BUDGET = 200
"""Instances to try."""

_PRIMES = np.array([2.0, 3.0, 5.0, 7.0])


@dataclass(frozen=True, slots=True, eq=False)
class AxiomSearch(Generic[X]):
    """What a search found; none proves that a rule satisfies an axiom.

    Attributes:
        axiom: The axiom's name.
        instances: Instances on which the axiom applied.
        tried: All instances, those that shrank a violation included.
        violation: A violation, made as small as the engine can; `None` if none was found.
    """

    axiom: str
    instances: int
    tried: int
    violation: Violation[X] | None


def search(
    axiom: Callable[[R, X], AxiomReport[X]],
    rule: R,
    instances: Any,
    budget: int = DEFAULT_BUDGET,
    stream: Stream | None = None,
) -> AxiomSearch[X]:
    """Look for a violation, and shrink it.

    Args:
        axiom: A checker of `nlhf.social_choice.axioms`, or one's own.
        rule: The rule, of the kind that the checker takes.
        instances: A Hypothesis strategy, such as `preferences()` or `profiles()`.
        budget: Instances to try before shrinking, at least 1.
        stream: Randomness; `Stream(0)` by default. The same stream gives the same answer.

    Raises:
        HypothesisViolated: If the budget is not positive.
    """
    if budget < 1:
        raise HypothesisViolated(f"the budget is {budget} instances", "give at least 1")
    from random import Random

    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis.errors import NoSuchExample

    applied, tried, name = 0, 0, "never applied"

    def breaks(instance: X) -> bool:
        nonlocal applied, tried, name
        report = axiom(rule, instance)
        tried += 1
        applied += report.applied > 0
        name = report.axiom
        return report.violation is not None

    configure = settings(
        max_examples=budget,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=tuple(HealthCheck),
    )
    stream = Stream(0) if stream is None else stream
    seed = int(stream.child("axioms").generator().integers(2**63))
    with warnings.catch_warnings():
        # Run-time type checkers look at random entries of what a strategy computes with.
        warnings.filterwarnings("ignore", message="Do not use the `random` module")
        try:
            found = find(instances, breaks, settings=configure, random=Random(seed))
        except NoSuchExample:
            return AxiomSearch(name, applied, tried, None)
    return AxiomSearch(name, applied, tried, axiom(rule, found).violation)


def preferences(sizes: tuple[int, int] = (2, 5), ties: bool = True) -> Any:
    """Return a Hypothesis strategy for preference matrices of shares in sixteenths.

    Args:
        sizes: Least and greatest number of responses.
        ties: Whether 1/2 may occur off the diagonal; without, shares are odd
            thirty-sixths.
    """
    from hypothesis import strategies as st

    def matrix(size: int, shares: list[int]) -> np.ndarray:
        p = np.full((size, size), 0.5)
        above = np.triu_indices(size, 1)
        p[above] = np.array(shares) / 16 if ties else (2 * np.array(shares) + 1) / 36
        p[above[::-1]] = 1.0 - p[above]
        return p

    @st.composite
    def drawn(draw: Callable[[Any], Any]) -> np.ndarray:
        size = draw(st.integers(*sizes))
        share = st.integers(0, 16 if ties else 17)
        return matrix(size, [draw(share) for _ in range(size * (size - 1) // 2)])

    return drawn()


def profiles(
    sizes: tuple[int, int] = (2, 4), voters: tuple[int, int] = (1, 5), features: int | None = None
) -> Any:
    """Return a Hypothesis strategy for ranking profiles of equal voters.

    Args:
        sizes: Least and greatest number of responses.
        voters: Least and greatest number of voters.
        features: Dimension of linear features, small integers, at most 4; every voter then has a
            drawn θ, so that the votes are feasible. Without, all rankings are.
    """
    from hypothesis import strategies as st

    @st.composite
    def drawn(draw: Callable[[Any], Any]) -> RankingProfile:
        size, count = draw(st.integers(*sizes)), draw(st.integers(*voters))
        if features is None:
            each = st.permutations(range(size))
            return RankingProfile.of([draw(each) for _ in range(count)])
        point = st.tuples(*[st.integers(-4, 4)] * features)
        x = np.array(draw(st.lists(point, min_size=size, max_size=size, unique=True)), dtype=float)
        votes = []
        for _ in range(count):
            # Square roots of primes and 1 are independent over the rationals: there are no ties.
            theta = np.array(draw(point)) + np.sqrt(_PRIMES[:features]) / 10
            votes.append(np.argsort(-(x @ theta), kind="stable"))
        return RankingProfile(np.array(votes), np.full(count, 1.0 / count), x)

    return drawn()
