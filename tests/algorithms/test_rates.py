"""What is proven is kept, and what is biased or cycles is seen to."""

from math import log, sqrt

import numpy as np
import pytest

import nlhf
from nlhf.algorithms.rates import divergence_from_reference, promised_iterations
from nlhf.errors import HypothesisViolated
from nlhf.numerics import kl_divergence
from tests.algorithms.games import CYCLE, LINEAR, family, references, run

TEMPERATURES = (0.05, 0.1, 0.3, 1.0)
GAP = 1e-10


def divergence(p, q):
    return sum(
        kl_divergence(a.log_probabilities, b.log_probabilities) for a, b in zip(p, q, strict=True)
    )


@pytest.mark.parametrize("algorithm", LINEAR, ids=repr)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_gap_is_reached_on_a_hundred_games_as_promised(algorithm, temperature):
    rng = nlhf.Stream(3).child("promise", str(temperature)).generator()
    game = nlhf.PreferenceGame(family(25, 6, rng), references(25, 6, rng), temperature)
    steps = promised_iterations(game, algorithm, GAP)
    once = nlhf.StopRule(gap=0.0, max_iterations=steps, judge_every=steps)
    solution = nlhf.solve(game, algorithm, stop=once)
    assert solution.provenance.iterations == steps
    assert solution.certificate.per_context.max() <= GAP


def game_of(form, p, mu):
    if form == "log-odds":
        return nlhf.LogOddsGame(np.clip(p, 0.01, 0.99), mu, 2.0)
    if form == "two temperatures":
        return nlhf.ZeroSumGame(3.0 * p[:, :4], (None, mu), (0.2, 0.9))
    game = nlhf.PreferenceGame(p, mu, 0.15)
    return game if form == "self-play" else game.two_player()


@pytest.mark.parametrize("algorithm", LINEAR, ids=repr)
@pytest.mark.parametrize("form", ["self-play", "two players", "two temperatures", "log-odds"])
def test_divergence_and_gap_stay_below_their_rates(algorithm, form):
    rng = nlhf.Stream(3).child("rates", form).generator()
    game = game_of(form, family(20, 5, rng), references(20, 5, rng))
    exact = nlhf.solve(game).profile
    first = divergence(exact, game.start())
    assert (first <= divergence_from_reference(game)).all()
    rate = algorithm.rate(game)
    for k, z in enumerate(run(algorithm, game, 60)[1:], start=1):
        promised = rate.contraction**k * first
        assert (divergence(exact, z) <= rate.divergence * promised + 1e-13).all()
        gap = nlhf.certify(game, z).per_context
        assert (gap <= rate.gap * promised / rate.contraction + 1e-13).all()


@pytest.mark.parametrize(
    ("method", "step_size"),
    [(nlhf.MirrorDescent, 0.4), (nlhf.Extragradient, 4.0), (nlhf.OptimisticMirrorDescent, 3.0)],
)
def test_control_far_beyond_the_proven_steps_the_rates_fail(method, step_size):
    game = nlhf.PreferenceGame([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]], [0.8, 0.1, 0.1], 0.01)
    exact = nlhf.solve(game).profile
    last = run(method(step_size, unproven=True), game, 400)[-1]
    promised = (1 + step_size * 0.01) ** -400 * divergence(exact, game.start())
    assert divergence(exact, last) > 2 * promised


def test_the_potential_of_optimistic_mirror_descent_falls_at_every_step():
    rng = nlhf.Stream(3).child("potential").generator()
    game = nlhf.PreferenceGame(family(20, 5, rng), references(20, 5, rng), 0.05)
    exact = nlhf.solve(game).profile
    method = nlhf.OptimisticMirrorDescent()
    state = method.init(game, game.start())
    factor = 1 + method.eta(game) * 0.05
    before = 4 / 3 * factor * divergence(exact, game.start())  # the first step only unprepared
    for k in range(60):
        played = state.played
        state = method.step(game, state, nlhf.Stream(k))
        ahead = divergence(state.centre, played)
        after = divergence(exact, state.centre) + (sqrt(2) - 1) * ahead
        assert (after <= before / factor + 1e-13).all()
        before = after


