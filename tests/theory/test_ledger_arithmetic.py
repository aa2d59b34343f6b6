"""Each margin on hand-made instances, against arithmetic that shares no code with it."""

from fractions import Fraction
from math import exp, log

import mpmath as mp
import numpy as np
import pytest
from nlhf_theory import equilibrium, gap, plug_in, rewards, variational
from nlhf_theory.definitions import Game, best_response, divergence, improvement, value
from nlhf_theory.instances import decode, encode, is_complementary
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

import nlhf

ROCK_PAPER_SCISSORS = np.array([[0.5, 0.0, 1.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.5]])


def logs(*probabilities: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array([probabilities]))


def game(matrix, reference, temperature) -> Game:
    return Game(np.array([matrix], dtype=float), logs(*reference), temperature, np.ones(1))


def mp_value(matrix, reference, tau, p, q):
    """J(p, q) in 50 digits."""
    mp.mp.dps = 50
    n = len(p)

    def kl(a):
        return sum(
            mp.mpf(x) * mp.log(mp.mpf(x) / mp.mpf(m))
            for x, m in zip(a, reference, strict=True)
            if x
        )

    bilinear = sum(mp.mpf(p[i]) * matrix[i][j] * mp.mpf(q[j]) for i in range(n) for j in range(n))
    return bilinear - tau * kl(p) + tau * kl(q)


def part(margin, name):
    return dict(margin.named)[name]


def test_the_value_agrees_with_fifty_digits():
    p, q, mu = (0.75, 0.125, 0.125), (0.0, 0.5, 0.5), (0.5, 0.25, 0.25)
    found = value(game(ROCK_PAPER_SCISSORS, mu, 0.25), logs(*p), logs(*q))
    expected = mp_value(ROCK_PAPER_SCISSORS.tolist(), mu, mp.mpf("0.25"), p, q)
    assert found == pytest.approx(float(expected), rel=1e-14)


def test_free_energy_of_two_responses():
    instance = variational.Objective(
        payoff=np.array([[1.0, 0.0]]),
        log_reference=logs(0.5, 0.5),
        temperature=1.0,
        tilt_temperature=1.0,
        weights=np.ones(1),
        policy=logs(1.0, 0.0),
    )
    # optimum log((e + 1)/2), value at the first response 1 − log 2, deficit log(1 + 1/e)
    margin = variational.KL_OPTIMUM.margin(instance)
    assert not margin.violated
    optimum = variational.free_energy(
        instance.log_reference, instance.payoff, 1.0, instance.weights
    )
    assert optimum == pytest.approx(log((exp(1.0) + 1.0) / 2.0), rel=1e-15)
    assert optimum - (1.0 - log(2.0)) == pytest.approx(log(1.0 + exp(-1.0)), rel=1e-14)


def test_density_ratio_of_two_responses():
    # The opponent plays response 2, which response 1 beats: ratio of response 2 is
    # e^{1/2}/(e/2 + e^{1/2}/2), that of response 1 e/(e/2 + e^{1/2}/2).
    instance = variational.Response(game([[0.5, 1.0], [0.0, 0.5]], (0.5, 0.5), 1.0), logs(0.0, 1.0))
    mean = (exp(1.0) + exp(0.5)) / 2.0
    expected = 1.0 - max(abs(1.0 - log(mean)), abs(0.5 - log(mean)))
    assert variational.BR_DENSITY_RATIO.margin(instance).value == pytest.approx(expected)


def test_a_payoff_that_is_not_complementary_moves_the_value():
    instance = equilibrium.Duel(
        game([[0.5, 0.9], [0.9, 0.5]], (0.5, 0.5), 1.0), logs(0.5, 0.5), logs(0.5, 0.5), 1.0
    )
    margin = equilibrium.SYMMETRIC_VALUE.margin(instance)
    assert part(margin, "value").value == pytest.approx(-0.2)
    assert part(margin, "sum").value == pytest.approx(-0.4)
    assert part(margin, "sum, rational").value == pytest.approx(-0.4)


