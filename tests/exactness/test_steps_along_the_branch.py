"""Corrections of points near a branch of equilibria, and where the walk goes from them."""

import numpy as np
import pytest

from nlhf import Stream, TokenTree, TrajectoryGame
from nlhf.exact import branch, sequential
from nlhf.exact.blocks import Blocks
from nlhf.exact.sequence_form import sequence_form
from nlhf.exact.soft_response import SoftResponses
from nlhf.exact.systems import DenseSystem

FIRST = np.logspace(-13, 3, 40)


def many(size, tries):
    return branch._growth(np.full(len(size), tries), size)


def one_by_one(size, tries):
    return np.array([sequential._growth(each, tries) for each in size])


@pytest.mark.parametrize("growth", [many, one_by_one])
def test_a_step_grows_the_less_the_larger_its_first_correction_and_the_more_it_needed(growth):
    factors = np.array([growth(FIRST, tries) for tries in range(1, 8)])
    assert (np.diff(factors, axis=0) <= 0).all()
    assert (np.diff(factors, axis=1) <= 0).all()
    assert (factors > 0.0).all()
    assert factors[0, 0] > factors[1, 0] > factors[2, 0] > 1.0 > factors[3:].max()
    # The error of a prediction grows with the square of its step: from twice the correction that
    # is near enough, half of it in one try keeps the step.
    near = (FIRST > 0.05) & (FIRST < 2.0)
    np.testing.assert_allclose(factors[0, near] ** 2 * FIRST[near], 2 * branch._NEAR, rtol=1e-12)


def skew_system(contexts, actions):
    rng = Stream(8).child("along the branch").generator()
    operator = rng.normal(size=(contexts, actions, actions))
    system = DenseSystem(operator - operator.swapaxes(1, 2), Blocks((actions,), (1.0,)))
    log_reference = np.log(rng.dirichlet(np.ones(actions), size=contexts))
    return system, log_reference, rng


def spread(z, v):
    """The standard deviation of v under z, context by context."""
    return np.sqrt(((v - (z * v).sum(axis=1, keepdims=True)) ** 2 * z).sum(axis=1))


def test_a_correction_is_newtons_and_its_sizes_are_those_of_their_definitions():
    system, log_reference, rng = skew_system(3, 5)
    walk = branch._begin(system, log_reference)
    walk.theta = rng.normal(size=(3, 5))
    walk.target = np.array([0.3, 0.8, 1.0])
    found = branch._correct(system, log_reference, walk, np.arange(3))
    softmax = system.blocks.softmax

    def residual(theta):
        payoffs = np.einsum("xij,xj->xi", system.operator, softmax(log_reference + theta))
        return theta - walk.target[:, None] * payoffs

    jacobian = np.stack(
        [(residual(walk.theta + e) - residual(walk.theta - e)) / 2e-6 for e in 1e-6 * np.eye(5)],
        axis=-1,
    )
    newton = np.linalg.solve(jacobian, residual(walk.theta)[..., None])[..., 0]
    np.testing.assert_allclose(found.theta, walk.theta - newton, atol=1e-7)
    old, new = softmax(log_reference + walk.theta), softmax(log_reference + found.theta)
    moved = walk.theta - found.theta
    size = np.maximum(spread(old, moved), spread(new, moved))
    np.testing.assert_allclose(found.size, size, rtol=1e-10)
    np.testing.assert_allclose(found.moved, 0.5 * abs(new - old).sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(found.before, abs(residual(walk.theta)).max(axis=1), rtol=1e-10)
    np.testing.assert_allclose(found.after, abs(residual(found.theta)).max(axis=1), rtol=1e-10)
    np.testing.assert_allclose(found.missed, spread(new, residual(found.theta)), rtol=1e-10)


def test_what_contracts_is_kept_what_does_not_goes_back_and_what_is_near_moves_on():
    system, log_reference, rng = skew_system(5, 4)
    walk = branch._begin(system, log_reference)
    base, tangent = 0.1 * rng.normal(size=(2, 5, 4))
    before = np.array([4.0, 4.0, 4.0, 4.0, 0.5])
    size = np.array([2.0, 3.5, 3.7, 9.0, 0.01])
    walk.base, walk.tangent, walk.reached = base.copy(), tangent.copy(), np.full(5, 0.2)
    walk.step, walk.target = np.full(5, 0.1), np.full(5, 0.3)
    walk.theta, walk.size, walk.tries = base + 0.1 * tangent, before, np.full(5, 1)
    theta = base + 0.2 * rng.normal(size=(5, 4))
    small = np.full(5, 0.1)
    correction = branch._Correction(
        theta, tangent.copy(), size, small, small, np.full(5, 0.2), small
    )
    branch._decide(system.blocks, log_reference, walk, np.arange(5), correction)
    kept, back, onward = [0, 1], [2, 3], [4]  # a tenth less is asked of a correction, and 8 at most
    np.testing.assert_array_equal(walk.theta[kept], theta[kept])
    np.testing.assert_array_equal(walk.size[kept], size[kept])
    np.testing.assert_array_equal(walk.reached, [0.2, 0.2, 0.2, 0.2, 0.3])
    np.testing.assert_allclose(walk.step[back], 0.05, rtol=1e-12)
    np.testing.assert_allclose(walk.theta[back], (base + 0.05 * tangent)[back], rtol=1e-12)
    np.testing.assert_array_equal(walk.base[onward], theta[onward])
    np.testing.assert_allclose(
        walk.theta[onward], theta[onward] + walk.step[onward, None] * tangent[onward], rtol=1e-12
    )
    assert not walk.done.any()
    np.testing.assert_array_equal(walk.tries, [2, 2, 0, 0, 0])


def test_at_the_target_rounding_ends_the_corrections_and_nothing_else():
    system, log_reference, _ = skew_system(4, 4)
    walk = branch._begin(system, log_reference)
    walk.target, walk.size = np.ones(4), np.full(4, 1e-9)
    walk.tries = np.full(4, 3)
    # At the floor; stuck above it; still falling; stuck where it is large, so with no end.
    before = np.array([1e-9, 1e-9, 1e-9, 1e-2])
    after = np.array([1e-15, 0.9e-9, 0.3e-9, 0.9e-2])
    tiny = np.full(4, 1e-10)
    theta = np.zeros((4, 4))
    correction = branch._Correction(theta, theta, tiny, tiny, before, after, tiny)
    branch._decide(system.blocks, log_reference, walk, np.arange(4), correction)
    np.testing.assert_array_equal(walk.done, [True, True, False, False])


def test_a_branch_that_was_lost_is_followed_again_with_a_tenth_of_the_error(monkeypatch):
    game = TrajectoryGame(TokenTree(2, 2), np.triu(np.ones((4, 4)), 1) + 0.5 * np.eye(4))
    responses = SoftResponses(sequence_form(game), game.reference.log_probabilities, 0.5)
    follow, allowed = sequential._Branch.end, []

    def end(self, felt):
        allowed.append(felt)
        point, arrived = follow(self, felt)
        return point, arrived and len(allowed) == 4

    monkeypatch.setattr(sequential._Branch, "end", end)
    _, arrived, _ = sequential.follow(responses)
    assert arrived
    np.testing.assert_allclose(np.divide(allowed[1:], allowed[:-1]), [0.1] * 3, rtol=1e-12)
