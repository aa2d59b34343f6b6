import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import Degenerate, HypothesisViolated, InvalidData, InvalidProblem, Unsupported
from nlhf.estimation.classes import BradleyTerryClass, Link, LowRankClass, TabularClass
from tests.estimation.classes.compared import (
    chances_in_two_steps,
    drawn,
    failures,
    renamed,
    told,
    turned,
)

LINKS = list(Link)
BOUND = {Link.PROBABILITY: 0.45, Link.LOG_ODDS: 3.0}
PLANE = np.array([[0.0, 1.0], [-1.0, 0.0]])


def wheel(angles, lengths):
    """Payoffs of points in a plane: areas."""
    points = np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=-1)
    return points @ PLANE @ points.T


def every_pair(preference, count):
    """Each pair compared so often, with its preference as the frequency."""
    stages, outcomes, _ = preference.shape
    cells = [(at, a, b) for at in range(stages) for a in range(outcomes) for b in range(a)]
    rows = [(*cell, count, count * preference[cell]) for cell in cells]
    return told((stages, outcomes), rows)


@pytest.mark.parametrize("link", LINKS)
def test_a_wheel_is_recovered_from_its_preferences_though_no_reward_explains_it(link):
    bound = BOUND[link]
    angles = np.array([0.1, 1.4, 2.2, 3.9, 5.3])
    lengths = np.sqrt(bound) * np.array([0.9, 0.7, 0.95, 0.6, 0.8])
    truth = np.stack([wheel(angles, lengths), wheel(-angles, lengths)])
    data = every_pair(link.probability(truth), 1e6)
    found = LowRankClass((2, 5), 2, bound, link).fit(data)
    np.testing.assert_allclose(found.table, truth, atol=2e-3 * bound)
    np.testing.assert_array_equal(found.table, -found.table.swapaxes(1, 2))
    factors = found.parameters
    np.testing.assert_allclose(factors @ PLANE @ factors.swapaxes(1, 2), found.table, atol=1e-12)
    assert (factors**2).sum(axis=-1).max() <= bound
    payoffs = data.pairs.payoffs(truth)
    best = float(link.log_likelihood(payoffs, data.counts, data.wins))
    assert found.log_likelihood == pytest.approx(best, abs=1e-6 * data.size)
    rewards = BradleyTerryClass((2, 5), 30.0).fit(data)
    assert rewards.log_likelihood < best - 0.01 * data.size


@pytest.mark.parametrize("link", LINKS)
def test_with_many_votes_of_a_table_of_the_rank_the_first_start_is_the_table(link, monkeypatch):
    monkeypatch.setattr("scipy.optimize.minimize", lambda loss, x, **rest: SimpleNamespace(x=x))
    angles = np.array([0.1, 1.4, 2.2, 3.9, 5.3])
    lengths = 0.6 * np.sqrt(BOUND[link]) * np.array([0.9, 0.7, 0.95, 0.6, 0.8])
    truth = wheel(angles, lengths)[None]
    found = LowRankClass((1, 5), 2, BOUND[link], link, starts=0)
    model = found.fit(every_pair(link.probability(truth), 1e9))
    np.testing.assert_allclose(model.table, truth, atol=1e-6)


def test_with_full_rank_the_fit_is_the_frequencies():
    rng = np.random.default_rng(0)
    p = Link.LOG_ODDS.probability(rng.normal(size=(1, 4, 4)))
    p = (p + 1 - p.swapaxes(1, 2)) / 2
    data = every_pair(p, 100.0)
    free = TabularClass((1, 4)).fit(data)
    found = LowRankClass((1, 4), 4, 12.0).fit(data)
    assert found.log_likelihood == pytest.approx(free.log_likelihood, abs=1e-3)
    np.testing.assert_allclose(Link.LOG_ODDS.probability(found.table), p, atol=1e-3)


def test_a_ridge_shortens_the_factors_and_never_gains_likelihood():
    truth = wheel(np.arange(5.0), np.full(5, 1.5))[None]
    data = drawn(np.random.default_rng(0), Link.LOG_ODDS.probability(truth), 200)
    lengths, likelihoods = [], []
    for ridge in (0.0, 1.0, 30.0, 1e5):
        found = LowRankClass((1, 5), 2, 3.0, ridge=ridge).fit(data)
        lengths.append(float((found.parameters**2).sum()))
        likelihoods.append(found.log_likelihood)
    assert lengths[0] > lengths[1] > lengths[2] > lengths[3]
    assert likelihoods[0] >= likelihoods[1] > likelihoods[2] > likelihoods[3]
    assert lengths[3] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("link", LINKS)
def test_the_event_has_its_probability_even_if_the_truth_is_of_higher_rank(link):
    rng = np.random.default_rng(1)
    truth = np.triu(rng.uniform(-0.9, 0.9, size=(1, 4, 4)), 1) * BOUND[link]
    truth = truth - truth.swapaxes(1, 2)
    assert np.linalg.matrix_rank(truth[0]) == 4
    some, delta = LowRankClass((1, 4), 2, BOUND[link], link, starts=0), 0.5
    design = ((0, 0, 1), [(0, 1, 2), (0, 0, 3)], 3)
    chance, control = chances_in_two_steps(
        link.probability(truth), *design, failures(some, truth, delta, 0.05)
    )
    assert chance <= delta < control


