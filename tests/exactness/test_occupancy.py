"""Another route: one convex program over occupancies, by an interior-point method."""

import cvxpy
import numpy as np
import pytest

from nlhf import MarkovGame, Stream, TokenTree, TrajectoryGame, certify, solve
from nlhf.errors import SolverFailed, Unsupported
from nlhf.exact.occupancy import solve_occupancy
from tests.exactness.test_sequential import KINDS, SETTINGS, game_of
from tests.processes.drawn import random_preference

TEMPERATURES = (10.0, 1.0, 0.1, 1e-2, 1e-3)


def stream(*labels):
    return Stream(9).child("occupancies", *map(str, labels)).generator()


def apart(game, policy, other):
    """Return KL(policy‖other) between trajectories."""
    return game.spaces[0].divergence(policy, other).value


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_newton_and_the_convex_program_agree_within_what_their_gaps_allow(setting, temperature):
    for kind in ("uniform", "tournament"):
        game = game_of(setting, temperature, stream(setting, temperature, kind), kind)
        ours, theirs = solve(game), solve_occupancy(game)
        for policy in (theirs.row, theirs.column):
            gap = certify(game, policy).bound.high
            # KL(π‖π*) ≤ gap/τ in self-play, up to the rounding of both.
            allowed = gap + ours.certificate.bound.high
            assert temperature * apart(game, policy, ours.profile[0]) <= allowed + 1e-15
            assert gap <= 1e-7
        if theirs.status == "optimal":
            assert max(theirs.upper - 0.5, 0.5 - theirs.lower) <= 1e-9


@pytest.mark.parametrize("temperature", [*TEMPERATURES, 0.0])
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_the_strategies_concede_is_half_their_certified_gap(setting, temperature):
    game = game_of(setting, temperature, stream("concede", setting, temperature))
    theirs = solve_occupancy(game)
    lost = (0.5 - theirs.lower, theirs.upper - 0.5)
    for policy, conceded in zip((theirs.row, theirs.column), lost, strict=True):
        certificate = certify(game, policy).bound
        # Value iteration stops at 1e-14 a sweep, and a discount of 0.99 adds up a hundred.
        assert conceded == pytest.approx(certificate.value / 2, rel=1e-6, abs=2e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_at_temperature_zero_both_strategies_are_optimal(setting, kind):
    game = game_of(setting, 0.0, stream("zero", setting, kind), kind)
    theirs = solve_occupancy(game)
    assert theirs.upper - theirs.lower <= 1e-8
    assert solve(game).certificate.bound.value <= 1e-10


@pytest.mark.parametrize("setting", ["both", "discounted", "histories"])
def test_the_comparison_notices_a_transposed_preference_and_a_wrong_temperature(setting):
    """Control: such an equilibrium is further away than the gap of the program allows."""
    temperature = 0.1
    game = game_of(setting, temperature, stream("control", setting))
    theirs = solve_occupancy(game)
    allowed = certify(game, theirs.column).bound.high / temperature
    warmer = solve(game_of(setting, 1.1 * temperature, stream("control", setting))).profile[0]
    assert apart(game, theirs.column, warmer) > 100 * allowed + 1e-9
    other = solve(_transposed(game)).profile[0]
    assert apart(game, theirs.column, other) > 100 * allowed + 1e-9


def _transposed(game):
    if isinstance(game, TrajectoryGame):
        swapped = np.swapaxes(game.preference, -1, -2)
        return TrajectoryGame(game.process, swapped, game.reference, game.temperature)
    step = np.swapaxes(game.step.matrix, -1, -2)
    last = None if game.final_weight == 0.0 else game.final.matrix.T
    weight = None if last is None else game.final_weight
    return MarkovGame(
        game.process, step, last, weight, reference=game.reference, temperature=game.temperature
    )


def test_a_failed_solve_is_an_error_that_names_solver_and_status(monkeypatch):
    def fail(self, **options):
        raise cvxpy.error.SolverError("numbers out of range")

    monkeypatch.setattr(cvxpy.Problem, "solve", fail)
    with pytest.raises(SolverFailed, match="numbers out of range") as caught:
        solve_occupancy(game_of("both", 0.1, stream("failed")))
    assert caught.value.solver == "CLARABEL"


def test_contexts_are_refused():
    tree = TokenTree(2, 2, contexts=2)
    game = TrajectoryGame(tree, random_preference(stream("contexts"), 4, 2), temperature=0.1)
    with pytest.raises(Unsupported, match="2 contexts"):
        solve_occupancy(game)
