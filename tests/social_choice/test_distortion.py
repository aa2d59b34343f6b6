"""Distortion and welfare against definitions, limits and published numbers."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.errors import InvalidProblem
from nlhf.social_choice.distortion import (
    average_utility,
    distortion,
    nash_distortion_bound,
    preference_of_utilities,
    worst_family,
)
from nlhf.social_choice.pairwise import maximal_lottery
from nlhf.social_choice.welfare import leximin, nash_welfare, utilitarian

UTILITIES = (
    st.integers(1, 3)
    .flatmap(
        lambda groups: st.integers(1, 4).flatmap(
            lambda n: st.lists(
                st.lists(st.integers(0, 20), min_size=n, max_size=n),
                min_size=groups,
                max_size=groups,
            )
        )
    )
    .map(lambda rows: np.array(rows) / 20)
)


@given(UTILITIES, st.sampled_from([0.3, 1.0, 5.0, 20.0]))
@settings(max_examples=60)
def test_votes_are_averages_of_logistic_ones_and_maximal_lotteries_obey_the_bound(u, beta):
    p = preference_of_utilities(u, beta)
    n = u.shape[1]
    for x in range(n):
        for y in range(n):
            chance = [1 / (1 + mp.exp(-beta * (row[x] - row[y]))) for row in u]
            assert p[x, y] == pytest.approx(float(sum(chance) / len(u)), abs=1e-15)
    lottery = maximal_lottery(p).probabilities
    assert distortion(lottery, u) <= nash_distortion_bound(beta) * (1 + 1e-8)


@pytest.mark.parametrize(("beta", "bound"), [(1, 1.082), (3, 1.657), (10, 5.00), (30, 15.0)])
def test_the_bound_is_the_published_one_and_the_family_comes_near_it(beta, bound):
    assert nash_distortion_bound(beta) == pytest.approx(bound, abs=1e-3)
    assert nash_distortion_bound(beta) == pytest.approx(float(mp.coth(beta / 2) * beta / 2))
    reached = []
    for low in (0.1, 0.03, 0.01):
        utilities, proportions = worst_family(beta, low, slack=1e-4)
        lottery = maximal_lottery(preference_of_utilities(utilities, beta, proportions))
        assert np.allclose(lottery.probabilities, [0, 1])
        reached.append(distortion(lottery.probabilities, utilities, proportions))
        closed = (1 - 1e-4) * mp.tanh(beta * low / 2) / (low * mp.tanh(beta / 2))
        assert reached[-1] == pytest.approx(float(closed), rel=1e-12)
    assert reached == sorted(reached)
    # tanh z ≥ z − z³/3: the shortfall is of second order in low.
    assert bound - reached[-1] <= bound * (1e-4 + (beta * 0.01) ** 2 / 12) + 1e-3


def test_the_bound_tends_to_one_and_to_half_the_sharpness():
    assert nash_distortion_bound(1e-6) == pytest.approx(1.0)
    assert nash_distortion_bound(200.0) == pytest.approx(100.0)


def test_the_distortion_of_sure_lotteries_is_that_of_single_responses():
    beta = 10.0
    utilities, proportions = worst_family(beta, 0.02, 1e-2)
    sure = np.eye(2)
    assert distortion(sure[0], utilities, proportions) == 1.0
    assert distortion(sure[1], utilities, proportions) < nash_distortion_bound(beta)
    assert distortion(np.array([0.0, 1.0]), np.array([[1.0, 0.0]])) == float("inf")
    assert distortion(np.array([0.0, 1.0]), np.zeros((1, 2))) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: nash_distortion_bound(0.0),
        lambda: worst_family(1.0, 0.0),
        lambda: worst_family(1.0, 0.5, 1.0),
        lambda: preference_of_utilities([[0.0, 1.0]], -1.0),
        lambda: average_utility([0.0, 1.0]),
        lambda: average_utility([[0.0, np.inf]]),
        lambda: average_utility([[0.0, 1.0]], [0.4]),
        lambda: distortion(np.array([1.0, 0.0]), [[-0.1, 0.5]]),
        lambda: distortion([0.5, 0.6], [[0.1, 0.5]]),
        lambda: distortion(np.ones(1), [[0.1, 0.5]]),
        lambda: nash_welfare([[-1.0, 0.0]]),
    ],
)
def test_what_has_no_distortion_or_welfare_is_refused(call):
    with pytest.raises(InvalidProblem):
        call()


@given(UTILITIES)
def test_leximin_never_puts_a_worse_worst_off_group_first(u):
    best, last = leximin(u).first[0], leximin(u).levels[-1][0]
    assert u[:, best].min() == u.min(axis=0).max()
    assert sorted(u[:, best]) >= sorted(u[:, last])


@given(UTILITIES, st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_nash_welfare_does_not_depend_on_units_and_utilitarian_welfare_does(u, units):
    positive = u + 0.05
    scaled = positive * np.array(units[: len(u)])[:, None]
    assert nash_welfare(scaled).levels == nash_welfare(positive).levels


def test_three_welfares_choose_three_responses():
    u = np.array([[0.9, 0.5, 0.31], [0.1, 0.3, 0.31]])
    assert utilitarian(u).first == (0,)
    assert nash_welfare(u).first == (1,)
    assert leximin(u).first == (2,)
    assert utilitarian(u, [0.0, 1.0]).first == (2,)
    assert leximin([[0.0, 0.0], [1.0, 1.0]]).levels == ((0, 1),)
    assert nash_welfare([[0.0, 0.1], [1.0, 0.1]]).levels == ((1,), (0,))
