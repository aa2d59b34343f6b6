"""The point of least divergence in the polytope of optimal strategies of a matrix game."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from nlhf.numerics import EPSILON, log_normalise, log_sum_exp

_FEASIBLE = 1e-11
"""Payoff by which a constraint may fail."""
_NOTHING = 1e-14
"""Payoff that is rounding: a constraint made of it is none, and chasing it leads astray."""
_MAX_NEWTON = 50
_SMALLEST_STEP = 1e-4
"""Of the way from the uniform reference, below which following it is given up."""


@dataclass(frozen=True, slots=True, eq=False)
class LeastDivergence:
    """The selected strategy.

    Attributes:
        log_policy: Its log-probabilities, `-inf` outside the support.
        converged: Whether every optimality condition holds.
        iterations: Newton steps taken.
    """

    log_policy: Float[np.ndarray, "row"]
    converged: bool
    iterations: int


def least_divergence(
    matrix: Float[np.ndarray, "row column"],
    support: Bool[np.ndarray, "row"],
    tight: Bool[np.ndarray, "column"],
    log_reference: Float[np.ndarray, "row"],
) -> LeastDivergence:
    r"""Minimise :math:`KL(x\|\mu)` over the optimal strategies x of the row player.

    On the maximal support of the optimal face, and with equality on the columns that some optimal
    column strategy plays (Goldman and Tucker's strict complementarity), the minimiser is
    :math:`x \propto \mu e^{A w}` for multipliers w: free on those columns, non-negative on the
    rest. Newton's method on the dual, with an active set for the rest; where the reference is too
    far away, along the references μᵗ from the uniform one.

    Args:
        matrix: A, payoffs of the row player less the value of the game, of size about 1; what is
            within rounding of 0 is taken as 0.
        support: Rows that some optimal row strategy plays.
        tight: Columns that some optimal column strategy plays.
        log_reference: log μ.
    """
    slack = matrix[support]
    slack = np.where(np.abs(slack) <= _NOTHING, 0.0, slack)
    logs = log_reference[support]
    active = tight.copy()
    multipliers = np.zeros(slack.shape[1])
    total = 0
    converged = False
    for _ in range(2 * slack.shape[1] + 2):
        multipliers[~active] = 0.0
        multipliers[active], steps, met = _minimise(slack[:, active], logs, multipliers[active])
        total += steps
        if not met:
            break
        policy = np.exp(log_normalise(logs + slack @ multipliers))
        margin = np.where(active, np.inf, slack.T @ policy)
        pull = np.where(active & ~tight, multipliers, np.inf)
        if margin.min() < -_FEASIBLE:
            active[int(margin.argmin())] = True
        elif pull.min() < -_FEASIBLE:
            active[int(pull.argmin())] = False
        else:
            converged = True
            break
    full = np.full(matrix.shape[0], -np.inf)
    full[support] = log_normalise(logs + slack @ multipliers)
    return LeastDivergence(full, converged, total)


def _minimise(
    slack: Float[np.ndarray, "row column"],
    logs: Float[np.ndarray, "row"],
    start: Float[np.ndarray, "column"],
) -> tuple[Float[np.ndarray, "column"], int, bool]:
    """Minimise log Σ μ exp(slack·w) over w, through references μᵗ where Newton alone fails.

    Far from its minimum the function is nearly linear, which defeats Newton's method: with a
    reference of 1e-12 the start is far. Every μᵗ starts from the minimiser of the one before.
    """
    w, total, met = _newton(slack, logs, start)
    if met:
        return w, total, True
    w, reached, step = np.zeros_like(start), 0.0, 0.25
    while reached < 1.0 and step > _SMALLEST_STEP:
        target = min(1.0, reached + step)
        trial, steps, met = _newton(slack, target * logs, w)
        total += steps
        if met:
            w, reached, step = trial, target, 1.5 * step
        else:
            step *= 0.5
    return w, total, reached >= 1.0


def _newton(
    slack: Float[np.ndarray, "row column"],
    logs: Float[np.ndarray, "row"],
    start: Float[np.ndarray, "column"],
) -> tuple[Float[np.ndarray, "column"], int, bool]:
    """Minimise log Σ μ exp(slack·w) over w: its gradient is the constraint slackᵀx = 0."""
    w = start
    height = float(log_sum_exp(logs + slack @ w))
    for step in range(_MAX_NEWTON):
        x = np.exp(log_normalise(logs + slack @ w))
        gradient = slack.T @ x
        if np.abs(gradient).max(initial=0.0) <= _FEASIBLE / 100:
            return w, step, True
        hessian = (slack * x[:, None]).T @ slack - np.outer(gradient, gradient)
        move = -np.linalg.lstsq(hessian, gradient, rcond=1e-13)[0]
        # Close to the minimum the decrease is below rounding: not a reason to shorten the step.
        rounding = 4 * EPSILON * (1.0 + float(np.abs(logs + slack @ w).max()))
        length = 1.0
        while length > 1e-10:
            trial = float(log_sum_exp(logs + slack @ (w + length * move)))
            if trial <= height + 1e-4 * length * float(gradient @ move) + rounding:
                break
            length *= 0.5
        w = w + length * move
        height = float(log_sum_exp(logs + slack @ w))
    return w, _MAX_NEWTON, bool(np.abs(slack.T @ x).max(initial=0.0) <= _FEASIBLE)
