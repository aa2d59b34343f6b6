import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.data.counts import WinCounts
from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import Degenerate, HypothesisViolated, InvalidData, InvalidProblem
from nlhf.estimation import fit_bradley_terry
from nlhf.estimation.classes import BradleyTerryClass, LinearClass, Link, difference_features
from tests.estimation.classes.compared import (
    chances_in_two_steps,
    drawn,
    failures,
    renamed,
    told,
    turned,
)

seeds = st.integers(0, 10**6)


def rewarded(rng, shape=(2, 4), bound=3.0):
    r = rng.uniform(-bound / 2, bound / 2, size=shape)
    return r[:, :, None] - r[:, None]


def votes(seed, count=60, shape=(2, 4), bound=3.0):
    rng = np.random.default_rng(seed)
    table = rewarded(rng, shape, bound)
    return table, drawn(rng, Link.LOG_ODDS.probability(table), count)


def of_stage(data, stage, outcomes):
    """The votes of one stage as the counts that `fit_bradley_terry` reads."""
    wins = np.zeros((outcomes, outcomes), dtype=np.int64)
    for at, a, b, count, won in zip(
        data.pairs.stage[:, 0], data.pairs.first[:, 0], data.pairs.second[:, 0],
        data.counts, data.wins, strict=True,
    ):  # fmt: skip
        if at == stage and a != b:
            wins[a, b] += int(won)
            wins[b, a] += int(count - won)
    return WinCounts("p", tuple("abcdefg"[:outcomes]), wins, np.zeros_like(wins))


@settings(max_examples=3)
@given(seeds)
def test_where_the_bound_does_not_bind_the_fit_is_bradley_terry_of_every_prompt(seed):
    _, data = votes(seed, count=400)
    found = BradleyTerryClass((2, 4), 20.0).fit(data)
    for stage in range(2):
        other = fit_bradley_terry(of_stage(data, stage, 4))
        np.testing.assert_allclose(found.parameters[stage], other.rewards, atol=1e-6)
    np.testing.assert_array_equal(found.table, -found.table.swapaxes(1, 2))


@settings(max_examples=3)
@given(seeds, st.sampled_from([0.1, 1.0, 8.0]))
def test_no_other_rewards_within_the_bound_are_more_likely(seed, bound):
    _, data = votes(seed, count=15)
    some = BradleyTerryClass((2, 4), bound)
    found = some.fit(data)
    assert np.abs(found.table).max() <= bound * (1 + 1e-12)
    rng = np.random.default_rng(seed)
    for scale in (1e-4, 1e-2, 1.0):
        r = found.parameters + scale * rng.normal(size=(2, 4))
        r -= (r.max(axis=1, keepdims=True) + r.min(axis=1, keepdims=True)) / 2
        r = np.clip(r, -bound / 2, bound / 2)
        payoffs = data.pairs.payoffs(r[:, :, None] - r[:, None])
        other = Link.LOG_ODDS.log_likelihood(payoffs, data.counts, data.wins)
        assert other <= found.log_likelihood + 1e-6


def test_it_is_the_linear_class_of_indicator_features_where_neither_bound_binds():
    _, data = votes(5, count=300)
    unit = np.eye(8).reshape(2, 4, 8)
    linear = LinearClass(difference_features(unit), 50.0, Link.LOG_ODDS).fit(data)
    found = BradleyTerryClass((2, 4), 30.0).fit(data)
    np.testing.assert_allclose(found.table, linear.table, atol=1e-5)
    assert found.log_likelihood == pytest.approx(linear.log_likelihood, abs=1e-6)


def test_of_trajectories_the_mean_difference_is_the_log_odds():
    rng = np.random.default_rng(2)
    table = rewarded(rng, (3, 4), 6.0)
    stage = np.broadcast_to(np.arange(3), (4000, 3))
    first, second = rng.integers(4, size=(2, 4000, 3))
    pairs = Pairs((3, 4), stage, first, second)
    p = Link.LOG_ODDS.probability(pairs.payoffs(table))
    data = PreferenceData.of_labels(pairs, (rng.random(4000) < p).astype(float))
    some = BradleyTerryClass((3, 4), 6.0)
    found = some.confidence(data, 1e-9)
    assert (np.abs(found.model.table - table) <= found.width + 1e-12).all()
    assert (found.width < 6.0).all()
    design = np.zeros((4000, 12))
    for h in range(3):
        np.add.at(design, (np.arange(4000), 4 * h + first[:, h]), 1 / 3)
        np.add.at(design, (np.arange(4000), 4 * h + second[:, h]), -1 / 3)
    payoffs = design @ found.model.parameters.ravel()
    np.testing.assert_allclose(payoffs, pairs.payoffs(found.model.table), atol=1e-12)
    score = (data.wins - Link.LOG_ODDS.probability(payoffs)) @ design
    inside = np.ptp(found.model.parameters, axis=1) < 6.0 - 1e-6
    np.testing.assert_allclose(score.reshape(3, 4)[inside], 0.0, atol=1e-4)


