"""The exact solver against the definition of the duality gap: 2058 games x 6 temperatures."""

import numpy as np
import pytest

from benchmarks.solvers.instances import FAMILIES, REFERENCES
from nlhf import PreferenceGame, Stop, Stream, certify, solve
from nlhf.errors import Approximate
from nlhf.numerics import EPSILON
from tests.definition import duality_gap, self_play_gap

TEMPERATURES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-5)
CONTEXTS = {1: 2, 2: 6, 3: 40, 5: 8, 10: 36, 30: 4, 100: 2}
"""How many games of each size, per family and reference; batches of 32 and more are solved by
products instead of factorisations."""
IN_FIFTY_DIGITS = {1: 1, 2: 2, 3: 3, 5: 2, 10: 1, 30: 1, 100: 1}
"""How many of these are judged by the definition, in fifty digits."""
GAP = 1e-12


def drawn(family: str, reference: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = Stream(2).child(family, reference, size).generator()
    count = CONTEXTS[size]
    return FAMILIES[family](rng, count, size), REFERENCES[reference](rng, count, size)


def test_there_are_more_than_500_games() -> None:
    assert sum(CONTEXTS.values()) * len(FAMILIES) * len(REFERENCES) == 2058


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_hard_game_is_solved_to_a_duality_gap_below_1e_12(
    family: str, temperature: float
) -> None:
    for reference in REFERENCES:
        for size in CONTEXTS:
            p, mu = drawn(family, reference, size)
            game = PreferenceGame(p, mu, temperature)
            solution = solve(game)
            assert solution.stop is Stop.SOLVER
            assert solution.certificate.per_context.max() <= GAP
            assert solution.certificate.bound.high <= GAP
            for x in range(IN_FIFTY_DIGITS[size]):
                gap = self_play_gap(
                    p[x], solution.log_policy[x], game.reference.log_probabilities[x], temperature
                )
                assert abs(gap) <= GAP


@pytest.mark.parametrize("family", FAMILIES)
def test_the_certificate_equals_the_definition_at_random_profiles(family: str) -> None:
    rng = Stream(3).child("profiles", family).generator()
    for temperature in TEMPERATURES:
        for reference in REFERENCES:
            p, mu = drawn(family, reference, 5)
            game = PreferenceGame(p, mu, temperature)
            logits = rng.normal(scale=3.0, size=mu.shape)
            policy = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
            certificate = certify(game, policy)
            for x in range(2):
                gap = self_play_gap(
                    p[x], np.log(policy[x]), game.reference.log_probabilities[x], temperature
                )
                claimed = certificate.per_context[x]
                scale = 1.0 + temperature * np.abs(np.log(mu)).max()
                assert abs(gap - claimed) <= 64 * EPSILON * scale


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_no_equilibrium_of_distinct_games_passes_for_another(temperature: float) -> None:
    """Control: a transposed payoff or a wrong temperature leaves a gap above the tolerance."""
    p, mu = drawn("uniform", "spread_reference", 5)
    game = PreferenceGame(p, mu, temperature)
    transposed = solve(PreferenceGame(np.swapaxes(p, 1, 2), mu, temperature)).log_policy
    warmer = solve(PreferenceGame(p, mu, 1.1 * temperature)).log_policy
    no_reference = solve(PreferenceGame(p, None, temperature)).log_policy
    logs = game.reference.log_probabilities
    for wrong in (transposed, warmer, no_reference):
        gaps = [float(self_play_gap(p[x], wrong[x], logs[x], temperature)) for x in range(len(p))]
        assert max(gaps) > 100 * GAP
        assert certify(game, np.exp(wrong)).per_context.max() > 100 * GAP


def test_fifty_digits_see_a_wrong_sign_of_the_column_player() -> None:
    """Control: the definition itself is not symmetric in the roles."""
    rng = Stream(4).child("roles").generator()
    a = rng.normal(size=(3, 4))
    flat = (np.full(3, -np.log(3)), np.full(4, -np.log(4)))
    x, y = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4))
    right = duality_gap(a, np.log(x), np.log(y), flat, (0.1, 0.2))
    swapped = duality_gap(-a, np.log(x), np.log(y), flat, (0.1, 0.2))
    assert right > 0
    assert swapped > 0
    assert abs(right - swapped) > 1e-3


def astray() -> PreferenceGame:
    """One of five games in 87,000 whose first walk along the branch ends beside it."""
    p = np.full((5, 5), 0.5)
    rows, columns = np.triu_indices(5, 1)
    p[rows, columns] = [0.63, 0.81, 0.46, 0.22, 0.98, 0.62, 0.29, 0.87, 0.66, 0.9]
    p[columns, rows] = 1.0 - p[rows, columns]
    mu = np.array([1.0, 1e-12, 1e-12, 1e-12, 1e-12])
    return PreferenceGame(p, mu / mu.sum(), 1.1e-5)


def test_a_context_that_leaves_the_branch_sets_out_again() -> None:
    game = astray()
    solution = solve(game)
    logs = game.reference.log_probabilities
    assert solution.stop is Stop.SOLVER
    assert abs(self_play_gap(game.payoff.matrix, solution.log_policy, logs, 1.1e-5)) <= GAP


def test_without_setting_out_again_it_would_be_lost_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Control: an unfinished walk is never returned as if it were solved."""
    monkeypatch.setattr("nlhf.exact.branch._COLLAPSED", 0.0)
    with pytest.warns(Approximate, match="stalled"):
        solution = solve(astray())
    assert solution.stop is Stop.STALLED
    assert solution.certificate.bound.value > 1e-3
