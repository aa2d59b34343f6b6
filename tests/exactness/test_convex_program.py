"""Second route: one convex program per game, solved by an interior-point method."""

from math import sqrt
from typing import Any

import cvxpy
import numpy as np
import pytest

from benchmarks.solvers.instances import FAMILIES, REFERENCES
from nlhf import LowRankPreference, NlhfError, PreferenceGame, Stream, ZeroSumGame, solve
from nlhf.errors import SolverFailed, Unsupported
from nlhf.exact.convex import ConvexEquilibrium, ConvexProgram, solve_convex
from tests.definition import duality_gap, self_play_gap

TEMPERATURES = (10.0, 1.0, 0.1, 1e-2, 1e-3)
CLOSE = 1e-6
"""What CLARABEL reaches in ‖π − π*‖₁ here; a test that allowed more would say little."""


def allowed(gaps: tuple[Any, Any], temperature: float) -> float:
    """Return √(2G/τ) summed over two policies with duality gaps 2G: how far apart they may be."""
    return sum(sqrt(max(float(gap), 0.0) / temperature) for gap in gaps)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "all_ties"])
def test_solver_and_convex_program_agree_within_what_their_gaps_allow(
    family: str, temperature: float
) -> None:
    for reference in REFERENCES:
        for size in (1, 2, 5, 12):
            rng = Stream(5).child(family, reference, size).generator()
            p, mu = FAMILIES[family](rng, 2, size), REFERENCES[reference](rng, 2, size)
            game = PreferenceGame(p, mu, temperature)
            ours = solve(game)
            logs = game.reference.log_probabilities
            for x, theirs in enumerate(solve_convex(game)):
                exact = self_play_gap(p[x], ours.log_policy[x], logs[x], temperature)
                for policy in (theirs.row, theirs.column):
                    gap = self_play_gap(p[x], policy.log_probabilities, logs[x], temperature)
                    apart = np.abs(policy.probabilities - ours.policy[x]).sum()
                    assert apart <= allowed((gap, exact), temperature) + 1e-14
                    if theirs.status == "optimal":
                        assert apart <= CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_they_agree_on_a_hundred_responses(temperature: float) -> None:
    rng = Stream(5).child("large").generator()
    p = FAMILIES["uniform"](rng, 3, 100)
    game = PreferenceGame(p, temperature=temperature)
    ours = solve(game)
    for x, theirs in enumerate(solve_convex(game)):
        assert np.abs(theirs.column.probabilities - ours.policy[x]).sum() <= 1e-5
        assert theirs.upper == pytest.approx(0.5, abs=1e-10)


def brackets(found: ConvexEquilibrium, value: float, accuracy: float) -> bool:
    return value - accuracy <= found.lower <= found.upper + 1e-14 <= value + accuracy


def test_the_optimum_of_a_preference_game_is_one_half() -> None:
    rng = Stream(6).child("half").generator()
    for family, draw in FAMILIES.items():
        for temperature in (1.0, 0.01, 0.0):
            for found in solve_convex(PreferenceGame(draw(rng, 3, 6), temperature=temperature)):
                assert brackets(found, 0.5, 1e-9), family


def test_both_players_of_a_zero_sum_game_agree_with_the_solver() -> None:
    rng = Stream(6).child("two players").generator()
    for temperatures in ((0.3, 0.3), (1.0, 0.01), (0.01, 2.0), (0.05, 0.2)):
        a = rng.normal(size=(3, 4, 6))
        mu, nu = rng.dirichlet(np.ones(4), size=3), rng.dirichlet(np.ones(6), size=3)
        game = ZeroSumGame(a, (mu, nu), temperatures)
        x, y = solve(game).profile
        for i, found in enumerate(solve_convex(game)):
            assert np.abs(found.row.probabilities - x.probabilities[i]).sum() <= 1e-6
            assert np.abs(found.column.probabilities - y.probabilities[i]).sum() <= 1e-6
            gap = duality_gap(
                a[i],
                found.row.log_probabilities,
                found.column.log_probabilities,
                (np.log(mu[i]), np.log(nu[i])),
                temperatures,
            )
            assert float(gap) == pytest.approx(found.upper - found.lower, abs=1e-13)
            assert float(gap) <= 1e-9


