import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import binom, binomtest

from nlhf.errors import HypothesisViolated
from nlhf.estimation import bootstrap_intervals, wilson_intervals
from tests.estimation.tables import made, tables

levels = st.floats(0.5, 0.999)


@given(st.integers(0, 300), st.integers(0, 300), levels)
def test_wilson_agrees_with_scipy_where_there_are_no_ties(won, lost, confidence):
    if won + lost == 0:
        return
    found = wilson_intervals(made([[0, won], [lost, 0]]), confidence)
    theirs = binomtest(won, won + lost).proportion_ci(confidence, method="wilson")
    assert found.low[0, 1] == pytest.approx(theirs.low, rel=1e-9, abs=1e-12)
    assert found.high[0, 1] == pytest.approx(theirs.high, rel=1e-9, abs=1e-12)


@given(tables(least=2), levels)
def test_the_ends_of_wilsons_interval_solve_its_equation(table, confidence):
    data = made(*table)
    found = wilson_intervals(data, confidence)
    z = ndtri(0.5 + confidence / 2)
    n = data.compared
    seen = n > 0
    share = ((data.wins + data.ties / 2) / np.maximum(n, 1))[seen]
    for end in (found.low[seen], found.high[seen]):
        distance = (share - end) ** 2
        np.testing.assert_allclose(distance, z**2 * end * (1 - end) / n[seen], atol=1e-12)


@given(tables(least=2), levels)
def test_wilson_intervals_hold_the_estimate_mirror_each_other_and_are_vacuous_if_unseen(
    table, confidence
):
    data = made(*table)
    found, n = wilson_intervals(data, confidence), data.compared
    seen = (n > 0) | np.eye(len(n), dtype=bool)
    p = np.full(n.shape, 0.5)
    p[n > 0] = (data.wins + data.ties / 2)[n > 0] / n[n > 0]
    assert (found.low[seen] <= p[seen]).all()
    assert (p[seen] <= found.high[seen]).all()
    np.testing.assert_allclose(found.low + found.high.T, 1.0, atol=1e-15)
    assert (found.low[~seen] == 0).all()
    assert (found.high[~seen] == 1).all()
    assert (found.low.diagonal() == 0.5).all()


@given(tables(least=2))
def test_more_confidence_never_narrows_an_interval(table):
    data = made(*table)
    narrow, wide = wilson_intervals(data, 0.8), wilson_intervals(data, 0.99)
    assert (wide.low <= narrow.low + 1e-15).all()
    assert (wide.high >= narrow.high - 1e-15).all()


@pytest.mark.parametrize(("won", "lost"), [(7, 3), (40, 60), (15, 15)])
def test_without_ties_the_bootstrap_has_the_quantiles_of_the_binomial(won, lost):
    # 200 000 replicates: an empirical tail is within 0.006 of its probability except with a
    # probability of 2 exp(-2 n eps^2) < 1e-6, by the Dvoretzky-Kiefer-Wolfowitz inequality.
    n, slack, confidence = won + lost, 0.006, 0.9
    found = bootstrap_intervals(
        made([[0, won], [lost, 0]]), 7, replicates=200_000, confidence=confidence
    )
    law = binom(n, won / n)
    tail = (1 - confidence) / 2
    assert law.ppf(tail - slack) / n <= found.low[0, 1] <= law.ppf(tail + slack) / n
    assert law.ppf(1 - tail - slack) / n <= found.high[0, 1] <= law.ppf(1 - tail + slack) / n


def test_ties_narrow_the_bootstrap():
    # All mass on 1/2 and none on the ends: no spread at all; half of it: less than without.
    def width(wins, ties):
        found = bootstrap_intervals(made([[0, wins], [wins, 0]], [[0, ties], [ties, 0]]), 3)
        return found.high[0, 1] - found.low[0, 1]

    assert width(0, 40) == 0 < width(10, 20) < width(20, 0)


@given(tables(least=2), st.integers(0, 99))
def test_the_bootstrap_is_reproducible_mirrored_and_vacuous_if_unseen(table, seed):
    data = made(*table)
    first = bootstrap_intervals(data, seed, replicates=50)
    second = bootstrap_intervals(data, np.random.default_rng(seed), replicates=50)
    assert np.array_equal(first.low, second.low)
    assert np.array_equal(first.high, second.high)
    np.testing.assert_allclose(first.low + first.high.T, 1.0, atol=1e-15)
    unseen = (data.compared == 0) & ~np.eye(len(data.responses), dtype=bool)
    assert (first.low[unseen] == 0).all()
    assert (first.high[unseen] == 1).all()
    assert (first.low <= first.high).all()


@pytest.mark.parametrize("confidence", [0.0, 1.0, float("nan")])
def test_confidence_must_be_between_0_and_1(confidence):
    data = made([[0, 1], [1, 0]])
    with pytest.raises(HypothesisViolated, match="confidence"):
        wilson_intervals(data, confidence)
    with pytest.raises(HypothesisViolated, match="confidence"):
        bootstrap_intervals(data, 0, confidence=confidence)


def test_a_bootstrap_needs_replicates():
    with pytest.raises(HypothesisViolated, match="0 replicates"):
        bootstrap_intervals(made([[0, 1], [1, 0]]), 0, replicates=0)
