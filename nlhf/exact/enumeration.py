r"""Brute force for tiny games: exact rational vertices, and a bracketed root for 2 x 2 games.

Nothing here shares an idea with the other solvers: no linear programming, no Newton step, no
floating point in the unregularised case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import exp, log1p

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated, InvalidProblem, Unsupported

_LARGEST = 5
"""Actions of a player up to which all square subgames are tried: 251 of them for 5 x 5."""

Vector = tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class ExtremeEquilibria:
    """All extreme optimal strategies of a matrix game, in rational arithmetic.

    The optimal strategies of a player are the convex combinations of its extreme ones, and every
    pair of optimal strategies is an equilibrium.

    Attributes:
        value: The value of the game.
        rows: The row player's extreme optimal strategies, sorted.
        columns: The column player's.
    """

    value: Fraction
    rows: tuple[Vector, ...]
    columns: tuple[Vector, ...]


def enumerate_equilibria(matrix: Sequence[Sequence[float | int | Fraction]]) -> ExtremeEquilibria:
    r"""Return the value and all extreme optimal strategies of a game of at most 5 x 5 actions.

    By Shapley and Snow, x and y are extreme optimal strategies exactly if they solve, on some
    square subgame B for which the bordered matrix is non-singular,

    .. math:: B^\top x = v 1,\quad B y = v 1,\quad 1^\top x = 1^\top y = 1,

    and are optimal in the whole game. All subgames are tried, in exact arithmetic; floats count
    as the binary fractions that they are.

    Source: Shapley & Snow, Basic solutions of discrete games, Annals of Math. Studies 24 (1950).

    Raises:
        InvalidProblem: If the rows have different lengths, there are none, or an entry is not
            finite.
        Unsupported: If a player has more than 5 actions.
    """
    a = _fractions(matrix)
    rows, columns = len(a), len(a[0])
    if max(rows, columns) > _LARGEST:
        raise Unsupported(
            f"enumeration of a {rows} x {columns} game would try too many subgames",
            f"keep to {_LARGEST} actions a player, or use nlhf.solve(game)",
        )
    found: dict[str, set[Vector]] = {"rows": set(), "columns": set()}
    value = Fraction(0)
    for size in range(1, min(rows, columns) + 1):
        for support in combinations(range(rows), size):
            for against in combinations(range(columns), size):
                pair = _kernel(a, support, against)
                if pair is not None:
                    value, x, y = pair
                    found["rows"].add(x)
                    found["columns"].add(y)
    return ExtremeEquilibria(value, tuple(sorted(found["rows"])), tuple(sorted(found["columns"])))


def two_by_two(
    matrix: Float[np.ndarray, "2 2"],
    references: tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]],
    temperatures: tuple[float, float],
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    r"""Return the equilibrium of a 2 x 2 game at positive temperatures as two logit differences.

    With the logits :math:`a = \log x_0/x_1` and :math:`b = \log y_0/y_1`, the equilibrium is

    .. math:: a = \log\tfrac{\mu_0}{\mu_1} + \tfrac{1}{\tau_1}\bigl((A_{01} - A_{11}) + d\,\sigma(b)
              \bigr), \qquad
              b = \log\tfrac{\nu_0}{\nu_1} - \tfrac{1}{\tau_2}\bigl((A_{10} - A_{11}) + d\,\sigma(a)
              \bigr)

    with :math:`d = A_{00} - A_{01} - A_{10} + A_{11}`. Substituting b leaves one equation whose
    two sides differ by a strictly increasing function of a: it is bisected until the bracket
    holds no float inside.

    Args:
        matrix: A.
        references: (μ, ν), positive probabilities.
        temperatures: (τ₁, τ₂).

    Returns:
        The log-probabilities of both players.

    Raises:
        HypothesisViolated: If a temperature is not positive.
    """
    t1, t2 = temperatures
    if not min(temperatures) > 0.0:
        raise HypothesisViolated(
            f"temperatures are {temperatures}: the equation needs positive ones",
            "use enumerate_equilibria at temperature 0",
        )
    (a00, a01), (a10, a11) = (tuple(float(v) for v in row) for row in matrix)
    bend = a00 - a01 - a10 + a11
    row_bias, column_bias = (float(np.log(p[0]) - np.log(p[1])) for p in references)

    def answer(a: float) -> float:
        return column_bias - (a10 - a11 + bend * _sigmoid(a)) / t2

    def demanded(a: float) -> float:
        return row_bias + (a01 - a11 + bend * _sigmoid(answer(a))) / t1

    low, high = (row_bias + (a01 - a11 + end) / t1 for end in sorted((0.0, bend)))
    while low < (middle := low + (high - low) / 2.0) < high:
        if middle < demanded(middle):
            low = middle
        else:
            high = middle
    return _log_pair(high), _log_pair(answer(high))


def _fractions(matrix: Sequence[Sequence[float | int | Fraction]]) -> list[list[Fraction]]:
    try:
        a = [[Fraction(entry) for entry in row] for row in matrix]
    except (ValueError, OverflowError) as error:
        raise InvalidProblem(f"a payoff is not a finite number: {error}", "remove it") from error
    if not a or not a[0] or len({len(row) for row in a}) != 1:
        raise InvalidProblem(
            f"the rows have lengths {[len(row) for row in a]}", "pass a non-empty n x m table"
        )
    return a


def _kernel(
    a: list[list[Fraction]], support: tuple[int, ...], against: tuple[int, ...]
) -> tuple[Fraction, Vector, Vector] | None:
    """Return the value and strategies of this square subgame if they are optimal in the game."""
    block = [[a[i][j] for j in against] for i in support]
    x = _bordered([list(column) for column in zip(*block, strict=True)])
    y = _bordered(block)
    if x is None or y is None or min(x[:-1]) < 0 or min(y[:-1]) < 0:
        return None
    value = x[-1]
    row = _spread(x[:-1], support, len(a))
    column = _spread(y[:-1], against, len(a[0]))
    secured = min(sum(p * r[j] for p, r in zip(row, a, strict=True)) for j in range(len(a[0])))
    conceded = max(sum(p * q for p, q in zip(column, r, strict=True)) for r in a)
    return (value, row, column) if secured == value == conceded else None


def _bordered(block: list[list[Fraction]]) -> list[Fraction] | None:
    """Solve B p = v 1, 1·p = 1 for (p, v) by Gaussian elimination; None if singular."""
    one, zero = Fraction(1), Fraction(0)
    size = len(block) + 1
    table = [[*row, -one, zero] for row in block] + [[one] * (size - 1) + [zero, one]]
    for k in range(size):
        pivot = next((i for i in range(k, size) if table[i][k] != 0), None)
        if pivot is None:
            return None
        table[k], table[pivot] = table[pivot], table[k]
        table[k] = [entry / table[k][k] for entry in table[k]]
        for i in range(size):
            if i != k and table[i][k] != 0:
                factor = table[i][k]
                table[i] = [u - factor * w for u, w in zip(table[i], table[k], strict=True)]
    return [row[-1] for row in table]


def _spread(weights: list[Fraction], where: tuple[int, ...], size: int) -> Vector:
    full = [Fraction(0)] * size
    for index, weight in zip(where, weights, strict=True):
        full[index] = weight
    return tuple(full)


def _sigmoid(a: float) -> float:
    return 1.0 / (1.0 + exp(-a)) if a >= 0.0 else exp(a) / (1.0 + exp(a))


def _log_pair(a: float) -> Float[np.ndarray, "2"]:
    """Return (log σ(a), log σ(−a))."""
    tail = log1p(exp(-abs(a)))
    return np.array([min(a, 0.0) - tail, min(-a, 0.0) - tail])
