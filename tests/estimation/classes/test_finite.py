import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.errors import HypothesisViolated, InvalidData, InvalidProblem
from nlhf.estimation.classes import FiniteClass, Link
from tests.estimation.classes.compared import chances_in_two_steps, renamed, told, turned

links = st.sampled_from(list(Link))


def tables(rng, models=5, shape=(2, 3), size=0.45):
    table = rng.uniform(-size, size, size=(models, shape[0], shape[1], shape[1]))
    return np.triu(table, 1) - np.triu(table, 1).swapaxes(-1, -2)


def votes(rng, shape=(2, 3), rows=12):
    found = []
    for _ in range(rows):
        count = int(rng.integers(1, 6))
        cell = (rng.integers(shape[0]), rng.integers(shape[1]), rng.integers(shape[1]))
        found.append((*cell, count, rng.integers(0, 2 * count + 1) / 2))
    return told(shape, found)


@settings(max_examples=8)
@given(st.integers(0, 10**6), links)
def test_the_likelihood_is_that_of_votes_one_by_one(seed, link):
    rng = np.random.default_rng(seed)
    some, data = FiniteClass(tables(rng), link), votes(rng)
    for k, found in enumerate(some.log_likelihoods(data)):
        total = 0.0
        rows = zip(data.pairs.stage[:, 0], data.pairs.first[:, 0], data.pairs.second[:, 0],
                   data.counts, data.wins, strict=True)  # fmt: skip
        for stage, a, b, count, wins in rows:
            t = some.tables[k, stage, a, b]
            p = 0.5 + t if link is Link.PROBABILITY else 1 / (1 + math.exp(-t))
            total += wins * math.log(p) + (count - wins) * math.log(1 - p)
        assert found == pytest.approx(total, rel=1e-12)


@settings(max_examples=8)
@given(st.integers(0, 10**6), links)
def test_the_version_space_is_as_it_is_defined(seed, link):
    rng = np.random.default_rng(seed)
    some, data = FiniteClass(tables(rng), link), votes(rng)
    found = some.confidence(data, 0.3)
    best = int(np.argmax(some.log_likelihoods(data)))
    np.testing.assert_array_equal(found.model.table, some.tables[best])
    errors = data.pairs.payoffs(some.tables) - data.pairs.payoffs(found.model.table)
    apart = np.array([sum(data.counts * error**2) for error in errors])
    factor = 2 if link is Link.PROBABILITY else 8 * (2 + 2 * math.cosh(np.abs(some.tables).max()))
    assert found.radius == pytest.approx(factor * math.log(5 / 0.3), rel=1e-12)
    np.testing.assert_array_equal(found.members, np.flatnonzero(apart <= found.radius))
    width = np.abs(some.tables[found.members] - found.model.table).max(axis=0)
    np.testing.assert_array_equal(found.width, width)
    for array in (found.members, found.in_sample, found.width):
        assert not array.flags.writeable


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.floats(0.01, 10))
def test_widths_are_at_most_the_uncertainty_of_the_class_scaled(seed, ridge):
    rng = np.random.default_rng(seed)
    some, data = FiniteClass(tables(rng)), votes(rng)
    found = some.confidence(data, 0.1)
    gamma = some.uncertainty(data, found.model, ridge)
    assert (found.width <= math.sqrt(ridge + found.radius) * gamma + 1e-12).all()


@settings(max_examples=8)
@given(st.integers(0, 10**6), links)
def test_renaming_outcomes_and_turning_pairs_round_change_nothing(seed, link):
    rng = np.random.default_rng(seed)
    payoffs, data, order = tables(rng), votes(rng), rng.permutation(3)
    back = np.argsort(order)
    found = FiniteClass(payoffs, link).confidence(data, 0.2)
    again = FiniteClass(payoffs, link).confidence(turned(data), 0.2)
    other = FiniteClass(payoffs[..., back, :][..., back], link)
    permuted = other.confidence(renamed(data, order), 0.2)
    np.testing.assert_allclose(again.width, found.width, atol=1e-12)
    np.testing.assert_allclose(permuted.width[:, order][:, :, order], found.width, atol=1e-12)


@pytest.mark.parametrize("link", list(Link))
def test_the_event_has_its_probability_under_a_design_that_looks_at_answers(link):
    rng = np.random.default_rng(3)
    some = FiniteClass(tables(rng, models=40, shape=(1, 3), size=0.4), link)
    truth, delta = some.tables[0], 0.5

    def excluded(data):
        found = some.confidence(data, delta)
        return [found.in_sample[0] > scale * found.radius for scale in (1.0, 0.001)]

    preference = link.probability(truth)
    design = ((0, 0, 1), [(0, 1, 2), (0, 0, 2)], 8)
    chance, control = chances_in_two_steps(preference, *design, excluded)
    assert chance <= delta < control


