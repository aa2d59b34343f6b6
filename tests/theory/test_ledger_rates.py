"""Recursions, error bounds and constants of the rates, against arithmetic that shares no code."""

from fractions import Fraction
from math import exp, log, sqrt

import mpmath as mp
import numpy as np
import pytest
from nlhf_theory import averages, linear_rates, nash_md, proximal_point, recursions
from nlhf_theory.definitions import Game, best_response, improvement
from nlhf_theory.enclosures import exponential

import nlhf

CYCLE = np.array([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])


def logs(*probabilities: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array([probabilities]))


def game(matrix, reference, temperature) -> Game:
    return Game(np.array([matrix], dtype=float), logs(*reference), temperature, np.ones(1))


def two_responses(advantage: float, reference: float, tau: float) -> tuple[Game, np.ndarray]:
    """A game of two responses and its equilibrium: the payoff difference is the advantage."""
    matrix = [[0.5, 0.5 + advantage], [0.5 - advantage, 0.5]]
    odds = log(reference / (1.0 - reference)) + advantage / tau
    star = 1.0 / (1.0 + exp(-odds))
    return game(matrix, (reference, 1.0 - reference), tau), logs(star, 1.0 - star)


def mp_payoff(z):
    return [sum(mp.mpf(float(CYCLE[a, b])) * z[b] for b in range(3)) for a in range(3)]


def mp_prox(payoff, anchors):
    """The proximal point in 40 digits, from (policy, strength) pairs."""
    mp.mp.dps = 40
    total = sum(strength for _, strength in anchors)
    raw = [
        mp.exp((payoff[a] + sum(s * mp.log(p[a]) for p, s in anchors)) / total)
        for a in range(len(payoff))
    ]
    return [weight / sum(raw) for weight in raw]


def test_one_step_of_each_method_in_forty_digits():
    mu, z, before = (
        [mp.mpf(x) / 8 for x in weights] for weights in ((4, 3, 1), (1, 2, 5), (2, 5, 1))
    )
    tau, eta = mp.mpf("0.25"), mp.mpf("0.5")
    played = game(CYCLE, [float(x) for x in mu], 0.25)
    start, earlier = (logs(*(float(x) for x in policy)) for policy in (z, before))

    def step(payoff, origin):
        return mp_prox(payoff, [(mu, tau), (origin, 1 / eta)])

    def close(found, expected):
        assert np.exp(found[0]) == pytest.approx([float(x) for x in expected], rel=1e-14)

    ahead = step(mp_payoff(z), z)
    close(recursions.mirror_step(played, start, 0.5), ahead)
    close(recursions.extragradient_step(played, start, 0.5), step(mp_payoff(ahead), z))
    centres, shown = recursions.optimistic(played, start, earlier, 0.5, 1)
    first = step(mp_payoff(before), z)
    centre = step(mp_payoff(first), z)
    close(shown[0], first)
    close(centres[1], centre)
    close(shown[1], step(mp_payoff(first), centre))
    unprepared = recursions.optimistic(played, start, None, 0.5, 1)
    close(unprepared[1][0], z)
    close(unprepared[0][1], ahead)
    mixed = mp_prox([mp.mpf(0)] * 3, [(z, mp.mpf("0.75")), (mu, mp.mpf("0.25"))])
    # s = m/τ = 1 at m = 1/4: π' ∝ mixed · e^{P mixed}.
    close(
        recursions.nash_md_step(played, start, 0.25),
        mp_prox(mp_payoff(mixed), [(mixed, mp.mpf(1))]),
    )


def test_the_error_of_an_approximate_equilibrium_is_bounded():
    played, star = two_responses(0.25, 0.3, 0.05)
    for off in (0.0, 1e-13, 1e-12, -3e-12):
        candidate = star + np.array([[off, 0.0]])
        true = np.abs(candidate - star).max()
        assert recursions.log_error(played, candidate) >= true
        start = logs(0.01, 0.99)
        exact = recursions.divergences(played, star, start[None]).values[0]
        found = recursions.distances(played, candidate, start[None])
        assert abs(found.values[0] - exact) <= found.errors[0] < 1e-8


