"""Pairwise rules against counting, linear programming and each other's sources."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import nlhf
from nlhf.data.counts import WinCounts
from nlhf.errors import InvalidData, InvalidProblem, Unsupported
from nlhf.social_choice.pairwise import (
    borda,
    borda_scores,
    condorcet_winner,
    copeland,
    copeland_scores,
    maximal_lottery,
    preference_of,
)
from nlhf.social_choice.search import preferences

# Run-time type checks look at random entries of what strategies compute with.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


def by_linear_program(p: np.ndarray) -> np.ndarray:
    """A maximal lottery: x ≥ 0, Σ x = 1, every opponent held to at most 1/2."""
    n = len(p)
    found = linprog(
        np.zeros(n),
        A_ub=p,
        b_ub=np.full(n, 0.5),
        A_eq=np.ones((1, n)),
        b_eq=[1.0],
        method="highs",
    )
    assert found.status == 0
    return found.x


@given(preferences((1, 6), ties=False))
@settings(max_examples=40)
def test_the_maximal_lottery_of_odd_margins_is_the_only_one_a_linear_program_finds(p):
    found = maximal_lottery(p)
    assert np.abs(found.probabilities - by_linear_program(p)).max() < 1e-7
    assert found.certificate.bound.high < 1e-10


@given(preferences((1, 6)))
@settings(max_examples=40)
def test_nothing_beats_a_maximal_lottery_also_where_there_are_ties(p):
    assert (p @ maximal_lottery(p).probabilities).max() < 0.5 + 1e-10


@given(preferences((1, 6)))
def test_scores_are_what_counting_says(p):
    n = len(p)
    for a in range(n):
        chances = [p[a, b] if b != a else 0.5 for b in range(n)]
        assert borda_scores(p)[a] == pytest.approx(sum(chances) / n)
        points = sum((p[a, b] > 0.5) + 0.5 * (p[a, b] == 0.5) for b in range(n) if b != a)
        assert copeland_scores(p)[a] == points
    winners = [a for a in range(n) if all(p[a, b] > 0.5 for b in range(n) if b != a)]
    assert condorcet_winner(p) == (winners[0] if winners else None)


@given(preferences((2, 5)), st.sampled_from([borda, copeland]))
def test_a_score_rule_plays_its_top_evenly(p, rule):
    scores = borda_scores(p) if rule is borda else copeland_scores(p)
    chance = rule(p).probabilities
    assert chance.sum() == pytest.approx(1.0)
    for a, b in combinations(range(len(p)), 2):
        if chance[a] > 0 and chance[b] > 0:
            assert chance[a] == chance[b]
            assert scores[a] == pytest.approx(scores[b])
        elif chance[a] > 0:
            assert scores[a] > scores[b]


def test_a_weighted_cycle_is_played_by_the_opposite_margins():
    x, y, z = 0.1, 0.2, 0.4  # 0 beats 1 by x, 1 beats 2 by y, 2 beats 0 by z
    p = 0.5 + np.array([[0, x, -z], [-x, 0, y], [z, -y, 0]])
    expected = np.array([y, z, x]) / (x + y + z)
    assert np.allclose(maximal_lottery(p).probabilities, expected, atol=1e-12)


def test_all_sources_of_one_preference_give_the_same():
    wins = np.array([[0, 6, 2], [2, 0, 5], [6, 3, 0]])
    counts = WinCounts("p", ("a", "b", "c"), wins, np.zeros_like(wins))
    p = np.where(np.eye(3) > 0, 0.5, wins / np.maximum(wins + wins.T, 1))
    game = nlhf.PreferenceGame(p, temperature=0.3)
    for rule in (borda, copeland, maximal_lottery):
        expected = rule(p).probabilities
        assert np.allclose(rule(counts).probabilities, expected, atol=1e-12)
        assert np.allclose(rule(game).probabilities, expected, atol=1e-12)


def test_among_several_the_reference_of_a_game_decides():
    game = nlhf.PreferenceGame(np.full((2, 2), 0.5), [0.8, 0.2], 0.1)
    assert np.allclose(maximal_lottery(game).probabilities, [0.8, 0.2])
    assert any("maximum entropy" in choice for choice in maximal_lottery(game).choices)


def test_what_is_no_preference_of_one_prompt_is_refused():
    with pytest.raises(Unsupported, match="2 prompts"):
        borda(np.full((2, 3, 3), 0.5))
    with pytest.raises(InvalidProblem, match="not 1"):
        copeland([[0.5, 0.9], [0.2, 0.5]])
    wins = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    with pytest.raises(InvalidData, match="never"):
        preference_of(WinCounts("p", ("a", "b", "c"), wins, np.zeros_like(wins)))
    thin = nlhf.LowRankPreference(np.eye(2), [[0, 0.1], [-0.1, 0]])
    with pytest.raises(Unsupported, match="LowRank"):
        preference_of(nlhf.PreferenceGame(thin))