def test_two_temperatures_move_the_value_by_their_difference_times_the_divergence():
    instance = equilibrium.Duel(
        game([[0.5, 1.0], [0.0, 0.5]], (0.5, 0.5), 1.0), logs(1.0, 0.0), logs(1.0, 0.0), 3.0
    )
    margin = equilibrium.SYMMETRIC_VALUE.margin(instance)
    assert part(margin, "value").value == pytest.approx(-2.0 * log(2.0))
    assert part(margin, "value, rational").value == 0.0


def test_rational_values_are_exact():
    third = (Fraction(1, 4), Fraction(1, 4), Fraction(1, 2))
    exact = sum(
        third[i] * Fraction(float(ROCK_PAPER_SCISSORS[i, j])) * third[j]
        for i in range(3)
        for j in range(3)
    )
    found = equilibrium.exact_value(
        game(ROCK_PAPER_SCISSORS, (0.5, 0.25, 0.25), 1.0), *(logs(0.25, 0.25, 0.5),) * 2
    )
    assert exact == Fraction(1, 2)
    assert found[0] == pytest.approx(exact, abs=1e-16)


def test_players_of_a_lopsided_game_differ_by_what_root_finding_says():
    mp.mp.dps = 30
    matrix = [[1.0, 0.0], [0.25, 0.5]]
    # x, y: probabilities of the first response; log-odds equal payoff differences (τ = 1).
    x, y = mp.findroot(
        lambda x, y: (
            mp.log(x / (1 - x)) - (1.0 * y + 0.0 * (1 - y) - 0.25 * y - 0.5 * (1 - y)),
            mp.log(y / (1 - y)) + (1.0 * x + 0.25 * (1 - x) - 0.0 * x - 0.5 * (1 - x)),
        ),
        (mp.mpf("0.5"), mp.mpf("0.5")),
    )
    instance = equilibrium.Duel(game(matrix, (0.5, 0.5), 1.0), logs(0.5, 0.5), logs(0.9, 0.1), 1.0)
    symmetric = part(equilibrium.NE_UNIQUE_SYMMETRIC.margin(instance), "symmetric")
    assert symmetric.value == pytest.approx(-2.0 * abs(float(x - y)), rel=1e-10)
    assert symmetric.violated
    # Two independent players end at x and y: the column player is as far from x as y is.
    start = part(equilibrium.NE_UNIQUE_SYMMETRIC.margin(instance), "any start")
    assert start.value == pytest.approx(-2.0 * abs(float(x - y)), rel=1e-9)
    assert start.violated
    # Their own profile has no gap, but one of the two divergences from x.
    own = logs(float(x), float(1 - x)), logs(float(y), float(1 - y))
    instance = equilibrium.Duel(instance.game, *own, 1.0)
    profile = part(equilibrium.NE_UNIQUE_SYMMETRIC.margin(instance), "any profile")
    apart = y * mp.log(y / x) + (1 - y) * mp.log((1 - y) / (1 - x))
    assert profile.value == pytest.approx(-float(apart), rel=1e-6)
    assert profile.violated


def test_extragradient_from_a_corner_reaches_the_equilibrium():
    cycle = game(ROCK_PAPER_SCISSORS, (0.6, 0.3, 0.1), 0.2)
    start = np.array([[0.0, -50.0, -50.0]]), np.array([[-50.0, -50.0, 0.0]])
    row, column = equilibrium.iterate_from(cycle, *start)
    reference = nlhf.Policy(cycle.log_reference[0])
    solved = nlhf.solve(nlhf.PreferenceGame(ROCK_PAPER_SCISSORS, reference, 0.2)).policy
    assert np.abs(np.exp(row[0]) - solved).max() < 1e-9
    assert np.abs(np.exp(column[0]) - solved).max() < 1e-9


