r"""Temperature 0: optimal vertices by linear programming, and the maximum-entropy equilibrium.

The optimal strategies of the row player of a matrix game form a polytope
:math:`\{x \in \Delta : A^\top x \ge v\}`. As the temperature goes to 0 the regularised equilibria
converge to its point of least :math:`KL(x\|\mu)`, the maximum-entropy selection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from nlhf.errors import SolverFailed, Unsupported
from nlhf.exact.entropy import LeastDivergence, least_divergence
from nlhf.games.payoffs import DensePayoff, LowRankPayoff
from nlhf.games.preference import SelfPlayGame
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.numerics import EPSILON, log_of
from nlhf.results import Profile
from nlhf.spaces.policy import Policy

_LARGEST = 3000
"""Actions up to which a low-rank payoff is written out for the linear program."""

MAXIMUM_ENTROPY = (
    "among all equilibria the one of least KL to the reference (maximum entropy); margins below "
    "1e-10 of the largest payoff difference count as none"
)
VERTEX = "in some contexts, a vertex of the linear program"

_RESOLVED = 1e-10
"""Payoff differences, over the largest, that the linear program tells from 0: HiGHS takes no
smaller tolerance."""
_ATTEMPTS = ((_RESOLVED, True), (_RESOLVED, False), (1e-8, True), (1e-7, False))
"""Tolerances, and whether to presolve, until HiGHS reports an optimum. What comes out is judged by
its gap, whatever the tolerance."""
_CONE = 1e9
"""Bound on the elements of a cone that is looked at, relative to the least played action: HiGHS
has called unbounded cones infeasible and bounded objectives on them unbounded."""
_GAP = 1e-12
"""Largest improvement, over the largest payoff difference, of an accepted selection."""


@dataclass(frozen=True, slots=True, eq=False)
class Vertex:
    """An optimal vertex of a matrix game.

    Attributes:
        row: Optimal row strategy, shape ``(n,)``.
        column: Optimal column strategy, shape ``(m,)``, from the dual.
        value: The value of the game.
    """

    row: Float[np.ndarray, "row"]
    column: Float[np.ndarray, "column"]
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Equilibria of a batch of matrix games.

    Attributes:
        profile: One policy per distinct player.
        unselected: Contexts whose maximum-entropy equilibrium was not found; a vertex stands in.
        iterations: Newton steps of the selection, over all contexts.
    """

    profile: Profile[Policy]
    unselected: tuple[int, ...]
    iterations: int


def solve_vertex(matrix: Float[np.ndarray, "row column"]) -> Vertex:
    r"""Return optimal strategies by the linear program :math:`\max v : A^\top x \ge v`.

    Solver: HiGHS through `scipy.optimize.linprog`; the column strategy is its dual.

    Raises:
        SolverFailed: If HiGHS does not report an optimum.
    """
    rows, columns = matrix.shape
    solution = _linear_program(
        cost=np.append(np.zeros(rows), -1.0),
        above=np.hstack([-matrix.T, np.ones((columns, 1))]),
        equal=np.append(np.ones(rows), 0.0)[None, :],
        bounds=[(0.0, None)] * rows + [(None, None)],
    )
    row, column = np.maximum(solution.x[:rows], 0.0), np.maximum(-solution.ineqlin.marginals, 0.0)
    return Vertex(row / row.sum(), column / column.sum(), float(solution.x[rows]))


