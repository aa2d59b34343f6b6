"""Votes of real people: certified at every temperature, and counted against their null."""

import csv

import numpy as np
import pytest
from mpmath import mpf

import nlhf
from nlhf.analysis.votes import Settings, analyse_votes
from nlhf.data import read_votes, win_counts
from nlhf.estimation import Completion, estimate_preferences
from tests.definition import self_play_gap


@pytest.fixture(scope="module")
def counts(real_data):
    return win_counts(read_votes(real_data / "convarg" / "votes.csv"))


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-5])
def test_every_prompt_is_solved_to_1e_12(counts, temperature):
    for count in counts:
        p = estimate_preferences(count).complete(Completion.HALF)
        game = nlhf.PreferenceGame(p, temperature=temperature)
        solution = nlhf.solve(game).require(1e-12)
        assert solution.policy.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [10.0, 0.1, 1e-3, 1e-5])
def test_the_gap_of_every_prompt_is_below_1e_12_by_its_definition(counts, temperature):
    for count in counts:
        p = estimate_preferences(count).complete(Completion.HALF)
        game = nlhf.PreferenceGame(p, temperature=temperature)
        policy, reference = nlhf.solve(game).log_policy, game.reference.log_probabilities
        gap = self_play_gap(game.payoff.matrix, policy, reference, temperature)
        assert abs(gap) <= mpf("1e-12")


def test_the_corpus_is_the_documented_one(counts, real_data):
    with (real_data / "convarg" / "responses.csv").open(newline="") as file:
        responses = sum(1 for _ in csv.DictReader(file))
    analysis = analyse_votes(counts, Settings(temperature=0.05))
    assert sum(solution.votes for solution in analysis.prompts) == 44_375
    assert sum(len(solution.responses) for solution in analysis.prompts) == responses
    assert len(analysis.prompts) == 16
    # The corpus's documentation counts 16 to 397 majority 3-cycles in each of its 32 prompts.
    for solution in analysis.prompts:
        assert 16 <= solution.majority.three_cycles <= 397
    assert analysis.null.observed == sum(
        not solution.majority.condorcet_winners for solution in analysis.prompts
    )
    assert analysis.null.distribution.sum() == pytest.approx(1.0, abs=1e-12)


def test_no_bradley_terry_reward_does_better_than_the_equilibrium(counts):
    analysis = analyse_votes(counts[:4], Settings(temperature=0.05))
    for solution, baseline in zip(analysis.prompts, analysis.baselines, strict=True):
        game = nlhf.PreferenceGame(solution.preference, temperature=0.05)
        # The equilibrium beats every policy in the regularised game, by exactly τ·KL.
        assert baseline.exploitability >= solution.gap / 2
        own = nlhf.exploitability(game, baseline.policy).bound.value
        assert own == pytest.approx(baseline.exploitability, rel=1e-9)
        for scale in (0.03, 0.3, 3.0):
            logits = baseline.rewards / scale
            other = np.exp(logits - logits.max())
            loss = nlhf.exploitability(game, other / other.sum()).bound.value
            assert loss >= baseline.exploitability * (1 - 1e-3)
