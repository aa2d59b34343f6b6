import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import HypothesisViolated, InvalidData, InvalidProblem, SolverFailed
from nlhf.estimation.classes import LinearClass, Link, difference_features, wedge_features
from nlhf.estimation.classes import rows as fitting
from tests.estimation.classes.compared import (
    chances_in_two_steps,
    drawn,
    failures,
    renamed,
    told,
    turned,
)

LINKS = list(Link)
seeds = st.integers(0, 10**6)


def features(rng, link, shape=(2, 4), size=3, bound=2.0):
    phi = difference_features(rng.normal(size=(*shape, size)))
    longest = np.linalg.norm(phi, axis=-1).max()
    return phi * ((0.49 if link is Link.PROBABILITY else 2.0) / bound / longest)


def instance(seed, link, count=80, bound=2.0):
    rng = np.random.default_rng(seed)
    some = LinearClass(features(rng, link, bound=bound), bound, link)
    theta = rng.normal(size=3)
    theta *= bound * rng.random() / np.linalg.norm(theta)
    table = some.features @ theta
    return some, table, drawn(rng, link.probability(table), count)


def trajectories(rng, table, link, count=60, cells=3):
    stage, first, second = (
        rng.integers(n, size=(count, cells)) for n in (len(table), *table.shape[1:])
    )
    pairs = Pairs(table.shape[:2], stage, first, second)
    labels = rng.random(count) < link.probability(pairs.payoffs(table))
    return PreferenceData.of_labels(pairs, labels.astype(float))


def likelihood(some, data, theta):
    payoffs = data.pairs.payoffs(some.features @ theta)
    return float(some.link.log_likelihood(payoffs, data.counts, data.wins))


@settings(max_examples=5)
@given(seeds, st.sampled_from(LINKS), st.booleans())
def test_no_other_parameters_in_the_ball_are_more_likely(seed, link, long):
    some, table, data = instance(seed, link, count=30)
    rng = np.random.default_rng(seed)
    if long:
        data = trajectories(rng, table, link)
    found = some.fit(data)
    theta = found.parameters
    assert np.linalg.norm(theta) <= some.bound * (1 + 1e-12)
    assert found.log_likelihood == pytest.approx(likelihood(some, data, theta), rel=1e-10)
    for scale in (1e-4, 1e-2, 1.0):
        other = theta + scale * rng.normal(size=3)
        other *= min(1.0, some.bound / np.linalg.norm(other))
        assert likelihood(some, data, other) <= found.log_likelihood + 1e-6


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("bound", [0.5, 20.0])
def test_the_fit_is_that_of_another_solver(link, bound):
    some, _, data = instance(7, link, bound=bound)
    found = some.fit(data)
    other = minimize(
        lambda theta: -likelihood(some, data, theta),
        np.zeros(3),
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda theta: bound**2 - theta @ theta},
        options={"ftol": 1e-13, "maxiter": 500},
    )
    assert found.log_likelihood == pytest.approx(-other.fun, abs=1e-6)
    np.testing.assert_allclose(found.table, some.features @ other.x, atol=1e-3)


@pytest.mark.parametrize(
    ("link", "bound", "votes"),
    [
        (Link.PROBABILITY, 1e-3, (1e6, 7e5)),  # the ball binds, and steeply
        (Link.LOG_ODDS, 30.0, (1e6, 7e5)),  # all but singular
        (Link.LOG_ODDS, 1.0, (1e7, 9e6)),
        (Link.LOG_ODDS, 1e3, (1.0, 1.0)),  # the maximum is at infinity
    ],
)
def test_thousands_of_votes_on_one_pair_and_one_elsewhere_have_a_fit(link, bound, votes):
    phi = difference_features(np.eye(3)[None])
    some = LinearClass(phi, bound, link)
    both = told((1, 3), [(0, 0, 1, *votes), (0, 1, 2, 1, 1)])
    for data in (both, told((1, 3), [(0, 0, 1, *votes)])):
        found = some.confidence(data, 0.05)
        assert np.linalg.norm(found.model.parameters) <= bound * (1 + 1e-12)
        reach = bound * 2**0.5
        frequency = votes[1] / votes[0]
        if frequency < 1.0:
            payoff = math.log(frequency / (1 - frequency))
            payoff = frequency - 0.5 if link is Link.PROBABILITY else payoff
            assert found.model.table[0, 0, 1] == pytest.approx(min(payoff, reach), rel=0.05)
        assert (found.width <= 2 * reach).all()
        assert np.isfinite(found.radius)


def test_a_fit_that_the_kuhn_tucker_conditions_do_not_prove_is_refused(monkeypatch):
    some, _, data = instance(0, Link.LOG_ODDS)
    monkeypatch.setattr(fitting, "_penalised", lambda rows, multiplier, start: start + 0.01)
    with pytest.raises(SolverFailed, match="more likely than the fit"):
        some.fit(data)


@pytest.mark.parametrize("link", LINKS)
def test_the_event_has_its_probability_under_a_design_that_looks_at_answers(link):
    rng = np.random.default_rng(1)
    some = LinearClass(features(rng, link, shape=(1, 3), size=2), 2.0, link)
    truth, delta = some.features @ np.array([1.2, -0.9]), 0.5

    design = ((0, 0, 1), [(0, 1, 2), (0, 0, 2)], 3)
    preference = link.probability(truth)
    chance, control = chances_in_two_steps(preference, *design, failures(some, truth, delta, 0.2))
    assert chance <= delta < control