def test_the_event_has_its_probability_under_a_design_that_looks_at_answers():
    r = np.array([[1.0, 0.2, -0.9]])
    truth = r[:, :, None] - r[:, None]
    some, delta = BradleyTerryClass((1, 3), 3.0), 0.5
    design = ((0, 0, 1), [(0, 1, 2), (0, 0, 2)], 3)
    chance, control = chances_in_two_steps(
        Link.LOG_ODDS.probability(truth), *design, failures(some, truth, delta, 0.2)
    )
    assert chance <= delta < control


@settings(max_examples=3)
@given(seeds)
def test_what_is_said_of_the_truth_holds_where_it_is_likely_by_a_wide_margin(seed):
    """With δ = 1e-9 a single failure in all tests ever run is a fault."""
    truth, data = votes(seed, count=300)
    found = BradleyTerryClass((2, 4), 3.0).confidence(data, 1e-9)
    error = data.pairs.payoffs(truth - found.model.table)
    assert error**2 @ data.counts <= found.radius
    assert (np.abs(truth - found.model.table) <= found.width + 1e-12).all()
    assert found.width.max() <= 3.0 + np.abs(found.model.table).max()


@settings(max_examples=3)
@given(seeds)
def test_renaming_outcomes_and_turning_pairs_round_change_nothing(seed):
    _, data = votes(seed)
    some, order = BradleyTerryClass((2, 4), 3.0), np.random.default_rng(seed).permutation(4)
    found = some.confidence(data, 0.1)
    again, permuted = some.confidence(turned(data), 0.1), some.confidence(renamed(data, order), 0.1)
    np.testing.assert_allclose(again.model.table, found.model.table, atol=1e-5)
    np.testing.assert_allclose(again.width, found.width, rtol=1e-4)
    np.testing.assert_allclose(permuted.width[:, order][:, :, order], found.width, rtol=1e-4)
    np.testing.assert_array_equal(found.width, found.width.swapaxes(1, 2))
    np.testing.assert_array_equal(np.diagonal(found.width, axis1=1, axis2=2), 0.0)


def test_stages_without_data_are_named_and_have_the_full_range():
    _, data = votes(0, shape=(1, 3), count=200)
    pairs = Pairs((3, 3), data.pairs.stage + 1, data.pairs.first, data.pairs.second)
    some = BradleyTerryClass((3, 3), 2.0)
    with pytest.warns(Degenerate, match="2 of 3 stages: 0, 2;"):
        found = some.confidence(PreferenceData(pairs, data.counts, data.wins), 0.05)
    for stage in (0, 2):
        np.testing.assert_array_equal(found.width[stage], 2.0 * (1 - np.eye(3)))
    assert found.width[1].max() < 2.0
    with pytest.warns(Degenerate):
        assert some.fit(PreferenceData.empty((3, 3))).log_likelihood == 0.0


def test_contradictory_and_unanimous_answers_have_a_fit():
    some = BradleyTerryClass((1, 2), 3.0)
    both = told((1, 2), [(0, 0, 1, 1, 1), (0, 0, 1, 1, 0), (0, 1, 0, 2, 1)])
    np.testing.assert_allclose(some.fit(both).table, 0.0, atol=1e-9)
    sure = some.fit(told((1, 2), [(0, 0, 1, 50, 50)]))
    assert sure.table[0, 0, 1] == pytest.approx(3.0, abs=1e-9)


def test_wrong_arguments_are_refused():
    for bound in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InvalidProblem, match="bound"):
            BradleyTerryClass((1, 2), bound)
    some = BradleyTerryClass((1, 2), 1.0)
    with pytest.raises(InvalidData, match="the class has"):
        some.fit(told((2, 2), []))
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(HypothesisViolated, match="delta"):
            some.confidence(told((1, 2), [(0, 0, 1, 1, 1)]), delta)
