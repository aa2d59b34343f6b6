r"""The same equilibria from one convex program, by an interior-point method: an independent route.

The column player's problem, once the row player answers every y by a best response, is convex:

.. math:: v = \min_{y \in \Delta}\; \tau_1 \log \sum_i \mu_i e^{(A y)_i/\tau_1} + \tau_2 KL(y\|\nu),

its optimum is the value of the game, and the multiplier of the payoffs :math:`A y` is the row
player's equilibrium strategy. In self-play :math:`v = 1/2` and both strategies are π*.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import SolverFailed, Unsupported
from nlhf.games.payoffs import DensePayoff
from nlhf.games.preference import SelfPlayGame
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.numerics import kl_divergence, log_normalise, log_of, log_sum_exp
from nlhf.spaces.policy import Policy

_TOLERANCE = 1e-12
"""Asked of CLARABEL; the defaults (1e-8) leave policies accurate to 1e-5 only."""
ANSWERS = ("optimal", "optimal_inaccurate")
"""Statuses that come with numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class ConvexEquilibrium:
    """What the interior-point method returned for one context, and what that proves.

    Attributes:
        row: The row player's strategy: the multiplier of the payoffs, normalised.
        column: The column player's strategy: the variable, normalised.
        lower: What `row` secures; the value of the game is at least this, up to rounding.
        upper: What `column` concedes; the value is at most this. `upper - lower` is the duality
            gap of the profile (row, column), by weak duality alone.
        status: CLARABEL's: ``"optimal"``, or ``"optimal_inaccurate"`` where it stopped short of
            its own tolerances.
        iterations: Interior-point iterations.
    """

    row: Policy
    column: Policy
    lower: float
    upper: float
    status: str
    iterations: int


class ConvexProgram:
    r"""The program for all games of one size and pair of temperatures, compiled once.

    It is written in units of temperature, with one exponential cone per row,
    :math:`e^{\log\mu_i + (A y)_i/\tau_1 - t} \le w_i` and :math:`1^\top w = 1`: the numbers that
    CLARABEL sees are log-probabilities, so that a reference of 1e-12 or a temperature of 1e-3
    costs no accuracy in the policy, and the cones' multipliers are the row strategy. A and the
    log-references are parameters in the sense of disciplined parametrised programming: a new
    game of the same size skips the compilation.

    A temperature of zero is allowed for either player: linear constraints :math:`(A y)_i \le t`
    then replace the cones, or the entropy of y is absent. With both zero it is a linear program.

    Args:
        rows: Number of rows n.
        columns: Number of columns m.
        temperatures: (τ₁, τ₂), finite and non-negative.
    """

    def __init__(self, rows: int, columns: int, temperatures: tuple[float, float]) -> None:
        cp = cvxpy_module()
        self.temperatures = temperatures
        t1, t2 = temperatures
        self._unit = t1 or t2 or 1.0
        self._slope = cp.Parameter((rows, columns))
        self._log_mu, self._log_nu = cp.Parameter(rows), cp.Parameter(columns)
        self._column = cp.Variable(columns, nonneg=t2 == 0.0)
        top = cp.Variable()
        constraints = [cp.sum(self._column) == 1.0]
        if t1 > 0.0:
            logits = self._slope @ self._column + self._log_mu
            weights = cp.Variable(rows)
            self._faced = cp.constraints.ExpCone(logits - top, np.ones(rows), weights)
            constraints += [self._faced, cp.sum(weights) == 1.0]
        else:
            self._faced = self._slope @ self._column <= top
            constraints += [self._faced]
        objective = top
        if t2 > 0.0:
            divergence = -cp.sum(cp.entr(self._column)) - self._log_nu @ self._column
            objective = top + (t2 / self._unit) * divergence
        self._problem = cp.Problem(cp.Minimize(objective), constraints)

    def solve(
        self,
        matrix: Float[np.ndarray, "row column"],
        log_references: tuple[Float[np.ndarray, "row"], Float[np.ndarray, "column"]],
    ) -> ConvexEquilibrium:
        """Return the equilibrium of one game.

        Args:
            matrix: A, the payoff of the row player.
            log_references: (log μ, log ν); a player at temperature 0 does not use its own.

        Raises:
            SolverFailed: If CLARABEL ends with any status but ``optimal`` and
                ``optimal_inaccurate``.
        """
        centre = (matrix.max() + matrix.min()) / 2.0
        self._slope.value = (matrix - centre) / self._unit
        self._log_mu.value, self._log_nu.value = log_references
        status = run_clarabel(self._problem)
        if status not in ANSWERS or self._column.value is None:
            raise SolverFailed(
                f"CLARABEL ended with status {status!r} on a {matrix.shape} game at temperatures "
                f"{self.temperatures}",
                "use nlhf.solve(game), which does not depend on it",
                solver="CLARABEL",
                status=status,
            )
        # The cone's multiplier of its first argument is minus the weight of that row.
        multiplier = self._faced.dual_variables[0].value
        row = _policy(-multiplier if self.temperatures[0] > 0.0 else multiplier)
        column = _policy(self._column.value)
        lower, upper = _secured(matrix, log_references, self.temperatures, row, column)
        stats = self._problem.solver_stats
        return ConvexEquilibrium(row, column, lower, upper, status, int(stats.num_iters))


