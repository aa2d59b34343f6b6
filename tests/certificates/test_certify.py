"""The certificate against the definition, in fifty digits and by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nlhf
from nlhf.results import Knows, Quantity
from tests.definition import definition
from tests.instances import distributions, preferences, temperatures

games = preferences().flatmap(
    lambda p: st.tuples(
        st.just(p), distributions(p.shape[0]), distributions(p.shape[0]), temperatures
    )
)


@given(games)
def test_the_gap_is_its_definition_in_fifty_digits(case):
    p, reference, policy, temperature = case
    game = nlhf.PreferenceGame(p, reference, temperature)
    certificate = nlhf.certify(game, policy)
    truth = float(definition(p, reference, temperature, policy))
    assert certificate.bound.value == pytest.approx(truth, rel=1e-9, abs=1e-13)
    slack = 1e-12 * (1 + truth)  # float64 input against exact arithmetic on the same floats
    assert certificate.bound.low - slack <= truth <= certificate.bound.high + slack


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
