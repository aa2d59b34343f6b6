"""Every axiom with a rule that satisfies it and one that must fail it."""

import numpy as np
import pytest

from nlhf.errors import HypothesisViolated
from nlhf.social_choice.axioms import (
    anonymity,
    clone_invariance,
    condorcet_consistency,
    independence_of_losing_responses,
    lottery_neutrality,
    majority_consistency,
    pairwise_majority_consistency,
    pareto_optimality,
    ranking_neutrality,
    replication_invariance,
    winner_monotonicity,
)
from nlhf.social_choice.linear import (
    borda_ranking,
    bradley_terry_ranking,
    copeland_ranking,
    leximax_copeland,
)
from nlhf.social_choice.outcomes import LotteryRule, RankingRule
from nlhf.social_choice.pairwise import borda, copeland, maximal_lottery
from nlhf.social_choice.profiles import RankingProfile
from nlhf.social_choice.search import preferences, profiles, search
from nlhf.streams import Stream
from tests.social_choice.rules import (
    C1,
    RUNOFF,
    SIX,
    C,
    dictator,
    index_order,
    indifferent,
    instant_runoff,
    lowest_index,
    reversed_when_many,
    uniform,
    upside_down,
)

BUDGET = 16


@pytest.mark.parametrize(
    ("axiom", "good", "bad", "ties"),
    [
        (condorcet_consistency, maximal_lottery, borda, True),
        (condorcet_consistency, copeland, uniform, True),
        (independence_of_losing_responses, maximal_lottery, borda, True),
        (independence_of_losing_responses, maximal_lottery, copeland, True),
        (clone_invariance, maximal_lottery, borda, False),
        (clone_invariance, lowest_index, uniform, True),
        (lottery_neutrality, maximal_lottery, lowest_index, True),
        (lottery_neutrality, borda, lowest_index, True),
    ],
)
def test_lottery_axioms(axiom, good, bad, ties):
    passed = search(axiom, good, preferences((2, 4), ties), BUDGET)
    assert passed.violation is None
    assert passed.instances >= BUDGET // 4
    failed = search(axiom, bad, preferences((2, 4), ties), 10 * BUDGET)
    assert failed.violation is not None
    # The violating instance is carried, and violates on its own.
    assert not axiom(bad, failed.violation.instance).holds
    assert axiom(good, failed.violation.instance).holds


@pytest.mark.parametrize(
    ("axiom", "good", "bad"),
    [
        (pareto_optimality, leximax_copeland, index_order),
        (pareto_optimality, borda_ranking, indifferent),
        (pairwise_majority_consistency, leximax_copeland, borda_ranking),
        (majority_consistency, leximax_copeland, borda_ranking),
        (winner_monotonicity, leximax_copeland, upside_down),
        (anonymity, leximax_copeland, dictator),
        (replication_invariance, leximax_copeland, reversed_when_many),
        (ranking_neutrality, copeland_ranking, leximax_copeland),
    ],
)
def test_ranking_axioms(axiom, good, bad):
    linear = profiles((2, 4), (1, 5), features=2)
    passed = search(axiom, good, linear, BUDGET)
    assert passed.violation is None
    assert passed.instances >= BUDGET // 4
    failed = search(axiom, bad, profiles((2, 4), (1, 5)), 20 * BUDGET)
    assert failed.violation is not None
    assert not axiom(bad, failed.violation.instance).holds


def test_bradley_terry_fails_pareto_and_majority_on_the_six_candidates():
    pareto = pareto_optimality(bradley_terry_ranking, SIX)
    assert not pareto.holds
    assert f"everybody ranks {C1} above {C}" in pareto.violation.what
    assert not pairwise_majority_consistency(bradley_terry_ranking, SIX).holds
    for axiom in (pareto_optimality, pairwise_majority_consistency, majority_consistency):
        report = axiom(leximax_copeland, SIX)
        assert report.holds
        assert report.applied > 0


def test_instant_runoff_is_not_monotone_on_the_known_instance():
    assert instant_runoff(RUNOFF).first == (0,)
    report = winner_monotonicity(instant_runoff, RUNOFF)
    assert not report.holds
    assert instant_runoff(report.violation.changed).first == (2,)
    assert winner_monotonicity(leximax_copeland, RUNOFF).holds


def test_the_maximal_lottery_depends_on_clones_only_where_it_is_a_selection():
    report = clone_invariance(maximal_lottery, np.full((2, 2), 0.5))
    assert not report.holds
    moved = maximal_lottery(report.violation.changed).probabilities
    assert np.allclose(moved, 1 / 3)


def test_an_axiom_that_never_applies_says_so():
    cycle = 0.5 + 0.3 * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]])
    report = condorcet_consistency(uniform, cycle)
    assert report.holds
    assert report.applied == 0
    assert majority_consistency(indifferent, RankingProfile.of([[0, 1], [1, 0]])).applied == 0


def test_a_search_repeats_itself_and_shrinks():
    twice = [search(condorcet_consistency, uniform, preferences(), 50, Stream(3)) for _ in range(2)]
    assert twice[0].tried == twice[1].tried
    assert np.array_equal(*(found.violation.instance for found in twice))
    assert len(twice[0].violation.instance) == 2
    with pytest.raises(HypothesisViolated, match="budget"):
        search(condorcet_consistency, uniform, preferences(), 0)


def test_rules_are_rules():
    assert isinstance(maximal_lottery, LotteryRule)
    assert isinstance(leximax_copeland, RankingRule)
