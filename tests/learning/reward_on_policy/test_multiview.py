import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.multiview import (
    ViewLoss,
    code_correlation,
    critical_penalty,
    critical_ratio,
    information_slope,
    jensen_shannon_information,
    least_loss,
    shared_information,
    view_loss,
)

gains = st.floats(1e-3, 1e3)
ratios = st.floats(1e-2, 1e3)


def matrix_loss(a, between, within, penalty):
    """The loss of a whole head z = A h + ε, from determinants of its Gaussian."""
    signal = a @ between @ a.T
    own = signal + a @ within @ a.T + np.eye(len(a))
    both = np.block([[own, signal], [signal, own]])
    information = np.linalg.slogdet(own)[1] - 0.5 * np.linalg.slogdet(both)[1]
    return penalty * np.trace(a @ within @ a.T) - information


@given(st.lists(st.tuples(gains, ratios), min_size=1, max_size=3), st.floats(0.1, 3.0))
def test_losses_of_directions_add_up_to_the_gaussian_one(directions, penalty):
    s, k = (np.array(column) for column in zip(*directions, strict=True))
    whole = matrix_loss(np.diag(np.sqrt(s)), np.diag(k), np.eye(len(s)), penalty)
    parts = sum(
        view_loss(ViewLoss.BOTTLENECK, float(a), float(b), penalty)
        for a, b in zip(s, k, strict=True)
    )
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-9)


@given(gains, ratios)
def test_the_slope_is_the_derivative_of_the_information(gain, ratio):
    step = 1e-5 * gain
    up, down = (shared_information(gain + d, ratio) for d in (step, -step))
    assert (up - down) / (2 * step) == pytest.approx(information_slope(gain, ratio), rel=1e-4)
    assert view_loss(ViewLoss.MULTI_VIEW, gain, ratio) == -shared_information(gain, ratio)


@pytest.mark.parametrize("rho", [0.05, 0.4, 0.8, 0.95])
def test_the_jensen_shannon_functional_is_the_one_of_the_densities(rho):
    # The trapezoidal rule on the plane, in the codes themselves.
    z = np.arange(-9.0, 9.0, 0.02)
    x, y = z[:, None], z[None, :]
    root = math.sqrt(1 - rho**2)
    joint = np.exp(-(x * x - 2 * rho * x * y + y * y) / (2 * root**2)) / (2 * np.pi * root)
    apart = np.exp(-(x * x + y * y) / 2) / (2 * np.pi)
    mean = (joint + apart) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(joint * np.log(joint / mean)) + apart * np.log(apart / mean)
    assert jensen_shannon_information(rho) == pytest.approx(0.02**2 * terms.sum(), rel=1e-7)


def test_the_jensen_shannon_functional_is_half_the_information_at_first_and_bounded():
    assert jensen_shannon_information(1e-2) == pytest.approx(1e-4 / 4, rel=1e-3)
    assert jensen_shannon_information(0.0) == pytest.approx(0.0, abs=1e-14)
    values = [jensen_shannon_information(r) for r in (0.1, 0.5, 0.9, 0.99)]
    assert np.all(np.diff(values) > 0)
    assert values[-1] < 2 * math.log(2)


def test_the_published_threshold_is_recovered_by_root_finding():
    # rlp.md, T12: κ* = 7.951, ICC* = .8883, s* = .148 at b = 1.
    found = critical_ratio(1.0)
    assert found.ratio == pytest.approx(7.951, abs=5e-4)
    assert found.intraclass_correlation == pytest.approx(0.8883, abs=5e-5)
    assert found.gain == pytest.approx(0.148, abs=5e-4)
    # And without root finding: the least loss on a grid of gains changes sign there.
    grid = np.geomspace(0.1, 0.2, 1001)
    for ratio, kept in ((7.95, False), (7.952, True)):
        least = min(view_loss(ViewLoss.BOTTLENECK, float(s), ratio) for s in grid)
        assert (least < 0.0) == kept


def test_the_jensen_shannon_threshold_is_the_published_one():
    # rlp.md, T12: κ* of about 14.38, ICC* of about .935.
    found = critical_ratio(1.0, ViewLoss.JENSEN_SHANNON)
    assert found.ratio == pytest.approx(14.38, abs=5e-3)
    assert found.intraclass_correlation == pytest.approx(0.935, abs=5e-4)


def test_critical_penalties_grow_in_proportion_to_large_ratios():
    # rlp.md, T12: b_c/κ tends to .1488.
    assert critical_penalty(1e5).penalty / 1e5 == pytest.approx(0.1488, abs=5e-5)


