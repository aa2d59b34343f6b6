import math
from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import Approximate, HypothesisViolated, InvalidData
from nlhf.estimation.classes import (
    BradleyTerryClass,
    FiniteClass,
    LinearClass,
    Link,
    LowRankClass,
    TabularClass,
    difference_features,
    held_out_misfit,
)
from tests.estimation.classes.compared import drawn, told, turned

CYCLE = np.array([[[0.5, 0.8, 0.2], [0.2, 0.5, 0.8], [0.8, 0.2, 0.5]]])


def rewards(*values):
    r = np.array([values])
    return r[:, :, None] - r[:, None]


def halves(rng, preference, count):
    return drawn(rng, preference, count), drawn(rng, preference, count)


def test_the_evidence_is_a_ratio_of_a_beta_predictor_and_the_best_of_the_class():
    training, held_out = told((1, 2), [(0, 0, 1, 7, 2)]), told((1, 2), [(0, 1, 0, 5, 4)])
    some = FiniteClass([[[[0.0, 0.1], [-0.1, 0.0]]], [[[0.0, 0.3], [-0.3, 0.0]]]])
    found = held_out_misfit(some, training, held_out, 0.1)

    def weight(p, wins, losses):
        return p ** (wins - 0.5) * (1 - p) ** (losses - 0.5)

    after = quad(lambda p: weight(p, 2 + 1, 5 + 4), 0, 1)[0]
    before = quad(lambda p: weight(p, 2, 5), 0, 1)[0]
    best = max(p * (1 - p) ** 4 for p in (0.6, 0.8))
    assert found.log_evidence == pytest.approx(math.log(after / before / best), rel=1e-7)
    assert found.p_value == pytest.approx(min(1.0, math.exp(-found.log_evidence)))
    for change in (turned, PreferenceData.condensed):
        other = held_out_misfit(some, change(training), change(held_out), 0.1)
        assert other.log_evidence == pytest.approx(found.log_evidence, rel=1e-12)


@pytest.mark.parametrize("training", [[], [(0, 0, 1, 3, 3), (0, 1, 2, 2, 0)]])
def test_a_class_that_holds_the_truth_is_rejected_no_more_often_than_the_level(training):
    payoffs = rewards(0.4, 0.0, -0.8)
    some, level = FiniteClass(payoffs[None], Link.LOG_ODDS), 0.2
    before, p = told((1, 3), training), Link.LOG_ODDS.probability(payoffs)[0]
    rejected = mean = 0.0
    pairs = [(0, 1), (1, 2), (0, 2)]
    for wins in product(range(4), repeat=3):
        chance = math.prod(binom.pmf(w, 3, p[pair]) for w, pair in zip(wins, pairs, strict=True))
        rows = [(0, *pair, 3, w) for w, pair in zip(wins, pairs, strict=True)]
        found = held_out_misfit(some, before, told((1, 3), rows), level)
        mean += chance * math.exp(found.log_evidence)
        rejected += chance * found.excluded
    assert mean == pytest.approx(1.0, rel=1e-9)
    assert rejected <= level


def test_what_the_fits_of_many_stages_leave_open_counts_for_the_class():
    stages = 40
    data = told((stages, 2), [(at, 0, 1, 5, 2) for at in range(stages)])
    found = held_out_misfit(BradleyTerryClass((stages, 2), 4.0), data, data, 0.05)
    best = stages * (2 * math.log(0.4) + 3 * math.log(0.6))
    assert found.attained == pytest.approx(best + stages * 1e-6, abs=1e-8 * stages)


def test_a_cycle_is_excluded_by_rewards_and_not_by_classes_that_hold_it():
    training, held_out = halves(np.random.default_rng(0), CYCLE, 300)
    unit = difference_features(np.eye(3)[None])
    for narrow in (
        BradleyTerryClass((1, 3), 5.0),
        LinearClass(unit, 5.0, Link.LOG_ODDS),
        FiniteClass(rewards(1.0, 0.0, -1.0)[None], Link.LOG_ODDS),
    ):
        found = held_out_misfit(narrow, training, held_out, 1e-6)
        assert found.excluded
        assert found.attained < found.predicted
    assert not held_out_misfit(TabularClass((1, 3)), training, held_out, 0.5).excluded
    cycle = FiniteClass((CYCLE - 0.5)[None])
    assert not held_out_misfit(cycle, training, held_out, 1e-6).excluded
    with pytest.warns(Approximate, match="not proved"):
        found = held_out_misfit(LowRankClass((1, 3), 2, 3.0, ridge=9.0), training, held_out, 1e-6)
    assert not found.excluded


def test_rewards_are_not_excluded_by_votes_that_follow_rewards():
    table = rewards(0.9, 0.1, -0.3, -1.0)
    both = halves(np.random.default_rng(1), Link.LOG_ODDS.probability(table), 400)
    # A false alarm has a probability of at most 1e-6.
    assert not held_out_misfit(BradleyTerryClass((1, 4), 4.0), *both, 1e-6).excluded


def test_trajectories_whose_preference_does_not_add_up_are_excluded():
    cells = np.array([[0, 1], [0, 1], [0, 1]])
    first, second = np.array([[0, 0], [0, 1], [0, 0]]), np.array([[1, 1], [1, 1], [0, 1]])
    pairs = Pairs((2, 2), cells, first, second)
    # The first two differences are each even, and yet their sum is not.
    data = PreferenceData(pairs, np.full(3, 200.0), np.array([180.0, 100.0, 100.0]))
    found = held_out_misfit(BradleyTerryClass((2, 2), 6.0), data, data, 1e-3)
    assert found.excluded
    fair = PreferenceData(pairs, np.full(3, 200.0), np.array([120.0, 110.0, 110.0]))
    assert not held_out_misfit(BradleyTerryClass((2, 2), 6.0), fair, fair, 1e-3).excluded


def test_answers_that_a_class_calls_impossible_exclude_it():
    sure = FiniteClass([[[[0.0, 0.5], [-0.5, 0.0]]]])
    found = held_out_misfit(sure, told((1, 2), []), told((1, 2), [(0, 0, 1, 2, 1)]), 0.01)
    assert found.log_evidence == math.inf
    assert found.p_value == 0.0
    assert found.excluded


def test_an_outcome_against_itself_says_nothing():
    none, even = told((1, 2), []), told((1, 2), [(0, 1, 1, 9, 9)])
    found = held_out_misfit(TabularClass((1, 2)), none, even, 0.05)
    assert found.log_evidence == pytest.approx(0.0, abs=2e-6)


def test_wrong_arguments_are_refused():
    some, data = TabularClass((1, 2)), told((1, 2), [(0, 0, 1, 1, 1)])
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(HypothesisViolated):
            held_out_misfit(some, data, data, level)
    with pytest.raises(InvalidData, match="the class has"):
        held_out_misfit(some, data, told((2, 2), []), 0.05)
