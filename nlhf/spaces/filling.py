"""Filling and sorting: projections onto polyhedral ambiguity sets, and largest mean payoffs.

A solution treats the groups on either side of a threshold in two ways; which groups those are is
found in at most as many rounds as there are groups, and the rest is a closed form.
"""

import numpy as np
from jaxtyping import Bool, Float

from nlhf.numerics import log_normalise


def transfer(
    log_tilt: Float[np.ndarray, "group"], log_centre: Float[np.ndarray, "group"], radius: float
) -> Float[np.ndarray, "group"]:
    r"""Return log of :math:`\arg\min KL(w\|q)` over ½‖w − η‖₁ ≤ ρ, for q outside the set.

    The optimality conditions say w = median(A q, η, B q) with A < 1 < B, where
    :math:`\sum_u (A q_u - \eta_u)_+ = \rho = \sum_u (\eta_u - B q_u)_+`: the groups of which q
    wants more share η and ρ in proportion to q, those of which it wants less what is left of η.
    Newton's method on either equation drops groups until it is exact.

    Args:
        log_tilt: log q up to a constant.
        log_centre: log η.
        radius: 0 < ρ < TV(q, η) < 1.
    """
    logs = log_centre.copy()
    for sign in (1.0, -1.0):
        side = np.ones(logs.shape, dtype=bool)
        while True:
            shares = _shared(log_tilt[side], _mass(log_centre[side]) + sign * radius)
            inside = sign * (shares - log_centre[side]) >= 0.0
            if inside.all() or not inside.any():
                break
            side[side] = inside
        logs[side] = shares
    return logs


def cap(
    log_tilt: Float[np.ndarray, "group"], log_centre: Float[np.ndarray, "group"], level: float
) -> Float[np.ndarray, "group"]:
    r"""Return log of :math:`\arg\min KL(w\|q)` over w ≤ η/α: w = min(A q, η/α).

    What is left by the groups at their caps is shared in proportion to q; whoever then exceeds
    its cap is put there, for its share can only grow further.

    Args:
        log_tilt: log q up to a constant.
        log_centre: log η.
        level: 0 < α < 1.
    """
    logs = log_centre - np.log(level)
    free = np.ones(logs.shape, dtype=bool)
    while True:
        shares = _shared(log_tilt[free], 1.0 - _mass(logs[~free]))
        inside = shares <= logs[free]
        if inside.all() or not inside.any():
            break
        free[free] = inside
    logs[free] = np.minimum(shares, logs[free])
    return logs


def drain(
    payoff: Float[np.ndarray, "group"], centre: Float[np.ndarray, "group"], radius: float
) -> Float[np.ndarray, "group"]:
    """Return η with mass ρ, or all there is, moved from the lowest payoffs to the highest.

    Groups of equal payoff gain or lose in proportion to η.
    """
    levels, place = np.unique(payoff, return_inverse=True)
    mass = np.bincount(place, weights=centre, minlength=levels.size)
    below = np.concatenate([[0.0], np.cumsum(mass)])
    moved = min(radius, float(below[-2]))
    after = mass - np.clip(moved - below[:-1], 0.0, mass)
    after[-1] = mass[-1] + moved
    return np.asarray(centre * (after / mass)[place])


def fill(
    payoff: Float[np.ndarray, "group"], centre: Float[np.ndarray, "group"], level: float
) -> Float[np.ndarray, "group"]:
    """Return the weights that fill w ≤ η/α from the highest payoff down.

    Groups of equal payoff are filled in proportion to η.
    """
    levels, place = np.unique(-payoff, return_inverse=True)
    mass = np.bincount(place, weights=centre, minlength=levels.size) / level
    before = np.concatenate([[0.0], np.cumsum(mass)[:-1]])
    taken = np.clip(1.0 - before, 0.0, mass)
    return np.asarray(centre / level * (taken / mass)[place])


def stretch(
    payoff: Float[np.ndarray, "group"], centre: Float[np.ndarray, "group"], radius: float
) -> Float[np.ndarray, "group"]:
    r"""Return the maximiser of ⟨g, w⟩ over :math:`\sum_u (w_u-\eta_u)^2/\eta_u \le \rho`.

    It is :math:`w = k\,\eta\,(g - \nu)_+`. Its support is the smallest set of highest payoffs for
    which the next payoff, taken as ν, gives at least the divergence ρ; on the support, k and ν are
    then in closed form. If the conditional distribution on the highest payoff is within ρ, it is
    the maximiser.

    Args:
        payoff: g between -1 and 0, both attained.
        centre: η.
        radius: ρ > 0.
    """
    top = payoff == 0.0
    if float(centre[~top].sum()) <= radius * float(centre[top].sum()):
        return _conditional(centre, top)
    # The χ² divergence of η(g-ν)₊ grows with ν; find the last level where it is still below ρ.
    for lowest in np.unique(payoff)[:-1]:
        kept = payoff >= lowest
        excess = np.where(kept, 1.0 - np.where(kept, payoff, 0.0) / lowest, 0.0)
        mean = float(centre @ excess)
        if float(centre @ (excess - mean) ** 2) >= radius * mean**2:
            break
    mass, lost = float(centre[kept].sum()), float(centre[~kept].sum())
    share = _conditional(centre, kept)
    deviation = excess - float(share @ excess)
    variance = float(share @ deviation**2)
    slope = np.sqrt(max(radius - lost / mass, 0.0) / (mass * variance))
    return np.where(kept, np.maximum(share + slope * centre * deviation, 0.0), 0.0)


def _conditional(
    centre: Float[np.ndarray, "group"], event: Bool[np.ndarray, "group"]
) -> Float[np.ndarray, "group"]:
    return np.where(event, centre, 0.0) / float(centre[event].sum())


def _shared(log_tilt: Float[np.ndarray, "member"], mass: float) -> Float[np.ndarray, "member"]:
    """Return the logarithms of a mass shared in proportion to exp(log_tilt)."""
    return log_normalise(log_tilt) + (np.log(mass) if mass > 0.0 else -np.inf)


def _mass(logs: Float[np.ndarray, "member"]) -> float:
    return float(np.exp(logs).sum())
