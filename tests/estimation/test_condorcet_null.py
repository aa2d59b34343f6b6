from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.data import read_votes, win_counts
from nlhf.errors import HypothesisViolated
from nlhf.estimation import Ties, condorcet_law, condorcet_null, fit_bradley_terry, fit_prior
from nlhf.estimation.condorcet import _draw_rewards, _majority
from nlhf.estimation.likelihood import Likelihood, maximise
from tests.estimation.tables import made, tables

rewards = st.floats(-4, 4)


def has_winner(wins):
    n = len(wins)
    return any(all(wins[i, j] > wins[j, i] for j in range(n) if j != i) for i in range(n))


def cycles(wins):
    n, beats = len(wins), wins > wins.T
    triples = product(range(n), repeat=3)
    return sum(bool(beats[i, j] and beats[j, k] and beats[k, i]) for i, j, k in triples) / 3


def enumerate_votes(data, r):
    """Every outcome of the decisive votes under Bradley-Terry, with its probability."""
    n = len(r)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    decisive = data.wins + data.wins.T
    for outcome in product(*(range(decisive[pair] + 1) for pair in pairs)):
        wins, probability = np.zeros((n, n), int), 1.0
        for (i, j), won in zip(pairs, outcome, strict=True):
            total = decisive[i, j]
            p = 1 / (1 + np.exp(r[j] - r[i]))
            wins[i, j], wins[j, i] = won, total - won
            probability *= comb(total, won) * p**won * (1 - p) ** (total - won)
        yield wins, probability


@given(tables(most=3), st.lists(rewards, min_size=3, max_size=3))
@settings(max_examples=25)
def test_the_law_of_one_prompt_agrees_with_enumerating_all_votes(table, given_rewards):
    data = made(*table)
    r = np.array(given_rewards[: len(data.responses)])
    null = condorcet_law([data], [r])
    outcomes = list(enumerate_votes(data, r))
    missing = sum(p for wins, p in outcomes if not has_winner(wins))
    assert null.probability[0] == pytest.approx(missing, abs=1e-12)
    assert null.distribution == pytest.approx([1 - missing, missing], abs=1e-12)
    expected = sum(p * cycles(wins) for wins, p in outcomes)
    assert null.three_cycles[0] == pytest.approx(expected, abs=1e-12)
    assert null.observed == (not has_winner(data.wins))


@given(st.lists(tables(most=4), min_size=1, max_size=5))
def test_the_law_of_the_number_is_that_of_independent_prompts(drawn):
    batch = [made(*table) for table in drawn]
    null = condorcet_law(batch, [np.zeros(len(data.responses)) for data in batch])
    law = np.zeros(len(batch) + 1)
    for outcome in product([False, True], repeat=len(batch)):
        chances = np.where(outcome, null.probability, 1 - null.probability)
        law[sum(outcome)] += chances.prod()
    assert null.distribution == pytest.approx(law, abs=1e-12)
    assert null.expected == pytest.approx(law @ np.arange(len(law)))
    assert null.p_value == pytest.approx(law[null.observed :].sum(), abs=1e-12)
    assert null.observed == sum(not has_winner(data.wins) for data in batch)


def test_the_exact_law_is_the_limit_of_the_parametric_bootstrap():
    generator = np.random.default_rng(11)
    n, replicates = 6, 20_000
    upper = np.triu(generator.integers(1, 8, (n, n)), 1)
    data, r = made(upper), generator.normal(size=n)
    p = 1 / (1 + np.exp(r[None, :] - r[:, None]))
    drawn = np.triu(generator.binomial(upper, p, size=(replicates, n, n)), 1)
    wins = drawn + np.tril((upper - drawn).transpose(0, 2, 1), -1)
    missing = np.mean([not has_winner(w) for w in wins])
    null = condorcet_law([data], [r])
    # Hoeffding: further than 0.02 off with a probability of at most 2 exp(-2 n eps^2) < 1e-6.
    assert abs(missing - null.probability[0]) < 0.02