@settings(max_examples=3)
@given(seeds, st.sampled_from(LINKS))
def test_what_is_said_of_the_truth_holds_where_it_is_likely_by_a_wide_margin(seed, link):
    """With δ = 1e-9 a single failure in all tests ever run is a fault."""
    some, table, data = instance(seed, link, count=200)
    for told_of in (data, trajectories(np.random.default_rng(seed), table, link)):
        found = some.confidence(told_of, 1e-9)
        error = told_of.pairs.payoffs(table) - told_of.pairs.payoffs(found.model.table)
        assert error**2 @ told_of.counts <= found.radius
        assert (np.abs(table - found.model.table) <= found.width + 1e-12).all()


@pytest.mark.parametrize("link", LINKS)
def test_ever_more_votes_narrow_every_width_to_nothing(link):
    rng = np.random.default_rng(0)
    some = LinearClass(features(rng, link), 2.0, link)
    preference = link.probability(some.features @ np.array([0.5, 0.5, -0.5]))
    widths = []
    for count in (1e2, 1e4, 1e6):
        cells = [(at, a, b) for at in range(2) for a in range(4) for b in range(a)]
        rows = [(*cell, count, count * preference[cell]) for cell in cells]
        found = some.confidence(told((2, 4), rows), 0.05)
        widths.append(found.width.max())
        # Where frequencies are the truth, so is the fit.
        np.testing.assert_allclose(link.probability(found.model.table), preference, atol=1e-5)
    assert widths[0] > 3 * widths[1] > 9 * widths[2]


@pytest.mark.parametrize("link", LINKS)
def test_without_data_the_width_is_what_the_class_allows(link):
    some, _, _ = instance(0, link)
    found = some.confidence(PreferenceData.empty((2, 4)), 0.05)
    np.testing.assert_array_equal(found.model.table, 0.0)
    np.testing.assert_allclose(found.width, 2.0 * np.linalg.norm(some.features, axis=-1))
    assert found.radius == pytest.approx(0.0, abs=10.0)


@settings(max_examples=3)
@given(seeds, st.sampled_from(LINKS))
def test_renaming_outcomes_and_turning_pairs_round_change_nothing(seed, link):
    some, _, data = instance(seed, link)
    order = np.random.default_rng(seed).permutation(4)
    back = np.argsort(order)
    found = some.confidence(data, 0.1)
    again = some.confidence(turned(data), 0.1)
    np.testing.assert_allclose(again.width, found.width, rtol=1e-4)
    np.testing.assert_allclose(again.model.table, found.model.table, atol=1e-4)
    other = LinearClass(some.features[:, back][:, :, back], some.bound, link)
    permuted = other.confidence(renamed(data, order), 0.1)
    np.testing.assert_allclose(permuted.width[:, order][:, :, order], found.width, rtol=1e-4)
    for array in (found.width, permuted.width):
        np.testing.assert_array_equal(array, array.swapaxes(1, 2))
        np.testing.assert_array_equal(np.diagonal(array, axis1=1, axis2=2), 0.0)


@given(seeds)
def test_wedges_span_the_skew_bilinear_payoffs_of_their_features(seed):
    rng = np.random.default_rng(seed)
    x, skew = rng.normal(size=(2, 5, 3)), rng.normal(size=(3, 3))
    skew = skew - skew.T
    theta = skew[np.triu_indices(3, k=1)]
    payoff = np.einsum("lai,ij,lbj->lab", x, skew, x)
    np.testing.assert_allclose(wedge_features(x) @ theta, payoff, atol=1e-12)
    cycle = np.array([[[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]]])
    turn = wedge_features(cycle)[0, :, :, 0]
    assert turn[0, 1] > 0
    assert turn[1, 2] > 0
    assert turn[2, 0] > 0


def test_wrong_arguments_are_refused():
    phi = np.zeros((1, 2, 2, 1))
    phi[0, 0, 1, 0], phi[0, 1, 0, 0] = 1.0, -1.0
    with pytest.raises(InvalidProblem, match=r"feature 0 of \(0, 0, 1\) is 1, and of .* 1: their"):
        LinearClass(np.abs(phi), 0.1)
    with pytest.raises(InvalidProblem, match=r"payoffs of size 0\.6"):
        LinearClass(phi, 0.6)
    assert LinearClass(phi, 0.6, Link.LOG_ODDS).shape == (1, 2)
    with pytest.raises(InvalidProblem, match="shape"):
        LinearClass(phi[0], 0.1)
    for bound in (0.0, -1.0, math.inf):
        with pytest.raises(InvalidProblem, match="bound"):
            LinearClass(phi, bound)
    with pytest.raises(InvalidProblem, match="nan"):
        LinearClass(phi * math.nan, 0.1)
    some = LinearClass(phi, 0.1)
    with pytest.raises(InvalidData, match="the class has"):
        some.fit(told((1, 3), []))
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(HypothesisViolated, match="delta"):
            some.confidence(told((1, 2), []), delta)
