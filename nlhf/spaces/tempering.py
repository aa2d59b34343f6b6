"""Balls of smooth divergences: projections along a curve of one parameter from η to the tilt.

The projection of q onto the ball of a divergence around η lies on a curve on which the divergence
is strictly monotone, so it is found by one scalar root.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, kl_divergence, log_normalise

_SAME = 40.0
"""e^-40 is below the rounding of 1."""
_GONE = 750.0
"""e^-750 is 0."""
_HUGE = 1e308
"""Where the search for a bracket ends, short of overflow."""


def chi_square(log_w: Float[np.ndarray, "group"], log_centre: Float[np.ndarray, "group"]) -> float:
    """Return Σ (w − η)²/η."""
    root = np.exp(0.5 * log_centre)
    return float((((np.exp(log_w) - root * root) / root) ** 2).sum())


def tempered(
    direction: Float[np.ndarray, "group"],
    log_centre: Float[np.ndarray, "group"],
    radius: float,
    ceiling: float,
) -> Float[np.ndarray, "group"]:
    r"""Return log of :math:`w_s \propto \eta\,e^{s a}` with KL(w_s‖η) = ρ.

    KL(w_s‖η) grows with s, from below ρ at :math:`s = \sqrt{8\rho}` by Hoeffding's lemma; s is
    bracketed by doubling. If ρ is not reached before the `ceiling`, the curve's end there is
    returned.

    Args:
        direction: a between -1 and 0, both attained.
        log_centre: log η.
        radius: ρ > 0.
        ceiling: Largest s; infinity for the conditional distribution on the largest entries of a.
    """

    def at(s: float) -> Float[np.ndarray, "group"]:
        return log_normalise(log_centre + s * direction)

    def excess(s: float) -> float:
        return float(kl_divergence(at(s), log_centre)) - radius

    top = direction == 0.0
    end = min(ceiling, _GONE / max(float(np.abs(direction[~top]).min()), _GONE / _HUGE))
    low = min(max(float(np.sqrt(8.0 * radius)), EPSILON), end)
    high = low
    while excess(high) < 0.0 and high < end:
        low, high = high, min(2.0 * high, end)
    if high == end and excess(high) <= 0.0:
        if end == ceiling:
            return at(end)
        return log_normalise(np.where(top, log_centre, -np.inf))
    return at(_root(excess, low, high))


def flattened(
    tilt: Float[np.ndarray, "group"], log_centre: Float[np.ndarray, "group"], radius: float
) -> Float[np.ndarray, "group"]:
    r"""Return log of :math:`\arg\min KL(w\|q)` over :math:`\sum (w-\eta)^2/\eta \le \rho`.

    For q outside the set. Stationarity says :math:`\log z_u + c z_u = a_u + \nu` for
    :math:`z = w/\eta` and :math:`a = \log(q/\eta)`, so :math:`c z_u = \omega(a_u + \theta)` with
    Wright's function ω + log ω = x. Normalisation gives :math:`c = E_\eta[\omega(a + \theta)]`,
    which grows with θ while the divergence falls: one scalar root, bracketed by doubling from
    the left end, where ω(x) = eˣ and w = q.

    Args:
        tilt: a, with largest entry 0.
        log_centre: log η.
        radius: ρ > 0.
    """
    from scipy.special import wrightomega

    def at(theta: float) -> Float[np.ndarray, "group"]:
        x = tilt + theta
        omega = wrightomega(x)
        scale = max(float(omega.max()), 1.0)
        logs = np.where(x < 1.0, x - omega - np.log(scale), np.log(np.maximum(omega, 0.5) / scale))
        return log_normalise(log_centre + logs)

    def excess(theta: float) -> float:
        return chi_square(at(theta), log_centre) - radius

    # z varies by at most (max a - min a)/c, and c exceeds half the smallest a + θ above 1.
    spread = -float(tilt.min())
    end = min(spread + max(spread / max(float(np.sqrt(radius)), EPSILON), 1.0), _HUGE)
    low = high = -_SAME
    step = 1.0
    while excess(high) > 0.0 and high < end:
        low, high, step = high, min(high + step, end), 2.0 * step
    return at(_root(excess, low, high))


def relative_to(
    log_centre: Float[np.ndarray, "group"], log_tilt: Float[np.ndarray, "group"]
) -> Float[np.ndarray, "group"]:
    """Return a = log(q/η) with largest entry 0, finite: differences beyond 1e308 are cut there."""
    with np.errstate(over="ignore"):
        below = np.maximum(log_tilt - log_tilt.max(), -_HUGE) - log_centre
    return below - below.max()


def range_of(values: Float[np.ndarray, "group"]) -> tuple[Float[np.ndarray, "group"], float]:
    """Return (v − max v)/range, between -1 and 0, and the range, which may be infinite."""
    with np.errstate(over="ignore"):
        below = values - values.max()
        spread = -float(below.min())
    if np.isinf(spread):
        below = values / 4.0 - values.max() / 4.0
        return below / -below.min(), spread
    return (below / spread if spread > 0.0 else below), spread


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Return the root of a monotone function between two signs, to the last digits."""
    from scipy.optimize import brentq

    ends = excess(low), excess(high)
    if ends[0] * ends[1] >= 0.0:
        return low if abs(ends[0]) < abs(ends[1]) else high
    return float(brentq(excess, low, high, xtol=1e-300, rtol=4 * EPSILON, maxiter=500))
