"""How groups of raters are found, what their policies are, and how these are judged."""

from dataclasses import dataclass

from nlhf.errors import InvalidProblem
from nlhf.estimation.mixtures.fitting import RIDGE
from nlhf.estimation.mixtures.steps import Assignment
from nlhf.estimation.tabular import Completion
from nlhf.games.group_rewards import Offsets
from nlhf.results import chosen

CANDIDATES = (1, 2, 3, 4, 5)
"""Numbers of groups that are tried where none is given."""

NASH_SHARE = 0.25
"""The temperature of the Nash policy, in win probability, for one logit of that of the rewards'
policies: near indifference a difference of one logit is a quarter in win probability."""

RESAMPLES = 40
"""The least number of resamples that has one beyond either end of a 95 % interval."""

_COLDEST = 1e-99


@dataclass(frozen=True, slots=True)
class AlignmentSettings:
    """How groups are found, what their policies are, and how these are judged.

    Attributes:
        groups: U; `None` takes the number of `CANDIDATES` with the least BIC.
        assignment: Soft or hard expectation-maximisation.
        temperature: τ of the rewards' policies, in logits, from 1e-99 to 1e99; the Nash policy has
            a quarter of it, in win probability.
        offsets: What makes the rewards of different groups comparable, for MaxMin.
        ridge: Penalty of the rewards, in votes per logit².
        restarts: Starts of the expectation-maximisation.
        held_out: Share of the votes that judge and are not estimated from.
        bootstrap: Resamples of the raters for intervals: 0 for none, or at least `RESAMPLES`.
        unseen: How pairs that were never compared are filled in for the Nash policy.
        seed: Of all randomness.

    Raises:
        InvalidProblem: If a value is out of range.
    """

    groups: int | None = None
    assignment: Assignment = Assignment.SOFT
    temperature: float = 0.2
    offsets: Offsets = Offsets.REFERENCE
    ridge: float = RIDGE
    restarts: int = 5
    held_out: float = 0.2
    bootstrap: int = 1000
    unseen: Completion = Completion.HALF
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "assignment", chosen(Assignment, self.assignment, "assignment"))
        object.__setattr__(self, "offsets", chosen(Offsets, self.offsets, "offsets"))
        object.__setattr__(self, "unseen", chosen(Completion, self.unseen, "unseen"))
        if not _COLDEST <= self.temperature <= 1.0 / _COLDEST:
            raise InvalidProblem(
                f"the temperature is {self.temperature:g}",
                f"give a number of logits from {_COLDEST:g} to {1.0 / _COLDEST:g}, such as 0.2",
            )
        if self.bootstrap < 0 or 0 < self.bootstrap < RESAMPLES:
            raise InvalidProblem(
                f"{self.bootstrap} resamples, from which 95 % intervals cannot be told",
                f"ask for at least {RESAMPLES}, such as 1000, or for 0: no intervals",
            )
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InvalidProblem(f"the seed is {self.seed}", "give a whole number of at least 0")

    @property
    def nash_temperature(self) -> float:
        """The temperature of the Nash policy, in win probability."""
        return NASH_SHARE * self.temperature

    def in_words(self, share: float, unseen: int) -> tuple[str, ...]:
        """Return every choice that these settings make for the user.

        Args:
            share: The share of votes that is held out.
            unseen: How many pairs have no training votes.
        """
        pairs = "pair" if unseen == 1 else "pairs"
        filled = f"{unseen} {pairs} without training votes filled in by: {self.unseen}"
        intervals = (
            f"{self.bootstrap} resamples of the raters with their held-out votes; groups, policies "
            "and responsibilities are not refitted"
        )
        return (
            "the reference is uniform and prompts weigh alike",
            "ties count half",
            f"{share:.1%} of the votes are held out, whole answers of a rater to a pair; one "
            "answer of every rater is kept for training",
            f"rewards have the ridge {self.ridge:g} ({self.assignment} assignment)",
            "MaxMin judges all prompts together, with one set of group weights; what makes "
            f"utilities comparable: {self.offsets}",
            f"the Nash policy has the temperature {self.nash_temperature:g} in win probability, a "
            f"quarter of {self.temperature:g} logits: near indifference these agree",
            *([filled] if unseen else []),
            f"intervals: {intervals if self.bootstrap else 'none'}",
        )