@given(st.floats(0.05, 1e3))
@settings(max_examples=20)
def test_a_direction_enters_at_a_positive_gain_where_its_loss_is_zero(ratio):
    found = critical_penalty(ratio)
    assert found.gain > 0.0
    loss = view_loss(ViewLoss.BOTTLENECK, found.gain, ratio, found.penalty)
    assert loss == pytest.approx(0.0, abs=1e-12)
    # Nothing encoded is a local minimum all the same.
    assert view_loss(ViewLoss.BOTTLENECK, 1e-3 * found.gain, ratio, found.penalty) > 0.0
    assert least_loss(ViewLoss.BOTTLENECK, ratio, 1.001 * found.penalty) == 0.0
    assert least_loss(ViewLoss.BOTTLENECK, ratio, 0.99 * found.penalty) < 0.0


def test_the_threshold_rule_gives_the_best_head_of_several_dimensions():
    between, within = np.diag([30.0, 9.0, 2.0]), np.eye(3)
    expected = sum(least_loss(ViewLoss.BOTTLENECK, k) for k in (30.0, 9.0, 2.0))
    g = np.random.default_rng(0)
    best = min(
        minimize(
            lambda a: matrix_loss(a.reshape(3, 3), between, within, 1.0),
            0.5 * g.normal(size=9),
            method="BFGS",
        ).fun
        for _ in range(12)
    )
    assert best == pytest.approx(expected, abs=1e-6)


@given(ratios, st.floats(0.1, 3.0), st.floats(0.01, 100.0))
@settings(max_examples=8)
def test_least_losses_are_minima_over_a_grid(ratio, penalty, largest):
    grid = np.concatenate([[0.0], np.geomspace(1e-4, largest, 400)])
    for loss in (ViewLoss.INFO_MAX, ViewLoss.MULTI_VIEW, ViewLoss.BOTTLENECK):
        values = [view_loss(loss, float(s), ratio, penalty) for s in grid]
        assert least_loss(loss, ratio, penalty, largest) == pytest.approx(min(values), abs=2e-4)


@given(ratios, st.floats(0.01, 10.0), st.floats(0.1, 3.0), st.floats(0.01, 100.0))
@settings(max_examples=20)
def test_mvi_rewards_a_larger_ratio_at_least_as_much_as_mib(ratio, more, penalty, largest):
    # dI/dκ = κ/[(1/s + 1 + κ)(1/s + 1 + 2κ)] grows in s, and MIB's gain is at most MVI's.
    gained = {
        loss: least_loss(loss, ratio, penalty, largest)
        - least_loss(loss, ratio + more, penalty, largest)
        for loss in (ViewLoss.MULTI_VIEW, ViewLoss.BOTTLENECK)
    }
    assert 0.0 <= gained[ViewLoss.BOTTLENECK] <= gained[ViewLoss.MULTI_VIEW] + 1e-12


@given(st.floats(-99.0, 5.9), st.floats(0.1, 1.0))
def test_no_direction_pays_more_than_an_eighth_of_its_squared_ratio(log_ratio, share):
    ratio = 10.0**log_ratio
    bound = ratio**2 / 8.0
    assert critical_penalty(ratio).penalty <= bound * (1.0 + 1e-9)
    assert least_loss(ViewLoss.BOTTLENECK, ratio, bound / share) == 0.0


def test_ratios_near_zero_are_dropped_and_not_divided_by():
    assert least_loss(ViewLoss.BOTTLENECK, 1e-200) == 0.0
    assert least_loss(ViewLoss.BOTTLENECK, 0.0, 1e-9) == 0.0


def test_without_a_limit_mvi_keeps_the_information_of_the_features_themselves():
    icc = 5.0 / 6.0
    expected = 0.5 * math.log(1 - icc**2)
    assert least_loss(ViewLoss.MULTI_VIEW, 5.0) == pytest.approx(expected, rel=1e-12)
    assert code_correlation(1e9, 5.0) == pytest.approx(icc, rel=1e-8)


def test_out_of_range_is_refused():
    with pytest.raises(HypothesisViolated, match="InfoMax with gains up to inf"):
        least_loss(ViewLoss.INFO_MAX, 1.0)
    with pytest.raises(HypothesisViolated, match="JSD with gains"):
        least_loss(ViewLoss.JENSEN_SHANNON, 1.0, 1.0, 2.0)
    with pytest.raises(HypothesisViolated, match="MVI has no penalty"):
        critical_penalty(1.0, ViewLoss.MULTI_VIEW)
    with pytest.raises(HypothesisViolated, match=r"ratio 0\.0"):
        critical_penalty(0.0)
    for wrong in ((-1.0, 1.0), (1e7, 1.0), (20.0, 0.0), (20.0, 1.0, -1.0)):
        with pytest.raises(HypothesisViolated, match=r"ratio .*, gains up to"):
            least_loss(ViewLoss.BOTTLENECK, *wrong)
    for rho in (1.0, -1.0, math.nan):
        with pytest.raises(HypothesisViolated, match="a correlation of"):
            jensen_shannon_information(rho)
    with pytest.raises(HypothesisViolated, match="penalty -1"):
        critical_ratio(-1.0)
