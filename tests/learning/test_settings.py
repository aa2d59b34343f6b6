"""Settings: what policies visit, what they secure, and what they draw."""

from itertools import islice, product
from math import log, sqrt

import numpy as np
import pytest

import nlhf
from nlhf.errors import InvalidProblem, Unsupported
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.processes import MarkovSetting
from nlhf.results import Units
from nlhf.spaces.policy import Policy
from tests.learning.drawn import bandit, process, random_policy, skew

MAKERS = [bandit, process]
FALSE_ALARM = 1e-6


def paid(setting, table, first, second):
    """T(π, ρ) from its definition."""
    a, b = setting.visits(first), setting.visits(second)
    return sum(w * a[k] @ table[k] @ b[k] for k, w in enumerate(setting.stage_weights))


def deterministic(setting):
    shape = setting.reference.log_probabilities.shape
    for choice in product(range(shape[-1]), repeat=int(np.prod(shape[:-1]))):
        yield Policy.of(np.eye(shape[-1])[list(choice)].reshape(shape))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("seed", range(5))
def test_visits_are_distributions_and_the_payoff_of_skew_tables_is_skew(make, seed):
    rng = np.random.default_rng(seed)
    setting = make(rng)
    first, second = random_policy(rng, setting), random_policy(rng, setting)
    np.testing.assert_allclose(setting.visits(first).sum(axis=-1), 1.0, atol=1e-12)
    table = skew(rng, (setting.shape[0], setting.shape[1], setting.shape[1]), 0.5)
    there, back = paid(setting, table, first, second), paid(setting, table, second, first)
    assert there == pytest.approx(-back, abs=1e-14)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_reached_without_kl_is_the_best_deterministic_policy(make, seed):
    rng = np.random.default_rng([seed, 1])
    setting = make(rng, 0.0)
    values = rng.normal(size=setting.shape)

    def worth(policy):
        return setting.stage_weights @ (setting.visits(policy) * values).sum(axis=-1)

    every = [worth(policy) for policy in islice(deterministic(setting), 256)]
    assert setting.reached(values[None])[0] >= max(every) - 1e-12
    assert worth(setting.best(values, 0.0)) == pytest.approx(setting.reached(values[None])[0])
    assert setting.conceded(values[None])[0] == pytest.approx(-setting.reached(-values[None])[0])


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_conceded_at_a_temperature_is_attained_and_no_reply_gets_less(make, seed):
    rng = np.random.default_rng([seed, 2])
    setting = make(rng, 0.2)
    values = rng.normal(size=setting.shape)

    def objective(policy):
        mean = setting.stage_weights @ (setting.visits(policy) * values).sum(axis=-1)
        return mean + 0.2 * setting.divergence(policy)

    least = setting.conceded(values[None])[0]
    reply = setting.best(-values)
    assert objective(reply) == pytest.approx(least, abs=1e-12)
    assert all(objective(random_policy(rng, setting)) >= least - 1e-12 for _ in range(50))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_the_solved_policy_cannot_be_exploited_and_another_one_can(make, temperature):
    rng = np.random.default_rng(3)
    setting = make(rng, temperature)
    table = skew(rng, (setting.shape[0], setting.shape[1], setting.shape[1]), 2.0)
    assert setting.exploitability(table, setting.solve(table), Units.LOG_ODDS).high <= 1e-9
    other = random_policy(rng, setting)
    assert setting.exploitability(table, other, Units.LOG_ODDS).low > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_payoffs_that_are_hardly_any_have_an_equilibrium_at_temperature_zero(seed):
    """At 5e-10 the digits of 1/2 + T hide which of two responses wins."""
    rng = np.random.default_rng([seed, 8])
    setting = BanditSetting(np.full((5, 4), 0.25), 0.0)
    table = skew(rng, (5, 4, 4), 5e-10)
    assert setting.exploitability(table, setting.solve(table), Units.PAYOFF).high <= 1e-14


def test_exploitability_in_a_bandit_is_that_of_the_preference_game():
    rng = np.random.default_rng(4)
    setting = bandit(rng, 0.1)
    table = skew(rng, (setting.shape[0], setting.shape[1], setting.shape[1]), 0.5)
    game = nlhf.PreferenceGame(0.5 + table, setting.reference, 0.1, setting.stage_weights)
    policy = random_policy(rng, setting)
    ours = setting.exploitability(table, policy, Units.WIN_PROBABILITY)
    assert ours.value == pytest.approx(nlhf.exploitability(game, policy).bound.value, rel=1e-12)


def test_exploitability_in_a_process_is_that_of_the_markov_game():
    rng = np.random.default_rng(5)
    setting = process(rng, 0.1)
    table = skew(rng, (setting.shape[0], setting.shape[1], setting.shape[1]), 0.5)
    game = nlhf.MarkovGame(setting.process, step=0.5 + table, temperature=0.1)
    policy = random_policy(rng, setting)
    ours = setting.exploitability(table, policy, Units.WIN_PROBABILITY)
    assert ours.value == pytest.approx(nlhf.exploitability(game, policy).bound.value, rel=1e-12)


def test_one_step_in_one_state_is_a_bandit():
    rng = np.random.default_rng(6)
    mdp = nlhf.MDP(np.ones((1, 4, 1)), [1.0])
    markov = MarkovSetting(nlhf.FiniteHorizon(mdp, 1), 0.1)
    plain = BanditSetting(np.full((1, 4), 0.25), 0.1)
    table = skew(rng, (1, 4, 4), 0.5)
    values = rng.normal(size=(3, 1, 4))
    np.testing.assert_allclose(markov.conceded(values), plain.conceded(values), atol=1e-14)
    np.testing.assert_allclose(
        markov.solve(table).probabilities[0], plain.solve(table).probabilities, atol=1e-9
    )


@pytest.mark.parametrize("make", MAKERS)
def test_drawn_pairs_follow_the_visits(make):
    rng = np.random.default_rng(7)
    setting = make(rng, 0.1)
    first, second = random_policy(rng, setting), random_policy(rng, setting)
    count = 20_000
    pairs = setting.draw(first, second, count, nlhf.Stream(1))
    stages, outcomes = setting.shape
    cells = 2 * stages * outcomes
    # Hoeffding for every cell at once: the alarm is false with probability at most 1e-6.
    allowed = sqrt(log(2 * cells / FALSE_ALARM) / (2 * count))
    for policy, drawn in ((first, pairs.first), (second, pairs.second)):
        seen = np.zeros((stages, outcomes))
        np.add.at(seen, (pairs.stage, drawn), 1.0 / count)
        share = setting.stage_weights if isinstance(setting, BanditSetting) else np.ones(stages)
        expected = setting.visits(policy) * share[:, None]
        assert np.abs(seen - expected).max() <= allowed
    again = setting.draw(first, second, count, nlhf.Stream(1))
    assert (again.first == pairs.first).all()


def test_wrong_settings_are_refused():
    with pytest.raises(InvalidProblem, match="one row per context"):
        BanditSetting([0.5, 0.5], 0.1)
    with pytest.raises(InvalidProblem, match="temperature"):
        BanditSetting([[0.5, 0.5]], -1.0)
    with pytest.raises((Unsupported, TypeError)):
        MarkovSetting(nlhf.TokenTree(2, 2), 0.1)