def two_responses(advantage: float, reference: float, tau: float) -> tuple[Game, float]:
    """A game of two responses with its equilibrium, whose log-odds are known in closed form."""
    matrix = [[0.5, 0.5 + advantage], [0.5 - advantage, 0.5]]
    odds = log(reference / (1.0 - reference)) + advantage / tau
    return game(matrix, (reference, 1.0 - reference), tau), 1.0 / (1.0 + exp(-odds))


def test_dominance_in_fifty_digits():
    played, star = two_responses(0.25, 0.5, 0.5)
    mp.mp.dps = 50
    best = (star, 1.0 - star)
    other = (0.25, 0.75)
    left = mp_value(played.payoff[0].tolist(), (0.5, 0.5), mp.mpf("0.5"), best, other)
    kl = sum(mp.mpf(p) * mp.log(mp.mpf(p) / mp.mpf(q)) for p, q in zip(other, best, strict=True))
    assert abs(left - mp.mpf("0.5") - mp.mpf("0.5") * kl) < 1e-15
    instance = equilibrium.Candidate(played, logs(*best), logs(*other))
    assert equilibrium.NE_DOMINANCE.satisfied(instance)
    assert not equilibrium.NE_DOMINANCE.margin(instance).violated
    # A candidate that is no equilibrium fails by exactly what the identity says.
    wrong = equilibrium.Candidate(played, logs(0.5, 0.5), logs(*other))
    kl = sum(p * log(p / 0.5) for p in other)
    missed = float(mp_value(played.payoff[0].tolist(), (0.5, 0.5), 0.5, (0.5, 0.5), other))
    margin = equilibrium.NE_DOMINANCE.margin(wrong)
    assert margin.value == pytest.approx(-abs(missed - 0.5 - 0.5 * kl))
    assert margin.violated


def test_the_gap_is_what_numerical_minimisation_finds():
    matrix, mu, tau = [[0.5, 0.875], [0.125, 0.5]], (0.25, 0.75), 0.2
    policy = (0.5, 0.5)
    found = minimize_scalar(
        lambda q: float(mp_value(matrix, mu, tau, policy, (q, 1.0 - q))),
        bounds=(1e-9, 1 - 1e-9),
        method="bounded",
        options={"xatol": 1e-10},
    )
    played = game(matrix, mu, tau)
    assert improvement(played, logs(*policy)) == pytest.approx(0.5 - found.fun, abs=1e-8)
    margin = gap.GAP_IDENTITY.margin(
        equilibrium.Duel(played, logs(*policy), logs(found.x, 1.0 - found.x), tau)
    )
    assert not margin.violated
    assert part(margin, "any deviation").value == pytest.approx(0.0, abs=1e-8)
    assert set(dict(margin.named)) == {"gap", "duality gap", "any deviation", "certificate"}


def test_the_gap_equals_the_divergence_where_nothing_is_at_stake():
    for mass in (0.25, 1e-3, 1e-9):
        instance = gap.tied(log(mass))
        kl = mass * log(2.0 * mass) + (1.0 - mass) * log(2.0 * (1.0 - mass))
        assert improvement(instance.game, instance.policy) == pytest.approx(kl, rel=1e-12)
        assert abs(gap.GAP_CONTROLS_KL.margin(instance).value) < 1e-15


@pytest.mark.parametrize("constant", [1, 2, 7, 100, 1000])
def test_the_reverse_divergence_exceeds_every_multiple_of_the_gap(constant):
    mp.mp.dps = 1300

    def divergences(exponent: int):
        q = mp.mpf(2) ** -exponent
        reverse = -mp.log(2) - (mp.log(q) + mp.log(1 - q)) / 2
        return reverse, mp.log(2) + q * mp.log(q) + (1 - q) * mp.log(1 - q)

    least = gap.breaking_exponent(Fraction(constant))
    reverse, forward = divergences(least)
    assert reverse > constant * forward
    exponent = 2 * least
    reverse, forward = divergences(exponent)
    instance = gap.Claimed(float(constant), gap.tied(-exponent * log(2.0)))
    margin = gap.GAP_CONTROLS_REVERSE_KL.margin(instance)
    assert margin.value == pytest.approx(float(constant * forward - reverse), rel=1e-9)
    assert margin.violated