def solve_matrix_game(game: SelfPlayGame | ZeroSumGame) -> Selection:
    """Return the maximum-entropy equilibrium of an unregularised game, context by context.

    Every matrix is shifted and scaled to [-1, 1] first, which changes no equilibrium: the linear
    programs have absolute tolerances.

    Raises:
        SolverFailed: If a linear program fails.
        Unsupported: For a low-rank payoff with more than 3,000 actions.
    """
    matrices = _matrices(game)
    logs: list[list[np.ndarray]] = [[] for _ in game.spaces]
    iterations, unselected = 0, []
    for x, matrix in enumerate(matrices):
        references = tuple(
            np.reshape(reference.log_probabilities, (len(matrices), -1))[x]
            for reference in game.references
        )
        standard = _standardised(matrix)
        try:
            chosen = _select(standard, isinstance(game, SelfPlayGame), references)
        except SolverFailed:
            chosen = []
        if chosen and _accepted(standard, chosen):
            iterations += sum(each.iterations for each in chosen)
            policies = [each.log_policy for each in chosen]
        else:
            unselected.append(x)
            vertex = solve_vertex(standard)
            policies = [log_of(vertex.row), log_of(vertex.column)]
        for each, policy in zip(logs, policies, strict=False):
            each.append(policy)
    profile = tuple(
        Policy(np.reshape(np.stack(each), reference.log_probabilities.shape))
        for each, reference in zip(logs, game.references, strict=True)
    )
    return Selection(profile, tuple(unselected), iterations)


