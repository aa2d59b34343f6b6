"""Planning from data: certificates that hold, plans that are optimal, routes that agree."""

from itertools import product

import mpmath as mp
import numpy as np
import pytest

import nlhf
from nlhf.data.preference_data import PreferenceData
from nlhf.errors import HypothesisViolated, InvalidData, InvalidProblem, Unsupported
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.models import Confidence
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.judging import pessimistic_value, secured
from nlhf.learning.offline.bonus import plan_with_bonus
from nlhf.learning.offline.planes import PlaneSearch
from nlhf.learning.offline.plug_in import plan_plug_in
from nlhf.learning.offline.restricted import covered_responses, plan_restricted
from nlhf.learning.offline.version_space import plan_version_space
from tests.learning.drawn import problem, random_policy, skew

PLANNERS = [plan_version_space, plan_with_bonus, plan_plug_in]
ROUGHLY = {"accuracy": 1e-3}
"""Certificates hold for any policy, however well it was planned."""
ROUNDING = 1e-13
KINDS = [(markov, link) for markov in (False, True) for link in Link]
TWO_KINDS = [(False, Link.LOG_ODDS), (True, Link.PROBABILITY)]


def band(confidence):
    """The same knowledge without its models."""
    return Confidence(
        confidence.model,
        confidence.delta,
        confidence.radius,
        confidence.width,
        confidence.largest,
        confidence.statement,
    )


def check_certificates(drawn, delta=0.1):
    """Every planner's certificate on one problem; whether the event held."""
    confidence = drawn.models.confidence(drawn.data, delta)
    held = drawn.true in confidence.members
    link = drawn.models.link
    for plan in PLANNERS:
        found = plan(drawn.setting, confidence, **(ROUGHLY if plan is not plan_plug_in else {}))
        gap = drawn.setting.exploitability(drawn.truth, found.policy, link.units)
        if held:
            assert gap.low <= found.gap.high, plan.__name__
            assert found.value.low <= -gap.low
    return held


@pytest.mark.parametrize(("markov", "link"), KINDS)
def test_no_certificate_is_violated_on_the_event(markov, link):
    check_certificates(problem(4, markov=markov, link=link))


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize(("markov", "link"), KINDS)
def test_no_certificate_is_violated_on_the_event_in_two_thousand_problems(markov, link):
    count = 500
    held = sum(
        check_certificates(problem(seed, markov=markov, link=link)) for seed in range(100, 600)
    )
    # With δ = 0.1 fewer than 400 of 500 events have a probability below 1e-11.
    assert held >= 400
    assert count == 500


def test_control_a_truth_outside_the_class_breaks_certificates():
    broken = 0
    for seed in range(12):
        drawn = problem(seed, temperature=0.1, samples=50)
        confidence = drawn.models.confidence(drawn.data, 0.1)
        found = plan_plug_in(drawn.setting, confidence)
        lie = -drawn.truth
        gap = drawn.setting.exploitability(lie, found.policy, drawn.models.link.units)
        broken += gap.low > found.gap.high
    assert broken >= 8


@pytest.mark.parametrize(("markov", "link"), TWO_KINDS)
def test_no_policy_has_a_larger_pessimistic_value(markov, link):
    rng = np.random.default_rng(1)
    drawn = problem(4, markov=markov, link=link, temperature=0.2, samples=50)
    confidence = drawn.models.confidence(drawn.data, 0.1)
    assert len(confidence.members) > 1
    found = plan_version_space(drawn.setting, confidence, accuracy=1e-6)
    assert found.optimality.high <= 1e-6
    best = found.value.low + found.optimality.high
    for _ in range(10):
        other = drawn.setting.space.mixture(
            [(found.policy, 0.9), (random_policy(rng, drawn.setting), 0.1)]
        )
        assert pessimistic_value(drawn.setting, confidence, other).low <= best + ROUNDING


@pytest.mark.parametrize("count", [1, 3])
def test_temperatures_far_below_the_payoffs_are_planned_for_exactly(count):
    rng = np.random.default_rng(6)
    models = FiniteClass(skew(rng, (count, 1, 3, 3), 30.0), Link.LOG_ODDS)
    setting = BanditSetting(np.full((1, 3), 1 / 3), 1e-3)
    confidence = models.confidence(PreferenceData.empty((1, 3)), 0.1)
    assert plan_version_space(setting, confidence).optimality.high <= 1e-8