def test_limits_of_the_steps_are_the_stated_constants_for_win_probabilities():
    played = game(CYCLE, (0.5, 0.25, 0.25), 0.125)
    assert recursions.half_range(played) == 0.5
    assert linear_rates.mirror_limit(played) == linear_rates.MIRROR_STEP * 0.125
    assert linear_rates.extragradient_limit(played) == linear_rates.EXTRAGRADIENT_STEP
    assert linear_rates.optimistic_limit(played) == pytest.approx(2.0 * (sqrt(2.0) - 1.0))
    fixed = nash_md.biased(played, 0.01, played.log_reference)
    bound = nash_md._bias_bound(fixed, 0.0)
    assert bound == pytest.approx(nash_md.BIAS * 0.01**2 / 0.125**3, rel=1e-12)


def test_the_weight_of_the_potential_is_the_best_one():
    weights = np.linspace(0.01, 0.99, 9801)
    steps = np.sqrt(weights * (1.0 - weights) / (1.0 + weights))
    assert weights[steps.argmax()] == pytest.approx(linear_rates.POTENTIAL, abs=1e-4)
    assert steps.max() == pytest.approx(linear_rates.POTENTIAL, abs=1e-8)


def test_the_first_step_without_prediction_costs_less_than_a_third():
    x, theta = linear_rates.POTENTIAL, linear_rates.POTENTIAL
    shares = np.linspace(0.01, 0.8, 7901)
    kept = np.minimum(1.0 - x**2 / (1.0 - shares), shares / theta)
    assert 1.0 / linear_rates.FIRST_STEP < kept.max() < 0.7520


@pytest.mark.parametrize("times", [11.0, 13.0])
def test_mirror_descent_at_rock_paper_scissors_turns_at_twelve_temperatures(times):
    tau = 0.05
    played = game(CYCLE, (1 / 3, 1 / 3, 1 / 3), tau)
    start = played.log_reference + 1e-4 * np.array([[1.0, -1.0, 0.0]])
    run = linear_rates.Run(played, played.log_reference, start, times * tau)
    margin = dict(linear_rates.MIRROR_DESCENT_LINEAR.margin(run).named)["every step"]
    assert margin.violated is (times > 12.0)
    assert not linear_rates.MIRROR_DESCENT_LINEAR.satisfied(run)


def test_the_fixed_point_of_a_constant_step_by_root_finding():
    tau, m = 0.25, 0.5
    mu = (0.7, 0.2, 0.1)
    mp.mp.dps = 30

    def residual(*odds):
        raw = [mp.exp(x) for x in (*odds, 0)]
        policy = [x / sum(raw) for x in raw]
        mixed = mp_prox([mp.mpf(0)] * 3, [(policy, 1 - m), ([mp.mpf(x) for x in mu], m)])
        ahead = mp_prox(mp_payoff(mixed), [([mp.mpf(x) for x in mu], mp.mpf(tau))])
        return [mp.log(ahead[a] / ahead[2]) - odds[a] for a in range(2)]

    odds = mp.findroot(residual, (mp.mpf(0), mp.mpf(0)))
    raw = [mp.exp(odds[0]), mp.exp(odds[1]), mp.mpf(1)]
    expected = [float(x / sum(raw)) for x in raw]
    played = game(CYCLE, mu, tau)
    instance = nash_md.biased(played, m, played.log_reference)
    assert np.exp(instance.fixed[0]) == pytest.approx(expected, rel=1e-9)
    assert nash_md.NASH_MD_BIAS.satisfied(instance)
    # It is not the equilibrium: it can be exploited, within the bound.
    assert 1e-4 < improvement(played, instance.fixed) < nash_md.BIAS * m**2 / tau**3


def test_two_responses_have_no_bias():
    played, star = two_responses(0.25, 0.3, 0.2)
    instance = nash_md.biased(played, 0.6, star)
    assert np.allclose(instance.fixed, star, atol=1e-12)


def test_decaying_steps_are_the_textbook_ones():
    assert nash_md.decaying(4) == pytest.approx([1.0, 2 / 3, 1 / 2, 2 / 5])
    assert nash_md.longest(game(CYCLE, (0.5, 0.25, 0.25), 0.1), 1.0) == pytest.approx(
        (1 - sqrt(1 - 16 * 0.01)) / 2
    )


def test_the_sure_winner_in_closed_form():
    share, count = Fraction(1, 7), 9
    instance = averages.sure_winner(share, count, 0.5)
    mp.mp.dps = 30
    summed = sum(1 / (1 + mp.mpf(1) / 6 * mp.exp(mp.mpf(t) / 4)) for t in range(1, count + 1))
    margin = averages.ONPO_AS_EXTRACTED.margin(instance)
    claimed = 4 * mp.sqrt(mp.log(7)) / count
    assert margin.value == pytest.approx(float(claimed - summed / count), rel=1e-12)
    assert margin.violated
    assert not averages.ONPO_AVERAGE.margin(instance).violated


