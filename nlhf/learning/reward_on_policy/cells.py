"""What is kept of many rounds: means over instances, with intervals, per labeller and weight."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.bandits import BanditFamily
from nlhf.learning.reward_on_policy.labelling import Labeller
from nlhf.learning.reward_on_policy.retraining import Round
from nlhf.results import read_only

_CONFIDENCE = 0.95

_NOTHING = 1e-9
"""Changes of the reward up to this, in logits, are rounding: the soft self-labels have no other."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over instances.

    Attributes:
        value: The mean.
        standard_error: Of the mean, from the spread over instances.
        count: How many instances it is of.
    """

    value: float
    standard_error: float
    count: int

    @classmethod
    def of(cls, values: ArrayLike) -> "Mean":
        """Return the mean of those values that are numbers; all `nan` if there are fewer than 2."""
        numbers = np.asarray(values, dtype=np.float64)
        known = numbers[~np.isnan(numbers)]
        if len(known) < 2:
            return cls(math.nan, math.nan, len(known))
        error = float(known.std(ddof=1)) / math.sqrt(len(known))
        return cls(float(known.mean()), error, len(known))

    @property
    def interval(self) -> tuple[float, float]:
        """The normal 95 % interval."""
        z = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2) * self.standard_error
        return self.value - z, self.value + z


@dataclass(frozen=True, slots=True)
class Effect:
    """What retraining on one labeller's comparisons does in a cell.

    Attributes:
        labeller: Who labels.
        weight: Synthetic comparisons per human one, before selection.
        reward_change: Of the expected true reward at matched divergence, in logits.
        improved: The share of instances in which that is above 1e-9.
        matched_win_rate: Against the first policy at matched divergence.
        value_change: Of J at the same β, in logits.
        fixed_win_rate: Against the first policy at the same β.
        coverage: Share of contexts with a comparison.
        label_accuracy: Mean true Bradley-Terry probability of the labels.
        policy_error_change: Of the centred error on the first policy's responses.
        policy_accuracy_change: Of the accuracy on the first policy's pairs.
        sign_predicted: Among the instances in which the reward changes, the share in which the
            derivative at constant divergence has the sign of the change.
        unmatched: Instances whose new reward has no policy at the divergence of the first one.
    """

    labeller: Labeller
    weight: float
    reward_change: Mean
    improved: float
    matched_win_rate: Mean
    value_change: Mean
    fixed_win_rate: Mean
    coverage: Mean
    label_accuracy: Mean
    policy_error_change: Mean
    policy_accuracy_change: Mean
    sign_predicted: float
    unmatched: int


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One cell of the study.

    Attributes:
        pairs: m, human comparisons in all contexts together.
        informativeness: ω.
        flip_rate: η.
        instances: How many bandits.
        ridge: Of the reward models.
        divergence: Of the first policy from the reference, in nats.
        reward_gain: Of the first policy over the reference, in logits.
        policy_accuracy: Of the first reward model on its own policy's pairs.
        effects: One entry a labeller and weight.
        reward_changes: Of every instance and effect, as `Retrained.reward_change`.
    """

    pairs: int
    informativeness: float
    flip_rate: float
    instances: int
    ridge: float
    divergence: Mean
    reward_gain: Mean
    policy_accuracy: Mean
    effects: tuple[Effect, ...]
    reward_changes: Float[np.ndarray, "instance effect"]

    def effect(self, labeller: Labeller, weight: float) -> Effect:
        """Return the entry of a labeller and weight.

        Raises:
            HypothesisViolated: The study has no such entry.
        """
        return self.effects[self._index(labeller, weight)]

    def advantage(self, first: Labeller, second: Labeller, weight: float) -> Mean:
        """Return by how much one labeller's reward change exceeds another's, in pairs.

        Raises:
            HypothesisViolated: The study has no such entry.
        """
        columns = [self._index(labeller, weight) for labeller in (first, second)]
        ahead, behind = self.reward_changes[:, columns].T
        return Mean.of(ahead - behind)

    def _index(self, labeller: Labeller, weight: float) -> int:
        known = [(one.labeller, one.weight) for one in self.effects]
        if (labeller, weight) not in known:
            raise HypothesisViolated(
                f"no entry for {labeller} with weight {weight:g}",
                f"choose from {[(str(one), its) for one, its in known]}",
            )
        return known.index((labeller, weight))


def summarised(family: BanditFamily, pairs: int, ridge: float, rounds: Sequence[Round]) -> Cell:
    """Return the cell of the rounds in a family's bandits.

    Args:
        family: The law of the bandits.
        pairs: m.
        ridge: Of the reward models.
        rounds: One an instance, all with the same labellers and weights.
    """

    def first(name: str) -> Mean:
        return Mean.of([getattr(one.first, name) for one in rounds])

    return Cell(
        pairs=pairs,
        informativeness=family.informativeness,
        flip_rate=family.flip_rate,
        instances=len(rounds),
        ridge=ridge,
        divergence=first("divergence"),
        reward_gain=first("reward_gain"),
        policy_accuracy=first("policy_accuracy"),
        effects=tuple(_effect(rounds, case) for case in range(len(rounds[0].retrained))),
        reward_changes=read_only(
            np.array([[one.reward_change for one in some.retrained] for some in rounds])
        ),
    )


def _effect(rounds: Sequence[Round], case: int) -> Effect:
    some = [one.retrained[case] for one in rounds]

    def mean(name: str) -> Mean:
        return Mean.of([getattr(one, name) for one in some])

    changes = np.array([one.reward_change for one in some])
    known = ~np.isnan(changes)
    predicted = np.array([one.predicted for one in some])
    moved = np.abs(changes) > _NOTHING
    agree = np.sign(predicted[moved]) == np.sign(changes[moved])
    return Effect(
        labeller=some[0].labeller,
        weight=some[0].weight,
        reward_change=mean("reward_change"),
        improved=float((changes[known] > _NOTHING).mean()) if known.any() else math.nan,
        matched_win_rate=mean("matched_win_rate"),
        value_change=mean("value_change"),
        fixed_win_rate=mean("fixed_win_rate"),
        coverage=mean("coverage"),
        label_accuracy=mean("label_accuracy"),
        policy_error_change=mean("policy_error_change"),
        policy_accuracy_change=mean("policy_accuracy_change"),
        sign_predicted=float(agree.mean()) if moved.any() else math.nan,
        unmatched=int((~known).sum()),
    )
