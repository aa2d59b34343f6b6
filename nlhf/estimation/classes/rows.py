"""Comparisons whose payoff is linear in parameters, and the parameters of largest likelihood."""

from dataclasses import dataclass
from math import exp, log

import numpy as np
from jaxtyping import Float

from nlhf.errors import SolverFailed
from nlhf.estimation.classes.links import Link
from nlhf.numerics import EPSILON, log_of, log_sigmoid, sigmoid

GAP_TOLERANCE = 1e-6
"""How much larger, in nats, the log-likelihood of another member may be than that of the fit."""

MARGIN = 1e-3
"""How far preferences must stay from 0 and 1 with the probability link."""

_LEAST = 1e-8
_GRADIENT = 1e-13
_STRIDE = 6.0
_MULTIPLIER = 1e-12
"""Relative error of the multiplier."""

_PROJECTED_STEPS = 100
_ENOUGH = 1e-2
"""Of the tolerance: what is small enough to stop at."""
_NEAR = 1e-3
"""Share of the box, or of the ball, within which a bound counts as near."""
_HALVINGS = 30
_ASCENT = 1e-4
_POLISHING_STEPS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    r"""Comparisons i with payoffs :math:`\langle\theta, \phi_i\rangle`.

    Attributes:
        features: φ, shape ``(N, d)``.
        counts: How often each pair was compared.
        wins: How often the first was preferred, ties half.
        link: What payoffs say of preferences.
    """

    features: Float[np.ndarray, "pair feature"]
    counts: Float[np.ndarray, " pair"]
    wins: Float[np.ndarray, " pair"]
    link: Link

    def log_likelihood(self, theta: Float[np.ndarray, " feature"]) -> float:
        """Return the log-likelihood in nats; -inf where a probability that was seen is not > 0."""
        payoffs, losses = self.features @ theta, self.counts - self.wins
        if self.link is Link.LOG_ODDS:
            return float(log_sigmoid(payoffs) @ self.wins + log_sigmoid(-payoffs) @ losses)
        total = 0.0
        for votes, p in ((self.wins, 0.5 + payoffs), (losses, 0.5 - payoffs)):
            seen = votes > 0.0
            total += float(log_of(np.maximum(p[seen], 0.0)) @ votes[seen])
        return total

    def score(self, theta: Float[np.ndarray, " feature"]) -> Float[np.ndarray, " feature"]:
        """Return the gradient of the log-likelihood."""
        payoffs = self.features @ theta
        if self.link is Link.LOG_ODDS:
            each = self.wins * sigmoid(-payoffs) - (self.counts - self.wins) * sigmoid(payoffs)
        else:
            each = self._per_probability(payoffs, 1)
        return np.asarray(each @ self.features)

    def information(
        self, theta: Float[np.ndarray, " feature"]
    ) -> Float[np.ndarray, "feature feature"]:
        """Return minus the Hessian of the log-likelihood."""
        payoffs = self.features @ theta
        if self.link is Link.LOG_ODDS:
            each = self.counts * sigmoid(payoffs) * sigmoid(-payoffs)
        else:
            each = self._per_probability(payoffs, 2)
        return self.second_moment(each)

    def second_moment(
        self, weights: Float[np.ndarray, " pair"]
    ) -> Float[np.ndarray, "feature feature"]:
        r"""Return :math:`\sum_i w_i \phi_i \phi_i^\top`."""
        return np.asarray((self.features * weights[:, None]).T @ self.features)

    def _per_probability(
        self, payoffs: Float[np.ndarray, " pair"], power: int
    ) -> Float[np.ndarray, " pair"]:
        total = np.zeros(len(payoffs))
        for votes, sign in ((self.wins, 1.0), (self.counts - self.wins, -1.0)):
            seen = votes > 0.0
            p = 0.5 + sign * payoffs[seen]
            total[seen] += sign**power * votes[seen] / p**power
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Maximum:
    """Parameters of largest likelihood in a convex set.

    Attributes:
        theta: The parameters.
        log_likelihood: Theirs, in nats.
        gap: At least how much more any other member has: the log-likelihood is concave, so
            no more than its gradient's largest inner product with a step inside the set.
    """

    theta: Float[np.ndarray, " feature"]
    log_likelihood: float
    gap: float


def maximise_in_ball(rows: Rows, radius: float) -> Maximum:
    r"""Return the maximum over :math:`\|\theta\|_2 \le B`.

    It is that of :math:`\log L - \tfrac\mu2 \|\theta\|^2` for the multiplier μ of the ball, found
    by root finding with a trust-region Newton method inside.

    Raises:
        SolverFailed: If the Kuhn-Tucker conditions fail by more than `GAP_TOLERANCE`.
    """
    from scipy.optimize import brentq

    theta = best = np.zeros(rows.features.shape[1])
    gap = radius * float(np.linalg.norm(rows.score(theta)))
    least = _LEAST / radius**2

    def excess(log_multiplier: float) -> float:
        nonlocal theta, best, gap
        theta = _penalised(rows, exp(log_multiplier), theta)
        length = max(float(np.linalg.norm(theta)), 1e-300)
        whole = radius / length
        # Near the sphere it depends on the data whether an error of length costs less than a shift.
        for scale in {min(1.0, whole), whole if whole < 1.0 + _NEAR else 1.0}:
            score = rows.score(scale * theta)
            left = radius * float(np.linalg.norm(score)) - scale * float(score @ theta)
            if left < gap:
                best, gap = scale * theta, left
        return 1.0 - whole

    # ‖θ(μ)‖ ≤ ‖∇ log L(0)‖/μ, and it falls in μ: from where it is in the ball to where it is not.
    low = log(max(gap / radius**2, least))
    while low > log(least):
        low = max(low - _STRIDE, log(least))
        if excess(low) > 0.0:
            brentq(excess, low, low + _STRIDE, xtol=_MULTIPLIER)
            break
    return _checked(rows, best, radius * float(np.linalg.norm(rows.score(best))), "trust-exact")


