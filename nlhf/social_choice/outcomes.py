"""What a rule returns, and what a rule is: from preferences to a lottery, or votes to a ranking."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.errors import InvalidProblem
from nlhf.results import Certificate, read_only
from nlhf.social_choice.profiles import RankingProfile
from nlhf.spaces.policy import Policy

SCORE_TOLERANCE = 1e-9
"""Scores that differ by no more are equal: they come from shares accurate to as much."""

UNIFORM_TOP = "uniform over the responses of the highest score; scores within 1e-9 are equal"
LEVELS = "responses share a level if in the order of scores each is within 1e-9 of the next"


@dataclass(frozen=True, slots=True, eq=False)
class Lottery:
    """A distribution over the responses.

    Attributes:
        probabilities: Shape ``(n,)``.
        choices: The tie-breaking and normalisation choices that were made.
        certificate: Where the lottery solves a game, how well.
    """

    probabilities: Float[np.ndarray, " response"]
    choices: tuple[str, ...] = ()
    certificate: Certificate[Policy] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "probabilities", read_only(self.probabilities))


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """A weak order of the responses.

    Attributes:
        levels: The responses, best first; those of one level are tied.
        choices: The tie-breaking and normalisation choices that were made.
        scores: What was ranked by, shape ``(n,)``; `None` where no score was.
    """

    levels: tuple[tuple[int, ...], ...]
    choices: tuple[str, ...] = ()
    scores: Float[np.ndarray, " response"] | None = None

    @property
    def first(self) -> tuple[int, ...]:
        """The best responses: several if they are tied."""
        return self.levels[0]

    @property
    def places(self) -> tuple[int, ...]:
        """The number of the level of every response, from 0."""
        where = {item: place for place, level in enumerate(self.levels) for item in level}
        return tuple(where[item] for item in range(len(where)))

    def above(self, a: int, b: int) -> bool:
        """Return whether a is ranked strictly above b."""
        places = self.places
        return places[a] < places[b]


@runtime_checkable
class LotteryRule(Protocol):
    """A rule that sees pairwise preferences only."""

    def __call__(self, preference: Float[np.ndarray, "n n"], /) -> Lottery:
        """Return the lottery for P, shape ``(n, n)`` with P + Pᵀ = 1."""
        ...


@runtime_checkable
class RankingRule(Protocol):
    """A rule that sees everybody's whole ranking."""

    def __call__(self, profile: RankingProfile, /) -> Ranking:
        """Return the ranking for the votes."""
        ...


Rule = LotteryRule | RankingRule
"""Either of the two."""


def top_of(scores: Float[np.ndarray, " response"]) -> Lottery:
    """Return the uniform lottery over the responses of the highest score."""
    best = scores >= scores.max() - SCORE_TOLERANCE
    return Lottery(best / best.sum(), (UNIFORM_TOP,))


def ranked_by(scores: Float[np.ndarray, " response"], *choices: str) -> Ranking:
    """Return the weak order by descending scores.

    Raises:
        InvalidProblem: A score is not a number.
    """
    if np.isnan(scores).any():
        raise InvalidProblem(
            f"the score of response {int(np.isnan(scores).argmax())} is not a number",
            "rank by numbers",
        )
    levels: list[list[int]] = []
    last = np.inf
    for item in np.argsort(-scores, kind="stable"):
        if not levels or last - scores[item] > SCORE_TOLERANCE:
            levels.append([])
        levels[-1].append(int(item))
        last = scores[item]
    return Ranking(
        tuple(tuple(sorted(level)) for level in levels), (LEVELS, *choices), read_only(scores)
    )