@pytest.mark.parametrize("temperatures", [(0.0, 0.0), (0.0, 0.2), (0.2, 0.0)])
def test_a_player_without_temperature_plays_a_best_response(
    temperatures: tuple[float, float],
) -> None:
    rng = Stream(6).child("mixed", *map(str, temperatures)).generator()
    a = rng.normal(size=(5, 4, 6))
    for i, found in enumerate(solve_convex(ZeroSumGame(a, temperatures=temperatures))):
        gap = duality_gap(
            a[i],
            found.row.log_probabilities,
            found.column.log_probabilities,
            (np.full(4, -np.log(4)), np.full(6, -np.log(6))),
            temperatures,
        )
        assert float(gap) == pytest.approx(found.upper - found.lower, abs=1e-13)
        assert float(gap) <= 1e-9


def test_a_mixed_game_is_the_limit_of_positive_temperatures() -> None:
    rng = Stream(6).child("limit").generator()
    a = rng.normal(size=(4, 5))
    mixed = solve_convex(ZeroSumGame(a, temperatures=(0.2, 0.0)))[0]
    nearly = solve(ZeroSumGame(a, temperatures=(0.2, 1e-7)))
    row = nearly.profile[0].probabilities
    # The row objective is 0.2-strongly concave; at most 1e-7 log 5 of entropy is gained.
    assert np.abs(mixed.row.probabilities - row).sum() <= 2 * sqrt(2 * 1e-7 * np.log(5) / 0.2)


def test_a_program_solved_again_for_new_data_forgets_the_old() -> None:
    rng = Stream(6).child("again").generator()
    program = ConvexProgram(4, 4, (0.1, 0.1))
    first, second = FAMILIES["uniform"](rng, 2, 4)
    flat = np.full(4, -np.log(4))
    steep = np.log(rng.dirichlet(np.ones(4)))
    before = program.solve(first, (flat, flat))
    program.solve(second, (steep, steep))
    after = program.solve(first, (flat, flat))
    np.testing.assert_allclose(
        after.column.probabilities, before.column.probabilities, rtol=0, atol=1e-12
    )
    fresh = ConvexProgram(4, 4, (0.1, 0.1)).solve(second, (steep, steep))
    again = program.solve(second, (steep, steep))
    np.testing.assert_allclose(
        again.column.probabilities, fresh.column.probabilities, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_comparison_notices_a_transposed_payoff_and_a_wrong_temperature(
    temperature: float,
) -> None:
    """Control: such a policy is further away than the gap of the convex program allows."""
    rng = Stream(7).child("control").generator()
    p = FAMILIES["uniform"](rng, 4, 5)
    mu = REFERENCES["spread_reference"](rng, 4, 5)
    logs = PreferenceGame(p, mu, temperature).reference.log_probabilities
    convex = solve_convex(PreferenceGame(p, mu, temperature))
    for wrong in (
        solve(PreferenceGame(np.swapaxes(p, 1, 2), mu, temperature)),
        solve(PreferenceGame(p, mu, 1.1 * temperature)),
    ):
        apart, bound = [], []
        for x, theirs in enumerate(convex):
            gap = self_play_gap(p[x], theirs.column.log_probabilities, logs[x], temperature)
            apart.append(np.abs(theirs.column.probabilities - wrong.policy[x]).sum())
            bound.append(allowed((gap, 0.0), temperature))
        assert max(a - b for a, b in zip(apart, bound, strict=True)) > 1e-8


def test_a_failed_solve_is_an_error_that_names_solver_and_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: cvxpy.Problem, **options: object) -> None:
        raise cvxpy.error.SolverError("numbers out of range")

    monkeypatch.setattr(cvxpy.Problem, "solve", fail)
    with pytest.raises(SolverFailed, match="numbers out of range") as caught:
        solve_convex(PreferenceGame([[0.5, 1.0], [0.0, 0.5]], temperature=0.1))
    assert caught.value.solver == "CLARABEL"
    assert isinstance(caught.value, NlhfError)


def test_an_inaccurate_status_is_passed_on_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nlhf.exact.convex._TOLERANCE", 1e-30)
    found = solve_convex(PreferenceGame([[0.5, 0.9], [0.1, 0.5]], temperature=0.1))[0]
    assert found.status == "optimal_inaccurate"
    assert found.upper - found.lower <= 1e-9


def test_thin_factors_are_refused() -> None:
    low_rank = LowRankPreference([[0.1, 0.2], [0.3, 0.1]], [[0.0, 0.5], [-0.5, 0.0]])
    with pytest.raises(Unsupported, match="thin factors"):
        solve_convex(PreferenceGame(low_rank, temperature=0.1))
