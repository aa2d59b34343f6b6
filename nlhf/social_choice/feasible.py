"""Which orders linear rewards can give, by linear programming."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from nlhf.errors import SolverFailed

Direction = Float[np.ndarray, " feature"]
Pairs = Sequence[tuple[int, int]]

STRICT = 1e-8
"""Least advantage that counts as strict, for θ in the unit cube and differences of features of
largest entry 1: what HiGHS tells from 0."""


def orders(features: Float[np.ndarray, "response feature"], pairs: Pairs) -> Direction | None:
    r"""Return θ with :math:`\langle\theta, x_a - x_b\rangle > 0` for all the pairs, or nothing.

    It maximises the least advantage, every difference scaled to a largest entry of 1, over the
    cube :math:`|\theta|_\infty \le 1`; an advantage of at most `STRICT` counts as none. The
    advantages of the θ that is returned are positive in float64.

    Raises:
        SolverFailed: HiGHS does not report an optimum.
    """
    if not pairs:
        return np.zeros(features.shape[1])
    first, second = np.array(pairs).T
    differences = features[first] - features[second]
    sizes = np.abs(differences).max(axis=1, keepdims=True)
    if not sizes.all():
        return None
    rows = differences / sizes
    found = _program(
        cost=np.append(np.zeros(rows.shape[1]), -1.0),
        above=np.hstack([-rows, np.ones((len(rows), 1))]),
    )
    if found[-1] <= STRICT or not (rows @ found[:-1] > 0.0).all():
        return None
    return found[:-1]


def separates(differences: Float[np.ndarray, "vote feature"]) -> bool:
    """Return whether some θ contradicts no vote and agrees strictly with one.

    Each row is the winner's features less the loser's. Then, and only then, no finite
    Bradley-Terry reward of greatest likelihood exists.

    Raises:
        SolverFailed: HiGHS does not report an optimum.
    """
    sizes = np.abs(differences).max(axis=1)
    rows = differences[sizes > 0] / sizes[sizes > 0, None]
    if not len(rows):
        return False
    found = _program(cost=-rows.sum(axis=0), above=-rows)
    return bool((rows @ found).max() > STRICT)


def _program(
    cost: Float[np.ndarray, " variable"], above: Float[np.ndarray, "constraint variable"]
) -> Float[np.ndarray, " variable"]:
    """Minimise over the cube subject to above · variable ≤ 0."""
    from scipy.optimize import linprog

    solution = linprog(
        cost, A_ub=above, b_ub=np.zeros(len(above)), bounds=(-1.0, 1.0), method="highs"
    )
    if solution.status != 0:
        raise SolverFailed(
            f"the linear program of {len(above)} constraints ended with: {solution.message}",
            "scale the features to a common size",
            solver="HiGHS",
            status=str(solution.status),
        )
    return np.asarray(solution.x)
