"""Uncertainty and coverage of policies, against their definitions."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

import nlhf
from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import HypothesisViolated, InvalidData, Unsupported
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.tabular import TabularClass
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.coverage import coverage, population_errors, sample_errors
from nlhf.learning.offline.version_space import plan_version_space
from nlhf.learning.processes import MarkovSetting
from nlhf.learning.settings import Setting
from nlhf.learning.uncertainty import Ridge, greatest_uncertainty, uncertainty
from nlhf.spaces.policy import Policy
from tests.learning.drawn import bandit, problem, process, random_policy, skew


def paid(setting, tables, first, seconds):
    """T_k(π, ρ) from its definition, for all models k and competitors ρ."""
    a, b = setting.visits(first), np.array([setting.visits(second) for second in seconds])
    return np.einsum("l,li,klij,plj->kp", setting.stage_weights, a, tables, b)


def deterministic(setting):
    shape = setting.reference.log_probabilities.shape
    choices = product(range(shape[-1]), repeat=int(np.prod(shape[:-1])))
    return [Policy.of(np.eye(shape[-1])[list(choice)].reshape(shape)) for choice in choices]


def small(rng, markov):
    """A setting with at most 64 deterministic policies."""
    if not markov:
        return BanditSetting(rng.dirichlet(np.ones(4), size=3), 0.1, rng.dirichlet(np.full(3, 9.0)))
    mdp = nlhf.MDP(rng.dirichlet(np.ones(2), size=(2, 2)), rng.dirichlet(np.ones(2)))
    return MarkovSetting(nlhf.FiniteHorizon(mdp, 2), 0.1)


def candidates(rng, setting, count=6, size=0.5, link=Link.PROBABILITY):
    stages, outcomes = setting.shape
    return FiniteClass(skew(rng, (count, stages, outcomes, outcomes), size), link)


def sample(rng, setting, models, count=30):
    pairs = setting.draw(setting.reference, setting.reference, count, nlhf.Stream(1))
    likely = models.link.probability(pairs.payoffs(models.tables[0]))
    return PreferenceData.of_labels(pairs, (rng.random(count) < likely).astype(float))


@pytest.mark.parametrize("markov", [False, True])
@pytest.mark.parametrize("link", list(Link))
@pytest.mark.parametrize("seed", range(2))
def test_no_deterministic_competitor_is_more_uncertain_than_the_one_found(markov, link, seed):
    rng = np.random.default_rng([seed, 1])
    setting = small(rng, markov)
    models = candidates(rng, setting, link=link, size=0.5 if link is Link.PROBABILITY else 2.0)
    data, policy = sample(rng, setting, models), random_policy(rng, setting)
    confidence = models.confidence(data, 0.05)
    ridge = Ridge(0.7, 5.0)
    differences = models.tables - confidence.model.table
    scale = np.sqrt(0.7 + (data.pairs.payoffs(differences) ** 2).sum(axis=-1) / 5.0)

    def gammas(competitors):
        return (abs(paid(setting, differences, policy, competitors)) / scale[:, None]).max(axis=0)

    found = greatest_uncertainty(setting, confidence, policy, ridge)
    assert found.gamma == pytest.approx(gammas(deterministic(setting)).max(), rel=1e-12)
    assert gammas([found.competitor])[0] == pytest.approx(found.gamma, rel=1e-12)
    other = random_policy(rng, setting)
    of_other = uncertainty(setting, confidence, policy, other, ridge)
    assert of_other == pytest.approx(gammas([other])[0])
    assert of_other <= found.gamma + 1e-12


@pytest.mark.parametrize("seed", range(2))
def test_without_candidates_the_width_is_the_uncertainty(seed):
    rng = np.random.default_rng([seed, 2])
    setting = small(rng, markov=False)
    models = candidates(rng, setting)
    data, policy = sample(rng, setting, models), random_policy(rng, setting)
    confidence = TabularClass(setting.shape).confidence(data, 0.05)
    ridge = Ridge(0.3, 2.0)
    found = greatest_uncertainty(setting, confidence, policy, ridge)
    widths = paid(setting, confidence.width[None], policy, deterministic(setting))
    assert ridge.beta(confidence) * found.gamma == pytest.approx(widths.max())


def test_what_the_enhancer_asks_about_is_no_longer_uncertain_afterwards():
    """Two cells, a model for each: the less known one is asked about."""
    tables = np.zeros((3, 1, 3, 3))
    tables[1, 0, 0, 1], tables[2, 0, 0, 2] = 0.3, 0.2
    models = FiniteClass(tables - tables.swapaxes(-1, -2))
    setting = BanditSetting(np.full((1, 3), 1 / 3), 0.1)
    always = Policy.of([[1.0, 0.0, 0.0]])
    asked = Pairs.in_contexts((1, 3), np.zeros(1, int), np.zeros(1, int), np.ones(1, int))
    for count, expected in ((0.0, 1), (1000.0, 2)):
        data = PreferenceData(asked, np.array([count]), np.array([count / 2]))
        confidence = models.confidence(data, 0.05)
        found = greatest_uncertainty(setting, confidence, always, Ridge(1.0))
        assert int(found.competitor.probabilities[0].argmax()) == expected


@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0, 0.0), (np.inf, 1.0), (np.nan, 1.0)])
def test_a_ridge_that_is_not_positive_is_refused(values):
    with pytest.raises(HypothesisViolated):
        Ridge(*values)


def trajectories(setting, policy):
    """All sequences of outcomes with their probabilities."""
    mdp, (horizon, states, actions) = setting.process.mdp, setting.process.shape
    moves = mdp.transitions.toarray().reshape(states, actions, states)
    for steps in product(product(range(states), range(actions)), repeat=horizon):
        likely, before = mdp.initial[steps[0][0]], None
        for h, (s, a) in enumerate(steps):
            likely *= 1.0 if before is None else moves[before][s]
            likely *= policy.probabilities[h, s, a]
            before = (s, a)
        yield np.array([s * actions + a for s, a in steps]), likely


@pytest.mark.parametrize("seed", range(2))
def test_population_errors_of_trajectories_are_those_of_all_pairs_of_them(seed):
    rng = np.random.default_rng([seed, 3])
    setting = small(rng, markov=True)
    models = candidates(rng, setting, count=2)
    first, second = random_policy(rng, setting), random_policy(rng, setting)
    paths = [list(trajectories(setting, policy)) for policy in (first, second)]
    steps = np.arange(2)
    expected = np.zeros(2)
    for (a, p), (b, q) in product(*paths):
        seen = (models.tables - models.tables[0])[:, steps, a, b].mean(axis=-1)
        expected += p * q * seen**2
    found = population_errors(setting, models.tables, models.tables[0], first, second)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("make", [bandit, process])
def test_sample_errors_come_close_to_those_of_the_population(make):
    rng = np.random.default_rng(5)
    setting = make(rng, 0.1)
    models = candidates(rng, setting)
    first, second = random_policy(rng, setting), random_policy(rng, setting)
    pairs = setting.draw(first, second, 20_000, nlhf.Stream(3))
    data = PreferenceData.of_labels(pairs, np.zeros(len(pairs)))
    there = population_errors(setting, models.tables, models.tables[1], first, second)
    here = sample_errors(models.tables, models.tables[1], data)
    # Squared differences are between 0 and 1: 6 standard errors, a false alarm in 1e-8.
    assert np.abs(here - there).max() <= 6 * np.sqrt(0.25 / len(pairs))
    assert here[1] == there[1] == 0.0


@pytest.mark.parametrize("markov", [False, True])
def test_coverage_is_that_of_the_worst_model_and_competitor(markov):
    rng = np.random.default_rng(6)
    setting = small(rng, markov)
    models = candidates(rng, setting)
    policy, centre = random_policy(rng, setting), models.tables[2]
    errors = sample_errors(models.tables, centre, sample(rng, setting, models))
    found = coverage(setting, models.tables, centre, policy, errors)
    seen = errors > 0.0
    met = paid(setting, models.tables - centre, policy, deterministic(setting)) ** 2
    assert found.coefficient == pytest.approx((met[seen] / errors[seen][:, None]).max())
    worst = (models.tables[found.model] - centre)[None]
    attained = paid(setting, worst, policy, [found.competitor])[0, 0] ** 2 / errors[found.model]
    assert attained == pytest.approx(found.coefficient)


def test_coverage_is_infinite_where_candidates_were_never_told_apart_and_else_not():
    """Equal where the policy is: covered by anything. Different there, and never looked at."""
    setting = BanditSetting(np.full((1, 3), 1 / 3), 0.1)
    tables = np.zeros((2, 1, 3, 3))
    tables[1, 0, 1, 2], tables[1, 0, 2, 1] = 0.3, -0.3
    looked = Pairs.in_contexts((1, 3), np.zeros(1, int), np.zeros(1, int), np.ones(1, int))
    errors = sample_errors(tables, tables[0], PreferenceData.of_labels(looked, np.ones(1)))
    elsewhere, there = Policy.of([[1.0, 0.0, 0.0]]), Policy.of([[0.0, 1.0, 0.0]])
    assert coverage(setting, tables, tables[0], elsewhere, errors).coefficient == 0.0
    found = coverage(setting, tables, tables[0], there, errors)
    assert found.coefficient == np.inf
    assert found.model == 1
    assert int(found.competitor.probabilities[0].argmax()) == 2
    uniform = setting.reference
    seen = population_errors(setting, tables, tables[0], uniform, uniform)
    # (0.3)^2 over the mean of 0.3^2 on two cells of nine.
    assert coverage(setting, tables, tables[0], there, seen).coefficient == pytest.approx(4.5)


@pytest.mark.parametrize("seed", range(2))
def test_the_gap_of_pessimism_is_bounded_by_radius_and_coverage(seed):
    """gap ≤ √2 β √(C/n) with β² twice the radius, C that of the true equilibrium."""
    drawn = problem(seed, temperature=0.2, samples=200)
    setting, truth = drawn.setting, drawn.truth
    confidence = drawn.models.confidence(drawn.data, 0.05)
    assert confidence.in_sample[drawn.true] <= confidence.radius
    centre = confidence.model.table
    errors = sample_errors(drawn.models.tables, centre, drawn.data)
    best = setting.solve(truth)
    found = coverage(setting, drawn.models.tables, centre, best, errors)
    bound = 2.0 * np.sqrt(confidence.radius * found.coefficient / drawn.data.size)
    policy = plan_version_space(setting, confidence).policy
    gap = setting.exploitability(truth, policy, drawn.models.link.units).value
    assert gap <= bound + 1e-7


def test_coverage_without_comparisons_and_populations_of_unknown_settings_are_refused():
    tables = np.zeros((1, 1, 2, 2))
    with pytest.raises(InvalidData, match="no comparisons"):
        sample_errors(tables, tables[0], PreferenceData.empty((1, 2)))

    own = BanditSetting(np.full((1, 2), 0.5), 0.1)
    names = [name for name in dir(Setting) if not name.startswith("_")]
    setting = SimpleNamespace(**{name: getattr(own, name) for name in names})
    with pytest.raises(Unsupported, match="SimpleNamespace"):
        population_errors(setting, tables, tables[0], own.reference, own.reference)
