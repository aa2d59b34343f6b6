"""The certificate against the definition, in eighty digits and by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nlhf
from nlhf.results import Knows, Quantity
from tests.definition import duality_gap, self_play_gap
from tests.instances import distributions, preferences, temperatures

games = preferences().flatmap(
    lambda p: st.tuples(
        st.just(p), distributions(p.shape[0]), distributions(p.shape[0]), temperatures
    )
)


@st.composite
def duels(draw):
    """What makes a game of two players of unequal temperatures, and a profile of full support."""
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    entries = st.lists(st.floats(-3, 3), min_size=rows * columns, max_size=rows * columns)
    matrix = np.array(draw(entries)).reshape(rows, columns)
    references = draw(distributions(rows)), draw(distributions(columns))
    both = draw(st.lists(temperatures, min_size=2, max_size=2, unique=True))
    profile = draw(distributions(rows)), draw(distributions(columns))
    return (matrix, references, both), profile


def in_eighty_digits(game: nlhf.ZeroSumGame, row: nlhf.Policy, column: nlhf.Policy):
    """The duality gap of the floats that are stored."""
    logs = tuple(reference.log_probabilities for reference in game.references)
    profile = row.log_probabilities, column.log_probabilities
    return duality_gap(game.payoff.matrix, *profile, logs, game.temperatures)


def assert_contains(bound: nlhf.results.Bound, truth, scale: float) -> None:
    assert bound.low <= truth <= bound.high
    assert bound.high - bound.low <= 1e-8 * (scale + float(truth)), "a bound that says something"


@given(games)
def test_the_bound_contains_the_gap_of_the_stored_policy(case):
    p, reference, probabilities, temperature = case
    game = nlhf.PreferenceGame(p, reference, temperature)
    (policy,) = game.as_profile(probabilities)
    logs = policy.log_probabilities, game.reference.log_probabilities
    truth = self_play_gap(game.payoff.matrix, *logs, temperature)
    assert_contains(nlhf.certify(game, policy).bound, truth, 1 + temperature)
    assert_contains(nlhf.exploitability(game, policy).bound, truth / 2, 1 + temperature)


@given(games)
def test_the_bound_of_a_solution_contains_its_gap(case):
    p, reference, _, temperature = case
    game = nlhf.PreferenceGame(p, reference, temperature)
    solution = nlhf.solve(game)
    logs = solution.log_policy, game.reference.log_probabilities
    truth = self_play_gap(game.payoff.matrix, *logs, temperature)
    assert_contains(solution.certificate.bound, truth, 1 + temperature)


@given(duels())
def test_the_bound_contains_the_gap_of_two_players_and_of_their_solution(case):
    drawn, probabilities = case
    game = nlhf.ZeroSumGame(*drawn)
    for profile in (game.as_profile(probabilities), nlhf.solve(game).profile):
        bound = nlhf.certify(game, profile).bound
        assert_contains(bound, in_eighty_digits(game, *profile), 3 + sum(game.temperatures))


@given(preferences(), st.integers(0, 1000))
def test_at_temperature_zero_the_bound_contains_the_gap(p, seed):
    game = nlhf.PreferenceGame(p)
    (policy,) = game.as_profile(np.random.default_rng(seed).dirichlet(np.ones(p.shape[0])))
    logs = policy.log_probabilities, game.reference.log_probabilities
    truth = self_play_gap(game.payoff.matrix, *logs, 0.0)
    assert_contains(nlhf.certify(game, policy).bound, truth, 1.0)


@given(games)
def test_self_play_and_two_players_have_the_same_gap(case):
    p, reference, policy, temperature = case
    game = nlhf.PreferenceGame(p, reference, temperature)
    one = nlhf.certify(game, policy).bound.value
    two = nlhf.certify(game.two_player(), (policy, policy)).bound.value
    assert one == pytest.approx(two, rel=1e-9, abs=1e-15)
    assert nlhf.exploitability(game, policy).bound.value == pytest.approx(one / 2, rel=1e-12)


@given(games, st.integers(0, 1000))
def test_no_deviation_gains_more_than_the_witness(case, seed):
    p, reference, policy, temperature = case
    game = nlhf.PreferenceGame(p, reference, temperature)
    gain = nlhf.exploitability(game, policy)
    reference, policy = reference / reference.sum(), policy / policy.sum()

    def utility(x: np.ndarray) -> float:
        live = x > 0
        return float(x @ p @ policy - temperature * x[live] @ np.log(x[live] / reference[live]))

    best = utility(gain.witness[0].probabilities) - utility(policy)
    scale = 1e-11 * (1 + temperature * 30)
    assert best == pytest.approx(gain.bound.value, abs=scale)
    other = np.random.default_rng(seed).dirichlet(np.ones(len(policy)))
    assert utility(other) - utility(policy) <= gain.bound.high + scale


@given(games)
def test_the_distance_bound_holds(case):
    p, reference, policy, temperature = case
    game = nlhf.PreferenceGame(p, reference, temperature)
    equilibrium = nlhf.solve(game)
    certificate = nlhf.certify(game, policy)
    truth = np.abs(policy / policy.sum() - equilibrium.policy).sum()
    assert truth <= certificate.distance[0, 0] + equilibrium.certificate.distance[0, 0]


def distances(profile, equilibrium) -> np.ndarray:
    return np.array([np.abs(p - q).sum() for p, q in zip(profile, equilibrium, strict=True)])


@given(duels(), st.sampled_from([(True, True), (True, False), (False, True)]))
def test_the_distance_bounds_of_two_players_hold_and_each_has_its_own_temperature(case, moved):
    """Where payoffs do not depend on the opponent, the equilibrium is a closed form."""
    (matrix, references, (t1, t2)), probabilities = case
    earned, paid = matrix[:, :1], matrix[:1]
    game = nlhf.ZeroSumGame(earned + paid, references, (t1, t2))
    best = [references[0] * np.exp(earned[:, 0] / t1), references[1] * np.exp(-paid[0] / t2)]
    equilibrium = [weights / weights.sum() for weights in best]
    profile = [p if m else q for p, q, m in zip(probabilities, equilibrium, moved, strict=True)]
    bounds = nlhf.certify(game, profile).distance
    assert bounds.shape == (2, 1)
    assert (distances(profile, equilibrium) <= bounds[:, 0] + 1e-13).all()


@given(duels())
def test_the_distance_bounds_of_two_players_hold_at_the_solved_equilibrium(case):
    drawn, profile = case
    game = nlhf.ZeroSumGame(*drawn)
    solution = nlhf.solve(game)
    equilibrium = [policy.probabilities for policy in solution.profile]
    allowed = nlhf.certify(game, profile).distance + solution.certificate.distance
    assert (distances(profile, equilibrium) <= allowed[:, 0]).all()


def test_the_colder_player_may_be_nearer_and_the_hotter_farther_only_by_its_own_temperature():
    """Nothing at stake: the gap is τ₁KL(x‖μ), and ‖x − μ‖₁ is within 1 % of √(2 KL(x‖μ))."""
    half, near = [0.5, 0.5], [0.55, 0.45]
    for temperatures_, profile, player in (
        ((0.01, 10.0), (near, half), 0),
        ((10.0, 0.01), (half, near), 1),
    ):
        game = nlhf.ZeroSumGame(np.zeros((2, 2)), (half, half), temperatures_)
        bound = nlhf.certify(game, profile).distance[player, 0]
        assert 0.1 <= bound <= 0.101


@given(preferences(), st.integers(0, 1000))
def test_at_temperature_zero_the_gap_is_the_best_pure_deviation(p, seed):
    policy = np.random.default_rng(seed).dirichlet(np.ones(p.shape[0]))
    certificate = nlhf.certify(nlhf.PreferenceGame(p), policy)
    brute = 2 * (
        max(sum(p[i, j] * policy[j] for j in range(len(policy))) for i in range(len(p))) - 0.5
    )
    assert certificate.bound.value == pytest.approx(brute, abs=1e-14)
    assert certificate.distance[0, 0] == 2.0


def test_contexts_are_weighted_by_the_prompt_distribution():
    rng = np.random.default_rng(0)
    p = np.stack([np.full((3, 3), 0.5), cycle()])
    weights = [0.9, 0.1]
    policy = rng.dirichlet(np.ones(3), size=2)
    whole = nlhf.certify(nlhf.PreferenceGame(p, temperature=0.1, weights=weights), policy)
    parts = [
        nlhf.certify(nlhf.PreferenceGame(q, temperature=0.1), x).bound.value
        for q, x in zip(p, policy, strict=True)
    ]
    np.testing.assert_allclose(whole.per_context, parts, rtol=1e-13)
    assert whole.bound.value == pytest.approx(np.dot(weights, parts), rel=1e-13)
    assert whole.quantity is Quantity.DUALITY_GAP
    assert whole.bound.knows is Knows.EXACT


def test_control_a_certificate_at_another_temperature_or_transposed_game_does_not_vanish():
    game = nlhf.PreferenceGame(cycle(), [0.2, 0.3, 0.5], 0.1)
    policy = nlhf.solve(game).policy
    assert nlhf.certify(game, policy).bound.value < 1e-25
    for wrong in (
        nlhf.PreferenceGame(cycle(), [0.2, 0.3, 0.5], 0.11),
        nlhf.PreferenceGame(cycle().T, [0.2, 0.3, 0.5], 0.1),
        nlhf.PreferenceGame(cycle(), None, 0.1),
    ):
        assert nlhf.certify(wrong, policy).bound.value > 1e-7


def cycle() -> np.ndarray:
    return np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])


def test_the_certificate_says_how_the_best_responses_of_both_players_were_found():
    matrix = [[0.0, 1.0], [-1.0, 0.5]]
    methods = {
        (0.0, 0.0): "best response by enumeration",
        (0.3, 0.7): "best response in closed form",
        (0.0, 0.7): "best response by enumeration and in closed form",
    }
    for both, method in methods.items():
        game = nlhf.ZeroSumGame(matrix, temperatures=both)
        assert nlhf.certify(game, game.start()).method == method
