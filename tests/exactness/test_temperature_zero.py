"""Temperature 0: LP duals, brute force over subgames, and the maximum-entropy selection."""

from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.solvers.instances import FAMILIES, REFERENCES
from nlhf import PreferenceGame, Stream, ZeroSumGame, certify, solve
from nlhf.exact.entropy import least_divergence
from nlhf.exact.enumeration import Vector, enumerate_equilibria
from nlhf.exact.matrix_game import MAXIMUM_ENTROPY, solve_vertex
from tests.definition import duality_gap, self_play_gap
from tests.instances import distributions

LP_ACCURACY = 1e-9
EIGHTHS = st.integers(-4, 4)
"""Payoffs in eighths are exact in binary, so brute force and floats see the same game."""


@st.composite
def margins(draw: st.DrawFn, largest: int = 5) -> np.ndarray:
    """P − 1/2, in eighths; small numbers make ties and several equilibria common."""
    n = draw(st.integers(1, largest))
    entries = draw(st.lists(EIGHTHS, min_size=n * n, max_size=n * n))
    upper = np.triu(np.reshape(entries, (n, n)), 1) / 8.0
    return upper - upper.T


@st.composite
def matrices(draw: st.DrawFn, largest: int = 4) -> np.ndarray:
    n, m = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    entries = draw(st.lists(EIGHTHS, min_size=n * m, max_size=n * m))
    return np.reshape(entries, (n, m)) / 8.0


def least_divergence_among(extreme: tuple[Vector, ...], mu: np.ndarray) -> np.ndarray:
    """Return the mixture of the extreme strategies with the least KL to the reference."""
    corners = np.array([[float(p) for p in corner] for corner in extreme])
    weights = cp.Variable(len(corners), nonneg=True)
    mixture = corners.T @ weights
    cost = -cp.sum(cp.entr(mixture)) - np.log(mu) @ mixture
    problem = cp.Problem(cp.Minimize(cost), [cp.sum(weights) == 1])
    problem.solve(solver=cp.CLARABEL, warm_start=False)
    assert problem.status == "optimal"
    chosen = np.maximum(weights.value, 0.0)
    return np.asarray(chosen / chosen.sum() @ corners)


def divergence(p: np.ndarray, mu: np.ndarray) -> float:
    live = p > 0
    return float(np.sum(p[live] * np.log(p[live] / mu[live])))


@given(st.data())
def test_the_selection_is_the_mixture_of_brute_forced_equilibria_of_least_divergence(
    data: st.DataObject,
) -> None:
    margin = data.draw(margins())
    mu = data.draw(distributions(len(margin), least=1e-3))
    solution = solve(PreferenceGame(0.5 + margin, mu))
    found = enumerate_equilibria(margin.tolist())
    assert found.value == 0
    assert found.rows == found.columns
    assert solution.provenance.choices == (MAXIMUM_ENTROPY,)
    assert self_play_gap(0.5 + margin, solution.log_policy, np.log(mu), 0.0) <= 1e-10
    best = least_divergence_among(found.rows, mu)
    # KL(x|mu) is 1-strongly convex in ‖·‖₁, so 1e-8 in value is 2e-4 in policy.
    assert abs(divergence(solution.policy, mu) - divergence(best, mu)) <= 1e-6
    assert np.abs(solution.policy - best).sum() <= 1e-3


@given(st.data())
def test_both_players_of_any_matrix_game_agree_with_brute_force(data: st.DataObject) -> None:
    a = data.draw(matrices())
    mu = data.draw(distributions(a.shape[0], least=1e-3))
    nu = data.draw(distributions(a.shape[1], least=1e-3))
    found = enumerate_equilibria(a.tolist())
    row, column = solve(ZeroSumGame(a, (mu, nu))).profile
    assert row.probabilities @ a @ column.probabilities == pytest.approx(float(found.value))
    for policy, extreme, reference in ((row, found.rows, mu), (column, found.columns, nu)):
        best = least_divergence_among(extreme, reference)
        assert np.abs(policy.probabilities - best).sum() <= 1e-3


@given(matrices(5))
def test_linear_programming_returns_a_vertex_and_its_dual_that_brute_force_knows(
    a: np.ndarray,
) -> None:
    vertex, found = solve_vertex(a), enumerate_equilibria(a.tolist())
    assert vertex.value == pytest.approx(float(found.value), abs=LP_ACCURACY)
    for strategy, extreme in ((vertex.row, found.rows), (vertex.column, found.columns)):
        corners = np.array([[float(p) for p in corner] for corner in extreme])
        assert np.abs(corners - strategy).sum(axis=1).min() <= LP_ACCURACY


@pytest.mark.parametrize("family", FAMILIES)
def test_linear_programming_duals_certify_each_other_on_hard_games(family: str) -> None:
    for size in (1, 2, 3, 10, 30, 100):
        rng = Stream(8).child(family, size).generator()
        for p in FAMILIES[family](rng, 3, size):
            vertex = solve_vertex(p)
            assert vertex.value == pytest.approx(0.5, abs=LP_ACCURACY)
            secured = (vertex.row @ p).min()
            conceded = (p @ vertex.column).max()
            assert secured <= conceded + 1e-14
            assert conceded - secured <= LP_ACCURACY


@pytest.mark.parametrize("family", FAMILIES)
def test_hard_games_without_temperature_have_no_gap_and_the_named_selection(family: str) -> None:
    for reference, draw in REFERENCES.items():
        for size in (1, 2, 3, 5, 10, 30):
            rng = Stream(9).child(family, reference, size).generator()
            p, mu = FAMILIES[family](rng, 4, size), draw(rng, 4, size)
            solution = solve(PreferenceGame(p, mu))
            assert solution.provenance.choices == (MAXIMUM_ENTROPY,)
            for x in range(len(p)):
                gap = self_play_gap(p[x], solution.log_policy[x], np.log(mu[x]), 0.0)
                assert gap <= 1e-11


