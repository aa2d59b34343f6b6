"""Losses of a log-linear policy on pairs of responses, and their least value in a ball."""

import math
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from nlhf.numerics import log_sigmoid, sigmoid

Differences = Float[np.ndarray, "_comparison _feature"]
"""Features of the preferred response less those of the other one; one of these arrays a group."""

_MOST_NEWTON = 200
_SETTLED = 1e-7
"""A Newton step that is this short leaves an error of the order of its square."""

_LOWEST, _STRIDE = math.log(1e-10), 3.0
"""Logarithms of the smallest multiplier that is tried, in units of the largest that can be needed,
and of the ratio of those tried."""


class PreferenceLoss(StrEnum):
    """What a comparison costs a policy of log-ratio difference h, the winner's less the loser's."""

    DPO = "dpo"
    r""":math:`-\log\sigma(\beta h)`."""
    IPO = "ipo"
    r""":math:`(h - \tfrac1{2\beta})^2`."""


class PairLosses:
    r"""The mean losses L_g of groups as functions of θ, with h = θᵀy for features' differences y.

    Attributes:
        counts: N_g, how many comparisons each group has.
        loss: DPO or IPO.
        temperature: β.
    """

    def __init__(
        self,
        differences: tuple[Differences, ...],
        loss: PreferenceLoss,
        temperature: float,
    ) -> None:
        self.counts = np.array([len(one) for one in differences])
        self.loss, self.temperature = loss, temperature
        self._rows = np.concatenate(differences)
        self._starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self._group = np.repeat(np.arange(len(differences)), self.counts)

    @property
    def features(self) -> int:
        """How many parameters there are."""
        return int(self._rows.shape[1])

    def values(self, theta: Float[np.ndarray, " feature"]) -> Float[np.ndarray, " group"]:
        """Return L_g(θ)."""
        return self._means(self._each(self._rows @ theta))

    def value_and_gradient(
        self, theta: Float[np.ndarray, " feature"], weights: Float[np.ndarray, " group"]
    ) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " feature"]]:
        """Return L_g(θ), and the gradient of Σ_g w_g L_g."""
        h = self._rows @ theta
        slopes = self._slope(h) * (weights / self.counts)[self._group]
        return self._means(self._each(h)), slopes @ self._rows

    def hessian(
        self, theta: Float[np.ndarray, " feature"], weights: Float[np.ndarray, " group"]
    ) -> Float[np.ndarray, "feature feature"]:
        """Return the Hessian of Σ_g w_g L_g."""
        curvature = self._curvature(self._rows @ theta) * (weights / self.counts)[self._group]
        matrix: np.ndarray = (self._rows * curvature[:, None]).T @ self._rows
        return matrix

    def largest_change(self, step: Float[np.ndarray, " feature"]) -> float:
        """Return the most that a step changes a scaled difference βh."""
        return self.temperature * float(np.abs(self._rows @ step).max())

    def longest_gradient(self, radius: float) -> float:
        """Return a bound on ‖∇L_g(θ)‖ for ‖θ‖ ≤ B: the mean of what single comparisons can have."""
        lengths = np.linalg.norm(self._rows, axis=1)
        steepest = np.abs(self._slope(-radius * lengths)) * lengths
        return float(self._means(steepest).max())

    def range_of_losses(self, radius: float, extra: Float[np.ndarray, " group"]) -> float:
        """Return a bound on the difference of any two adjusted losses for ‖θ‖ ≤ B."""
        if len(self.counts) == 1:
            return 0.0
        lengths = radius * np.linalg.norm(self._rows, axis=1)
        best = lengths
        if self.loss is PreferenceLoss.IPO:
            best = np.minimum(lengths, 0.5 / self.temperature)
        highest = self._means(self._each(-lengths)) + extra
        lowest = self._means(self._each(best)) + extra
        apart = highest[:, None] - lowest[None, :]
        return float(apart[~np.eye(len(self.counts), dtype=bool)].max())

    def _each(self, h: Float[np.ndarray, " comparison"]) -> Float[np.ndarray, " comparison"]:
        if self.loss is PreferenceLoss.IPO:
            return (h - 0.5 / self.temperature) ** 2
        scaled = self.temperature * h
        return -log_sigmoid(scaled)

    def _slope(self, h: Float[np.ndarray, " comparison"]) -> Float[np.ndarray, " comparison"]:
        if self.loss is PreferenceLoss.IPO:
            return 2.0 * h - 1.0 / self.temperature
        return -self.temperature * sigmoid(-self.temperature * h)

    def _curvature(self, h: Float[np.ndarray, " comparison"]) -> Float[np.ndarray, " comparison"]:
        if self.loss is PreferenceLoss.IPO:
            return np.full_like(h, 2.0)
        scaled = self.temperature * h
        return self.temperature**2 * sigmoid(-scaled) * sigmoid(scaled)

    def _means(self, each: Float[np.ndarray, " comparison"]) -> Float[np.ndarray, " group"]:
        total: np.ndarray = np.add.reduceat(each, self._starts) / self.counts
        return total