def test_the_rational_certificate_of_the_average_can_fail():
    assert averages.breaks_as_extracted(*averages.SMALLEST)
    assert averages.breaks_as_extracted(*averages.UNIFORM)
    assert not averages.breaks_as_extracted(Fraction(1, 7), 8)
    assert not averages.breaks_as_extracted(Fraction(1, 3), 60), "log 3 is too small"
    assert not averages.breaks_as_extracted(Fraction(3, 4), 60), "the start favours the winner"


def test_three_tied_losers_are_as_one():
    count = averages.UNIFORM[1]
    losers = np.full((4, 4), 0.5)
    losers[3, :3], losers[:3, 3] = 1.0, 0.0
    even = np.log(np.full((1, 4), 0.25))
    four = averages.Averaged(Game(losers[None], even, 0.0, np.ones(1)), even, count, 0.5)
    two = averages.sure_winner(*averages.UNIFORM, 0.5)
    found, expected = (averages.ONPO_AS_EXTRACTED.margin(x) for x in (four, two))
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    assert found.violated


@pytest.mark.parametrize("x", [Fraction(0), Fraction(1, 4), Fraction(7, 2), Fraction(20)])
def test_rational_bounds_enclose_the_exponential(x):
    mp.mp.dps = 80
    low, high = (mp.mpf(b.numerator) / b.denominator for b in exponential(x))
    true = mp.exp(mp.mpf(x.numerator) / x.denominator)
    assert low <= true <= high
    assert high - low < 1e-5 * true


def test_what_is_lost_without_a_first_prediction():
    # The largest λ with λ + 1/λ = 15/4, and the maximum of x a − (1/2 − x/(2λ)) a² at x = 1/4.
    ratio = (15 / 4 + sqrt((15 / 4) ** 2 - 4)) / 2
    lost = 0.25**2 / (4 * (0.5 - 0.25 / (2 * ratio)))
    assert 0.96 * averages.UNPREPARED < 4 * lost < averages.UNPREPARED


def test_the_divergence_from_an_interior_equilibrium_grows_by_the_free_energy():
    even = np.log(np.full((1, 3), 1 / 3))
    start = logs(0.5, 0.25, 0.25)
    cycle = Game(CYCLE[None], even, 0.0, np.ones(1))
    instance = averages.Averaged(cycle, start, 2, averages.sppo_step(start, 2), even)
    eta = sqrt(log(4.0) / 2.0)
    gains = CYCLE @ np.array([0.5, 0.25, 0.25])
    growth = log(float(np.array([0.5, 0.25, 0.25]) @ np.exp(eta * (gains - 0.5))))
    margin = dict(averages.SPPO_AVERAGE.margin(instance).named)["last iterate moves away"]
    assert margin.value == pytest.approx(growth, rel=1e-9)


def test_an_outer_step_moves_by_the_identity():
    played, star = two_responses(0.25, 0.3, 0.5)
    best = logs(1.0, 0.0)
    assert proximal_point.shortfall(played, best) <= 0.0
    assert proximal_point.shortfall(played, logs(0.0, 1.0)) == pytest.approx(0.25)
    instance = proximal_point.Outer(played, star, best, logs(0.5, 0.5))
    assert proximal_point.COMAL_DECREASE.satisfied(instance)
    p, q = (float(np.exp(x[0, 0])) for x in (played.log_reference, star))
    moved = q * log(q / p) + (1 - q) * log((1 - q) / (1 - p))
    # KL(best‖·) = −log of the first response.
    margin = dict(proximal_point.COMAL_DECREASE.margin(instance).named)["decrease"]
    assert margin.value == pytest.approx(log(q) - log(p) - moved, rel=1e-9)
    assert proximal_point.nash_policy(played)[0] == pytest.approx(best[0])


def test_the_hotter_equilibrium_is_the_package_s():
    played = game(CYCLE, (0.7, 0.2, 0.1), 0.25)
    instance = nash_md.biased(played, 0.5, played.log_reference)
    reference = nlhf.Policy(played.log_reference[0])
    hot = nlhf.solve(nlhf.PreferenceGame(CYCLE, reference, 0.5)).log_policy
    assert recursions.mixture(played, instance.fixed, 0.5)[0] == pytest.approx(hot, abs=1e-10)
    assert best_response(instance.hotter, hot[None])[0] == pytest.approx(hot, abs=1e-10)
