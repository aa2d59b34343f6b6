r"""Newton systems :math:`(I - s K C)\, d = r` of the regularised game, dense and low-rank.

z stacks the players' distributions, :math:`C = \mathrm{diag}(z) - z z^\top` block by block, and K
is the payoff operator over temperature, skew with respect to the players' strengths. In the
semi-inner product :math:`\langle a, b\rangle = a^\top C\, b` (with strengths) the operator K C is
skew, so the matrix is never singular, and a minimal-residual method needs two vectors of memory.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from nlhf.exact.blocks import Blocks

Vectors = Float[np.ndarray, "context action"]

_INVISIBLE = 1e-60
"""Squared semi-norm below which a right-hand side moves no probability worth the name."""


@runtime_checkable
class NewtonSystem(Protocol):
    """The payoff operator of a batch of games and the linear systems it leads to."""

    blocks: Blocks
    shape: tuple[int, int]

    def product(self, z: Vectors, active: Int[np.ndarray, "context"]) -> Vectors:
        """Return K z for the active contexts."""
        ...

    def solve(
        self,
        z: Vectors,
        s: Float[np.ndarray, "context"],
        right: tuple[Vectors, ...],
        active: Int[np.ndarray, "context"],
    ) -> tuple[Vectors, ...]:
        """Return (I − s K C(z))⁻¹ r for every right-hand side r."""
        ...


class DenseSystem:
    """A batch of explicit operators: a few products where that is enough, else a factorisation.

    A context whose minimal-residual iteration misses its budget once is solved by factorisation
    from then on: along the branch systems only become harder.

    Args:
        operator: K, shape ``(X, N, N)``.
        blocks: The players.
    """

    _MANY = 32
    """From so many contexts, products in one call beat one factorisation each."""
    _COPIES = 3
    """Subsets of contexts whose operators are kept: an iteration asks for each more than once."""
    _LARGE = 500
    """From so many actions, products beat a factorisation for a single context too."""

    def __init__(self, operator: Float[np.ndarray, "context action action"], blocks: Blocks):
        self.operator = operator
        self.blocks = blocks
        self.shape = operator.shape[:2]
        self._hard = np.zeros(operator.shape[0], dtype=bool)
        self._largest = np.maximum(operator.max(axis=(1, 2)), -operator.min(axis=(1, 2)))
        self._gathered: dict[bytes, Float[np.ndarray, "context action action"]] = {}

    def product(self, z: Vectors, active: Int[np.ndarray, "context"]) -> Vectors:
        """Return K z for the active contexts."""
        return np.matmul(self._rows(active), z[..., None])[..., 0]

    def solve(
        self,
        z: Vectors,
        s: Float[np.ndarray, "context"],
        right: tuple[Vectors, ...],
        active: Int[np.ndarray, "context"],
    ) -> tuple[Vectors, ...]:
        """Return (I − s K C(z))⁻¹ r for every right-hand side r."""
        contexts, actions = z.shape
        if contexts < self._MANY and actions < self._LARGE:
            return self._factorise(z, s, right, active)
        budget = 60 if actions >= self._LARGE else 12
        easy = np.flatnonzero(~self._hard[active])
        out = tuple(np.empty_like(r) for r in right)
        if easy.size:
            reached = np.ones(easy.size, dtype=bool)
            operator = self._rows(active[easy])

            def apply(v: Vectors) -> Vectors:
                return np.matmul(operator, v[..., None])[..., 0]

            # An error in what C sees comes back multiplied by s K in what it does not see.
            steepness = 1.0 + s[easy] * self._largest[active[easy]]
            tolerance = np.minimum(0.01, 0.1 / steepness)
            for x, r in zip(out, right, strict=True):
                x[easy], ok = minimal_residual(
                    apply, self.blocks, z[easy], s[easy], r[easy], budget, tolerance
                )
                reached &= ok
            self._hard[active[easy[~reached]]] = True
        hard = np.flatnonzero(self._hard[active])
        if hard.size:
            exact = self._factorise(z[hard], s[hard], tuple(r[hard] for r in right), active[hard])
            for x, solved in zip(out, exact, strict=True):
                x[hard] = solved
        return out

    def _rows(
        self, active: Int[np.ndarray, "context"]
    ) -> Float[np.ndarray, "context action action"]:
        """Return the operators of the active contexts; the last few copies are kept for reuse."""
        if active.size == self.shape[0]:
            return self.operator
        key = active.tobytes()
        if key not in self._gathered:
            if len(self._gathered) >= self._COPIES:
                self._gathered.clear()
            self._gathered[key] = self.operator[active]
        return self._gathered[key]

    def _factorise(
        self,
        z: Vectors,
        s: Float[np.ndarray, "context"],
        right: tuple[Vectors, ...],
        active: Int[np.ndarray, "context"],
    ) -> tuple[Vectors, ...]:
        operator = self._rows(active)
        matrix = np.empty_like(operator)
        for b in self.blocks.slices:
            # K C = (K − (K z) 1ᵀ) diag(z), block by block.
            mean = np.matmul(operator[:, :, b], z[:, b, None])
            np.subtract(operator[:, :, b], mean, out=matrix[:, :, b])
            matrix[:, :, b] *= (-s[:, None] * z[:, b])[:, None, :]
        diagonal = np.arange(z.shape[1])
        matrix[:, diagonal, diagonal] += 1.0
        solved = np.linalg.solve(matrix, np.stack(right, axis=-1))
        return tuple(solved[..., k] for k in range(len(right)))


class LowRankSystem:
    r"""A single operator :math:`K = L R^\top`; the systems reduce to the rank (Woodbury).

    Cost of a solve: O(N d²) time and O(d²) memory beyond a few vectors.

    Args:
        left: L, shape ``(N, d)``.
        right: R, shape ``(N, d)``.
        blocks: The players.
    """

    _CHUNK = 1 << 15

    def __init__(
        self,
        left: Float[np.ndarray, "action rank"],
        right: Float[np.ndarray, "action rank"],
        blocks: Blocks,
    ):
        self.left = left
        self.right = right
        self.blocks = blocks
        self.shape = (1, left.shape[0])

    def product(self, z: Vectors, active: Int[np.ndarray, "context"]) -> Vectors:
        """Return K z."""
        return (self.left @ (self.right.T @ z[0]))[None, :]

    def solve(
        self,
        z: Vectors,
        s: Float[np.ndarray, "context"],
        right: tuple[Vectors, ...],
        active: Int[np.ndarray, "context"],
    ) -> tuple[Vectors, ...]:
        """Return (I − s K C(z))⁻¹ r for every right-hand side r."""
        small = np.eye(self.left.shape[1]) - s[0] * self._moment(z[0])
        projected = [self.right.T @ (z * self.blocks.centre(z, r))[0] for r in right]
        weights = np.linalg.solve(small, np.stack(projected, axis=-1))
        return tuple(r + s[0] * (self.left @ weights[:, k])[None, :] for k, r in enumerate(right))

    def _moment(self, z: Float[np.ndarray, " action"]) -> Float[np.ndarray, "rank rank"]:
        """Return Rᵀ C(z) L, without a second copy of the factors."""
        rank = self.left.shape[1]
        moment = np.zeros((rank, rank))
        for b in self.blocks.slices:
            for start in range(b.start, b.stop, self._CHUNK):
                rows = slice(start, min(start + self._CHUNK, b.stop))
                moment += (self.right[rows] * z[rows, None]).T @ self.left[rows]
            moment -= np.outer(z[b] @ self.right[b], z[b] @ self.left[b])
        return moment


def minimal_residual(
    operator: Callable[[Vectors], Vectors],
    blocks: Blocks,
    z: Vectors,
    s: Float[np.ndarray, "context"],
    right: Vectors,
    budget: int,
    tolerance: Float[np.ndarray, "context"],
) -> tuple[Vectors, Bool[np.ndarray, "context"]]:
    """Solve (I − s K C) x = r by Orthomin(1), which is GCR for the identity plus a skew operator.

    One product and two inner products an iteration: with A = I − s K C, directions d and residuals
    r, skewness gives ⟨r, A d⟩ = ‖r‖², and the next direction is r − (‖r‖²/‖r_before‖²) d, the
    conjugate gradient recurrence with the other sign. Vectors are centred and carry the square
    root of the weights, so that the semi-norm of C is a plain sum of squares. What C does not see
    (actions of vanishing probability) is filled in at the end by x = r + s K C x, which holds
    exactly at the solution. Source: Eisenstat, Elman & Schultz, SIAM J. Numer. Anal. 20 (1983),
    section 3.

    Returns:
        The iterate and, per context, whether the residual fell below `tolerance` times its start.
    """
    root = np.sqrt(blocks.weigh(z))
    back = np.divide(z, root, out=np.zeros_like(z), where=root > 0.0)
    shrunk = s[:, None] * root

    def square(v: Vectors) -> Float[np.ndarray, "context"]:
        return np.asarray(np.einsum("xa,xa->x", v, v))

    tiny = np.finfo(np.float64).tiny
    residual = root * blocks.centre(z, right)
    direction, found = residual, np.zeros_like(residual)
    size = square(residual)
    enough = tolerance**2 * size
    reached = size <= _INVISIBLE
    for _ in range(budget):
        image = direction - shrunk * blocks.centre(z, operator(back * direction))
        # A context that has arrived rests: dividing rounding by rounding would throw it out.
        step = np.where(reached, 0.0, size / np.maximum(square(image), tiny))[:, None]
        found += step * direction
        residual = residual - step * image
        left = square(residual)
        reached |= left <= enough
        if reached.all():
            break
        turn = np.where(reached, 0.0, left / np.maximum(size, tiny))[:, None]
        direction = residual - turn * direction
        size = left
    return right + s[:, None] * operator(back * found), reached
