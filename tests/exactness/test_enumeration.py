"""The brute-force solvers themselves, against hand-made games and the definition."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf import PreferenceGame, Stream, ZeroSumGame, solve
from nlhf.errors import HypothesisViolated, InvalidProblem, Unsupported
from nlhf.exact.enumeration import enumerate_equilibria, two_by_two
from tests.definition import duality_gap
from tests.instances import distributions

HALF = Fraction(1, 2)


def test_matching_pennies_and_a_saddle_point() -> None:
    pennies = enumerate_equilibria([[1, -1], [-1, 1]])
    assert pennies.value == 0
    assert pennies.rows == pennies.columns == ((HALF, HALF),)
    saddle = enumerate_equilibria([[2, 3], [1, 0]])
    assert saddle.value == 2
    assert saddle.rows == saddle.columns == ((1, 0),)


def test_all_extreme_strategies_of_a_degenerate_game_are_found() -> None:
    found = enumerate_equilibria([[0, 0], [0, 0], [-1, 1]])
    # Any row mixture p + (1 − p) avoiding the third row is safe; columns must not lose to it.
    assert found.value == 0
    assert found.rows == ((0, 1, 0), (1, 0, 0))
    assert found.columns == ((HALF, HALF), (1, 0))


@given(
    st.lists(st.integers(-5, 5), min_size=12, max_size=12), st.integers(-9, 9), st.integers(1, 5)
)
def test_every_pair_is_an_equilibrium_and_payoff_shifts_only_move_the_value(
    entries: list[int], shift: int, scale: int
) -> None:
    a = [entries[:4], entries[4:8], entries[8:]]
    found = enumerate_equilibria(a)
    assert found.rows
    assert found.columns
    for x in found.rows:
        assert min(sum(p * r[j] for p, r in zip(x, a, strict=True)) for j in range(4)) == (
            found.value
        )
    for y in found.columns:
        assert max(sum(q * v for q, v in zip(y, r, strict=True)) for r in a) == found.value
    moved = enumerate_equilibria([[scale * v + shift for v in row] for row in a])
    assert moved.value == scale * found.value + shift
    assert moved.rows == found.rows
    assert moved.columns == found.columns


def test_floats_count_as_the_binary_fractions_they_are() -> None:
    found = enumerate_equilibria([[0.1, -0.1], [-0.3, 0.3]])
    row = found.rows[0]
    tenth, other = Fraction(0.1), Fraction(0.3)
    assert row == (other / (tenth + other), tenth / (tenth + other))
    assert found.value == 0


def test_bad_tables_are_refused() -> None:
    with pytest.raises(Unsupported, match="6 x 6"):
        enumerate_equilibria([[0] * 6] * 6)
    with pytest.raises(InvalidProblem, match="lengths"):
        enumerate_equilibria([[0, 1], [0]])
    with pytest.raises(InvalidProblem, match="lengths"):
        enumerate_equilibria([])
    for bad in (float("nan"), float("inf")):
        with pytest.raises(InvalidProblem, match="finite"):
            enumerate_equilibria([[0.0, bad]])
    with pytest.raises(HypothesisViolated, match="positive"):
        two_by_two(np.eye(2), (np.full(2, 0.5), np.full(2, 0.5)), (0.1, 0.0))


@given(st.data())
def test_the_bracketed_root_is_the_solvers_equilibrium_at_any_two_temperatures(
    data: st.DataObject,
) -> None:
    entry = st.floats(-1.0, 1.0)
    a = np.array(data.draw(st.lists(entry, min_size=4, max_size=4))).reshape(2, 2)
    references = (data.draw(distributions(2)), data.draw(distributions(2)))
    temperature = st.sampled_from([10.0, 1.0, 0.1, 0.01, 1e-3, 1e-5])
    temperatures = (data.draw(temperature), data.draw(temperature))
    row, column = two_by_two(a, references, temperatures)
    logs = (np.log(references[0]), np.log(references[1]))
    assert abs(duality_gap(a, row, column, logs, temperatures)) <= 1e-12
    game = ZeroSumGame(a, references, temperatures)
    x, y = solve(game).profile
    # A rounding of 1e-16 in a payoff is one of 1e-16 / τ in a logit.
    accuracy = 1e-13 / min(temperatures)
    assert np.abs(np.exp(row) - x.probabilities).sum() <= accuracy
    assert np.abs(np.exp(column) - y.probabilities).sum() <= accuracy


def test_in_self_play_the_root_is_the_closed_form() -> None:
    rng = Stream(10).child("closed form").generator()
    for p, mass, temperature in zip(
        rng.uniform(size=50), rng.uniform(size=50), np.logspace(1, -4, 50), strict=True
    ):
        mu = np.array([mass, 1 - mass])
        a = np.array([[0.5, p], [1 - p, 0.5]])
        row, column = two_by_two(a, (mu, mu), (temperature, temperature))
        logit = np.log(mass / (1 - mass)) + (p - 0.5) / temperature
        assert row[0] - row[1] == pytest.approx(logit, rel=1e-12, abs=1e-12 / temperature)
        assert column[0] - column[1] == pytest.approx(logit, rel=1e-12, abs=1e-12 / temperature)
        ours = solve(PreferenceGame(a, mu, float(temperature))).log_policy
        assert ours[0] - ours[1] == pytest.approx(logit, rel=1e-12, abs=1e-12 / temperature)


def test_the_root_is_not_that_of_the_transposed_game_or_of_swapped_temperatures() -> None:
    """Control."""
    a = np.array([[0.3, -0.2], [-0.5, 0.4]])
    flat = (np.full(2, 0.5), np.full(2, 0.5))
    logs = (np.log(flat[0]), np.log(flat[1]))
    for wrong in (
        two_by_two(a.T, flat, (0.1, 0.3)),
        two_by_two(a, flat, (0.3, 0.1)),
        two_by_two(-a, flat, (0.1, 0.3)),
    ):
        assert duality_gap(a, wrong[0], wrong[1], logs, (0.1, 0.3)) > 1e-6