def test_the_rational_certificate_can_fail():
    assert gap.halved_breaks(Fraction(10), 22)
    assert not gap.halved_breaks(Fraction(10), 21)
    assert gap.breaking_exponent(Fraction(10)) == 22
    assert gap.breaking_exponent(Fraction(3, 2)) == 5
    assert not gap.halved_breaks(Fraction(-2), 0), "all mass on one response is no member"
    for constant, denominator in gap.LEAST.items():
        assert gap.breaks(Fraction(constant), Fraction(1, denominator))
        assert not gap.breaks(Fraction(constant), Fraction(1, denominator - 1))
    assert not gap.breaks(Fraction(1), Fraction(1, 2)), "nothing is lost at the equilibrium"
    assert not gap.breaks(Fraction(1), Fraction(0))


def test_the_repairing_constant_increases_from_one_like_a_logarithm():
    mp.mp.dps = 60
    last = 1.0
    for m in (1e-9, 1e-3, 0.5, 0.999, 1.0, 1.001, 5.0, 50.0, 600.0, 1e5):
        big = mp.e ** mp.mpf(m)
        expected = (big * mp.log(big) - big + 1) / (big - 1 - mp.log(big))
        found = gap.ratio_constant(m)
        assert found == pytest.approx(float(expected), rel=1e-9)
        assert found >= last
        last = found
    assert gap.ratio_constant(0.0) == 1.0


@pytest.mark.parametrize(
    ("delta", "tau"), [(1.0, 1.0), (-3.0, 0.1), (8.0, 0.01), (0.0, 2.0), (0.5, 1e-3)]
)
def test_two_equilibria_of_two_responses_are_apart_by_the_closed_form(delta, tau):
    mu = 0.3
    p = 1.0 / (1.0 + exp(-delta))
    matrix = np.array([[0.5, p], [1.0 - p, 0.5]])
    odds = []
    for make in (nlhf.LogOddsGame, nlhf.PreferenceGame):
        found = nlhf.solve(make(matrix, nlhf.Policy(logs(mu, 1 - mu)[0]), tau)).log_policy
        odds.append(found[0] - found[1])
    apart = (delta - p + 0.5) / tau
    assert odds[0] - odds[1] == pytest.approx(apart, rel=1e-9, abs=1e-9)
    instance = rewards.Rewarded(
        np.array([delta, 0.0]),
        rewards.bradley_terry(np.array([delta, 0.0])),
        logs(mu, 1 - mu)[0],
        tau,
    )
    assert rewards.LOGIT_PAYOFF_BT.satisfied(instance)
    assert not rewards.LOGIT_PAYOFF_BT.margin(instance).violated


def test_a_cycle_is_not_bradley_terry_and_breaks_the_closed_form():
    cycle = 0.5 + 0.8 * (ROCK_PAPER_SCISSORS - 0.5)
    instance = rewards.Rewarded(np.array([1.0, 0.0, -1.0]), cycle, np.log(np.full(3, 1 / 3)), 1.0)
    assert not rewards.LOGIT_PAYOFF_BT.satisfied(instance)
    # The equilibrium of the cycle is uniform, the reward's policy is not.
    closed = np.array([1.0, 0.0, -1.0])
    closed = closed - np.log(np.exp(closed).sum())
    margin = rewards.LOGIT_PAYOFF_BT.margin(instance)
    assert margin.value == pytest.approx(-np.abs(closed + log(3.0)).max())


