from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.data import read_votes, win_counts
from nlhf.errors import HypothesisViolated
from nlhf.estimation import Ties, condorcet_null, fit_bradley_terry
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
def test_the_null_of_one_prompt_agrees_with_enumerating_all_votes(table, given_rewards):
    data = made(*table)
    r = np.array(given_rewards[: len(data.responses)])
    null = condorcet_null([data], [r])
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
    null = condorcet_null(batch, [np.zeros(len(data.responses)) for data in batch])
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
    null = condorcet_null([data], [r])
    # Hoeffding: further than 0.02 off with a probability of at most 2 exp(-2 n eps^2) < 1e-6.
    assert abs(missing - null.probability[0]) < 0.02


def test_ties_and_unseen_pairs_stand_in_the_way_of_a_winner():
    split = made([[0, 1, 3], [1, 0, 3], [0, 0, 0]])
    unseen = made([[0, 3, 0], [0, 0, 3], [0, 0, 0]])
    won = made([[0, 1, 3], [0, 0, 3], [0, 0, 0]], [[0, 9, 0], [9, 0, 0], [0, 0, 0]])
    null = condorcet_null([split, unseen, won, made([[0]])], [np.zeros(3)] * 3 + [np.zeros(1)])
    assert null.without.tolist() == [True, True, False, False]
    # Of the responses that miss no pair there is one; it wins 3 votes by majority twice.
    assert null.probability[1] == pytest.approx(1 - 1 / 4)
    assert null.probability[3] == 0.0


def test_large_reward_gaps_leave_a_winner():
    data = made(np.full((4, 4), 5) - 5 * np.eye(4, dtype=int))
    null = condorcet_null([data], [np.array([300.0, 200.0, 100.0, 0.0])])
    assert null.probability[0] == pytest.approx(0.0, abs=1e-12)
    assert null.observed == 1
    assert null.p_value == pytest.approx(0.0, abs=1e-12)


def test_quantiles_are_those_of_the_distribution():
    data = [made([[0, 1], [1, 0]])] * 4  # two votes, no winner if they split: probability 1/2
    null = condorcet_null(data, [np.zeros(2)] * 4)
    assert null.distribution == pytest.approx(np.array([1, 4, 6, 4, 1]) / 16)
    levels = [0.0, 0.05, 0.06, 0.3, 0.5, 0.95, 1.0]
    assert [null.quantile(level) for level in levels] == [0, 0, 0, 1, 2, 4, 4]
    with pytest.raises(HypothesisViolated, match=r"level 1\.5"):
        null.quantile(1.5)


def test_rewards_must_fit_the_prompts():
    data = made([[0, 1], [1, 0]])
    for wrong in ([], [np.zeros(3)], [np.array([0.0, np.inf])]):
        with pytest.raises(HypothesisViolated):
            condorcet_null([data], wrong)


def test_on_convarg_the_exact_law_is_that_of_simulated_bradley_terry_votes(real_data):
    data = win_counts(read_votes(real_data / "convarg" / "votes.csv"))
    rewards = [fit_bradley_terry(c, ties=Ties.DISCARDED).rewards for c in data]
    null = condorcet_null(data, rewards)
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
