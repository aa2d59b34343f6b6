"""What an exact solver must not notice: order, batching, representation, shifts, duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.solvers.instances import FAMILIES, low_rank
from nlhf import LowRankPayoff, LowRankPreference, PreferenceGame, Stream, ZeroSumGame, solve
from tests.instances import distributions, preferences, temperatures

ROUNDING = 1e-13
"""Payoff rounding of 1e-16 per response, doubled by every route; a temperature divides it."""


def close(p: np.ndarray, q: np.ndarray, temperature: float) -> bool:
    """Whether policies agree to rounding in the payoff, seen through the temperature."""
    return bool(np.abs(p - q).sum(axis=-1).max() <= ROUNDING * (1.0 + 1.0 / temperature))


@st.composite
def preference_games(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    p = draw(preferences(min_n=1))
    return p, draw(distributions(len(p))), draw(temperatures)


@st.composite
def zero_sum_games(
    draw: st.DrawFn,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[float, float]]:
    n, m = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    entries = draw(st.lists(st.floats(-2.0, 2.0), min_size=n * m, max_size=n * m))
    references = (draw(distributions(n)), draw(distributions(m)))
    return np.reshape(entries, (n, m)), references, (draw(temperatures), draw(temperatures))


@given(preference_games(), st.randoms(use_true_random=False))
def test_permuting_responses_permutes_the_policy(game, random) -> None:
    p, mu, temperature = game
    order = list(range(len(p)))
    random.shuffle(order)
    straight = solve(PreferenceGame(p, mu, temperature)).policy
    shuffled = solve(PreferenceGame(p[np.ix_(order, order)], mu[order], temperature)).policy
    assert close(shuffled, straight[order], temperature)


@given(preference_games(), st.data())
def test_a_duplicated_response_shares_its_probability_and_changes_no_other(game, data) -> None:
    p, mu, temperature = game
    twin = data.draw(st.integers(0, len(p) - 1))
    share = data.draw(st.floats(1e-3, 1 - 1e-3))
    rows = [*range(len(p)), twin]
    weights = np.append(mu, share * mu[twin])
    weights[twin] *= 1.0 - share
    single = solve(PreferenceGame(p, mu, temperature)).policy
    double = solve(PreferenceGame(p[np.ix_(rows, rows)], weights, temperature)).policy
    merged = double[:-1].copy()
    merged[twin] += double[-1]
    assert close(merged, single, temperature)
    assert double[-1] == pytest.approx(share * single[twin], rel=1e-9, abs=1e-300)


@given(preference_games())
def test_two_players_of_a_symmetric_game_both_play_the_self_play_policy(game) -> None:
    single = PreferenceGame(*game)
    policy = solve(single).policy
    for strategy in solve(single.two_player()).profile:
        assert close(strategy.probabilities, policy, game[2])


@given(zero_sum_games(), st.floats(-50.0, 50.0), st.sampled_from([0.01, 1.0, 100.0]))
def test_shifting_payoffs_and_scaling_them_with_the_temperatures_change_nothing(
    game, shift, scale
) -> None:
    a, references, (t1, t2) = game
    plain = solve(ZeroSumGame(a, references, (t1, t2))).profile
    moved = solve(ZeroSumGame(scale * (a + shift), references, (scale * t1, scale * t2))).profile
    for one, other in zip(plain, moved, strict=True):
        assert close(one.probabilities, other.probabilities, min(t1, t2) / (4 + abs(shift)))


@given(zero_sum_games())
def test_swapping_the_players_swaps_the_strategies(game) -> None:
    a, (mu, nu), (t1, t2) = game
    x, y = solve(ZeroSumGame(a, (mu, nu), (t1, t2))).profile
    y_again, x_again = solve(ZeroSumGame(-a.T, (nu, mu), (t2, t1))).profile
    assert close(x.probabilities, x_again.probabilities, min(t1, t2))
    assert close(y.probabilities, y_again.probabilities, min(t1, t2))


@pytest.mark.parametrize("temperature", [0.0, 1e-3, 0.1, 1.0])
def test_a_batch_is_its_games_one_by_one(temperature: float) -> None:
    rng = Stream(13).child("batch").generator()
    p = np.concatenate([draw(rng, 9, 6) for draw in FAMILIES.values()])
    mu = rng.dirichlet(np.ones(6), size=len(p))
    batch = solve(PreferenceGame(p, mu, temperature))
    for x in range(len(p)):
        single = solve(PreferenceGame(p[x], mu[x], temperature)).policy
        assert np.abs(single - batch.policy[x]).sum() <= 1e-9
    a = rng.normal(size=(40, 3, 5))
    rows, columns = solve(ZeroSumGame(a, temperatures=(temperature, temperature))).profile
    for x in range(len(a)):
        row, column = solve(ZeroSumGame(a[x], temperatures=(temperature, temperature))).profile
        assert np.abs(row.probabilities - rows.probabilities[x]).sum() <= 1e-9
        assert np.abs(column.probabilities - columns.probabilities[x]).sum() <= 1e-9


@pytest.mark.parametrize("entries", [1, 36, 7 * 36, 40 * 36])
def test_a_batch_too_large_for_the_cache_is_solved_in_parts(
    entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Stream(13).child("parts").generator()
    p, mu = FAMILIES["uniform"](rng, 100, 6), rng.dirichlet(np.ones(6), size=100)
    a = rng.normal(size=(100, 2, 4))
    whole = solve(PreferenceGame(p, mu, 0.05))
    players = solve(ZeroSumGame(a, temperatures=(0.05, 0.3))).profile
    monkeypatch.setattr("nlhf.exact.regularised._IN_CACHE", entries)
    assert close(solve(PreferenceGame(p, mu, 0.05)).policy, whole.policy, 0.05)
    again = solve(ZeroSumGame(a, temperatures=(0.05, 0.3))).profile
    for one, other in zip(players, again, strict=True):
        assert close(one.probabilities, other.probabilities, 0.05)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 1e-3])
@pytest.mark.parametrize("size", [1, 2, 7, 60, 600])
def test_thin_factors_and_their_product_are_the_same_game(size: int, temperature: float) -> None:
    rng = Stream(14).child("thin", size).generator()
    thin = low_rank(rng, size, 4)
    dense = 0.5 + thin.features @ thin.skew @ thin.features.T
    mu = rng.dirichlet(np.ones(size))
    factored = solve(PreferenceGame(thin, mu, temperature))
    written = solve(PreferenceGame(dense, mu, temperature))
    assert close(factored.policy, written.policy, temperature)
    assert factored.certificate.bound.high <= 1e-12


def test_thin_factors_of_a_two_player_game_are_the_same_game() -> None:
    rng = Stream(14).child("two").generator()
    left, right = rng.normal(size=(9, 2)), rng.normal(size=(12, 2))
    references = (rng.dirichlet(np.ones(9)), rng.dirichlet(np.ones(12)))
    for ts in ((0.3, 0.3), (0.05, 0.7), (0.0, 0.0)):
        thin = solve(ZeroSumGame(LowRankPayoff(left, right, 0.25), references, ts)).profile
        dense = solve(ZeroSumGame(left @ right.T + 0.25, references, ts)).profile
        for one, other in zip(thin, dense, strict=True):
            assert np.abs(one.probabilities - other.probabilities).sum() <= 1e-9


def test_temperature_zero_accepts_thin_factors() -> None:
    rng = Stream(14).child("zero").generator()
    thin = low_rank(rng, 12, 4)
    dense = 0.5 + thin.features @ thin.skew @ thin.features.T
    one, other = solve(PreferenceGame(thin)).policy, solve(PreferenceGame(dense)).policy
    assert np.abs(one - other).sum() <= 1e-8


@pytest.mark.parametrize("family", ["uniform", "tournament", "cycle", "near_deterministic"])
def test_an_invariance_that_does_not_hold_is_seen_to_fail(family: str) -> None:
    """Control: the same comparisons reject a transposed payoff, a lost reference or temperature."""
    rng = Stream(15).child(family).generator()
    p, mu = FAMILIES[family](rng, 1, 6)[0], rng.dirichlet(np.ones(6))
    right = solve(PreferenceGame(p, mu, 0.1)).policy
    assert not close(solve(PreferenceGame(p.T, mu, 0.1)).policy, right, 0.1)
    assert not close(solve(PreferenceGame(p, None, 0.1)).policy, right, 0.1)
    assert not close(solve(PreferenceGame(p, mu, 0.1001)).policy, right, 0.1)
    skew = np.array([[0.0, 0.5], [-0.5, 0.0]])
    features = rng.normal(size=(6, 2)) / 4
    thin = solve(PreferenceGame(LowRankPreference(features, skew), mu, 0.1)).policy
    turned = solve(PreferenceGame(LowRankPreference(features, -skew), mu, 0.1)).policy
    assert not close(thin, turned, 0.1)
