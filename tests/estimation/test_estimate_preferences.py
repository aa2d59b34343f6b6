import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nlhf.data import read_votes, win_counts
from nlhf.errors import Degenerate, HypothesisViolated, InvalidData
from nlhf.estimation import Completion, estimate_preferences
from nlhf.estimation.graphs import components
from tests.estimation.tables import made, tables

ROUNDING = 4 * np.finfo(float).eps


def estimated(given_counts, smoothing=0.0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Degenerate)
        return estimate_preferences(given_counts, smoothing)


@given(tables(), st.floats(0, 10))
def test_seen_pairs_are_complementary_and_unseen_ones_are_listed(table, smoothing):
    data = made(*table)
    estimate = estimated(data, smoothing)
    p, n = estimate.preference, len(data.responses)
    unseen = {(i, j) for i in range(n) for j in range(i) if data.compared[i, j] == 0}
    assert {(j, i) for i, j in estimate.unseen} == unseen
    assert np.isnan(p).sum() == 2 * len(unseen)
    np.testing.assert_allclose((p + p.T)[~np.isnan(p)], 1.0, atol=ROUNDING)
    assert (p.diagonal() == 0.5).all()


@given(tables(), st.floats(1e-3, 10))
def test_smoothing_is_votes_added_to_both_sides(table, smoothing):
    data = made(*table)
    plain, smooth = estimated(data), estimated(data, smoothing)
    n = data.compared
    seen = n > 0
    moved = (n * plain.preference + 2 * smoothing * 0.5)[seen] / (n + 2 * smoothing)[seen]
    np.testing.assert_allclose(smooth.preference[seen], moved, rtol=1e-12)


@given(tables(), st.randoms(use_true_random=False))
def test_renaming_responses_permutes_the_estimate(table, random):
    data = made(*table)
    order = list(range(len(data.responses)))
    random.shuffle(order)
    grid = np.ix_(order, order)
    turned = made(data.wins[grid], data.ties[grid])
    assert np.array_equal(
        estimated(turned).preference, estimated(data).preference[grid], equal_nan=True
    )


def test_an_even_pair_is_exactly_one_half_and_no_other_is():
    for total in range(1, 60):
        for won in range(total + 1):
            p = estimated(made([[0, won], [total - won, 0]])).preference[0, 1]
            assert (p == 0.5) == (2 * won == total)
            assert (p > 0.5) == (2 * won > total)


def test_smoothing_never_answers_a_question_that_was_not_asked():
    estimate = estimated(made([[0, 3, 0], [1, 0, 2], [0, 2, 0]]), 5.0)
    assert estimate.unseen == ((0, 2),)
    assert math.isnan(estimate.preference[0, 2])


def test_unseen_pairs_are_filled_only_by_a_named_rule():
    data = made([[0, 3, 0], [1, 0, 2], [0, 2, 0]], names=("x", "y", "z"))
    estimate = estimate_preferences(data)
    half = estimate.complete(Completion.HALF)
    assert half[0, 2] == half[2, 0] == 0.5
    with pytest.raises(InvalidData, match=r"1 of 3 pairs .*'x' and 'z'"):
        estimate.complete(Completion.ERROR)
    # x beats y 3 to 1 and y ties with z in wins: strengths 3, 1, 1 reproduce both pairs exactly.
    # The ridge of 0.01 votes moves that by less than a hundredth.
    model = estimate.complete(Completion.BRADLEY_TERRY)
    np.testing.assert_allclose(model[0, 2], 3 / 4, atol=0.01)
    for filled in (half, model):
        seen = ~np.isnan(estimate.preference)
        assert np.array_equal(filled[seen], estimate.preference[seen])


def test_every_rule_returns_a_complete_estimate_unchanged():
    estimate = estimate_preferences(made([[0, 3], [0, 0]]))
    for rule in Completion:
        assert np.array_equal(estimate.complete(rule), estimate.preference)


def test_completion_by_bradley_terry_exists_where_a_response_only_won():
    model = estimate_preferences(made([[0, 1, 0], [0, 0, 1], [0, 0, 0]])).complete(
        Completion.BRADLEY_TERRY
    )
    assert 0.9 < model[0, 2] < 1
    assert model[0, 2] + model[2, 0] == pytest.approx(1)
    lonely = estimated(made([[0, 3, 0], [3, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(lonely.complete(Completion.BRADLEY_TERRY)[2], 0.5, atol=1e-12)


def test_a_disconnected_graph_is_warned_of_with_its_components():
    data = made([[0, 0, 2], [0, 0, 0], [1, 0, 0]], names=("x", "y", "z" * 100))
    with pytest.warns(Degenerate, match=r"2 components: \{'x', 'zz.*…\}; \{'y'\}"):
        estimate = estimate_preferences(data)
    assert estimate.components == ((0, 2), (1,))


@given(arrays(bool, st.tuples(n := st.shared(st.integers(1, 7)), n)))
def test_components_are_the_classes_of_mutual_reachability(adjacency):
    size = len(adjacency)
    walks = np.linalg.matrix_power(adjacency.astype(object) + np.eye(size, dtype=object), size) > 0
    mutual = walks & walks.T
    classes = {tuple(int(k) for k in np.flatnonzero(row)) for row in mutual}
    found = components(adjacency)
    assert set(found) == classes
    assert list(found) == sorted(found)


@pytest.mark.parametrize("smoothing", [-1.0, math.nan, math.inf])
def test_smoothing_must_be_a_number_of_votes(smoothing):
    with pytest.raises(HypothesisViolated, match="smoothing"):
        estimate_preferences(made([[0, 1], [1, 0]]), smoothing)


def test_a_single_response_needs_no_votes():
    estimate = estimate_preferences(made([[0]]))
    assert estimate.complete(Completion.ERROR).tolist() == [[0.5]]


def test_convarg_estimates_are_complete_and_connected(real_data):
    for data in win_counts(read_votes(real_data / "convarg" / "votes.csv")):
        estimate = estimate_preferences(data)
        assert estimate.unseen == ()
        assert len(estimate.components) == 1