@given(st.data())
def test_the_selection_is_the_limit_of_the_branch(data: st.DataObject) -> None:
    margin = data.draw(margins())
    mu = data.draw(distributions(len(margin), least=1e-2))
    limit = solve(PreferenceGame(0.5 + margin, mu))
    far, near = (solve(PreferenceGame(0.5 + margin, mu, t)).policy for t in (1e-3, 1e-6))
    assert np.abs(near - limit.policy).sum() <= 1e-3
    # The regularised policy weighs the same payoffs against divergence: it stays closer to mu.
    assert divergence(far, mu) <= divergence(near, mu) + 1e-12
    assert divergence(near, mu) <= divergence(limit.policy, mu) + 1e-9


@given(st.tuples(*[st.integers(1, 50)] * 3))
def test_weighted_rock_paper_scissors_is_won_with_the_opposite_weights(
    weights: tuple[int, int, int],
) -> None:
    a, b, c = (w / 100 for w in weights)
    p = 0.5 + np.array([[0, a, -b], [-a, 0, c], [b, -c, 0]])
    expected = np.array([c, b, a]) / (a + b + c)
    for mu in ([1 / 3] * 3, [0.7, 0.2, 0.1]):  # unique, so the reference has no say
        np.testing.assert_allclose(solve(PreferenceGame(p, mu)).policy, expected, atol=1e-10)
    exact = enumerate_equilibria([[0, a, -b], [-a, 0, c], [b, -c, 0]]).rows
    assert [float(q) for q in exact[0]] == pytest.approx(expected.tolist())


def test_rock_paper_scissors_with_two_papers_shares_paper_as_the_reference_does() -> None:
    p = np.array([[0.5, 0, 0, 1], [1, 0.5, 0.5, 0], [1, 0.5, 0.5, 0], [0, 1, 1, 0.5]])
    policy = solve(PreferenceGame(p, [0.1, 0.5, 0.3, 0.1])).policy
    third = 1 / 3
    np.testing.assert_allclose(policy, [third, third * 5 / 8, third * 3 / 8, third], atol=1e-10)


def test_when_everyone_is_indifferent_the_reference_is_selected() -> None:
    mu = np.array([0.7, 0.2, 0.1 - 1e-6, 1e-6])
    np.testing.assert_allclose(solve(PreferenceGame(np.full((4, 4), 0.5), mu)).policy, mu)


@given(st.data())
def test_a_condorcet_winner_is_played_surely(data: st.DataObject) -> None:
    margin = data.draw(margins())
    winner = data.draw(st.integers(0, len(margin) - 1))
    margin[winner], margin[:, winner] = 0.25, -0.25
    margin[winner, winner] = 0.0
    mu = data.draw(distributions(len(margin), least=1e-9))
    expected = np.eye(len(margin))[winner]
    np.testing.assert_allclose(solve(PreferenceGame(0.5 + margin, mu)).policy, expected, atol=1e-10)


def test_every_checker_of_an_equilibrium_refuses_a_wrong_one() -> None:
    """Control: the transposed game's equilibrium, and the equilibrium's mirror image."""
    p = 0.5 + np.array([[0, 0.1, -0.3], [-0.1, 0, 0.5], [0.3, -0.5, 0]])
    right = np.array([5, 3, 1]) / 9
    wrong = right[::-1]
    flat = np.full(3, -np.log(3))
    assert self_play_gap(p, np.log(right), flat, 0.0) <= 1e-15
    assert self_play_gap(p, np.log(wrong), flat, 0.0) >= 0.05
    assert certify(PreferenceGame(p), wrong).bound.low >= 0.05
    # A skew game's transpose has the same equilibria; a general one does not.
    a = np.array([[3.0, 0.0], [1.0, 2.0]])
    vertex = solve_vertex(a.T)
    logs = np.log(np.maximum(np.array([vertex.row, vertex.column]), 1e-300))
    assert duality_gap(a, logs[0], logs[1], (flat[:2], flat[:2]), (0.0, 0.0)) >= 0.1
    assert enumerate_equilibria(a.tolist()).value == Fraction(3, 2)


def test_selecting_without_the_reference_is_noticed() -> None:
    """Control: another equilibrium of the same game has a larger divergence."""
    mu = np.array([0.7, 0.2, 0.1])
    ties = np.full((3, 3), 0.5)
    best = least_divergence_among(enumerate_equilibria(np.zeros((3, 3)).tolist()).rows, mu)
    unaware = solve(PreferenceGame(ties)).policy
    assert np.abs(best - mu).sum() <= 1e-4
    assert np.abs(best - unaware).sum() > 0.5


def test_a_reference_that_is_optimal_is_returned_without_a_step() -> None:
    reference = np.log([0.2, 0.3, 0.5])
    matrix = np.array([[3.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
    everything, both = np.ones(3, dtype=bool), np.ones(2, dtype=bool)
    found = least_divergence(matrix, everything, both, reference)
    assert (found.converged, found.iterations) == (True, 0)
    np.testing.assert_allclose(np.exp(found.log_policy), np.exp(reference), rtol=1e-15)
    tilted = least_divergence(2.0 * matrix + [[1.0, 0.0]], everything, both, reference)
    assert tilted.converged
    assert tilted.iterations > 0
