r"""The judge: what a reward and its policy are worth by the truth. It knows no method.

Bradley-Terry labels do not identify an offset per context, so nothing here depends on one. Two
policies are compared at the same β, and at the same divergence from the reference: the scale of a
learned reward, which hard labels inflate, moves the first comparison and not the second.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.bandits import ClusteredBandit, distinct_pairs
from nlhf.numerics import kl_divergence, sigmoid
from nlhf.results import weighted_mean
from nlhf.spaces.policy import Policy

_LARGEST_SCALE = 1e9
"""Of a reward, relative to its range: beyond this its policy is greedy to rounding."""

_SCALE_TOLERANCE = 1e-13


def centred_error(
    bandit: ClusteredBandit, policy: Policy, reward: Float[np.ndarray, "context response"]
) -> float:
    r"""Return :math:`E_x Var_{i\sim\pi}(\hat r - r^*)`, half the mean square of differences."""
    error = reward - bandit.truth
    p = policy.probabilities
    error = error - (p * error).sum(axis=1, keepdims=True)
    return weighted_mean((p * error * error).sum(axis=1), bandit.weights)


def pair_accuracy(
    bandit: ClusteredBandit, policy: Policy, reward: Float[np.ndarray, "context response"]
) -> float:
    r"""Return how often the reward orders a pair from π ⊗ π as the truth does.

    Pairs of different responses with different true rewards; a tie of :math:`\hat r` counts half.

    Raises:
        HypothesisViolated: The policy gives no such pair.
    """
    true = np.sign(bandit.truth[:, :, None] - bandit.truth[:, None, :])
    said = np.sign(reward[:, :, None] - reward[:, None, :])
    mass = bandit.weights[:, None, None] * distinct_pairs(policy) * np.abs(true)
    if not mass.sum() > 0.0:
        raise HypothesisViolated(
            "the policy gives no two responses with different true rewards",
            "judge a policy of more than one response by a truth that ranks them",
        )
    return float((mass * (0.5 + 0.5 * true * said)).sum() / mass.sum())


def label_accuracy(
    bandit: ClusteredBandit, pairs: Float[np.ndarray, "context response response"]
) -> float:
    """Return the mean true Bradley-Terry probability of labels.

    Args:
        bandit: The bandit.
        pairs: The mass of "i preferred to j" in each context; it need not sum to 1.

    Raises:
        HypothesisViolated: There are no labels.
    """
    mass = bandit.weights[:, None, None] * pairs
    if not mass.sum() > 0.0:
        raise HypothesisViolated("there are no labels", "give pairs of positive mass")
    return float((mass * bandit.gold_preference).sum() / mass.sum())


def gold_reward(bandit: ClusteredBandit, policy: Policy) -> float:
    r"""Return :math:`E_x E_{i\sim\pi}\, r^*(x, i)`, in logits."""
    return weighted_mean((policy.probabilities * bandit.truth).sum(axis=1), bandit.weights)


def divergence(bandit: ClusteredBandit, policy: Policy) -> float:
    r"""Return :math:`E_x KL(\pi \| \pi_0)`, in nats."""
    nats = kl_divergence(policy.log_probabilities, bandit.reference.log_probabilities)
    return weighted_mean(nats, bandit.weights)


def objective(bandit: ClusteredBandit, policy: Policy) -> float:
    r"""Return :math:`J(\pi) = E\,r^* - \beta\,KL(\pi \| \pi_0)`, in logits."""
    return gold_reward(bandit, policy) - bandit.temperature * divergence(bandit, policy)


def regret(bandit: ClusteredBandit, policy: Policy) -> float:
    r"""Return :math:`J(\pi^*) - J(\pi) = \beta\,KL(\pi \| \pi^*) \ge 0`.

    Source: regret-identity in the ledger.
    """
    best = bandit.policy(bandit.truth)
    nats = kl_divergence(policy.log_probabilities, best.log_probabilities)
    return bandit.temperature * weighted_mean(nats, bandit.weights)


def win_rate(bandit: ClusteredBandit, policy: Policy, opponent: Policy) -> float:
    r"""Return :math:`E_x \sum_{ij} \pi_i \pi'_j\, \sigma(r^*_i - r^*_j)`."""
    preference = sigmoid(bandit.truth[:, :, None] - bandit.truth[:, None, :])
    wins = np.einsum("xi,xij,xj->x", policy.probabilities, preference, opponent.probabilities)
    return weighted_mean(wins, bandit.weights)


@dataclass(frozen=True, slots=True, eq=False)
class MatchedPolicy:
    """The policy of a reward, scaled to a given divergence.

    Attributes:
        scale: What the reward was multiplied by.
        policy: The policy.
        divergence: From the reference, in nats.
    """

    scale: float
    policy: Policy
    divergence: float


def match_divergence(
    bandit: ClusteredBandit, reward: Float[np.ndarray, "context response"], nats: float
) -> MatchedPolicy:
    r"""Find the scale c ≥ 0 at which :math:`\pi_0 e^{c r/\beta}/Z` is `nats` from the reference.

    The divergence rises from 0 with slope :math:`c\,E_x Var(r)/\beta^2` to
    :math:`-E_x \log\pi_0(\arg\max r)`: there is one such scale for anything between, found by
    bracketing and Brent's method.

    Args:
        bandit: The bandit.
        reward: r.
        nats: The divergence wanted, at least 0.

    Raises:
        HypothesisViolated: The reward has no policy that far from the reference at any scale, or
            the divergence is negative, or it or the reward not finite.
    """
    from scipy.optimize import brentq

    if not 0.0 <= nats < np.inf:
        raise HypothesisViolated(
            f"a divergence of {nats!r} nats", "give a finite number of at least 0"
        )
    if not np.isfinite(reward).all():
        raise HypothesisViolated("a reward that is not finite", "give finite rewards")
    # Contexts that never come may have any range.
    spread = float(np.ptp(reward[bandit.weights > 0.0], axis=1).max())
    unit = reward / spread if spread > 0.0 else reward

    def excess(scale: float) -> float:
        return divergence(bandit, bandit.policy(scale * unit)) - nats

    high = bandit.temperature
    while excess(high) < 0.0:
        high *= 2.0
        if high > _LARGEST_SCALE * bandit.temperature:
            raise HypothesisViolated(
                f"the policies of this reward are at most {excess(high) + nats:.6g} nats from the "
                f"reference, not the {nats:.6g} to be matched",
                "match a smaller divergence, or a reward whose best responses are less common",
            )
    found = 0.0
    if nats > 0.0:
        found = float(brentq(excess, 0.0, high, xtol=_SCALE_TOLERANCE, rtol=_SCALE_TOLERANCE))
    policy = bandit.policy(found * unit)
    return MatchedPolicy(
        scale=found / spread if spread > 0.0 else found,
        policy=policy,
        divergence=divergence(bandit, policy),
    )


def matched_derivative(
    bandit: ClusteredBandit,
    reward: Float[np.ndarray, "context response"],
    direction: Float[np.ndarray, "context response"],
) -> float:
    r"""Return how the true reward changes as r moves along s, at the divergence of its policy.

    With the scale of r + εs kept so that the divergence stays,

    .. math:: \frac{d}{d\varepsilon} E\,r^* = \frac1\beta\Big\{Cov(r^*, s) -
        \frac{Cov(r^*, r)}{Var(r)}\,Cov(r, s)\Big\}

    under π_r, within contexts and averaged over them. Pseudo-labels that move the reward along s
    help, to first order, if and only if s has a positive partial covariance with the truth given
    the reward (matched-kl-criterion in the ledger).

    Args:
        bandit: The bandit.
        reward: r.
        direction: s, per unit of ε.

    Raises:
        HypothesisViolated: The reward is constant where its policy has any mass.
    """
    p = bandit.weights[:, None] * bandit.policy(reward).probabilities

    def covariance(a: np.ndarray, b: np.ndarray) -> float:
        total = p.sum(axis=1, keepdims=True)
        share = np.divide(p, total, out=np.zeros_like(p), where=total > 0.0)
        left, right = (c - (share * c).sum(axis=1, keepdims=True) for c in (a, b))
        # Both are centred, so that a variance is a sum of squares.
        return float((p * left * right).sum())

    variance = covariance(reward, reward)
    if not variance > 0.0:
        raise HypothesisViolated(
            f"the reward has variance {variance:.3g} under its policy",
            "a constant reward stays at the reference: there is no divergence to keep",
        )
    slope = covariance(bandit.truth, reward) / variance
    partial = covariance(bandit.truth, direction) - slope * covariance(reward, direction)
    return partial / bandit.temperature
