"""A Markov decision process is checked once and stored in one form."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from nlhf import Stream
from nlhf.errors import InvalidProblem
from nlhf.spaces.mdp import MDP, Unreachable, reachable_states

TWO_ISLANDS = np.zeros((4, 1, 4))
TWO_ISLANDS[[0, 1, 2, 3], 0, [1, 0, 3, 3]] = 1.0


def dense(mdp: MDP) -> np.ndarray:
    return mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states)


def drawn(seed: int, states: int = 5, actions: int = 3) -> np.ndarray:
    rng = Stream(seed).child("mdp").generator()
    return rng.dirichlet(np.full(states, 0.5), size=(states, actions))


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4))
def test_every_layout_of_the_same_numbers_is_the_same_process(seed, states, actions):
    p = drawn(seed, states, actions)
    flat = p.reshape(states * actions, states)
    first = MDP(p, 0, unreachable=Unreachable.KEEP)
    for given_ in (flat, sparse.csr_matrix(flat), sparse.coo_array(flat), sparse.csc_array(flat)):
        again = MDP(given_, np.eye(states)[0], actions=actions, unreachable=Unreachable.KEEP)
        np.testing.assert_array_equal(dense(again), dense(first))
        np.testing.assert_array_equal(again.initial, first.initial)
    assert (first.states, first.actions) == (states, actions)
    np.testing.assert_allclose(dense(first), p, rtol=1e-14)


def test_it_is_stored_canonically_and_cannot_be_changed():
    row, column = np.array([0, 0, 0, 1]), np.array([1, 0, 1, 0])
    given_ = sparse.coo_array(([0.25, 0.5, 0.25, 1.0], (row, column)), shape=(2, 2)).tocsr()
    given_.data[given_.data == 0.0] = 0.0
    mdp = MDP(given_, 0, actions=1)
    assert mdp.transitions.has_canonical_format
    assert mdp.transitions.nnz == 3
    for array in (mdp.transitions.data, mdp.transitions.indices, mdp.initial, mdp.kept):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    given_.data[:] = 7.0
    np.testing.assert_array_equal(mdp.transitions.toarray(), [[0.5, 0.5], [1.0, 0.0]])
    with pytest.raises(AttributeError):
        mdp.actions = 2


def test_stored_zeros_are_no_transitions():
    p = sparse.csr_array(([1.0, 0.0, 1.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    assert p.nnz == 3
    with pytest.raises(InvalidProblem, match="1 of 2 states are unreachable"):
        MDP(p, 0, actions=1)
    assert MDP(p, 0, actions=1, unreachable=Unreachable.KEEP).transitions.nnz == 2


def test_copies_and_pickles_are_the_process_to_the_last_bit():
    mdp = MDP(drawn(1) * (1 + 1e-10), 0)
    for again in (pickle.loads(pickle.dumps(mdp)), copy.deepcopy(mdp)):
        np.testing.assert_array_equal(again.transitions.data, mdp.transitions.data)
        np.testing.assert_array_equal(again.initial, mdp.initial)
        assert not again.transitions.data.flags.writeable


def test_sums_within_the_tolerance_are_made_exact():
    p = drawn(2) * (1 + 5e-10)
    np.testing.assert_allclose(dense(MDP(p, 0)).sum(axis=-1), 1.0, atol=4e-16)


def test_unreachable_states_are_named_kept_or_dropped():
    with pytest.raises(InvalidProblem, match=r"2 of 4 states are unreachable .*: 2, 3") as caught:
        MDP(TWO_ISLANDS, 0)
    assert 'unreachable="drop"' in caught.value.fix
    kept = MDP(TWO_ISLANDS, 0, unreachable=Unreachable.KEEP)
    np.testing.assert_array_equal(dense(kept), TWO_ISLANDS)
    np.testing.assert_array_equal(kept.kept, np.arange(4))
    other = MDP(TWO_ISLANDS, [0.0, 0.0, 0.5, 0.5], unreachable=Unreachable.DROP)
    np.testing.assert_array_equal(other.kept, [2, 3])
    np.testing.assert_array_equal(dense(other), TWO_ISLANDS[2:, :, 2:])
    np.testing.assert_array_equal(other.initial, [0.5, 0.5])


@given(st.integers(0, 10**6))
def test_reachability_is_that_of_matrix_powers(seed):
    rng = Stream(seed).child("reach").generator()
    states, actions = 7, 2
    links = rng.uniform(size=(states, actions, states)) < 0.12
    links[np.arange(states), :, rng.permutation(states)] = True
    p = links / links.sum(axis=-1, keepdims=True)
    start = np.zeros(states)
    start[rng.choice(states, size=2, replace=False)] = 0.5
    step = (p.max(axis=1) > 0) | np.eye(states, dtype=bool)
    expected = (start @ np.linalg.matrix_power(step.astype(float), states)) > 0
    mdp = MDP(p, start, unreachable=Unreachable.KEEP)
    found = reachable_states(mdp.transitions, mdp.initial, actions)
    np.testing.assert_array_equal(found, expected)
    dropped = MDP(p, start, unreachable=Unreachable.DROP)
    np.testing.assert_array_equal(dropped.kept, np.flatnonzero(expected))


def changed(value: float) -> np.ndarray:
    p = drawn(3)
    p[2, 1, 4] = value
    return p


@pytest.mark.parametrize(
    ("transitions", "message"),
    [
        (changed(-0.25), "from state 2 with action 1 to state 4 is -0.25"),
        (changed(np.nan), "from state 2 with action 1 to state 4 is nan"),
        (changed(np.inf), "from state 2 with action 1 to state 4 is inf"),
        (changed(2.0), "1 of 15 rows .* in state 2 with action 1"),
        (0.5 * drawn(3), "15 of 15 rows .* 0.5 in state 0 with action 0"),
        (np.zeros((2, 1, 2)), "2 of 2 rows .* do not sum to 1"),
        (np.swapaxes(drawn(3), 0, 1), r"shape \(3, 5, 5\) are neither"),
        (np.ones((2, 2)), "do not tell the number of actions"),
        (np.ones(3), r"shape \(3,\)"),
        (np.zeros((0, 1, 0)), "are neither"),
        ([drawn(3), [1.0]], "cannot be read as an array"),
        (sparse.csr_array(np.eye(2, dtype=complex)), "type complex128"),
    ],
)
def test_what_is_no_transition_matrix_is_refused_with_its_place(transitions, message):
    with pytest.raises(InvalidProblem, match=message):
        MDP(transitions, 0)


@pytest.mark.parametrize("actions", [0, -1, 2, 3])
def test_a_wrong_number_of_actions_is_refused(actions):
    with pytest.raises(InvalidProblem, match=f"with actions={actions}"):
        MDP(np.eye(5), 0, actions=actions)


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        (5, "initial state is 5, with 5 states"),
        (-1, "initial state is -1"),
        ([0.5, 0.5], r"shape \(2,\), with 5 states"),
        ([0.5, 0.5, 0.5, 0, 0], "sums to 1.5, not 1"),
        ([1.5, -0.5, 0, 0, 0], "state 1 is -0.5"),
        ([np.nan, 1, 0, 0, 0], "state 0 is nan"),
        (0.5, "shape"),
        ("first", "cannot be read"),
    ],
)
def test_what_is_no_initial_distribution_is_refused(initial, message):
    with pytest.raises(InvalidProblem, match=message):
        MDP(drawn(3), initial)


@pytest.mark.parametrize("choice", list(Unreachable))
def test_what_becomes_of_unreachable_states_can_be_written_as_a_string(choice):
    if choice is Unreachable.ERROR:
        with pytest.raises(InvalidProblem, match="2 of 4 states are unreachable"):
            MDP(TWO_ISLANDS, 0, unreachable="error")
        return
    typed = MDP(TWO_ISLANDS, 0, unreachable=str(choice))
    np.testing.assert_array_equal(dense(typed), dense(MDP(TWO_ISLANDS, 0, unreachable=choice)))
    assert typed.states == (4 if choice is Unreachable.KEEP else 2)


@pytest.mark.parametrize("junk", ["junk", "", "KEEP", "state"])
def test_an_unknown_fate_of_unreachable_states_is_refused_by_name(junk):
    with pytest.raises(InvalidProblem, match="'error', 'keep', 'drop'"):
        MDP(TWO_ISLANDS, 0, unreachable=junk)


def test_rows_in_single_precision_are_told_to_be_divided_by_their_sums():
    p = drawn(3).astype(np.float32)
    with pytest.raises(InvalidProblem, match="divide every row by its sum"):
        MDP(p, 0)
    p = p.astype(np.float64)
    assert MDP(p / p.sum(axis=-1, keepdims=True), 0).states == len(p)


def test_rows_that_are_far_from_distributions_are_not_told_to_be_divided():
    with pytest.raises(InvalidProblem, match="let states in which the process ends") as caught:
        MDP(np.zeros((2, 1, 2)), 0)
    assert "divide" not in str(caught.value)


def test_the_sum_of_an_initial_distribution_is_named_as_it_is():
    with pytest.raises(InvalidProblem, match="sums to 2, not 1"):
        MDP(TWO_ISLANDS, [1.0, 0.0, 1.0, 0.0])
