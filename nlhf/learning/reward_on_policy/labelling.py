r"""Synthetic comparisons of a policy's own responses, by everyone who may label them.

Each function returns the mass of "i preferred to j" per context, which sums to the probability
that the context yields a comparison, its coverage. The pair is drawn from π ⊗ π given that the
responses differ, and consensus has pairs of its own.
"""

from enum import StrEnum

import numpy as np
from jaxtyping import Float

from nlhf.learning.reward_on_policy.bandits import ClusteredBandit, distinct_pairs
from nlhf.learning.reward_on_policy.consensus import TIED, consensus_pairs
from nlhf.numerics import sigmoid
from nlhf.spaces.policy import Policy

Pairs = Float[np.ndarray, "context response response"]


class Labeller(StrEnum):
    """Who says which of two responses of the policy is better."""

    REWARD_SOFT = "reward, soft"
    """The reward model, by its own probability: nothing new, the model is a fixed point."""
    REWARD = "reward, hard"
    """The reward model, by its sign."""
    POLICY = "policy"
    """The policy, by its own log-probability (RLAIF)."""
    SELECT_ALL = "consensus, all"
    """Consensus without a threshold."""
    CONSENSUS = "consensus, 0.5"
    """Consensus of at least half of the samples, RLP-SPG."""
    STRICT_CONSENSUS = "consensus, 0.7"
    """Consensus of at least 70 % of the samples."""
    GOLD = "gold"
    """The truth, by its Bradley-Terry probability and without flips: the oracle."""


THRESHOLDS = {
    Labeller.SELECT_ALL: 0.0,
    Labeller.CONSENSUS: 0.5,
    Labeller.STRICT_CONSENSUS: 0.7,
}


def labelled_pairs(
    labeller: Labeller,
    bandit: ClusteredBandit,
    reward: Float[np.ndarray, "context response"],
    samples: int = 10,
) -> Pairs:
    r"""Return the synthetic comparisons of :math:`\pi_r \propto \pi_0 e^{r/\beta}`.

    Args:
        labeller: Who labels.
        bandit: The bandit; only the oracle looks at its truth.
        reward: r, the reward model whose policy is sampled.
        samples: n, for consensus.

    Raises:
        HypothesisViolated: There are fewer than 2 samples, or too many counts to enumerate.
    """
    policy = bandit.policy(reward)
    if labeller in THRESHOLDS:
        return consensus_pairs(policy, bandit.clusters, reward, samples, THRESHOLDS[labeller])
    if labeller is Labeller.GOLD:
        return 2.0 * distinct_pairs(policy) * bandit.gold_preference
    if labeller is Labeller.REWARD_SOFT:
        return 2.0 * distinct_pairs(policy) * sigmoid(reward[:, :, None] - reward[:, None, :])
    score = policy.log_probabilities if labeller is Labeller.POLICY else reward
    return hard_labels(policy, score)


def hard_labels(policy: Policy, score: Float[np.ndarray, "context response"]) -> Pairs:
    """Return pairs of the policy in which the higher score wins; ties go half to each.

    Scores closer than 1e-9 are tied.
    """
    margin = score[:, :, None] - score[:, None, :]
    sign = np.where(np.abs(margin) <= TIED, 0.0, np.sign(margin))
    return np.asarray(distinct_pairs(policy) * (1.0 + sign))
