import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import InvalidData
from tests.estimation.classes.compared import told, turned


def trajectories(seed, count=12, shape=(3, 4), cells=2):
    rng = np.random.default_rng(seed)
    stage, first, second = (
        rng.integers(n, size=(count, cells)) for n in (shape[0], shape[1], shape[1])
    )
    counts = rng.integers(0, 4, size=count).astype(float)
    wins = np.minimum(counts, rng.integers(0, 9, size=count) / 2)
    return PreferenceData(Pairs(shape, stage, first, second), counts, wins)


def skew(seed, shape=(3, 4)):
    table = np.random.default_rng(seed).normal(size=(2, shape[0], shape[1], shape[1]))
    return table - table.swapaxes(-1, -2)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_payoffs_are_means_over_cells_looked_up_one_by_one(seed, cells):
    data, tables = trajectories(seed, cells=cells), skew(seed)
    found = data.pairs.payoffs(tables)
    for i in range(len(data.pairs)):
        cell = zip(data.pairs.stage[i], data.pairs.first[i], data.pairs.second[i], strict=True)
        each = [tables[:, stage, a, b] for stage, a, b in cell]
        np.testing.assert_allclose(found[:, i], np.mean(each, axis=0), atol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_condensing_changes_neither_sums_of_payoffs_nor_of_wins(seed, cells):
    data, tables = trajectories(seed, cells=cells), skew(seed)
    short = data.joined(turned(data)).condensed()
    assert len(short.pairs) <= len(data.pairs)
    assert short.size == 2 * data.size
    net = data.pairs.payoffs(tables) @ (2 * data.wins - data.counts)
    after = short.pairs.payoffs(tables) @ (2 * short.wins - short.counts)
    np.testing.assert_allclose(2 * net, after, atol=1e-9)
    squares = data.pairs.payoffs(tables) ** 2 @ data.counts
    np.testing.assert_allclose(
        2 * squares, short.pairs.payoffs(tables) ** 2 @ short.counts, rtol=1e-9
    )


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_equal_pairs_stand_in_one_row_whichever_way_round(seed):
    short = trajectories(seed, count=40, shape=(1, 2), cells=1).condensed()
    first, second = short.pairs.first[:, 0], short.pairs.second[:, 0]
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == len(short.pairs)
    assert (first <= second).all()


def test_cells_looked_at_are_counted_both_ways():
    data = told((1, 3), [(0, 0, 1, 3, 1), (0, 1, 0, 2, 2), (0, 2, 2, 5, 1)])
    np.testing.assert_array_equal(data.compared(), [[[0, 5, 0], [5, 0, 0], [0, 0, 10]]])


def test_no_data_condense_and_join():
    none = PreferenceData.empty((2, 3))
    some = told((2, 3), [(1, 0, 2, 1, 1)])
    assert none.condensed().size == 0
    assert none.joined(some).size == 1
    np.testing.assert_array_equal(none.compared(), np.zeros((2, 3, 3)))
    assert none.pairs.payoffs(skew(0, (2, 3))).shape == (2, 0)


def test_a_pair_is_named_whose_index_or_wins_are_impossible():
    with pytest.raises(InvalidData, match=r"pair 1, cell 0: second is 3, there are 3"):
        told((2, 3), [(0, 0, 1, 1, 1), (0, 0, 3, 1, 1)])
    with pytest.raises(InvalidData, match=r"pair 0: 2 wins in 1 comparisons"):
        told((2, 3), [(0, 0, 1, 1, 2)])
    with pytest.raises(InvalidData, match=r"pair 0: nan wins"):
        told((2, 3), [(0, 0, 1, 1, np.nan)])
    with pytest.raises(InvalidData, match="join data of one problem"):
        told((2, 3), []).joined(told((3, 2), []))


def test_indices_that_are_none_and_payoffs_of_another_shape_are_refused():
    some = np.zeros((3, 1), dtype=int)
    for wrong in (some[:, 0], some.astype(float)):
        with pytest.raises((InvalidData, TypeError)):
            Pairs((1, 2), wrong, wrong, wrong)
    for shape in ((1, 1, 1, 1), (1, 5, 2, 2), (1, 1, 3, 3)):
        with pytest.raises(InvalidData, match="one problem"):
            Pairs((1, 2), some, some, some).payoffs(np.zeros(shape))
