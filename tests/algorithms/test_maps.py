"""Every method is the map its paper prints, and the same map in every form of a game."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlhf
from nlhf.algorithms import published
from nlhf.algorithms.published import ALGORITHMS
from nlhf.numerics import kl_divergence
from nlhf.protocols import Algorithm
from tests.algorithms.games import CYCLE, ONE_PER_METHOD, family, references, run
from tests.instances import distributions, preferences, temperatures

STEPS = 20
UNPROVEN = {"unproven": True}


@st.composite
def problems(draw):
    """A preference matrix, a reference, a temperature and a textbook step s < 1/τ."""
    p = draw(preferences())
    temperature = draw(temperatures)
    step = draw(st.floats(0.05, 0.9)) / temperature
    return p, draw(distributions(len(p), 1e-4)), temperature, min(step, 5.0)


def tilt(log_weights):
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def agree(profiles, expected):
    assert len(profiles) == len(expected)
    for profile, policy in zip(profiles, expected, strict=True):
        np.testing.assert_allclose(profile[0].probabilities, policy, rtol=0, atol=1e-11)


def repeat(update, start, steps=STEPS):
    seen = [start]
    for k in range(steps):
        seen.append(update(seen[-1], k))
    return seen


@settings(max_examples=40)
@given(problems())
def test_mirror_descent_is_omd_inpo_and_magnetic_mirror_descent(problem):
    p, mu, tau, s = problem
    eta = s / (1 - s * tau)
    game = nlhf.PreferenceGame(p, mu, tau)
    ours = run(published.OMD(eta, **UNPROVEN), game, STEPS)

    def omd(pi, _):
        return tilt((1 - s * tau) * np.log(pi) + s * tau * np.log(mu) + s * p @ pi)

    def inpo(pi, _, inverse=1 / s):
        prior = (tau / inverse) * np.log(mu) + (1 - tau / inverse) * np.log(pi)
        return tilt(p @ pi / inverse + prior)

    def mmd(pi, _):
        return tilt((np.log(pi) + eta * tau * np.log(mu) + eta * p @ pi) / (1 + eta * tau))

    for update in (omd, inpo, mmd):
        agree(ours, repeat(update, mu))


@settings(max_examples=40)
@given(preferences(), st.floats(0.01, 3.0))
def test_mirror_descent_at_temperature_zero_is_sppo(p, eta):
    game = nlhf.PreferenceGame(p)
    uniform = np.full(len(p), 1 / len(p))
    agree(
        run(published.SPPO(eta, **UNPROVEN), game, STEPS),
        repeat(lambda pi, _: tilt(np.log(pi) + eta * (p @ pi - 0.5)), uniform),
    )


@settings(max_examples=40)
@given(problems())
def test_extragradient_is_egpo_and_nash_mirror_prox(problem):
    p, mu, beta, s = problem
    eta = s / (1 - s * beta)
    ours = run(published.EGPO(eta, **UNPROVEN), nlhf.PreferenceGame(p, mu, beta), STEPS)
    theta_ref = np.log(mu)

    def egpo(theta, _):
        first = (1 - s * beta) * theta + s * beta * (theta_ref + p @ tilt(theta) / beta)
        return (1 - s * beta) * theta + s * beta * (theta_ref + p @ tilt(first) / beta)

    agree(ours, [tilt(theta) for theta in repeat(egpo, theta_ref)])
    relative = eta * beta  # the step of Nash Mirror Prox

    def mirror_prox(pi, _):
        def towards(opponent):
            logits = beta * np.log(mu) + beta / relative * np.log(pi) + p @ opponent
            return tilt(logits / (beta + beta / relative))

        return towards(towards(pi))

    agree(ours, repeat(mirror_prox, mu))


@settings(max_examples=40)
@given(preferences(), st.floats(0.01, 0.8))
def test_optimistic_mirror_descent_at_temperature_zero_is_onpo(p, eta):
    game = nlhf.PreferenceGame(p)
    base = np.full(len(p), 1 / len(p))
    policy, expected = base, [base]
    for _ in range(STEPS):
        reward = p @ policy
        base = tilt(np.log(base) + eta * reward)
        policy = tilt(np.log(base) + eta * reward)  # the prediction is the last reward
        expected.append(policy)
    agree(run(published.ONPO(eta), game, STEPS), expected)


@settings(max_examples=40)
@given(problems())
def test_nash_md_steps_against_the_geometric_mixture(problem):
    p, mu, tau, s = problem
    game = nlhf.PreferenceGame(p, mu, tau)

    def nash_md(pi, step):
        mixed = tilt((1 - step * tau) * np.log(pi) + step * tau * np.log(mu))
        return tilt(np.log(mixed) + step * p @ mixed)

    start = np.full(len(p), 1 / len(p))
    profile = game.as_profile(start)
    agree(run(nlhf.NashMD(s), game, STEPS, profile), repeat(lambda pi, _: nash_md(pi, s), start))
    agree(
        run(nlhf.NashMD(), game, STEPS, profile),
        repeat(lambda pi, t: nash_md(pi, 2 / (tau * (t + 2))), start),
    )


@settings(max_examples=40)
@given(problems(), st.floats(0.0, 0.95))
def test_nash_ema_steps_against_the_moving_average(problem, decay):
    p, mu, tau, s = problem
    pi, average, expected = mu, mu, [mu]
    for _ in range(STEPS):
        average = decay * average + (1 - decay) * pi
        pi = tilt((1 - s * tau) * np.log(pi) + s * tau * np.log(mu) + s * p @ average)
        expected.append(pi)
    agree(
        run(nlhf.NashEMA(s / (1 - s * tau), decay), nlhf.PreferenceGame(p, mu, tau), STEPS),
        expected,
    )


@settings(max_examples=40)
@given(problems())
def test_without_memory_nash_ema_is_mirror_descent(problem):
    p, mu, tau, s = problem
    game = nlhf.PreferenceGame(p, mu, tau)
    plain = run(nlhf.MirrorDescent(s, unproven=True), game, STEPS)
    agree(run(nlhf.NashEMA(s, 0.0), game, STEPS), [z[0].probabilities for z in plain])


@pytest.mark.parametrize("temperature", [0.0, 0.05])
@pytest.mark.parametrize("inner", [nlhf.Extragradient(), nlhf.MirrorDescent()], ids=repr)
def test_a_proximal_point_step_solves_the_game_around_the_magnet(inner, temperature):
    strength, inner_steps = 0.3, 100
    p = family(12, 4, nlhf.Stream(8).child("proximal point").generator())
    game = nlhf.PreferenceGame(p, temperature=temperature)
    target = nlhf.solve(game).log_policy
    method = nlhf.ProximalPoint(inner, strength, inner_steps)
    seen = run(method, game, 4 * inner_steps)[::inner_steps]
    magnets = [z[0].log_probabilities for z in seen]
    for old, new in pairwise(magnets):
        pulled = np.exp((temperature * magnets[0] + strength * old) / (temperature + strength))
        centre = pulled / pulled.sum(axis=-1, keepdims=True)
        around = nlhf.solve(nlhf.PreferenceGame(p, centre, temperature + strength)).policy
        np.testing.assert_allclose(np.exp(new), around, rtol=0, atol=1e-9)
        fallen = kl_divergence(target, old) - kl_divergence(target, new)
        assert (fallen >= kl_divergence(new, old) - 1e-8).all()


def test_the_proximal_point_method_reaches_the_unregularised_equilibrium_last():
    game = nlhf.PreferenceGame(CYCLE, [0.7, 0.2, 0.1])
    method = published.COMAL(nlhf.Extragradient(), strength=0.1, inner_steps=60)
    solution = nlhf.solve(game, method, stop=nlhf.StopRule(gap=1e-6))
    assert solution.stop is nlhf.Stop.CERTIFIED
    np.testing.assert_allclose(solution.policy, nlhf.solve(game).policy, atol=1e-4)


@settings(max_examples=40)
@given(problems())
def test_an_average_is_that_of_distributions(problem):
    p, mu, tau, _ = problem
    game = nlhf.PreferenceGame(p, mu, tau)
    iterates = np.array([z[0].probabilities for z in run(nlhf.Extragradient(), game, STEPS)])
    means = np.cumsum(iterates, axis=0) / np.arange(1, STEPS + 2)[:, None]
    agree(run(nlhf.Average(nlhf.Extragradient()), game, STEPS), list(means))


@pytest.mark.parametrize("algorithm", ONE_PER_METHOD, ids=repr)
def test_the_exact_equilibrium_is_kept_where_that_is_declared(algorithm):
    rng = nlhf.Stream(8).child("fixed points").generator()
    moved = 0.0
    for p, mu in zip(family(12, 5, rng), references(12, 5, rng), strict=True):
        for temperature in (0.05, 0.5):
            game = nlhf.PreferenceGame(p, mu, temperature)
            exact = nlhf.solve(game).profile
            last = run(algorithm, game, 5, exact)[-1]
            moved = max(moved, np.abs(last[0].probabilities - exact[0].probabilities).max())
    if algorithm.keeps_equilibrium:
        assert moved <= 1e-11
    else:
        assert moved >= 1e-3  # recorded: Nash-MD leaves the equilibrium


@pytest.mark.parametrize("algorithm", ONE_PER_METHOD, ids=repr)
def test_two_players_with_one_game_play_alike(algorithm):
    rng = nlhf.Stream(8).child("two players").generator()
    for p, mu in zip(family(8, 4, rng), references(8, 4, rng), strict=True):
        game = nlhf.PreferenceGame(p, mu, 0.1)
        pairs = zip(run(algorithm, game, 15), run(algorithm, game.two_player(), 15), strict=True)
        for alone, both in pairs:
            for strategy in both:
                np.testing.assert_allclose(
                    strategy.probabilities, alone[0].probabilities, rtol=0, atol=1e-12
                )


@pytest.mark.parametrize("algorithm", ONE_PER_METHOD, ids=repr)
def test_a_batch_of_contexts_runs_each_as_if_alone(algorithm):
    rng = nlhf.Stream(8).child("contexts").generator()
    p = family(3, 4, rng)
    p[..., 0, 1], p[..., 1, 0] = 1.0, 0.0  # the default steps depend on the range of payoffs
    together = run(algorithm, nlhf.PreferenceGame(p, temperature=0.1), 15)
    for x in range(3):
        alone = run(algorithm, nlhf.PreferenceGame(p[x], temperature=0.1), 15)
        for all_, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(
                all_[0].probabilities[x], one[0].probabilities, rtol=0, atol=1e-12
            )


def test_published_names_are_classes_that_are_methods():
    assert published.INPO is published.MagneticMirrorDescent is nlhf.MirrorDescent
    assert published.NashMirrorProx is published.EGPO is nlhf.Extragradient
    assert published.OMWU is published.ONPO is nlhf.OptimisticMirrorDescent
    assert published.COMAL is nlhf.ProximalPoint
    for method in ALGORITHMS.values():
        assert isinstance(method(), Algorithm)
    with pytest.raises(TypeError):
        ALGORITHMS["mine"] = nlhf.MirrorDescent
