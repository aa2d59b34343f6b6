"""Several models of one preference: their mean, and how far they disagree."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.base import (
    PreferenceModel,
    RewardModel,
    checked_preferences,
    checked_rewards,
    require_same_prompts,
)
from nlhf.lm.responses import Responses


class PreferenceEnsemble:
    """The mean preference of several models, and its standard deviation over them.

    Members differ by the randomness of their heads and by the bootstrap replicate that they were
    fitted to; see `nlhf.lm.judges.training.fit_ensemble`. The mean of complementary preferences is
    complementary.

    Args:
        members: At least 2 models.

    Raises:
        HypothesisViolated: There are fewer.
    """

    def __init__(self, members: Sequence[PreferenceModel]) -> None:
        _require_members(members)
        self.members = tuple(members)

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the mean over members.

        Raises:
            InvalidData: A member answers with something else than a probability.
        """
        return np.asarray(self._each(first, second).mean(axis=0))

    def uncertainty(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the standard deviation over members (divisor M - 1), in win probability.

        Symmetric: it does not change when the two responses change places.

        Raises:
            InvalidData: A member answers with something else than a probability.
        """
        return np.asarray(self._each(first, second).std(axis=0, ddof=1))

    def _each(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "member prompt first second"]:
        every = [member.preferences(first, second) for member in self.members]
        return np.stack([checked_preferences(one, first, second) for one in every])


class RewardEnsemble:
    """The mean reward of several models, and how far they disagree on differences.

    A member's rewards are known up to a constant in every prompt, so members are compared by
    differences of rewards only.

    Args:
        members: At least 2 models.

    Raises:
        HypothesisViolated: There are fewer.
    """

    def __init__(self, members: Sequence[RewardModel]) -> None:
        _require_members(members)
        self.members = tuple(members)

    def rewards(self, responses: Responses) -> Float64[np.ndarray, "prompt response"]:
        """Return the mean over members.

        Raises:
            InvalidData: A member's reward is not a finite number.
        """
        return np.asarray(self._each(responses).mean(axis=0))

    def uncertainty(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the standard deviation over members of r(a) - r(b) (divisor M - 1), in logits.

        Raises:
            InvalidData: The prompts differ, or a member's reward is not a finite number.
        """
        require_same_prompts(first, second)
        left = self._each(first)
        right = left if second is first else self._each(second)
        return np.asarray((left[:, :, :, None] - right[:, :, None, :]).std(axis=0, ddof=1))

    def _each(self, responses: Responses) -> Float64[np.ndarray, "member prompt response"]:
        return np.stack(
            [checked_rewards(member.rewards(responses), responses) for member in self.members]
        )


def _require_members(members: Sequence[object]) -> None:
    if len(members) < 2:
        raise HypothesisViolated(
            f"an ensemble of {len(members)}", "give at least 2 members: one cannot disagree"
        )
