import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from mpmath import exp, log, mp, mpf

from nlhf.numerics import (
    exp_remainder,
    expectation,
    kl_divergence,
    log_normalise,
    log_of,
    log_sigmoid,
    log_sum_exp,
    sigmoid,
)

mp.dps = 50
ROUNDING = 1e-14  # a few float64 roundings over at most a few dozen terms

logits = arrays(
    np.float64, array_shapes(min_dims=1, max_dims=2, max_side=6), elements=st.floats(-1e300, 1e300)
)
moderate = arrays(np.float64, st.integers(2, 8), elements=st.floats(-40, 40))


@given(logits)
def test_log_sum_exp_lies_between_the_largest_entry_and_that_plus_log_n(values):
    total = log_sum_exp(values)
    top = values.max(axis=-1)
    assert np.all(total >= top)
    assert np.all(
        total <= top + np.log(values.shape[-1]) * (1 + ROUNDING) + np.spacing(np.abs(top))
    )


@given(logits)
def test_normalised_logs_sum_to_one_even_at_huge_scales(values):
    assert np.exp(log_normalise(values)).sum(axis=-1) == pytest.approx(1.0, abs=ROUNDING)


@given(moderate, st.floats(-1e6, 1e6))
def test_normalisation_ignores_a_common_shift(values, shift):
    error = 8 * np.finfo(float).eps * (abs(shift) + 40)
    np.testing.assert_allclose(
        log_normalise(values + shift), log_normalise(values), rtol=0, atol=error
    )


def test_impossible_actions_stay_impossible():
    assert log_sum_exp(np.array([-np.inf, -np.inf])) == -np.inf
    np.testing.assert_array_equal(np.exp(log_normalise(np.array([0.0, -np.inf]))), [1.0, 0.0])


@given(st.floats(-700, 700))
def test_exp_remainder_is_accurate_against_exact_arithmetic(x):
    ours = exp_remainder(np.array([x]))[0]
    with mp.workdps(700):  # enough for x² beside 1, down to where x² underflows in float64
        exact = exp(mpf(x)) - 1 - mpf(x)
        assert abs(mpf(float(ours)) - exact) <= 1e-12 * exact + mpf("1e-300")


@given(moderate, moderate)
def test_kl_agrees_with_fifty_digit_arithmetic(a, b):
    n = min(a.size, b.size)
    p, q = log_normalise(a[:n]), log_normalise(b[:n])
    weights = [exp(mpf(float(v))) for v in p]
    others = [exp(mpf(float(v))) for v in q]
    mass, other = sum(weights), sum(others)
    exact = sum(
        w / mass * log(w / mass / (o / other)) for w, o in zip(weights, others, strict=True)
    )
    assert float(kl_divergence(p, q)) == pytest.approx(float(exact), rel=1e-11, abs=1e-30)


@given(moderate, st.floats(1e-12, 1e-3))
def test_tiny_divergences_keep_their_relative_accuracy(a, size):
    p = log_normalise(a)
    direction = np.linspace(-1.0, 1.0, a.size)
    q = log_normalise(p + size * direction)
    mean = float(np.exp(p) @ direction)
    variance = float(np.exp(p) @ (direction - mean) ** 2)
    # KL(p‖q) = size²·Var/2 + O(size³), the leading term in closed form.
    assert float(kl_divergence(p, q)) == pytest.approx(
        size**2 * variance / 2, rel=2 * size + 1e-2, abs=1e-30
    )


@given(moderate)
def test_kl_is_zero_only_for_equal_distributions(a):
    p = log_normalise(a)
    assert kl_divergence(p, p) == 0.0
    q = log_normalise(p + np.linspace(0.0, 1.0, a.size))
    if np.exp(p).max() < 1 - 1e-12:
        assert kl_divergence(p, q) > 0.0


def test_kl_edge_cases():
    certain = log_of(np.array([1.0, 0.0]))
    fair = log_of(np.array([0.5, 0.5]))
    assert float(kl_divergence(certain, fair)) == pytest.approx(np.log(2), rel=1e-15)
    assert kl_divergence(fair, certain) == np.inf
    far = np.array([0.0, -1e300])
    assert np.isfinite(kl_divergence(far, fair))
    assert kl_divergence(fair, far) == pytest.approx(0.5e300, rel=1e-12)


def test_expectation_ignores_impossible_actions():
    assert expectation(np.array([0.0, -np.inf]), np.array([2.0, np.inf])) == 2.0


@given(st.floats(-700.0, 700.0))
def test_the_logistic_function_is_accurate_in_both_tails(x):
    chance, other = sigmoid(np.array([x, -x]))
    assert chance + other == pytest.approx(1.0, abs=1e-15)
    assert chance / other == pytest.approx(np.exp(x), rel=1e-12)
    first, second = log_sigmoid(np.array([x, -x]))
    assert np.exp(first) == pytest.approx(chance, rel=1e-12)
    assert first - second == pytest.approx(x, rel=1e-15, abs=1e-15)


def test_the_logistic_function_of_extreme_numbers():
    extremes = np.array([-np.inf, -1e300, 0.0, 1e300, np.inf])
    np.testing.assert_array_equal(sigmoid(extremes), [0.0, 0.0, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(
        log_sigmoid(extremes), [-np.inf, -1e300, -np.log1p(1.0), 0.0, 0.0]
    )