def test_planes_models_and_the_group_robust_game_of_all_models_agree():
    drawn = problem(5, temperature=0.2, samples=20)
    setting, confidence = drawn.setting, drawn.models.confidence(drawn.data, 0.1)
    tables, members = confidence.tables, confidence.members
    found = plan_version_space(setting, confidence)
    planes = PlaneSearch(setting, tables, members, setting.reference)
    planes.run(1e-10)
    game = nlhf.GroupRobustGame(
        0.5 + tables[members], setting.reference, 0.2, weights=setting.stage_weights
    )
    whole = nlhf.solve(game)
    assert found.value.low == pytest.approx(game.primal(whole.profile[0]) - 0.5, abs=1e-9)
    assert planes.lower == pytest.approx(found.value.low, abs=1e-9)
    np.testing.assert_allclose(
        found.policy.probabilities, whole.profile[0].probabilities, atol=1e-4
    )


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_the_bonus_game_is_solved_alike_by_newton_and_by_planes(temperature):
    drawn = problem(5, temperature=temperature, samples=50)
    confidence = drawn.models.confidence(drawn.data, 0.1)
    payoff = confidence.lowest[None]
    newton = plan_with_bonus(drawn.setting, confidence)
    planes = PlaneSearch(
        drawn.setting, payoff, np.zeros(1, dtype=np.int64), drawn.setting.reference
    )
    planes.run(1e-8)
    value = secured(drawn.setting, payoff, newton.policy)[0]
    assert planes.lower == pytest.approx(value, abs=1e-8)
    assert newton.optimality.high <= 1e-10


@pytest.mark.parametrize(("markov", "link"), TWO_KINDS)
def test_one_model_left_is_played_as_if_it_were_known(markov, link):
    drawn = problem(3, markov=markov, link=link, temperature=0.1)
    alone = FiniteClass(drawn.models.tables[:1], link)
    confidence = alone.confidence(drawn.data, 0.1)
    for plan in PLANNERS:
        found = plan(drawn.setting, confidence)
        assert found.gap.high <= 2e-8
        assert found.optimality.high <= 1e-8


@pytest.mark.parametrize(("markov", "link"), TWO_KINDS)
def test_models_secure_more_than_the_band_around_them(markov, link):
    rng = np.random.default_rng(2)
    drawn = problem(18, markov=markov, link=link, samples=50)
    confidence = drawn.models.confidence(drawn.data, 0.1)
    for _ in range(4):
        policy = random_policy(rng, drawn.setting)
        by_models = pessimistic_value(drawn.setting, confidence, policy)
        by_band = pessimistic_value(drawn.setting, band(confidence), policy)
        assert by_band.low <= by_models.low + 1e-12


def test_pessimism_is_never_better_than_the_plan_that_maximises_it():
    for seed in (3, 4):
        drawn = problem(seed, temperature=0.2, samples=50)
        confidence = drawn.models.confidence(drawn.data, 0.1)
        best = plan_version_space(drawn.setting, confidence).value.low
        assert plan_plug_in(drawn.setting, confidence).value.low <= best + 1e-8
        assert plan_with_bonus(drawn.setting, confidence).value.low <= best + 1e-8


def test_competitors_that_may_do_anything_make_the_restricted_plan_that_with_a_bonus():
    for temperature in (0.0, 0.2):
        drawn = problem(5, temperature=temperature, samples=50)
        confidence = drawn.models.confidence(drawn.data, 0.1)
        free = plan_with_bonus(drawn.setting, confidence)
        every = np.ones(drawn.setting.shape, dtype=bool)
        found = plan_restricted(drawn.setting, confidence, every)
        payoff = confidence.lowest[None]
        value = secured(drawn.setting, payoff, free.policy)[0]
        assert found.against_covered.low == pytest.approx(value, abs=1e-9)


def test_against_one_covered_response_the_plan_is_a_soft_best_reply():
    drawn = problem(8, temperature=0.2, samples=50)
    confidence = drawn.models.confidence(drawn.data, 0.1)
    covered = np.zeros(drawn.setting.shape, dtype=bool)
    covered[:, 0] = True
    found = plan_restricted(drawn.setting, confidence, covered)
    payoff = confidence.lowest[:, :, 0]
    mu, tau = drawn.setting.reference.probabilities, 0.2
    expected = mu * np.exp(payoff / tau)
    total = expected.sum(axis=-1)
    np.testing.assert_allclose(found.policy.probabilities, expected / total[:, None], atol=1e-9)
    # The competitor pays τ log 1/μ(0) for playing one response only.
    value = drawn.setting.stage_weights @ (tau * np.log(total) - tau * np.log(mu[:, 0]))
    assert found.against_covered.low == pytest.approx(value, abs=1e-9)


def test_fewer_competitors_never_secure_less():
    rng = np.random.default_rng(3)
    for seed in range(3):
        drawn = problem(seed, temperature=0.1, samples=50)
        confidence = drawn.models.confidence(drawn.data, 0.1)
        some = rng.random(drawn.setting.shape) < 0.5
        some[:, 0] = True
        every = np.ones(drawn.setting.shape, dtype=bool)
        fewer = plan_restricted(drawn.setting, confidence, some).against_covered.low
        assert fewer >= plan_restricted(drawn.setting, confidence, every).against_covered.low - 1e-9