def test_ties_and_unseen_pairs_stand_in_the_way_of_a_winner():
    split = made([[0, 1, 3], [1, 0, 3], [0, 0, 0]])
    unseen = made([[0, 3, 0], [0, 0, 3], [0, 0, 0]])
    won = made([[0, 1, 3], [0, 0, 3], [0, 0, 0]], [[0, 9, 0], [9, 0, 0], [0, 0, 0]])
    null = condorcet_law([split, unseen, won, made([[0]])], [np.zeros(3)] * 3 + [np.zeros(1)])
    assert null.without.tolist() == [True, True, False, False]
    # Of the responses that miss no pair there is one; it wins 3 votes by majority twice.
    assert null.probability[1] == pytest.approx(1 - 1 / 4)
    assert null.probability[3] == 0.0


def test_large_reward_gaps_leave_a_winner():
    data = made(np.full((4, 4), 5) - 5 * np.eye(4, dtype=int))
    null = condorcet_law([data], [np.array([300.0, 200.0, 100.0, 0.0])])
    assert null.probability[0] == pytest.approx(0.0, abs=1e-12)
    assert null.observed == 1
    assert null.p_value == pytest.approx(0.0, abs=1e-12)


def test_quantiles_are_those_of_the_distribution():
    data = [made([[0, 1], [1, 0]])] * 4  # two votes, no winner if they split: probability 1/2
    null = condorcet_law(data, [np.zeros(2)] * 4)
    assert null.distribution == pytest.approx(np.array([1, 4, 6, 4, 1]) / 16)
    levels = [0.0, 0.05, 0.06, 0.3, 0.5, 0.95, 1.0]
    assert [null.quantile(level) for level in levels] == [0, 0, 0, 1, 2, 4, 4]
    with pytest.raises(HypothesisViolated, match=r"level 1\.5"):
        null.quantile(1.5)


def test_rewards_must_fit_the_prompts():
    data = made([[0, 1], [1, 0]])
    for wrong in ([], [np.zeros(3)], [np.array([0.0, np.inf])]):
        with pytest.raises(HypothesisViolated):
            condorcet_law([data], wrong)


def test_on_convarg_the_exact_law_is_that_of_simulated_bradley_terry_votes(real_data):
    data = win_counts(read_votes(real_data / "convarg" / "votes.csv"))
    rewards = [fit_bradley_terry(c, ties=Ties.DISCARDED).rewards for c in data]
    null = condorcet_law(data, rewards)
    assert null.observed == sum(not has_winner(c.wins) for c in data)
    generator, replicates = np.random.default_rng(5), 1000
    missing = np.zeros(replicates, dtype=int)
    for c, r in zip(data, rewards, strict=True):
        i, j = np.triu_indices(len(r), 1)
        total = (c.wins + c.wins.T)[i, j]
        won = generator.binomial(total, 1 / (1 + np.exp(r[j] - r[i])), (replicates, len(total)))
        beats = np.ones((replicates, len(r), len(r)), dtype=bool)
        beats[:, i, j], beats[:, j, i] = 2 * won > total, 2 * won < total
        missing += ~beats.all(axis=2).any(axis=1)
    # Hoeffding, for means of 1000 numbers in [0, 1]: 0.09 off with probability below 1e-6.
    assert abs(missing.mean() - null.expected) / len(data) < 0.09
    assert abs((missing >= null.observed).mean() - null.p_value) < 0.09
    # Most prompts have no winner, and yet a reward model has as many by noise alone.
    assert null.observed > len(data) / 2
    assert (missing >= null.observed).mean() > 0.5
    assert condorcet_null(data).p_value > 0.5


