"""Newton systems: every way of solving them against the matrix written out."""

import numpy as np
import pytest

from nlhf import Stream
from nlhf.exact.blocks import Blocks
from nlhf.exact.systems import DenseSystem, LowRankSystem, minimal_residual

BLOCKS = {
    "self-play": Blocks((7,), (0.3,)),
    "two temperatures": Blocks((4, 6), (0.05, 2.0)),
}


def drawn(blocks, contexts, rank=None):
    """Distributions, skew operators over temperatures, right-hand sides and s."""
    rng = Stream(8).child("systems", str(blocks.sizes)).generator()
    total = sum(blocks.sizes)
    skew = rng.normal(size=(contexts, total, total))
    if rank is not None:
        left, middle = rng.normal(size=(contexts, total, rank)), rng.normal(size=(rank, rank))
        skew = left @ middle @ left.swapaxes(1, 2)
    skew = skew - skew.swapaxes(1, 2)
    if len(blocks.sizes) == 2:  # the payoffs of each depend on the other's actions only
        for b in blocks.slices:
            skew[:, b, b] = 0.0
    operator = skew / np.repeat(blocks.strengths, blocks.sizes)[:, None]
    z = blocks.softmax(2.0 * rng.normal(size=(contexts, total)))
    return z, operator, rng.normal(size=(2, contexts, total)), rng.uniform(0.1, 1.0, contexts)


def written_out(blocks, z, operator, s):
    """The matrices I - s K C(z)."""
    covariance = np.zeros_like(operator)
    for b in blocks.slices:
        covariance[:, b, b] = np.einsum("xi,ij->xij", z[:, b], np.eye(b.stop - b.start))
        covariance[:, b, b] -= z[:, b, None] * z[:, None, b]
    return np.eye(z.shape[1]) - s[:, None, None] * (operator @ covariance)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("contexts", [1, 40])
def test_dense_systems_are_solved(kind, contexts):
    blocks = BLOCKS[kind]
    z, operator, right, s = drawn(blocks, contexts)
    solved = DenseSystem(operator, blocks).solve(z, s, tuple(right), np.arange(contexts))
    matrix = written_out(blocks, z, operator, s)
    # Products may end a hundredth of the right-hand side away, in what C sees; factors do not.
    allowed = 1e-9 if contexts == 1 else 0.02
    for x, r in zip(solved, right, strict=True):
        left = blocks.centre(z, np.einsum("xij,xj->xi", matrix, x) - r)
        weight = z * np.repeat(blocks.strengths, blocks.sizes)
        size = (weight * blocks.centre(z, r) ** 2).sum(axis=1)
        assert ((weight * left**2).sum(axis=1) <= allowed**2 * size).all()


@pytest.mark.parametrize("kind", BLOCKS)
def test_minimal_residuals_end_at_the_solution_in_as_many_products_as_actions(kind):
    blocks = BLOCKS[kind]
    z, operator, (right, _), s = drawn(blocks, 5)
    found, reached = minimal_residual(
        lambda v: np.einsum("xij,xj->xi", operator, v),
        blocks,
        z,
        s,
        right,
        budget=sum(blocks.sizes) + 2,
        tolerance=np.full(5, 1e-8),
    )
    assert reached.all()
    expected = np.linalg.solve(written_out(blocks, z, operator, s), right[..., None])[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_low_rank_system_is_the_dense_one(kind):
    blocks = BLOCKS[kind]
    rng = Stream(8).child("low rank", kind).generator()
    left, right = rng.normal(size=(2, sum(blocks.sizes), 3))
    z, _, vectors, s = drawn(blocks, 1)
    solved = LowRankSystem(left, right, blocks).solve(z, s, tuple(vectors), np.arange(1))
    matrix = written_out(blocks, z, (left @ right.T)[None], s)
    for x, r in zip(solved, vectors, strict=True):
        np.testing.assert_allclose(np.einsum("xij,xj->xi", matrix, x), r, atol=1e-9)
