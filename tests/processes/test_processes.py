"""Decision processes: what they count, where they lead, and that they agree with each other."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf import MDP, Discounted, FiniteHorizon, Histories, Policy, Stream, TokenTree
from nlhf.errors import InvalidProblem
from nlhf.numerics import log_of
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from nlhf.spaces.realisers import trajectory_divergence
from nlhf.spaces.sequential import SequentialSpace
from tests.processes.drawn import random_mdp

SEEDS = st.integers(0, 2**32 - 1)


def random_policy(shape, rng):
    return log_of(rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]))


@given(SEEDS, st.integers(1, 4), st.integers(1, 4))
def test_a_sequence_is_as_probable_as_the_product_of_its_tokens(seed, vocabulary, horizon):
    rng = Stream(seed).child("tree").generator()
    tree = TokenTree(vocabulary, horizon)
    log_policy = random_policy(tree.shape, rng)
    leaves = tree.leaf_log_probabilities(log_policy)
    for number, tokens in enumerate(product(range(vocabulary), repeat=horizon)):
        expected, node, first = 0.0, 0, 0
        for h, token in enumerate(tokens):
            expected += log_policy[first + node, token]
            first, node = first + vocabulary**h, node * vocabulary + token
        assert leaves[number] == pytest.approx(expected, abs=1e-12)
    assert np.exp(leaves).sum() == pytest.approx(1.0, abs=1e-12)
    assert tree.log_policy(leaves) == pytest.approx(log_policy, abs=1e-10)


def told(mdp, horizon, policy):
    """All histories with their probabilities, by the chain rule, written from the definition."""
    transitions = mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states)
    found = {(s,): p for s, p in enumerate(mdp.initial) if p > 0}
    for h in range(horizon):
        found = {
            (*history, a, s): p * policy[h, history[-1], a] * transitions[history[-1], a, s]
            for history, p in found.items()
            for a in range(mdp.actions)
            for s in range(mdp.states)
            if transitions[history[-1], a, s] > 0
        }
    return found


@given(SEEDS, st.integers(1, 3))
def test_histories_are_those_of_the_chain_rule(seed, horizon):
    rng = Stream(seed).child("histories").generator()
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    histories = Histories(mdp, horizon)
    markov = random_policy((horizon, 3, 2), rng)
    _, leaves = histories.flow(histories.remembering(markov))
    expected = told(mdp, horizon, np.exp(markov))
    names = [histories.history(leaf) for leaf in range(histories.leaves)]
    assert sorted(names) == sorted(expected)
    assert leaves == pytest.approx([expected[name] for name in names], abs=1e-14)
    assert [name[-1] for name in names] == list(histories.last_states)


@given(SEEDS, st.integers(1, 3))
def test_a_markov_policy_has_the_same_payoff_and_divergence_on_histories(seed, horizon):
    rng = Stream(seed).child("markov").generator()
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    markov, histories = FiniteHorizon(mdp, horizon), Histories(mdp, horizon)
    p, q = (random_policy(markov.shape, rng) for _ in range(2))
    steps, final = rng.normal(size=markov.shape), rng.normal(size=3)
    payoff = StepPayoff(steps, final)
    sums = [
        sum(steps[h, name[2 * h], name[2 * h + 1]] for h in range(horizon)) + final[name[-1]]
        for name in map(histories.history, range(histories.leaves))
    ]
    leaf_payoff = LeafPayoff(np.array(sums))
    visits, last = markov.flow(p)
    direct = float((visits[..., None] * np.exp(p) * steps).sum() + last @ final)
    on_histories = float(histories.flow(histories.remembering(p))[1] @ leaf_payoff.leaves)
    assert direct == pytest.approx(on_histories, abs=1e-12)
    assert trajectory_divergence(markov, p, q) == pytest.approx(
        trajectory_divergence(histories, histories.remembering(p), histories.remembering(q)),
        abs=1e-12,
    )
    # The best policy with an additive payoff needs no memory, soft or hard.
    for weights, temperature in ((q, 0.3), (None, 0.0)):
        best = markov.optimum(payoff, weights, temperature)
        given_weights = None if weights is None else histories.remembering(weights)
        remembered = histories.optimum(leaf_payoff, given_weights, temperature)
        assert remembered == pytest.approx(histories.remembering(best), abs=1e-10)


def stopping(mdp, discount):
    """The same process with a state in which it has stopped."""
    states, actions = mdp.states, mdp.actions
    table = mdp.transitions.toarray().reshape(states, actions, states)
    full = np.zeros((2 * states + 1, actions, 2 * states + 1))
    # Playing at s leads to the stop "at s" with 1 - γ before the next state is drawn.
    full[:states, :, :states] = discount * table
    for s in range(states):
        full[s, :, states + s] = 1 - discount
    full[states:, :, 2 * states] = 1.0
    initial = np.concatenate([mdp.initial, np.zeros(states + 1)])
    return full, initial


@given(SEEDS, st.sampled_from([0.0, 0.3, 0.8]))
def test_a_discount_is_a_chance_of_stopping(seed, discount):
    rng = Stream(seed).child("discount").generator()
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    process = Discounted(mdp, discount)
    log_policy = random_policy(process.shape, rng)
    full, initial = stopping(mdp, discount)
    policy = np.concatenate([np.exp(log_policy), np.full((4, 2), 0.5)])
    chain = np.einsum("sa,sat->st", policy, full)
    here, played, stopped = initial.copy(), np.zeros(3), np.zeros(3)
    for _ in range(400):
        played += here[:3]
        stopped += here[3:6]
        here = here @ chain
    stopped += here[3:6]
    visits = process.visits(log_policy)
    assert visits == pytest.approx(played, abs=1e-12)
    assert visits / process.length == pytest.approx(stopped, abs=1e-12)
    assert visits.sum() == pytest.approx(1 / (1 - discount), rel=1e-12)


@given(SEEDS)
def test_no_policy_beats_the_optimum_of_a_discounted_process(seed):
    rng = Stream(seed).child("optimum").generator()
    mdp = random_mdp(rng, states=4, actions=3, successors=2)
    process = Discounted(mdp, 0.9)
    space = SequentialSpace(process, np.ones(1))
    payoff = StepPayoff(rng.normal(size=process.shape), np.zeros(4))
    reference = Policy(random_policy(process.shape, rng))
    temperature = 0.2

    def value(policy):
        visits = process.visits(policy.log_probabilities) / process.length
        paid = float((visits[:, None] * policy.probabilities * payoff.steps).sum())
        return paid - temperature * space.divergence(policy, reference).value

    best = space.prox(payoff, [(reference, temperature)]).strategy
    for _ in range(5):
        other = Policy(random_policy(process.shape, rng))
        loss = value(best) - value(other)
        # The three-point identity: what is lost is the divergence from the optimum.
        assert loss == pytest.approx(temperature * space.divergence(other, best).value, abs=1e-10)


@given(SEEDS)
def test_a_mixture_has_the_mean_visits(seed):
    rng = Stream(seed).child("mixture").generator()
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    layered = (TokenTree(3, 3), FiniteHorizon(mdp, 3), Histories(mdp, 2))
    for process in (*layered, Discounted(mdp, 0.7)):
        space = SequentialSpace(process, np.ones(1))
        p, q = (Policy(random_policy(process.shape, rng)) for _ in range(2))
        mixed = space.mixture([(p, 3.0), (q, 1.0)])

        def pairs(policy, process=process):
            visits = process.visits(policy.log_probabilities)
            return visits[..., None] * policy.probabilities

        assert pairs(mixed) == pytest.approx(0.75 * pairs(p) + 0.25 * pairs(q), abs=1e-12)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda m: TokenTree(0, 3), "vocabulary is 0"),
        (lambda m: TokenTree(50, 20), "more than 10,000,000"),
        (lambda m: TokenTree(3, 3, contexts=0), "contexts is 0"),
        (lambda m: FiniteHorizon(m, 0), "the horizon is 0"),
        (lambda m: FiniteHorizon(m, None), "the horizon is None"),
        (lambda m: FiniteHorizon(m, float("inf")), "the horizon is inf"),
        (lambda m: Histories(m, 30), "more than 10,000,000"),
        (lambda m: Discounted(m, 1.0), "the discount is 1.0"),
        (lambda m: Discounted(m, -0.1), "the discount is -0.1"),
        (lambda m: Discounted(m, float("nan")), "the discount is nan"),
    ],
)
def test_what_is_no_process_is_refused(make, said):
    mdp = random_mdp(Stream(0).child("bad").generator(), states=3, actions=2, successors=2)
    with pytest.raises(InvalidProblem, match=said.replace("(", r"\(")):
        make(mdp)


def test_control_a_policy_of_the_wrong_step_is_another_policy():
    rng = Stream(1).child("control").generator()
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    process = FiniteHorizon(mdp, 3)
    log_policy = random_policy(process.shape, rng)
    turned = process.visits(log_policy[::-1])
    assert np.abs(process.visits(log_policy) - turned).max() > 1e-3


def test_an_mdp_is_pickled_and_stays_read_only():
    import pickle

    mdp = random_mdp(Stream(2).child("pickle").generator(), states=4, actions=2, successors=2)
    again = pickle.loads(pickle.dumps(mdp))
    assert (again.transitions != mdp.transitions).nnz == 0
    assert isinstance(again, MDP)