@settings(max_examples=3)
@given(st.integers(0, 10**6), st.sampled_from(LINKS))
def test_widths_are_intervals_of_the_tabular_class_seen_from_the_fit(seed, link):
    rng = np.random.default_rng(seed)
    bound = BOUND[link]
    truth = np.stack([wheel(rng.uniform(0, 6, 4), rng.uniform(0, 1, 4) * bound**0.5)] * 2)
    data = drawn(rng, link.probability(truth), 300)
    found = LowRankClass((2, 4), 2, bound, link, starts=1).confidence(data, 1e-9)
    free = TabularClass((2, 4)).confidence(data, 1e-9)
    error = data.pairs.payoffs(truth - found.model.table)
    assert error**2 @ data.counts <= found.radius
    assert (np.abs(truth - found.model.table) <= found.width + 1e-12).all()
    assert (found.width <= bound + np.abs(found.model.table) + 1e-12).all()
    if link is Link.PROBABILITY:
        apart = np.abs(found.model.table - free.model.table)
        assert (found.width <= free.width + apart + 1e-12).all()


@settings(max_examples=2)
@given(st.integers(0, 10**6))
def test_turning_pairs_round_and_renaming_outcomes_leave_what_is_identified(seed):
    rng = np.random.default_rng(seed)
    truth = wheel(rng.uniform(0, 6, 4), np.full(4, 1.0))[None]
    data = drawn(rng, Link.LOG_ODDS.probability(truth), 2000)
    order = rng.permutation(4)
    some = LowRankClass((1, 4), 4, 6.0, starts=0)
    found = some.confidence(data, 0.1)
    again, permuted = some.confidence(turned(data), 0.1), some.confidence(renamed(data, order), 0.1)
    np.testing.assert_allclose(again.width, found.width, rtol=0.02)
    np.testing.assert_allclose(permuted.width[:, order][:, :, order], found.width, rtol=0.02)


def test_outcomes_and_stages_never_compared_have_payoff_0_and_the_full_range():
    data = told((2, 4), [(1, 0, 1, 30, 20), (1, 1, 2, 30, 20)])
    with pytest.warns(Degenerate, match="1 of 2 stages: 0;"):
        found = LowRankClass((2, 4), 2, 2.0).confidence(data, 0.1)
    full = 2.0 * (1 - np.eye(4))
    np.testing.assert_array_equal(found.width[0], full)
    np.testing.assert_array_equal(found.model.table[1, 3], 0.0)
    np.testing.assert_array_equal(found.width[1, 3], full[3])
    assert found.width[1, 0, 1] < 2.0


@pytest.mark.parametrize("bound", [300.0, 400.0, 1e4])
def test_a_bound_that_no_probability_can_tell_from_infinity_has_a_radius(bound):
    data = told((1, 3), [(0, 0, 1, 9, 9), (0, 1, 2, 4, 2)])
    found = LowRankClass((1, 3), 2, bound, starts=0).confidence(data, 0.1)
    assert np.isfinite(found.radius)
    counts = np.array([9.0, 4.0])
    assert (
        found.radius >= counts @ np.array([found.width[0, 0, 1], found.width[0, 1, 2]]) ** 2 - 1e-6
    )


def test_wrong_arguments_are_refused():
    for rank in (0, 1, 3, -2, True):
        with pytest.raises(InvalidProblem, match="even rank"):
            LowRankClass((1, 4), rank, 1.0)
    with pytest.raises(InvalidProblem, match="the bound is 0\\.6"):
        LowRankClass((1, 4), 2, 0.6, Link.PROBABILITY)
    with pytest.raises(InvalidProblem, match="ridge"):
        LowRankClass((1, 4), 2, 1.0, ridge=-1.0)
    with pytest.raises(InvalidProblem, match="random starts"):
        LowRankClass((1, 4), 2, 1.0, starts=-1)
    some = LowRankClass((1, 2), 2, 1.0)
    cells = np.zeros((1, 2), dtype=np.int64)
    with pytest.raises(Unsupported, match="trajectories"):
        some.fit(PreferenceData(Pairs((1, 2), cells, cells, cells + 1), np.ones(1), np.ones(1)))
    with pytest.raises(InvalidData, match="the class has"):
        some.fit(told((1, 3), []))
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(HypothesisViolated, match="delta"):
            some.confidence(told((1, 2), [(0, 0, 1, 1, 1)]), delta)


@pytest.mark.parametrize("link", LINKS)
def test_the_radius_covers_the_tables_that_the_frequencies_allow(link):
    rng = np.random.default_rng(5)
    data = every_pair(np.full((1, 9, 9), 0.5), 4000.0)
    found = LowRankClass((1, 9), 2, BOUND[link], link, starts=0).confidence(data, 0.5)
    allowed = TabularClass((1, 9)).confidence(data, 0.5).radius
    for _ in range(20):
        table = np.triu(rng.choice([-1.0, 1.0], size=(1, 9, 9)), 1)
        table -= table.swapaxes(1, 2)

        def within(scale, table=table):
            p = link.probability(scale * data.pairs.payoffs(table))
            near = (abs(scale * table - found.model.table) <= found.width).all()
            return near and data.counts @ (p - 0.5) ** 2 <= allowed

        low, high = 0.0, 1.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if within(middle) else (low, middle)
        errors = data.pairs.payoffs(low * table) - data.pairs.payoffs(found.model.table)
        assert data.counts @ errors**2 <= found.radius
