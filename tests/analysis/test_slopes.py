"""Slopes on a log-log scale: exact where there is no noise, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from nlhf import Stream
from nlhf.analysis.slopes import log_log_slope
from nlhf.errors import InvalidProblem

SIZES = np.array([100, 200, 400, 800, 1600])


def gaps(rng, slope, replicates=40):
    """Chi-squared gaps, as of an estimate near the truth; a replicate is easy or hard."""
    hardness = rng.uniform(0.5, 1.5, replicates)
    return hardness * rng.chisquare(3, (len(SIZES), replicates)) * SIZES[:, None] ** slope


@settings(max_examples=30)
@given(
    slope=st.floats(-3.0, 3.0), scale=st.floats(1e-6, 1e6), quantile=st.sampled_from([None, 0.5])
)
def test_a_power_without_noise_has_its_exponent_as_slope(slope, scale, quantile):
    measures = np.tile(scale * SIZES[:, None] ** slope, (1, 3))
    found = log_log_slope(SIZES, measures, Stream(0), quantile=quantile, resamples=10)
    assert found.value == pytest.approx(slope, abs=1e-12)
    assert found.low == found.value == found.high


def test_the_slope_is_that_of_a_least_squares_line():
    measures = gaps(np.random.default_rng(1), -1.0)
    for quantile, middle in ((None, measures.mean(axis=1)), (0.5, np.median(measures, axis=1))):
        line = np.polyfit(np.log(SIZES), np.log(middle), 1)
        found = log_log_slope(SIZES, measures, Stream(0), quantile=quantile)
        assert found.value == pytest.approx(line[0], abs=1e-12)
        assert found.low < found.value < found.high


@settings(max_examples=10)
@given(unit=st.floats(1e-3, 1e3), scale=st.floats(1e-3, 1e3))
def test_units_change_nothing(unit, scale):
    measures = gaps(np.random.default_rng(2), -0.5)
    first = log_log_slope(SIZES, measures, Stream(0), resamples=50)
    again = log_log_slope(unit * SIZES, scale * measures, Stream(0), resamples=50)
    assert (again.value, again.low, again.high) == pytest.approx(
        (first.value, first.low, first.high), abs=1e-10
    )


@pytest.mark.parametrize("quantile", [None, 0.5])
def test_intervals_cover_the_slope_as_often_as_they_say(quantile):
    # 200 sets of 40 replicates. An interval that covers with probability 0.93 or more, the nominal
    # 0.95 less an error of second order in 1/40, fails here with a probability below 1e-4.
    least = int(binom.ppf(1e-4, 200, 0.93))
    rng = np.random.default_rng(3)
    found = [
        log_log_slope(SIZES, gaps(rng, -1.0), Stream(k), quantile=quantile, resamples=400)
        for k in range(200)
    ]
    assert sum(one.covers(-1.0) for one in found) >= least
    # Control: slopes that are not the true one are excluded, at this noise by every interval.
    assert not any(one.covers(-0.5) or one.covers(-1.5) for one in found)
    # Control: intervals a third as wide cover too seldom.
    narrow = [abs(one.value + 1.0) <= (one.high - one.low) / 6.0 for one in found]
    assert sum(narrow) < least


@pytest.mark.parametrize("quantile", [None, 0.5])
def test_replicates_that_follow_one_power_have_an_interval_that_holds_it(quantile):
    measures = np.array([1.0, 2.0, 5.0, 0.3]) / SIZES[:, None]
    found = log_log_slope(SIZES, measures, Stream(0), quantile=quantile, resamples=50)
    assert found.covers(-1.0)
    assert found.high - found.low < 1e-12
    assert not found.covers(-1.0 + 1e-8)


@pytest.mark.parametrize("hard", [[1.0, 3.0], [1.0, 1.0, 3.0, 1.0]])
def test_where_no_correction_is_defined_the_interval_is_of_percentiles(hard):
    # Leaving any replicate out leaves a slope of -1: there is no acceleration.
    measures = np.ones((4, len(hard)))
    measures[[0, 3]] = hard
    measures /= SIZES[:4, None]
    found = log_log_slope(SIZES[:4], measures, Stream(10), resamples=100)
    assert found.covers(found.value)
    assert found.covers(-1.0)


def test_what_replicates_have_in_common_cancels():
    # Were sizes drawn independently, the hardness of instances would count as noise.
    rng = np.random.default_rng(4)
    hardness = rng.lognormal(0.0, 2.0, 50)
    noise = rng.lognormal(0.0, 0.01, (len(SIZES), 50))
    found = log_log_slope(SIZES, hardness * noise / SIZES[:, None], Stream(0), quantile=0.5)
    assert found.covers(-1.0)
    assert found.high - found.low < 0.05


@pytest.mark.parametrize("bad", [-1e-17, np.nan, np.inf])
def test_measures_that_are_no_sizes_are_named(bad):
    measures = gaps(np.random.default_rng(5), -1.0)
    measures[2, 7] = bad
    with pytest.raises(InvalidProblem, match=r"1 of 200 measures .* replicate 7 at size 400"):
        log_log_slope(SIZES, measures, Stream(0))


def test_a_mean_may_have_some_zeros_and_a_line_of_zeros_is_refused():
    measures = gaps(np.random.default_rng(6), -1.0)
    measures[3, :10] = 0.0
    line = np.polyfit(np.log(SIZES), np.log(measures.mean(axis=1)), 1)
    found = log_log_slope(SIZES, measures, Stream(0))
    assert found.value == pytest.approx(line[0], abs=1e-12)
    measures[3, :18] = 0.0  # the median is positive, that of many resamples is not
    with pytest.raises(InvalidProblem, match="at size 800, 18 of 40 measures are exactly 0"):
        log_log_slope(SIZES, measures, Stream(0), quantile=0.5)
    measures[3] = 0.0
    with pytest.raises(InvalidProblem, match="at size 800, 40 of 40 measures are exactly 0"):
        log_log_slope(SIZES, measures, Stream(0))


def test_too_little_for_a_slope_is_refused():
    measures = np.ones((5, 1))
    with pytest.raises(InvalidProblem, match="0 different sizes"):
        log_log_slope(SIZES[:0], np.ones((0, 3)), Stream(0))
    with pytest.raises(InvalidProblem, match=r"5 different sizes, .* and 1 replicates"):
        log_log_slope(SIZES, measures, Stream(0))
    with pytest.raises(InvalidProblem, match="1 different sizes"):
        log_log_slope(np.full(5, 10), np.ones((5, 3)), Stream(0))
    with pytest.raises(InvalidProblem, match=r"confidence 1\.0"):
        log_log_slope(SIZES, np.ones((5, 3)), Stream(0), confidence=1.0)
