"""Payoff matrices as operators: dense arrays and products of thin factors."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON
from nlhf.results import read_only


@runtime_checkable
class Payoff(Protocol):
    """A payoff matrix A of the row player, known by its products."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        ...

    @property
    def contexts(self) -> tuple[int, ...]:
        """`()` for one game, `(X,)` for a batch."""
        ...

    @property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """Per context, a bound on the rounding error of an entry of `rows` or `columns`."""
        ...

    @property
    def half_range(self) -> float:
        """At least half the range of the entries, in any context."""
        ...

    def rows(self, y: Float[np.ndarray, "*context column"]) -> Float[np.ndarray, "*context row"]:
        """Return A y, the payoff of every row against the mixed column y."""
        ...

    def columns(self, x: Float[np.ndarray, "*context row"]) -> Float[np.ndarray, "*context column"]:
        """Return Aᵀ x, what every column concedes to the mixed row x."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DensePayoff:
    """A payoff matrix per context.

    Attributes:
        matrix: A, shape ``(n, m)`` or ``(X, n, m)``.
    """

    matrix: Float[np.ndarray, "*context row column"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", read_only(self.matrix))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        rows, columns = self.matrix.shape[-2:]
        return rows, columns

    @property
    def contexts(self) -> tuple[int, ...]:
        """`()` for one game, `(X,)` for a batch."""
        return self.matrix.shape[:-2]

    def __reduce__(self) -> tuple[type["DensePayoff"], tuple[np.ndarray]]:
        return DensePayoff, (self.matrix,)  # a copy is as read-only as the original

    @property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """Per context, a bound on the rounding error of an entry of `rows` or `columns`."""
        largest = np.maximum(self.matrix.max(axis=(-2, -1)), -self.matrix.min(axis=(-2, -1)))
        return np.atleast_1d((max(self.shape) + 2) * EPSILON * largest)

    @property
    def half_range(self) -> float:
        """Half the range of the entries, in the context where it is largest."""
        high, low = self.matrix.max(axis=(-2, -1)), self.matrix.min(axis=(-2, -1))
        return float(np.max(high / 2 - low / 2))

    def rows(self, y: Float[np.ndarray, "*context column"]) -> Float[np.ndarray, "*context row"]:
        """Return A y."""
        return np.matmul(self.matrix, y[..., None])[..., 0]

    def columns(self, x: Float[np.ndarray, "*context row"]) -> Float[np.ndarray, "*context column"]:
        """Return Aᵀ x."""
        return np.matmul(x[..., None, :], self.matrix)[..., 0, :]


@dataclass(frozen=True, slots=True, eq=False)
class LowRankPayoff:
    r"""One payoff matrix :math:`A = c + U V^\top`, never formed.

    Attributes:
        left: U, shape ``(n, d)``.
        right: V, shape ``(m, d)``.
        offset: The constant c.
    """

    left: Float[np.ndarray, "row rank"]
    right: Float[np.ndarray, "column rank"]
    offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "left", read_only(self.left))
        object.__setattr__(self, "right", read_only(self.right))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.left.shape[0], self.right.shape[0]

    @property
    def contexts(self) -> tuple[int, ...]:
        """Always `()`: a single game."""
        return ()

    def __reduce__(self) -> tuple[type["LowRankPayoff"], tuple[np.ndarray, np.ndarray, float]]:
        return LowRankPayoff, (self.left, self.right, self.offset)

    @property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """A bound on the rounding error of an entry of `rows` or `columns`, for the one context.

        |A| is bounded by the Cauchy-Schwarz inequality, row by column.
        """
        largest = abs(self.offset) + self.half_range
        return np.array([(max(self.shape) + self.left.shape[1] + 2) * EPSILON * largest])

    @property
    def half_range(self) -> float:
        """Half the range of the entries is at most this, by the Cauchy-Schwarz inequality."""
        norms = [float(np.sqrt(np.einsum("id,id->i", f, f).max())) for f in (self.left, self.right)]
        return norms[0] * norms[1]

    def rows(self, y: Float[np.ndarray, "*context column"]) -> Float[np.ndarray, "*context row"]:
        """Return A y for a distribution y, or for several at once."""
        return (y @ self.right) @ self.left.T + self.offset

    def columns(self, x: Float[np.ndarray, "*context row"]) -> Float[np.ndarray, "*context column"]:
        """Return Aᵀ x for a distribution x, or for several at once."""
        return (x @ self.left) @ self.right.T + self.offset
