"""The facade: what is solved how, why it stopped, and what is refused."""

import pickle

import numpy as np
import pytest
from hypothesis import given

import nlhf
from nlhf.errors import NotCertified, Unsupported
from nlhf.exact.regularised import solve_regularised
from nlhf.numerics import kl_divergence
from nlhf.results import Stop
from tests.instances import preferences, temperatures

CYCLE = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])


@given(preferences(), temperatures)
def test_extragradient_contracts_at_its_rate(p, temperature):
    game = nlhf.PreferenceGame(p, temperature=temperature)
    target = nlhf.solve(game).log_policy
    algorithm = nlhf.Extragradient(step_size=2.0)
    state = algorithm.init(game, game.start())
    start = float(kl_divergence(target, game.reference.log_probabilities))
    for k in range(1, 31):
        state = algorithm.step(game, state, nlhf.Stream(0))
        distance = float(kl_divergence(target, algorithm.profile(state)[0].log_probabilities))
        assert distance <= start * (1 + 2 * temperature) ** -k + 1e-14


@given(preferences(), temperatures)
def test_the_exact_equilibrium_is_a_fixed_point_of_extragradient(p, temperature):
    game = nlhf.PreferenceGame(p, temperature=temperature)
    profile = nlhf.solve(game).profile
    algorithm = nlhf.Extragradient()
    moved = algorithm.profile(algorithm.step(game, algorithm.init(game, profile), nlhf.Stream(0)))
    np.testing.assert_allclose(moved[0].probabilities, profile[0].probabilities, rtol=0, atol=1e-13)


def test_why_a_run_stopped_and_what_is_known_are_two_answers():
    game = nlhf.PreferenceGame(CYCLE, temperature=0.05)
    done = nlhf.solve(game, nlhf.Extragradient(), stop=nlhf.StopRule(gap=1e-10))
    assert done.stop is Stop.CERTIFIED
    assert done.require(1e-10) is done
    short = nlhf.solve(game, nlhf.Extragradient(), stop=nlhf.StopRule(1e-10, max_iterations=3))
    assert short.stop is Stop.BUDGET
    assert short.provenance.iterations == 3
    assert [row.iteration for row in short.trace.rows] == [0, 3]
    with pytest.raises(NotCertified, match="not the required 1e-10") as caught:
        short.require(1e-10)
    assert caught.value.solution is short
    assert pickle.loads(pickle.dumps(caught.value)).fix == caught.value.fix


def test_results_have_no_truth_value():
    solution = nlhf.solve(nlhf.PreferenceGame(CYCLE, temperature=0.1))
    for thing in (solution, solution.certificate, solution.certificate.bound, solution.stop):
        with pytest.raises(TypeError, match="no truth value"):
            bool(thing)


def test_an_asymmetric_game_has_a_profile_and_no_single_policy():
    solution = nlhf.solve(nlhf.ZeroSumGame([[1.0, 0.0]], temperatures=(0.1, 0.1)))
    with pytest.raises(Unsupported, match="profile"):
        _ = solution.policy
    assert solution.profile[1].probabilities.shape == (2,)


def test_one_temperature_at_zero_is_refused_by_the_exact_solver():
    with pytest.raises(Unsupported, match="both"):
        nlhf.solve(nlhf.ZeroSumGame(np.eye(2), temperatures=(0.1, 0.0)))
    with pytest.raises(Unsupported, match="algorithm"):
        nlhf.solve(nlhf.PreferenceGame(CYCLE), stop=nlhf.StopRule())


def test_the_selection_at_temperature_zero_is_named():
    solution = nlhf.solve(nlhf.PreferenceGame(np.full((3, 3), 0.5), [0.2, 0.3, 0.5]))
    assert "least KL to the reference" in solution.provenance.choices[0]
    np.testing.assert_allclose(solution.policy, [0.2, 0.3, 0.5], atol=1e-14)


def test_a_batch_is_its_contexts_one_by_one():
    rng = np.random.default_rng(4)
    upper = np.triu(rng.random((70, 5, 5)), 1)
    p = upper + np.tril(1 - np.swapaxes(upper, 1, 2), -1) + 0.5 * np.eye(5)
    reference = rng.dirichlet(np.ones(5), size=70)
    together = solve_regularised(nlhf.PreferenceGame(p, reference, 0.02))
    for x in (0, 17, 69):
        alone = solve_regularised(nlhf.PreferenceGame(p[x], reference[x], 0.02))
        np.testing.assert_allclose(
            together.profile[0].log_probabilities[x],
            alone.profile[0].log_probabilities,
            atol=1e-11,
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"gap": -1.0},
        {"gap": float("nan")},
        {"max_iterations": -1},
        {"judge_every": 0},
        {"patience": 0},
        {"max_seconds": float("nan")},
        {"max_seconds": -1.0},
    ],
)
def test_a_stop_rule_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(nlhf.NlhfError, match="makes no sense"):
        nlhf.StopRule(**wrong)


@pytest.mark.parametrize("step_size", [0.0, -1.0, float("inf"), float("nan")])
def test_a_step_size_that_is_no_step_is_refused(step_size):
    with pytest.raises(nlhf.NlhfError, match="step_size"):
        nlhf.Extragradient(step_size)