def test_the_majority_of_few_and_of_many_votes_is_the_binomial_tail():
    from scipy.stats import binom

    number = np.array([0, 1, 2, 7, 63, 64, 65, 66, 1000])
    p = np.linspace(0, 1, 11)
    tail = binom.sf(number[:, None] // 2, number[:, None], p)
    np.testing.assert_allclose(_majority(number, np.tile(p, (9, 1))), tail, rtol=1e-10, atol=1e-15)


def bradley_terry_votes(generator, size, votes, deviation, prompts):
    batch = []
    for _ in range(prompts):
        r = generator.normal(0, deviation, size)
        upper = np.triu(generator.binomial(votes, 1 / (1 + np.exp(r[None, :] - r[:, None]))), 1)
        batch.append(made(upper + np.tril(votes - upper.T, -1)))
    return batch


def test_draws_of_rewards_have_the_mode_and_the_covariance_of_the_posterior():
    wins = np.array([[[0, 5, 2], [1, 0, 4], [3, 2, 0]], [[0, 1, 1], [8, 0, 2], [0, 3, 0]]])
    prior = 0.3

    # Unit vectors for normal draws make the draws the columns of a root of the covariance.
    class UnitVectors(np.random.Generator):
        def standard_normal(self, shape):
            return np.broadcast_to(np.eye(3), shape)

    draws = _draw_rewards(wins, prior, 3, UnitVectors(np.random.PCG64(0)))
    for table, drawn_rewards in zip(wins, draws, strict=True):
        likelihood = Likelihood(table.astype(float), prior)
        mode = maximise(likelihood, np.zeros(3))
        root = drawn_rewards - mode[:, None]
        covariance = np.linalg.inv(likelihood.information(mode))
        np.testing.assert_allclose(root @ root.T, covariance, rtol=1e-5)


def test_the_prior_of_simulated_rewards_is_found():
    generator = np.random.default_rng(3)
    for deviation in (0.3, 1.0, 3.0):
        found = fit_prior(bradley_terry_votes(generator, 8, 20, deviation, 60))
        # 420 contrasts: the log of a variance has a standard error of 0.07 and that of the votes;
        # 0.7 is more than six of these.
        assert abs(np.log(found * deviation**2)) < 0.7


def test_votes_without_a_signal_have_a_strong_prior_and_none_at_all_have_the_unit():
    even = [made(4 * (np.ones((4, 4), int) - np.eye(4, dtype=int)))] * 20
    assert fit_prior(even) > 100
    assert fit_prior([made(np.zeros((3, 3), int))]) == 1.0
    with pytest.raises(HypothesisViolated):
        fit_prior([])


def test_responses_without_votes_say_nothing_of_the_prior():
    batch = bradley_terry_votes(np.random.default_rng(4), 5, 5, 1.0, 10)
    padded = [made(np.pad(c.wins, (0, 3))) for c in batch]
    assert fit_prior(padded) == pytest.approx(fit_prior(batch), rel=1e-9)


@pytest.mark.parametrize(
    ("size", "votes", "deviation", "prompts"), [(3, 3, 0.3, 200), (10, 1, 1.0, 50), (6, 5, 0.5, 50)]
)
def test_bradley_terry_votes_are_not_rejected_more_often_than_the_level(
    size, votes, deviation, prompts
):
    generator = np.random.default_rng(7)
    nulls = [
        condorcet_null(bradley_terry_votes(generator, size, votes, deviation, prompts), draws=50)
        for _ in range(20)
    ]
    rejected = sum(null.p_value < 0.05 for null in nulls)
    # At a true level of 0.05, more than 6 of 20 happen with a probability of 3.4e-5.
    assert rejected <= 6
    # The mean of 20 differences of numbers with standard deviations below sqrt(prompts)/2.
    error = np.mean([null.observed - null.expected for null in nulls])
    assert abs(error) < 5 * np.sqrt(prompts / 4 / 20)


def test_cyclic_votes_are_rejected():
    cycle = np.array([[0, 4, 1], [1, 0, 4], [4, 1, 0]])
    null = condorcet_null([made(cycle)] * 20)
    assert null.observed == 20
    assert null.p_value < 1e-6
    assert null.cycles_high < 20


def test_the_null_is_reproducible_and_its_range_holds_the_mean():
    batch = bradley_terry_votes(np.random.default_rng(8), 6, 3, 1.0, 10)
    first, second, other = (condorcet_null(batch, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.distribution, second.distribution)
    assert (first.cycles_low, first.cycles_high) == (second.cycles_low, second.cycles_high)
    assert not np.array_equal(first.distribution, other.distribution)
    assert first.prior == other.prior == fit_prior(batch)
    assert first.cycles_low <= first.three_cycles.sum() <= first.cycles_high
    assert first.distribution.sum() == pytest.approx(1)
    with pytest.raises(HypothesisViolated, match="0 draws"):
        condorcet_null(batch, draws=0)