def maximise_in_box(rows: Rows, half: float) -> Maximum:
    r"""Return the maximum over :math:`|\theta_j| \le b`, by L-BFGS-B and projected Newton steps.

    L-BFGS-B comes near, but it may stall where bounds bind or must be let go of; Newton steps in
    the parameters that are free to move, cut at the bounds and shortened until the likelihood
    grows, make it exact.

    Raises:
        SolverFailed: If the Kuhn-Tucker conditions fail by more than `GAP_TOLERANCE`.
    """
    from scipy.optimize import minimize

    size, scale = rows.features.shape[1], max(1.0, float(rows.counts.sum()))
    found = minimize(
        lambda theta: (-rows.log_likelihood(theta) / scale, -rows.score(theta) / scale),
        np.zeros(size),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-half, half)] * size,
        options={"ftol": 0.0, "gtol": _GRADIENT, "maxiter": 10_000, "maxfun": 100_000},
    )
    theta = np.asarray(found.x)
    for _ in range(_PROJECTED_STEPS):
        score = rows.score(theta)
        if _box_gap(score, theta, half) <= _ENOUGH * GAP_TOLERANCE:
            break
        theta = _projected_step(rows, theta, score, half)
    reach = half * float(np.abs(rows.score(theta)).sum())
    return _checked(rows, theta, reach, "L-BFGS-B and projected Newton")


def _projected_step(
    rows: Rows,
    theta: Float[np.ndarray, " feature"],
    score: Float[np.ndarray, " feature"],
    half: float,
) -> Float[np.ndarray, " feature"]:
    """Return the next parameters (D. Bertsekas, SIAM J. Control and Optimization 20, 1982).

    Parameters that are near a bound and pushed towards it move along the gradient, the others by
    Newton's method among themselves: only so is the step of the latter one of ascent once cut.
    """
    moved = np.abs(np.clip(theta + score, -half, half) - theta).max()
    near = (np.abs(theta) >= half - min(_NEAR * half, float(moved))) & (score * theta > 0.0)
    information = rows.information(theta)
    step = score / np.maximum(np.diag(information), _LEAST)
    among = information[np.ix_(~near, ~near)]
    step[~near] = np.linalg.lstsq(among, score[~near], rcond=None)[0]
    here = rows.log_likelihood(theta)
    rounding = 8 * EPSILON * abs(here)
    for halvings in range(_HALVINGS):
        tried = np.clip(theta + 0.5**halvings * step, -half, half)
        promised = _ASCENT * float(score @ (tried - theta))
        if rows.log_likelihood(tried) >= here + promised - rounding:
            return tried
    return theta


def _box_gap(
    score: Float[np.ndarray, " feature"], theta: Float[np.ndarray, " feature"], half: float
) -> float:
    return half * float(np.abs(score).sum()) - float(score @ theta)


def _penalised(
    rows: Rows, multiplier: float, start: Float[np.ndarray, " feature"]
) -> Float[np.ndarray, " feature"]:
    from scipy.optimize import minimize

    ridge, scale = multiplier * np.eye(len(start)), max(1.0, float(rows.counts.sum()))
    found = minimize(
        lambda z: (multiplier / 2 * z @ z - rows.log_likelihood(z)) / scale,
        start,
        jac=lambda z: (multiplier * z - rows.score(z)) / scale,
        hess=lambda z: (ridge + rows.information(z)) / scale,
        method="trust-exact",
        options={"gtol": _GRADIENT},
    )
    theta = np.asarray(found.x)
    slope = rows.score(theta) - multiplier * theta
    for _ in range(_POLISHING_STEPS):
        tried = theta + np.linalg.lstsq(ridge + rows.information(theta), slope, rcond=None)[0]
        after = rows.score(tried) - multiplier * tried
        # Where a probability that was seen would be negative, the score there means nothing.
        if rows.log_likelihood(tried) > -np.inf and after @ after < slope @ slope:
            theta, slope = tried, after
    return theta


def _checked(
    rows: Rows, theta: Float[np.ndarray, " feature"], reach: float, solver: str
) -> Maximum:
    gap = max(0.0, reach - float(rows.score(theta) @ theta))
    if not gap <= GAP_TOLERANCE:
        raise SolverFailed(
            f"another member of the class may be {gap:.3g} nats more likely than the fit, where "
            f"at most {GAP_TOLERANCE:g} is allowed",
            "scale the features so that they are of size about 1, or lower the bound",
            solver=solver,
            status="Kuhn-Tucker conditions not met",
        )
    return Maximum(theta, rows.log_likelihood(theta), gap)