@pytest.mark.parametrize("tau", [10.0, 1.0, 0.1, 0.01, 1e-3])
def test_the_variance_integral_is_the_divergence_and_what_quad_finds(tau):
    policy, gain = (0.7, 0.2, 0.1), (0.0, 0.3, -0.6)
    found = plug_in.variance_integral(logs(*policy), np.array([gain]), tau)[0]
    mp.mp.dps = 40
    pairs = [(mp.mpf(p), mp.mpf(g)) for p, g in zip(policy, gain, strict=True)]
    energy = mp.log(sum(p * mp.e ** (-g / tau) for p, g in pairs))
    divergence_ = energy + sum(p * g for p, g in pairs) / tau
    assert found == pytest.approx(float(tau**2 * divergence_), rel=1e-12)

    def integrand(s: float) -> float:
        weights = np.array(policy) * np.exp(-s * (np.array(gain) + 0.6) / tau)
        weights /= weights.sum()
        mean = weights @ gain
        return (1.0 - s) * float(weights @ (np.array(gain) - mean) ** 2)

    integral, _ = quad(integrand, 0.0, 1.0, points=[min(0.5, 5 * tau)], epsabs=1e-13, limit=500)
    assert found == pytest.approx(integral, rel=1e-8)


def test_the_plug_in_gap_of_two_responses():
    tau, advantage, wrong = 0.5, 0.25, 0.125
    truth, _ = two_responses(advantage, 0.5, tau)
    estimate, star = two_responses(advantage + wrong, 0.5, tau)
    instance = plug_in.PlugIn(truth, estimate.payoff, logs(star, 1.0 - star))
    assert plug_in.PLUG_IN_IDENTITY.satisfied(instance)
    margin = plug_in.PLUG_IN_IDENTITY.margin(instance)
    assert not margin.violated
    # Δ = wrong · (1 − π, −π), so its range is `wrong` whatever π; Σ μμ(P̂ − P)² = wrong²/2.
    policy = (star, 1.0 - star)
    response = np.exp(best_response(truth, logs(*policy))[0])
    exact = tau * sum(p * log(p / b) for p, b in zip(policy, response, strict=True))
    by_range = part(margin, "range bound")
    assert by_range.value == pytest.approx(wrong**2 / (8 * tau) - exact, rel=1e-9)
    by_coverage = part(margin, "coverage bound")
    expected = exp(2.0 / tau) / (2.0 * tau) * wrong**2 / 2.0 - exact
    assert by_coverage.value == pytest.approx(expected, rel=1e-9)


def test_out_of_range_payoffs_break_the_coverage_bound_and_nothing_else():
    from nlhf_theory.draws import Draws

    class First(Draws):
        """Draws that always return the middle of their range."""

        def __init__(self):
            pass

        def whole(self, largest: int) -> int:
            return largest // 2

    margin = plug_in.PLUG_IN_IDENTITY.margin(plug_in._draw_out_of_range(First()))
    assert {name: p.violated for name, p in margin.named} == {
        "identity": False,
        "range bound": False,
        "coverage bound": True,
    }


def test_contexts_are_averaged_with_their_weights():
    matrices = np.stack([ROCK_PAPER_SCISSORS, ROCK_PAPER_SCISSORS.T])
    mu = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]))
    p = np.log(np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]))
    q = np.log(np.array([[0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]]))
    both = Game(matrices, mu, 0.3, np.array([0.25, 0.75]))
    alone = [
        value(Game(matrices[x : x + 1], mu[x : x + 1], 0.3, np.ones(1)), p[x : x + 1], q[x : x + 1])
        for x in range(2)
    ]
    assert value(both, p, q) == pytest.approx(0.25 * alone[0] + 0.75 * alone[1])
    assert divergence(both.weights, p, p) == 0.0


def test_coordinates_return_the_instance_they_came_from():
    played = game([[0.5, 0.75, 0.0], [0.25, 0.5, 1.0], [1.0, 0.0, 0.5]], (0.5, 0.3, 0.2), 0.05)
    policy = logs(0.2, 0.3, 0.5)
    again, (same,) = decode(played, encode(played, policy))
    assert np.abs(again.payoff - played.payoff).max() == 0.0
    assert np.allclose(again.log_reference, played.log_reference, atol=1e-14)
    assert np.allclose(same, policy, atol=1e-14)
    assert again.temperature == pytest.approx(0.05)
    anywhere, _ = decode(played, encode(played, policy) + 3.3)
    assert is_complementary(anywhere)