def run_clarabel(problem: Any) -> str:
    """Solve to 1e-12, and return CLARABEL's status or its error."""
    cp = cvxpy_module()
    with warnings.catch_warnings():
        # The status carries the same message, and the bounds say how accurate it is.
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            problem.solve(
                solver=cp.CLARABEL,
                warm_start=False,  # the scaling of the last game would show in the digits
                tol_gap_abs=_TOLERANCE,
                tol_gap_rel=_TOLERANCE,
                tol_feas=_TOLERANCE,
            )
        except cp.error.SolverError as error:
            return f"error: {error}"
    return str(problem.status)


def solve_convex(game: SelfPlayGame | ZeroSumGame) -> tuple[ConvexEquilibrium, ...]:
    """Return the equilibrium of every context from the convex program, compiled once.

    In self-play `row` and `column` are two approximations of the one equilibrium policy.

    Args:
        game: A game with a dense payoff and any temperatures, both, one or none of them zero.

    Raises:
        SolverFailed: If CLARABEL fails in a context.
        Unsupported: For a low-rank payoff.
    """
    if not isinstance(game.payoff, DensePayoff):
        raise Unsupported(
            "the convex program needs the payoff as a matrix, not as thin factors",
            "build the game from features @ skew @ features.T + 1/2",
        )
    rows, columns = game.payoff.shape
    matrices = game.payoff.matrix.reshape(-1, rows, columns)
    first, last = game.references[0], game.references[-1]
    log_mu = first.log_probabilities.reshape(-1, rows)
    log_nu = last.log_probabilities.reshape(-1, columns)
    program = ConvexProgram(rows, columns, (game.temperatures[0], game.temperatures[-1]))
    return tuple(
        program.solve(matrix, (mu, nu))
        for matrix, mu, nu in zip(matrices, log_mu, log_nu, strict=True)
    )


def cvxpy_module() -> Any:
    """Import it when it is needed; its atoms are exported in a way that type checkers miss."""
    import cvxpy

    return cvxpy


def _policy(weights: Float[np.ndarray, "response"]) -> Policy:
    """Normalise; an interior-point method may leave weights of −1e-15 where zero is meant."""
    return Policy(log_normalise(log_of(np.maximum(weights, 0.0))))


def _secured(
    matrix: Float[np.ndarray, "row column"],
    log_references: tuple[Float[np.ndarray, "row"], Float[np.ndarray, "column"]],
    temperatures: tuple[float, float],
    row: Policy,
    column: Policy,
) -> tuple[float, float]:
    """Return what the row strategy secures and what the column strategy concedes."""
    (log_mu, log_nu), (t1, t2) = log_references, temperatures
    x, y = row.log_probabilities, column.log_probabilities
    upper = _soft_maximum(matrix @ column.probabilities, log_mu, t1)
    lower = -_soft_maximum(-(row.probabilities @ matrix), log_nu, t2)
    if t1 > 0.0:
        lower -= t1 * float(kl_divergence(x, log_mu))
    if t2 > 0.0:
        upper += t2 * float(kl_divergence(y, log_nu))
    return lower, upper


def _soft_maximum(
    payoff: Float[np.ndarray, "response"], logs: Float[np.ndarray, "response"], t: float
) -> float:
    r"""Return :math:`\max_p \langle p, g\rangle - t\,KL(p\|\mu)`."""
    if t == 0.0:
        return float(payoff.max())
    return t * float(log_sum_exp(logs + payoff / t))
