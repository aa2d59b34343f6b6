"""One game of sequences, told as a bandit, a token tree and a deterministic decision process."""

from itertools import product

import numpy as np
import pytest

import nlhf
from nlhf.testing import same_game
from tests.settings.methods import METHODS

VOCABULARY, HORIZON, STEPS = 3, 3, 50
SEQUENCES = list(product(range(VOCABULARY), repeat=HORIZON))


def bandit_log_probabilities(policy):
    return policy.log_probabilities


def tree_log_probabilities(policy):
    """Follow every sequence from the root: the children of node i are 1 + V·i + token."""
    found = []
    for tokens in SEQUENCES:
        node, total = 0, 0.0
        for token in tokens:
            total += policy.log_probabilities[node, token]
            node = 1 + VOCABULARY * node + token
        found.append(total)
    return np.array(found)


def process_log_probabilities(process):
    """Follow every sequence through the transitions, at step h with the policy of step h."""
    mdp = process.mdp
    transitions = mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states)

    def follow(policy):
        found = []
        for tokens in SEQUENCES:
            state, total = int(mdp.initial.argmax()), 0.0
            for h, token in enumerate(tokens):
                total += policy.log_probabilities[h, state, token]
                state = int(transitions[state, token].argmax())
            found.append(total)
        return np.array(found)

    return follow


def followers(game):
    bandit, tree, markov, histories = (view.game for view in game.views)
    return (
        (bandit, bandit_log_probabilities),
        (tree, tree_log_probabilities),
        (markov, process_log_probabilities(markov.process)),
        (histories, tree_log_probabilities),
    )


def iterates(method, game, follow):
    state = method.init(game, game.start())
    found = [follow(method.profile(state)[0])]
    for t in range(STEPS):
        state = method.step(game, state, nlhf.Stream(0).child("step", t))
        found.append(follow(method.profile(state)[0]))
    return np.array(found)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_every_method_has_the_same_iterates_in_every_setting(method, temperature):
    views = followers(same_game(temperature))
    bandit, *others = (iterates(method, game, follow) for game, follow in views)
    assert np.ptp(bandit[0]) > 1.0, "the reference is not uniform"
    assert np.abs(bandit[-1] - bandit[0]).max() > 0.1, "the method moves"
    for told in others:
        np.testing.assert_allclose(told, bandit, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_the_exact_equilibrium_is_the_same_in_every_setting(temperature):
    found = [follow(nlhf.solve(g).profile[0]) for g, follow in followers(same_game(temperature))]
    for told in found[1:]:
        np.testing.assert_allclose(np.exp(told), np.exp(found[0]), rtol=0.0, atol=1e-10)


def test_the_reference_is_judged_alike_in_every_setting():
    gaps = [
        nlhf.certify(view.game, view.game.start()).bound.value for view in same_game(0.05).views
    ]
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-13)