def test_contradictory_answers_refute_models_that_are_certain():
    sure = np.zeros((2, 1, 2, 2))
    sure[0, 0, 0, 1], sure[1, 0, 0, 1] = 0.5, -0.5
    some = FiniteClass(sure - sure.swapaxes(-1, -2))
    agreeing = told((1, 2), [(0, 0, 1, 1, 1), (0, 1, 0, 1, 0)])
    assert some.fit(agreeing).parameters == 0
    contradictory = agreeing.joined(told((1, 2), [(0, 0, 1, 1, 0)]))
    with pytest.raises(InvalidData, match="gives the data probability 0"):
        some.fit(contradictory)


@pytest.mark.parametrize("won", [0, 3])
def test_the_pair_that_refutes_a_certain_model_is_named(won):
    table = np.zeros((1, 1, 3, 3))
    table[0, 0, 0, 2] = 0.5 if won == 0 else -0.5
    only = FiniteClass(table - table.swapaxes(-1, -2))
    data = told((1, 3), [(0, 0, 1, 3, 1), (0, 0, 2, 3, won), (0, 1, 2, 3, 2)])
    with pytest.raises(InvalidData, match=f"pair 1, which the first won {won} of 3 times"):
        only.fit(data)


def test_the_shape_that_is_asked_for_has_an_axis_of_models():
    with pytest.raises(InvalidProblem, match=r"\(model, stage, outcome, outcome\)"):
        FiniteClass(np.zeros((1, 2, 2, 3)))


def test_preferences_become_payoffs_of_either_link():
    p = np.array([[[[0.5, 0.8], [0.2, 0.5]]]])
    odds = FiniteClass.of_preferences(p, Link.LOG_ODDS)
    np.testing.assert_allclose(odds.tables[0, 0, 0, 1], math.log(4), rtol=1e-12)
    np.testing.assert_allclose(FiniteClass.of_preferences(p).tables[0, 0, 0, 1], 0.3)
    for link in Link:
        with pytest.raises(InvalidProblem):
            FiniteClass.of_preferences(np.full((1, 1, 2, 2), 0.9), link)
        with pytest.raises(InvalidProblem):
            FiniteClass.of_preferences([[[[0.5, 1.2], [-0.2, 0.5]]]], link)
    with pytest.raises(InvalidProblem, match="inf"):
        FiniteClass.of_preferences([[[[0.5, 1.0], [0.0, 0.5]]]], Link.LOG_ODDS)


def test_hopelessly_flat_log_odds_have_an_infinite_radius_and_exclude_nothing():
    far = np.array([[[[0.0, 800.0], [-800.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    found = FiniteClass(far, Link.LOG_ODDS).confidence(told((1, 2), [(0, 0, 1, 9, 9)]), 0.1)
    assert found.radius == math.inf
    assert len(found.members) == 2


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, 2.0, math.nan, True, "0.1"])
def test_a_delta_that_is_no_probability_is_refused(delta):
    some = FiniteClass(np.zeros((1, 1, 2, 2)))
    with pytest.raises((HypothesisViolated, TypeError), match=r"delta|type"):
        some.confidence(told((1, 2), []), delta)


def test_wrong_arguments_are_refused():
    some = FiniteClass(np.zeros((1, 1, 2, 2)))
    with pytest.raises(InvalidData, match=r"\(2, 2\), the class has \(1, 2\)"):
        some.fit(told((2, 2), []))
    with pytest.raises(HypothesisViolated, match="ridge"):
        some.uncertainty(told((1, 2), []), some.fit(told((1, 2), [])), 0.0)
    with pytest.raises(InvalidProblem, match=r"T\[0, 0, 1\] \+ T\[0, 1, 0\]"):
        FiniteClass([[[[0.0, 0.2], [0.2, 0.0]]]])
    with pytest.raises(InvalidProblem, match="at most 1/2"):
        FiniteClass([[[[0.0, 0.7], [-0.7, 0.0]]]])


def test_payoffs_that_are_skew_up_to_rounding_are_made_so():
    """A diagonal of 1e-10 would let policies gain against themselves."""
    table = tables(np.random.default_rng(4), models=1)
    off = table + 1e-10 * np.eye(3)
    found = FiniteClass(off).tables
    np.testing.assert_array_equal(found, -found.swapaxes(-1, -2))
    np.testing.assert_allclose(found, table, atol=1e-15)
    np.testing.assert_array_equal(FiniteClass(table).tables, table)


def test_a_link_that_does_not_exist_is_refused():
    with pytest.raises((InvalidProblem, TypeError), match="link"):
        FiniteClass(np.zeros((1, 1, 2, 2)), "cloglog")