def test_what_is_secured_against_covered_competitors_is_a_lower_bound_to_the_last_bit():
    def exactly(log_policy):
        rows = [[mp.e ** mp.mpf(float(x)) for x in row] for row in log_policy]
        return [[x / mp.fsum(row) for x in row] for row in rows]

    mp.mp.dps = 40
    for seed, tau in product(range(3, 8), (0.05, 1.0, 20.0)):
        drawn = problem(seed, temperature=tau, samples=50)
        setting, confidence = drawn.setting, drawn.models.confidence(drawn.data, 0.1)
        covered = np.random.default_rng(seed).random(setting.shape) < 0.5
        covered[:, 0] = True
        found = plan_restricted(setting, confidence, covered)
        pi, mu = (exactly(p.log_probabilities) for p in (found.policy, setting.reference))
        value = mp.mpf(0)
        for x, weight in enumerate(setting.stage_weights):
            price = mp.fsum(p * mp.log(p / q) for p, q in zip(pi[x], mu[x], strict=True))
            conceded = [
                mp.fsum(p * t for p, t in zip(pi[x], map(float, column), strict=True))
                for column in confidence.lowest[x].T
            ]
            replies = (mu[x][j] * mp.exp(-conceded[j] / tau) for j in np.flatnonzero(covered[x]))
            value -= float(weight) * tau * (mp.log(mp.fsum(replies)) + price)
        assert found.against_covered.low <= value <= found.against_covered.low + 1e-9


def test_confidence_sets_without_models_and_plans_out_of_range_are_refused():
    drawn = problem(3, temperature=0.1, samples=5)
    confidence = drawn.models.confidence(drawn.data, 0.1)
    with pytest.raises((Unsupported, TypeError)):
        plan_version_space(drawn.setting, band(confidence))
    for plan in (plan_version_space, plan_with_bonus):
        for accuracy in (-1e-3, np.nan):
            with pytest.raises(HypothesisViolated, match="accuracy is"):
                plan(drawn.setting, confidence, accuracy=accuracy)
    ones = np.ones(drawn.setting.shape, dtype=int)
    with pytest.raises((HypothesisViolated, TypeError)):
        plan_restricted(drawn.setting, confidence, ones)
    markov = problem(3, markov=True, samples=5)
    of_markov = markov.models.confidence(markov.data, 0.1)
    with pytest.raises((Unsupported, TypeError)):
        plan_restricted(markov.setting, of_markov, np.ones(markov.setting.shape, dtype=bool))


def test_confidence_sets_of_another_problem_are_refused():
    drawn, other = problem(3, samples=5), problem(4, samples=5)
    assert drawn.setting.shape != other.setting.shape
    confidence = other.models.confidence(other.data, 0.1)
    with pytest.raises((InvalidProblem, TypeError)):
        pessimistic_value(drawn.setting, confidence, drawn.setting.reference)
    for plan in PLANNERS:
        with pytest.raises(InvalidProblem):
            plan(drawn.setting, confidence)


def test_a_context_without_covered_responses_is_named():
    drawn = problem(9, samples=5)
    confidence = drawn.models.confidence(drawn.data, 0.1)
    covered = covered_responses(drawn.data.compared(), least=1e9)
    with pytest.raises(InvalidData, match="no covered response"):
        plan_restricted(drawn.setting, confidence, covered)


def test_the_radius_without_its_factor_of_two_fails_and_the_proved_one_does_not():
    """Fair coins; competitors are off by 0.16 with random signs: 0.42 in 60 fail (nlhf.md 2.1).

    Fewer than 9 failures of 60 at a rate of 0.42, or more than 9 at one of 0.05, have
    probabilities below 1e-5 and 1e-3: what is measured is far from both.
    """
    rng = np.random.default_rng(12)
    models, samples, delta, off = 1000, 400, 0.05, 0.16
    failed = proved = 0
    for _ in range(60):
        signs = 2.0 * rng.integers(0, 2, size=(models - 1, samples)) - 1.0
        answers = 2.0 * rng.integers(0, 2, size=samples) - 1.0
        right = (samples + (signs @ answers).max()) / 2.0
        best = right * np.log(0.5 + off) + (samples - right) * np.log(0.5 - off)
        error = samples * off**2 if best > samples * np.log(0.5) else 0.0
        nats = np.log(models / delta)
        failed += error > nats
        proved += error > 2.0 * nats
    assert proved <= 9
    assert failed >= 9