def test_decaying_nash_md_fits_its_bound():
    rng = nlhf.Stream(3).child("nash-md").generator()
    for temperature in (0.05, 0.3, 1.0):
        game = nlhf.PreferenceGame(family(20, 5, rng), references(20, 5, rng), temperature)
        exact = nlhf.solve(game).profile
        method = nlhf.NashMD()
        for t, z in enumerate(run(method, game, 150)[1:], start=1):
            bound = method.divergence_after(game, t)
            assert divergence(exact, z).max() <= bound
            assert bound == pytest.approx(
                8 * 4 * game.lipschitz**2 / (16 * temperature**2 * (t + 1))
            )
    two = nlhf.ZeroSumGame(4.0 * CYCLE, temperatures=(0.2, 0.7))
    exact = nlhf.solve(two).profile
    for t, z in enumerate(run(nlhf.NashMD(), two, 150)[1:], start=1):
        assert divergence(exact, z) <= nlhf.NashMD().divergence_after(two, t)


@pytest.mark.parametrize("temperature", [0.1, 0.3])
@pytest.mark.parametrize("mix", [0.3, 0.1, 0.03])
def test_constant_nash_md_ends_at_its_bias(temperature, mix):
    mu = np.array([0.6, 0.3, 0.1])
    game = nlhf.PreferenceGame(CYCLE, mu, temperature)
    last = run(nlhf.NashMD(mix / temperature), game, round(30 / mix))[-1]
    # The fixed point: π ∝ μ exp(P π_m/τ) with π_m the geometric mixture.
    pi = last[0].probabilities
    mixed = pi ** (1 - mix) * mu**mix
    fixed = mu * np.exp(CYCLE @ mixed / mixed.sum() / temperature)
    np.testing.assert_allclose(pi, fixed / fixed.sum(), atol=1e-7)
    biased = nlhf.exploitability(game, last).bound
    assert biased.low > 1e-8
    assert biased.high <= mix**2 / (32 * temperature**3)


def test_a_run_at_its_bias_is_stopped():
    game = nlhf.PreferenceGame(CYCLE, [0.6, 0.3, 0.1], 0.1)
    solution = nlhf.solve(game, nlhf.NashMD(1.0), stop=nlhf.StopRule(patience=20))
    assert solution.stop is nlhf.Stop.STALLED
    assert 1e-6 < solution.certificate.bound.value < 2 * 0.1**2 / (32 * 0.1**3)


@pytest.mark.parametrize("steps", [20, 200])
def test_averages_meet_their_bounds_at_temperature_zero(steps):
    rng = nlhf.Stream(3).child("averages").generator()
    ratio = {"sppo": 0.0, "onpo": 0.0}
    for n in (2, 5, 9):
        game = nlhf.PreferenceGame(family(40, n, rng))
        spread = log(n)  # max KL(π‖uniform)
        sppo = nlhf.MirrorDescent(sqrt(spread / steps), unproven=True)
        bounds = {"sppo": 4 * sqrt(spread / steps), "onpo": 4 * spread / steps}
        for name, inner in (("sppo", sppo), ("onpo", nlhf.OptimisticMirrorDescent(0.5))):
            last = run(nlhf.Average(inner), game, steps - 1)[-1]
            gap = nlhf.certify(game, last).per_context.max()
            ratio[name] = max(ratio[name], gap / bounds[name])
    assert ratio["sppo"] <= 2.25 / 4  # 2D/(ηT) + ηL² at this step
    assert ratio["onpo"] <= 1.0


