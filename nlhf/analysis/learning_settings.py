"""How policies are learned from votes, and how they are judged."""

from dataclasses import dataclass
from enum import StrEnum

from nlhf.analysis.alignment_settings import RESAMPLES
from nlhf.analysis.prompts import PayoffKind
from nlhf.errors import InvalidProblem
from nlhf.estimation.classes.links import Link, checked_delta
from nlhf.results import chosen


class ClassKind(StrEnum):
    """What preferences are taken to be."""

    TABULAR = "tabular"
    """Anything: one probability a pair."""
    BRADLEY_TERRY = "bradley-terry"
    """Differences of rewards, as log-odds."""
    LOW_RANK = "low-rank"
    """Log-odds that are a skew matrix of low rank for every prompt."""
    FINITE = "finite"
    """One of finitely many candidates, which are fitted to half of the training votes."""


class Method(StrEnum):
    """How a policy is planned from data."""

    PLUG_IN = "plug-in"
    """The equilibrium of the estimate."""
    BONUS = "bonus"
    """Pessimism: competitors are given the width of the confidence set."""
    RESTRICTED = "restricted"
    """The same, against competitors that play responses with votes only."""
    VERSION_SPACE = "version-space"
    """Pessimism: the worst candidate that the votes do not exclude."""


COMPARED = tuple(Method)


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """How policies are learned from votes, and how they are judged.

    Attributes:
        preference_class: What preferences are taken to be.
        payoff: What a win is worth.
        temperature: τ ≥ 0 of the game, in units of its payoff.
        delta: δ: certificates may fail with this probability.
        bound: B, the largest log-odds of Bradley-Terry and low-rank models.
        rank: Of low-rank models, even.
        candidates: K, of the finite class.
        held_out: Share of the votes that judge and are not learned from.
        bootstrap: Resamples of the raters for intervals: 0 for none, or at least `RESAMPLES`.
        seed: Of all randomness.

    Raises:
        HypothesisViolated: If δ is not between 0 and 1.
        InvalidProblem: If another value is out of range.
    """

    preference_class: ClassKind = ClassKind.BRADLEY_TERRY
    payoff: PayoffKind = PayoffKind.PROBABILITY
    temperature: float = 0.05
    delta: float = 0.05
    bound: float = 4.0
    rank: int = 2
    candidates: int = 200
    held_out: float = 0.2
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        kind = chosen(ClassKind, self.preference_class, "class")
        object.__setattr__(self, "preference_class", kind)
        object.__setattr__(self, "payoff", chosen(PayoffKind, self.payoff, "payoff"))
        checked_delta(self.delta)
        if not 0.0 <= self.temperature < float("inf"):
            raise InvalidProblem(
                f"the temperature is {self.temperature:g}",
                "give a number of payoff units of at least 0, such as 0.05",
            )
        if self.candidates < 1:
            raise InvalidProblem(
                f"{self.candidates} candidates", "ask for at least one, such as 200"
            )
        if self.bootstrap < 0 or 0 < self.bootstrap < RESAMPLES:
            raise InvalidProblem(
                f"{self.bootstrap} resamples, from which 95 % intervals cannot be told",
                f"ask for at least {RESAMPLES}, such as 1000, or for 0: no intervals",
            )
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InvalidProblem(f"the seed is {self.seed}", "give a whole number of at least 0")

    @property
    def link(self) -> Link:
        """How payoffs become probabilities."""
        return Link.PROBABILITY if self.payoff is PayoffKind.PROBABILITY else Link.LOG_ODDS
