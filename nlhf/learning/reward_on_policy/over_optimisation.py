r"""Over-optimisation: the true reward along the path of policies of an estimated reward.

The path is :math:`\pi_s \propto \pi_0 e^{s \hat r/\beta}`, s from 0. On it

.. math::

    \frac{d}{ds} E_{\pi_s} r^* = \frac1\beta Cov_{\pi_s}(r^*, \hat r), \qquad
    \frac{d}{ds} KL(\pi_s \| \pi_0) = \frac{s}{\beta^2} Var_{\pi_s}(\hat r),

within contexts and averaged over them: the true reward turns down where the covariance becomes
negative, and the estimated one never does (covariance-integral in the ledger; the curves are those
of Gao, Schulman, Hilton, Scaling Laws for Reward Model Overoptimization, 2023, without sampling).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.bandits import ClusteredBandit
from nlhf.learning.reward_on_policy.judging import divergence, gold_reward, match_divergence
from nlhf.results import float_array, read_only

_SMALLEST, _LARGEST, _STEPS = 1e-3, 1e3, 121
"""Scales, relative to β over the range of the reward, between which a turning point is sought."""

_NOISE = 1e-13
"""Covariances up to this, relative to the ranges of both rewards, have no sign."""


@dataclass(frozen=True, slots=True, eq=False)
class OptimisationCurve:
    """What the policies of an estimated reward earn, by their divergence from the reference.

    Attributes:
        divergence: Of the policies, in nats.
        scale: What the reward was multiplied by.
        gold: The gain in true reward over the reference, in logits.
        proxy: The gain in the estimated reward, in its own scale.
    """

    divergence: Float[np.ndarray, " point"]
    scale: Float[np.ndarray, " point"]
    gold: Float[np.ndarray, " point"]
    proxy: Float[np.ndarray, " point"]


@dataclass(frozen=True, slots=True)
class TurningPoint:
    """Where the true reward first turns down.

    Attributes:
        scale: What the reward is multiplied by there; 0 if the true reward falls from the start.
        divergence: Of its policy, in nats.
        gold: The gain in true reward over the reference, in logits: its first maximum.
    """

    scale: float
    divergence: float
    gold: float


def optimisation_curve(
    bandit: ClusteredBandit,
    reward: Float[np.ndarray, "context response"],
    nats: Float[np.ndarray, " point"],
) -> OptimisationCurve:
    """Return the true and the estimated reward at given divergences.

    Args:
        bandit: The bandit.
        reward: The estimate.
        nats: Divergences from the reference, at least 0.

    Raises:
        HypothesisViolated: The reward has no policy that far from the reference.
    """
    matched = [match_divergence(bandit, reward, float(d)) for d in float_array("nats", nats)]
    start = bandit.reference.probabilities
    moved = np.array([one.policy.probabilities - start for one in matched])
    weights = bandit.weights[:, None]
    return OptimisationCurve(
        divergence=read_only(np.array([one.divergence for one in matched])),
        scale=read_only(np.array([one.scale for one in matched])),
        gold=read_only((moved * (weights * bandit.truth)).sum(axis=(1, 2))),
        proxy=read_only((moved * (weights * reward)).sum(axis=(1, 2))),
    )


def covariance_along(
    bandit: ClusteredBandit, reward: Float[np.ndarray, "context response"], scale: float
) -> float:
    r"""Return :math:`E_x Cov_{\pi_s}(r^*, \hat r)`, β times the slope of the true reward in s."""
    p = bandit.policy(scale * reward).probabilities
    centred = reward - (p * reward).sum(axis=1, keepdims=True)
    # Offsets of the truth would only add their rounding.
    worth = bandit.truth - (p * bandit.truth).sum(axis=1, keepdims=True)
    return float(bandit.weights @ (p * centred * worth).sum(axis=1))


def turning_point(
    bandit: ClusteredBandit, reward: Float[np.ndarray, "context response"]
) -> TurningPoint | None:
    r"""Return where the true reward first turns down, or None if it never does.

    The first sign change of the covariance from plus to minus on a grid of 121 scales in
    geometric progression, from :math:`10^{-3}` to :math:`10^3` times β over the largest range of
    the reward, refined by Brent's method; scale 0 if its first sign is minus. Two changes of sign
    between neighbours of the grid are not seen.

    Raises:
        HypothesisViolated: The reward is constant in every context, or not finite.
    """
    from scipy.optimize import brentq

    spread = float(np.ptp(reward, axis=1).max())
    if not 0.0 < spread < np.inf:
        raise HypothesisViolated(
            f"the reward is constant in every context, or not finite: its range is {spread:g}",
            "give finite rewards that rank",
        )
    grid = np.geomspace(_SMALLEST, _LARGEST, _STEPS) * bandit.temperature / spread
    slopes = np.array([covariance_along(bandit, reward, float(s)) for s in grid])
    noise = _NOISE * spread * float(np.ptp(bandit.truth, axis=1).max())
    seen = np.flatnonzero(np.abs(slopes) > noise)
    if len(seen) > 0 and slopes[seen[0]] < 0.0:
        return TurningPoint(scale=0.0, divergence=0.0, gold=0.0)
    turns = np.flatnonzero((slopes[seen[:-1]] > 0.0) & (slopes[seen[1:]] < 0.0))
    if len(turns) == 0:
        return None
    low, high = (float(s) for s in grid[seen[turns[0] : turns[0] + 2]])
    scale = float(brentq(lambda s: covariance_along(bandit, reward, s), low, high))
    policy = bandit.policy(scale * reward)
    return TurningPoint(
        scale=scale,
        divergence=divergence(bandit, policy),
        gold=gold_reward(bandit, policy) - gold_reward(bandit, bandit.reference),
    )