def _standardised(matrix: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    """Return the matrix shifted and scaled to [-1, 1]; a constant one, up to rounding, becomes 0.

    A skew matrix about its value stays skew.
    """
    centre = matrix.max() / 2 + matrix.min() / 2
    moved = matrix - centre
    size = float(np.abs(moved).max())
    if size <= 4 * EPSILON * abs(centre):
        return np.zeros_like(matrix)
    # Rounding of the shift is noise, not payoff.
    moved[np.abs(moved) <= 2 * EPSILON * abs(centre)] = 0.0
    return moved / size


def _select(
    matrix: Float[np.ndarray, "row column"],
    symmetric: bool,
    references: tuple[np.ndarray, ...],
) -> list[LeastDivergence]:
    """Return the maximum-entropy optimal strategy of every distinct player."""
    if symmetric:
        support = _maximal_support(matrix)
        _require_any(support)
        return [least_divergence(matrix, support, support, references[0])]
    rows, columns = _maximal_supports(matrix)
    _require_any(rows, columns)
    value = _value_on(matrix, rows, columns)
    return [
        least_divergence(matrix - value, rows, columns, references[0]),
        least_divergence(value - matrix.T, columns, rows, references[1]),
    ]


def _require_any(*supports: Bool[np.ndarray, " _"]) -> None:
    """Raise if nobody plays anything: payoffs so close that rounding hides who beats whom."""
    if not all(support.any() for support in supports):
        raise SolverFailed(
            "no action is played in any optimal strategy that was found",
            "multiply the payoffs: their differences are close to rounding",
            solver="HiGHS",
            status="optimal",
        )


def _accepted(matrix: Float[np.ndarray, "row column"], chosen: list[LeastDivergence]) -> bool:
    """Return whether the selections converged and no deviation gains from them."""
    if not all(each.converged for each in chosen):
        return False
    row, column = np.exp(chosen[0].log_policy), np.exp(chosen[-1].log_policy)
    gap = float((matrix @ column).max() - (row @ matrix).min())
    return gap <= _GAP * max(matrix.shape)


def _value_on(
    matrix: Float[np.ndarray, "row column"],
    rows: Bool[np.ndarray, "row"],
    columns: Bool[np.ndarray, "column"],
) -> float:
    """Return the value to rounding: on the maximal supports all played columns pay exactly it."""
    block = matrix[np.ix_(rows, columns)]
    if not np.ptp(block):
        return float(block.flat[0])
    equations = np.vstack(
        [
            np.hstack([block.T, -np.ones((block.shape[1], 1))]),
            np.append(np.ones(block.shape[0]), 0.0)[None, :],
        ]
    )
    right = np.append(np.zeros(block.shape[1]), 1.0)
    return float(np.linalg.lstsq(equations, right, rcond=None)[0][-1])


def _matrices(game: SelfPlayGame | ZeroSumGame) -> Float[np.ndarray, "context row column"]:
    payoff = game.payoff
    if isinstance(payoff, LowRankPayoff):
        if max(payoff.shape) > _LARGEST:
            raise Unsupported(
                f"temperature 0 with {max(payoff.shape)} actions is a linear program too large",
                "use a small positive temperature",
            )
        return (payoff.left @ payoff.right.T + payoff.offset)[None]
    assert isinstance(payoff, DensePayoff)
    return payoff.matrix.reshape(-1, *payoff.shape)


def _maximal_support(matrix: Float[np.ndarray, "row column"]) -> Bool[np.ndarray, "row"]:
    """Return which rows some optimal strategy of a game of value 0 plays.

    Optimal strategies span a cone; in it, maximise the sum of min(x_i, 1). A row that can be
    positive at all reaches 1 by scaling, so one program finds them all.
    """
    rows, columns = matrix.shape
    solution = _linear_program(
        cost=np.concatenate([np.zeros(rows), -np.ones(rows)]),
        above=np.vstack(
            [
                np.hstack([-matrix.T, np.zeros((columns, rows))]),
                np.hstack([-np.eye(rows), np.eye(rows)]),
            ]
        ),
        equal=np.zeros((0, 2 * rows)),
        bounds=[(0.0, _CONE)] * rows + [(0.0, 1.0)] * rows,
    )
    return np.asarray(solution.x[rows:] > 0.5)


def _maximal_supports(
    matrix: Float[np.ndarray, "row column"],
) -> tuple[Bool[np.ndarray, "row"], Bool[np.ndarray, "column"]]:
    r"""Return which rows and which columns some optimal strategy plays, the value unknown.

    Pairs of optimal strategies span the cone :math:`A^\top x \ge t, A y \le t, \sum x = \sum y`;
    maximise the sum of min(·, 1) in it, as for one player.
    """
    rows, columns = matrix.shape
    total = rows + columns
    played = np.zeros((columns + rows, total))
    played[:columns, :rows] = -matrix.T
    played[columns:, rows:] = matrix
    level = np.append(np.ones(columns), -np.ones(rows))[:, None]
    solution = _linear_program(
        cost=np.concatenate([np.zeros(total + 1), -np.ones(total)]),
        above=np.vstack(
            [
                np.hstack([played, level, np.zeros((total, total))]),
                np.hstack([-np.eye(total), np.zeros((total, 1)), np.eye(total)]),
            ]
        ),
        equal=np.concatenate([np.ones(rows), -np.ones(columns), np.zeros(total + 1)])[None, :],
        bounds=[(0.0, _CONE)] * total + [(-_CONE, _CONE)] + [(0.0, 1.0)] * total,
        equals=0.0,
    )
    found = solution.x[total + 1 :] > 0.5
    return found[:rows], found[rows:]


def _linear_program(
    cost: Float[np.ndarray, "variable"],
    above: Float[np.ndarray, "constraint variable"],
    equal: Float[np.ndarray, "equality variable"],
    bounds: Sequence[tuple[float | None, float | None]],
    equals: float = 1.0,
) -> Any:
    from scipy.optimize import linprog

    for tolerance, presolve in _ATTEMPTS:
        solution = linprog(
            cost,
            A_ub=above,
            b_ub=np.zeros(above.shape[0]),
            A_eq=equal if equal.size else None,
            b_eq=np.full(equal.shape[0], equals) if equal.size else None,
            bounds=bounds,
            method="highs",
            options={
                "presolve": presolve,
                "primal_feasibility_tolerance": tolerance,
                "dual_feasibility_tolerance": tolerance,
            },
        )
        if solution.status == 0:
            return solution
    raise SolverFailed(
        f"the linear program of a {above.shape} game ended with: {solution.message}",
        "use a small positive temperature instead of 0",
        solver="HiGHS",
        status=str(solution.status),
    )