def test_mirror_descent_at_temperature_zero_cycles_and_is_stopped():
    game = nlhf.PreferenceGame(CYCLE, [0.5, 0.3, 0.2])
    method = nlhf.MirrorDescent(0.1, unproven=True)
    last = nlhf.solve(game, method, stop=nlhf.StopRule(patience=20))
    assert last.stop is nlhf.Stop.STALLED
    assert last.certificate.bound.low > 0.1
    exact = nlhf.solve(game).profile
    distances = [float(divergence(exact, z)) for z in run(method, game, 200)]
    assert np.all(np.diff(distances) > 0.0)  # KL to the equilibrium grows at every step
    averaged = nlhf.solve(
        game, nlhf.Average(method), stop=nlhf.StopRule(max_iterations=800, judge_every=400)
    )
    assert averaged.certificate.bound.high < last.certificate.bound.low / 5


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("temperature", [0.03, 0.4, 2.0])
def test_promises_are_those_of_the_inequalities_that_are_proven(temperature, two):
    # Of theory/linear_rates.md: D_{k+1} <= D_k / (1 + ητ); the gap of z_k from D_{k-1} or Φ_k,
    # and Φ_k <= (4/3) D_0 / (1 + ητ)^{k-1}.
    game = nlhf.PreferenceGame(CYCLE, temperature=temperature)
    game = game.two_player() if two else game
    constant, share, players = game.lipschitz, sqrt(2) - 1, 1 if two else 2
    for method, eta, weight, last, factor in (
        (nlhf.MirrorDescent, temperature / constant**2, 1, 1, 1),
        (nlhf.Extragradient, 1 / constant, 1, None, 1),
        (nlhf.OptimisticMirrorDescent, share / constant, share, None, 4 / 3),
    ):
        for step in (eta, eta / 3):
            rate = method(step).rate(game)
            growth = 1 + step * temperature
            played = growth if weight == 1 else share + step * temperature
            bend = step * constant**2 / (temperature * played)
            worse = last or (1 + bend if method is nlhf.Extragradient else max(1, bend))
            assert rate.contraction == pytest.approx(1 / growth, rel=1e-12)
            divergence = 1 if factor == 1 else factor * growth / played
            assert rate.divergence == pytest.approx(divergence, rel=1e-12)
            assert rate.gap == pytest.approx(players * factor * worse / step, rel=1e-12)


@pytest.mark.parametrize(
    "method", [nlhf.MirrorDescent, nlhf.Extragradient, nlhf.OptimisticMirrorDescent]
)
def test_nothing_is_promised_of_a_step_beyond_the_proven_ones(method):
    game = nlhf.PreferenceGame(CYCLE, temperature=0.1)
    with pytest.raises(HypothesisViolated, match="-linear"):
        method(9.0, unproven=True).rate(game)


def test_promises_that_cannot_be_made_are_refused():
    flat, warm = nlhf.PreferenceGame(CYCLE), nlhf.PreferenceGame(CYCLE, temperature=0.1)
    with pytest.raises(HypothesisViolated, match="temperature 0"):
        promised_iterations(flat, nlhf.Extragradient(), 1e-6)
    with pytest.raises(HypothesisViolated, match="temperature 0"):
        promised_iterations(flat, nlhf.Extragradient(), 1e-6, log(3))
    with pytest.raises(HypothesisViolated, match="extragradient-linear"):
        promised_iterations(warm, nlhf.Extragradient(9.0, unproven=True), 1e-6)
    with pytest.raises(HypothesisViolated, match="positive gap"):
        promised_iterations(warm, nlhf.Extragradient(), 0.0)
    with pytest.raises(HypothesisViolated, match="no bound"):
        nlhf.NashMD(0.1).divergence_after(warm, 5)
    with pytest.raises(HypothesisViolated, match="no bound"):
        nlhf.NashMD().divergence_after(warm, 0)
    assert promised_iterations(warm, nlhf.Extragradient(), 1e-6, 0.0) == 1
