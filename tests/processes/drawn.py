"""Random processes and preferences for tests."""

import numpy as np

from nlhf import MDP
from nlhf.spaces.mdp import Unreachable


def random_mdp(rng, *, states, actions, successors):
    """Every state and action leads to a few random states with random probabilities."""
    table = np.zeros((states, actions, states))
    for s in range(states):
        for a in range(actions):
            reached = rng.choice(states, size=successors, replace=False)
            table[s, a, reached] = rng.dirichlet(np.ones(successors))
    return MDP(table, rng.dirichlet(np.ones(states)), unreachable=Unreachable.KEEP)


def random_preference(rng, count, *leading):
    """Independent uniform preferences of the pairs, with P + Pᵀ = 1."""
    upper = np.triu(rng.random((*leading, count, count)), 1)
    return upper + np.tril(1 - np.swapaxes(upper, -1, -2), -1) + 0.5 * np.eye(count)
