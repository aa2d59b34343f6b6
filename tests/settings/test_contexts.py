"""Stacking contexts is solving them one by one, on trees as on bandits."""

import numpy as np
import pytest

import nlhf
from nlhf.testing.instances import random_policy, random_preference
from tests.settings.methods import METHODS

CONTEXTS, STEPS = 3, 20


def stacked_and_alone(temperature):
    """A batch of games with equal payoff ranges, so that step sizes are the same."""
    generator = nlhf.Stream(5, ("contexts",)).generator()
    tree, one = nlhf.TokenTree(2, 3, CONTEXTS), nlhf.TokenTree(2, 3)
    preference = random_preference(generator, tree.leaves, CONTEXTS)
    preference[:, 0, 1], preference[:, 1, 0] = 1.0, 0.0
    reference = random_policy(generator, tree.shape)
    stacked = nlhf.TrajectoryGame(tree, preference, reference, temperature, weights=[0.2, 0.3, 0.5])
    alone = [
        nlhf.TrajectoryGame(one, preference[x], reference.probabilities[x], temperature)
        for x in range(CONTEXTS)
    ]
    return stacked, alone


def run(method, game):
    state = method.init(game, game.start())
    for t in range(STEPS):
        state = method.step(game, state, nlhf.Stream(0).child("step", t))
    return method.profile(state)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_methods_solve_stacked_trees_as_they_solve_each(method):
    stacked, alone = stacked_and_alone(0.1)
    together = run(method, stacked)
    found = nlhf.certify(stacked, together)
    for x, game in enumerate(alone):
        each = run(method, game)
        np.testing.assert_allclose(
            together[0].log_probabilities[x], each[0].log_probabilities, rtol=0.0, atol=1e-12
        )
        gap = nlhf.certify(game, each).bound.value
        assert found.per_context[x] == pytest.approx(gap, rel=1e-9, abs=1e-15)
    assert found.bound.value == pytest.approx(found.per_context @ stacked.weights, rel=1e-14)


def test_exact_equilibria_of_stacked_trees_are_those_of_each():
    stacked, alone = stacked_and_alone(0.1)
    together = nlhf.solve(stacked).policy
    for x, game in enumerate(alone):
        np.testing.assert_allclose(together[x], nlhf.solve(game).policy, rtol=0.0, atol=1e-11)


def test_mixtures_of_stacked_trees_are_those_of_each():
    stacked, alone = stacked_and_alone(0.1)
    generator = nlhf.Stream(6, ("mixtures",)).generator()
    policies = [random_policy(generator, stacked.process.shape) for _ in range(3)]
    weights = [0.6, 0.1, 0.3]
    together = stacked.mixture([((p,), w) for p, w in zip(policies, weights, strict=True)])
    for x, game in enumerate(alone):
        parts = [(nlhf.Policy.of(p.probabilities[x]),) for p in policies]
        each = game.mixture(list(zip(parts, weights, strict=True)))
        np.testing.assert_allclose(together[0].probabilities[x], each[0].probabilities, rtol=1e-12)