def weighted_minimiser(
    losses: PairLosses,
    weights: Float[np.ndarray, " group"],
    ridge: float,
    start: Float[np.ndarray, " feature"] | None = None,
) -> Float[np.ndarray, " feature"]:
    r"""Return the minimiser of :math:`\sum_g w_g L_g(\theta) + \tfrac\lambda2\|\theta\|^2`.

    Newton's method, for IPO in one step: weighted least squares, :math:`\theta =
    \tfrac1{2\beta}(Y^\top WY + \tfrac\lambda2 I)^{-1} Y^\top W 1` with W = w_g/N_g. For DPO a step
    that changes a scaled difference βh by s > 1 is taken in full or shortened to
    :math:`\log(1+s)/s`, whichever is better; see `nlhf.estimation.likelihood.maximise`.

    Args:
        losses: The losses.
        weights: w, at least 0.
        ridge: λ > 0.
        start: Where to begin; 0 by default.
    """
    theta = np.zeros(losses.features) if start is None else start
    for _ in range(_MOST_NEWTON):
        gradient = losses.value_and_gradient(theta, weights)[1] + ridge * theta
        matrix = losses.hessian(theta, weights) + ridge * np.eye(losses.features)
        step = -np.linalg.solve(matrix, gradient)
        if losses.loss is PreferenceLoss.IPO:
            return theta + step
        change = losses.largest_change(step)
        if change <= 1.0:
            theta = theta + step
            if change <= _SETTLED:
                break
            continue
        tried = [theta + step, theta + math.log1p(change) / change * step]
        theta = min(tried, key=lambda z: float(weights @ losses.values(z) + ridge / 2 * z @ z))
    return theta


def least_over_ball(
    losses: PairLosses, weights: Float[np.ndarray, " group"], radius: float
) -> float:
    r"""Return a lower bound on the least :math:`f = \sum_g w_g L_g` with ‖θ‖ ≤ B.

    It is tight to about 1e-10. Whatever θ `minimiser_over_ball` gives,
    :math:`f \ge f(\theta) + \min_{\|z\| \le B} \nabla f(\theta)^\top (z - \theta)
    = f(\theta) - \nabla f(\theta)^\top\theta - B\|\nabla f(\theta)\|` by convexity.

    Args:
        losses: The losses.
        weights: w, at least 0.
        radius: B > 0.
    """
    theta = minimiser_over_ball(losses, weights, radius)
    found, gradient = losses.value_and_gradient(theta, weights)
    reach = float(gradient @ theta) + radius * float(np.linalg.norm(gradient))
    return float(weights @ found) - reach


def minimiser_over_ball(
    losses: PairLosses, weights: Float[np.ndarray, " group"], radius: float
) -> Float[np.ndarray, " feature"]:
    r"""Return a minimiser of :math:`f = \sum_g w_g L_g` with ‖θ‖ ≤ B, nearly.

    It is that of :math:`f + \tfrac\lambda2\|\theta\|^2`, with the multiplier λ of the ball by root
    finding, or the least λ that is tried if the ball does not bind.

    Args:
        losses: The losses.
        weights: w, at least 0.
        radius: B > 0.
    """
    from scipy.optimize import brentq

    theta = np.zeros(losses.features)
    most = float(np.linalg.norm(losses.value_and_gradient(theta, weights)[1])) / radius

    def shortage(log_ridge: float) -> float:
        nonlocal theta
        theta = weighted_minimiser(losses, weights, most * math.exp(log_ridge), theta)
        # 1/‖θ(λ)‖ is nearly linear in λ (Moré and Sorensen, Computing a trust region step, 1983).
        return radius / float(np.linalg.norm(theta)) - 1.0

    # ‖θ(λ)‖ ≤ ‖∇f(0)‖/λ, and it falls in λ: from where it is in the ball, down to where it is not.
    low = math.log(2.0)
    while most > 0.0 and low > _LOWEST:
        low -= _STRIDE
        if shortage(low) < 0.0:
            shortage(float(brentq(shortage, low, low + _STRIDE, xtol=1e-10)))
            break
    return theta * min(1.0, radius / max(float(np.linalg.norm(theta)), 1e-300))
