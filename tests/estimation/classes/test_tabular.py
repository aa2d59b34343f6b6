import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import Degenerate, HypothesisViolated, InvalidData, InvalidProblem, Unsupported
from nlhf.estimation.classes import TabularClass
from nlhf.numerics import EPSILON
from tests.estimation.classes.compared import chances_in_two_steps, failures, renamed, told, turned

cells = st.integers(1, 60).flatmap(
    lambda count: st.tuples(st.just(count), st.integers(0, 2 * count).map(lambda w: w / 2))
)


def divergence(p, q):
    logs = [a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0]
    return sum(logs)


def allowed(count, wins, delta):
    """What N KL may be for one cell, the mixture integrated numerically."""

    # p = sin² makes Beta(1/2, 1/2) uniform over the quarter circle.
    def likelihood(angle):
        p = math.sin(angle) ** 2
        return math.exp(
            sum(v * math.log(a / b) for v, a, b in
                ((wins, p, wins / count), (count - wins, 1 - p, 1 - wins / count)) if v > 0)
        )  # fmt: skip

    mixture = quad(likelihood, 0, math.pi / 2, limit=200)[0] * 2 / math.pi
    return -math.log(mixture) - math.log(delta)


@settings(max_examples=30)
@given(cells, st.floats(0.01, 0.5))
def test_widths_of_one_cell_are_the_farthest_preferences_within_the_budget(cell, delta):
    count, wins = cell
    found = TabularClass((1, 2)).confidence(told((1, 2), [(0, 0, 1, count, wins)]), delta)
    budget, p = allowed(count, wins, delta), wins / count
    assert found.model.table[0, 0, 1] == pytest.approx(p - 0.5, abs=1e-15)
    assert found.radius == pytest.approx(budget / 2, rel=1e-6)
    width = found.width[0, 0, 1]
    ends = [q for q in (p - width, p + width) if 0 < q < 1]
    reached = [count * divergence(p, q) for q in ends]
    assert min(reached) == pytest.approx(budget, rel=1e-6)
    np.testing.assert_array_equal(found.width[0], found.width[0].T)


def chance_of_ever_failing(p, most, fails):
    """Return the exact probability that at some n ≤ `most` the count of wins fails."""
    alive, failed = np.ones(1), 0.0
    for count in range(1, most + 1):
        alive = np.append(alive, 0.0) * (1 - p) + np.append(0.0, alive) * p
        bad = np.array([fails(count, wins) for wins in range(count + 1)])
        failed += alive[bad].sum()
        alive = np.where(bad, 0.0, alive)
    return failed


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_the_event_holds_at_all_sample_sizes_at_once(p):
    delta, some = 0.3, TabularClass((1, 2))

    def fails(count, wins):
        found = some.confidence(told((1, 2), [(0, 0, 1, count, wins)]), delta)
        apart = abs(p - wins / count)
        return apart > found.width[0, 0, 1] or count * apart**2 > found.radius

    def fails_without_the_mixture(count, wins):
        return count * divergence(wins / count, p) > -math.log(delta)

    assert chance_of_ever_failing(p, 12, fails) <= delta
    assert chance_of_ever_failing(p, 250, fails_without_the_mixture) > delta


def test_the_event_has_its_probability_under_a_design_that_looks_at_answers():
    some, delta = TabularClass((1, 3)), 0.5
    p = np.array([[[0.5, 0.6, 0.9], [0.4, 0.5, 0.3], [0.1, 0.7, 0.5]]])

    design = ((0, 0, 1), [(0, 1, 2), (0, 0, 2)], 8)
    chance, control = chances_in_two_steps(p, *design, failures(some, p - 0.5, delta, 0.2))
    assert chance <= delta < control


def test_with_many_cells_every_cell_pays_for_all_of_them():
    delta, (count, wins) = 0.1, (40, 25)
    data = told((2, 4), [(1, 0, 3, count, wins), (0, 1, 2, 3, 1)])
    found = TabularClass((2, 4)).confidence(data, delta)
    p, width = wins / count, found.width[1, 0, 3]
    budget = allowed(count, wins, delta / 2)
    jointly = budget + allowed(3, 1, 1.0)
    alone = budget + math.log(12)
    reached = count * min(divergence(p, p - width), divergence(p, p + width))
    assert reached == pytest.approx(min(jointly, alone), rel=1e-6)
    assert found.radius == pytest.approx(jointly / 2, rel=1e-6)


@settings(max_examples=6)
@given(st.integers(0, 10**6))
def test_renaming_outcomes_and_turning_pairs_round_change_nothing(seed):
    rng = np.random.default_rng(seed)
    rows = [(0, 0, 1, 4, 1.5), (0, 1, 2, 7, 7), (1, 2, 0, 5, 2), (1, 1, 1, 3, 2)]
    data, some, order = told((2, 3), rows), TabularClass((2, 3)), rng.permutation(3)
    found = some.confidence(data, 0.1)
    for other in (turned(data), data.condensed()):
        again = some.confidence(other, 0.1)
        np.testing.assert_allclose(again.width, found.width, atol=1e-12)
        np.testing.assert_allclose(again.model.table, found.model.table, atol=1e-15)
        assert again.model.log_likelihood == pytest.approx(found.model.log_likelihood, rel=1e-12)
    permuted = some.confidence(renamed(data, order), 0.1)
    np.testing.assert_allclose(permuted.width[:, order][:, :, order], found.width, atol=1e-12)


def test_the_likelihood_is_the_largest_and_counts_an_outcome_against_itself():
    data = told((1, 2), [(0, 0, 1, 4, 1), (0, 0, 0, 2, 1)])
    found = TabularClass((1, 2)).fit(data)
    most = max(math.log(p) + 3 * math.log(1 - p) for p in np.linspace(0.01, 0.99, 981))
    assert found.log_likelihood == pytest.approx(most - 2 * math.log(2), abs=1e-5)
    assert found.log_likelihood >= most - 2 * math.log(2) - EPSILON


def test_stages_without_data_are_named_and_have_the_full_range():
    data = told((4, 2), [(1, 0, 1, 9, 4), (3, 0, 0, 5, 1)])
    with pytest.warns(Degenerate, match="3 of 4 stages: 0, 2, 3;"):
        found = TabularClass((4, 2)).confidence(data, 0.1)
    full = np.array([[0.0, 0.5], [0.5, 0.0]])
    for stage in (0, 2, 3):
        np.testing.assert_array_equal(found.width[stage], full)
        np.testing.assert_array_equal(found.model.table[stage], 0.0)
    assert found.width[1].max() < 0.5
    with pytest.warns(Degenerate, match="4 of 4"):
        assert TabularClass((4, 2)).fit(PreferenceData.empty((4, 2))).log_likelihood == 0.0


def test_wrong_arguments_are_refused():
    some = TabularClass((1, 2))
    cells = np.zeros((1, 2), dtype=np.int64)
    trajectories = PreferenceData(Pairs((1, 2), cells, cells, cells + 1), np.ones(1), np.ones(1))
    for ask in (some.fit, lambda data: some.confidence(data, 0.1)):
        with pytest.raises(Unsupported, match="use LinearClass or BradleyTerryClass"):
            ask(trajectories)
        with pytest.raises(InvalidData, match="the class has"):
            ask(told((1, 3), []))
    for delta in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(HypothesisViolated, match="delta"):
            some.confidence(told((1, 2), [(0, 0, 1, 1, 1)]), delta)
    with pytest.raises(InvalidProblem, match="two positive integers"):
        TabularClass((0, 2))
