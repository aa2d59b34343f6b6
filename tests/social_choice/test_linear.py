"""Linear social choice against enumeration of all orders."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import minimize

from nlhf.data.counts import WinCounts
from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.estimation.bradley_terry import fit_bradley_terry
from nlhf.social_choice.linear import (
    BY_INDEX,
    borda_ranking,
    bradley_terry_ranking,
    copeland_ranking,
    fit_linear,
    leximax_copeland,
)
from nlhf.social_choice.outcomes import ranked_by
from nlhf.social_choice.pairwise import copeland_scores
from nlhf.social_choice.profiles import RankingProfile
from nlhf.social_choice.search import profiles
from tests.social_choice.rules import B1, C1, SIX, A, B, C

# Run-time type checks look at random entries of what strategies compute with.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


def orders_in_the_plane(x: np.ndarray) -> set[tuple[int, ...]]:
    """All orders that a direction of the plane gives: one per arc between critical angles."""
    angles = []
    for i, j in combinations(range(len(x)), 2):
        d = x[i] - x[j]
        angle = np.arctan2(d[0], -d[1])  # orthogonal to d
        angles += [angle % (2 * np.pi), (angle + np.pi) % (2 * np.pi)]
    critical = np.unique(np.round(angles, 9))
    middles = (critical + np.append(critical[1:], critical[0] + 2 * np.pi)) / 2
    return {
        tuple(np.argsort(-(x @ np.array([np.cos(t), np.sin(t)])), kind="stable").tolist())
        for t in middles
    }


@given(profiles((2, 4), (1, 2), features=2))
@settings(max_examples=15)
def test_feasible_orders_are_those_of_the_directions_of_the_plane(profile):
    n = len(profile.features)
    expected = orders_in_the_plane(profile.features)
    assert {o for o in permutations(range(n)) if profile.feasible(o)} == expected


@given(profiles((2, 4), (1, 5), features=2))
@settings(max_examples=15)
def test_leximax_copeland_is_the_best_of_all_orders_by_enumeration(profile):
    scores = copeland_scores(profile.preference)
    unanimous = profile.unanimous()
    allowed = [
        order
        for order in orders_in_the_plane(profile.features)
        if all(order.index(a) < order.index(b) for a, b in unanimous)
    ]
    best = max(allowed, key=lambda order: [(scores[item], -item) for item in order])
    found = leximax_copeland(profile)
    assert found.levels == tuple((item,) for item in best)
    assert BY_INDEX in found.choices


@given(profiles((2, 5), (1, 4)))
@settings(max_examples=30)
def test_without_features_leximax_copeland_is_copeland_with_ties_by_index(profile):
    levels = copeland_ranking(profile).levels
    flat = tuple((item,) for level in levels for item in level)
    assert leximax_copeland(profile).levels == flat


@given(profiles((2, 5), (1, 5)))
def test_the_preference_of_a_profile_is_what_counting_says(profile):
    p, n = profile.preference, profile.rankings.shape[1]
    for a, b in combinations(range(n), 2):
        ahead = sum(vote.index(a) < vote.index(b) for vote in profile.rankings.tolist())
        assert p[a, b] == pytest.approx(ahead / len(profile.rankings))
        assert p[a, b] + p[b, a] == 1.0
        assert ((a, b) in profile.unanimous()) is (ahead == len(profile.rankings))


def test_one_hot_features_give_the_bradley_terry_rewards_and_the_order_of_borda():
    wins = np.array([[0, 6, 3], [2, 0, 5], [5, 3, 0]])
    counts = WinCounts("p", ("a", "b", "c"), wins, np.zeros_like(wins))
    theta = fit_linear(np.where(np.eye(3) > 0, 0.5, wins / 8), np.eye(3))
    assert np.allclose(theta - theta.mean(), fit_bradley_terry(counts).rewards, atol=1e-9)
    cyclic = RankingProfile.of([[0, 1, 2], [0, 1, 2], [1, 2, 0], [1, 2, 0], [2, 0, 1]])
    assert bradley_terry_ranking(cyclic).levels == borda_ranking(cyclic).levels


def test_the_six_candidates_have_the_reward_that_direct_minimisation_finds():
    p, x = SIX.preference, SIX.features

    def loss(theta: np.ndarray) -> float:
        margin = (x @ theta)[:, None] - (x @ theta)[None, :]
        return float((p * np.log1p(np.exp(-margin)))[~np.eye(6, dtype=bool)].sum())

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 0})
    theta = fit_linear(p, x)
    assert np.allclose(theta, found.x, atol=1e-6)
    assert np.allclose(theta, [0.562, 0.026], atol=5e-4)  # published beside the instance
    levels = bradley_terry_ranking(SIX).levels
    assert [level[0] for level in levels] == [A, 3, B, B1, C, C1]
    assert leximax_copeland(SIX).levels[-2:] == ((C1,), (C,))


def test_votes_without_a_finite_reward_are_refused():
    with pytest.raises(HypothesisViolated, match="contradicts no vote"):
        bradley_terry_ranking(RankingProfile.of([[0, 1, 2]]))
    everybody_knows_the_last = RankingProfile.of([[0, 1, 2], [1, 0, 2]])
    with pytest.raises(HypothesisViolated, match="contradicts no vote"):
        bradley_terry_ranking(everybody_knows_the_last)


@pytest.mark.parametrize(
    ("rankings", "weights", "features", "match"),
    [
        ([[0, 1, 1]], None, None, "voter 0"),
        ([[0, 1], [1, 2]], None, None, "voter 1"),
        ([[0, 1], [1]], None, None, "rankings"),
        ([], None, None, "rankings"),
        ([[0, 1]], [0.5], None, "sum 0.5"),
        ([[0, 1], [1, 0]], [1.0, 0.0], None, "positive"),
        ([[0, 1]], None, [[1.0]], "features"),
        ([[0, 2, 1]], None, [[0.0], [1.0], [2.0]], "not feasible"),
        ([[0, 1]], None, [[1.0], [1.0]], "not feasible"),
    ],
)
def test_what_is_no_profile_is_refused(rankings, weights, features, match):
    with pytest.raises(InvalidProblem, match=match):
        RankingProfile.of(rankings, weights, features)


def test_rankings_name_their_levels():
    ranking = ranked_by(np.array([1.0, 3.0, 1.0 + 1e-12, 2.0]))
    assert ranking.levels == ((1,), (3,), (0, 2))
    assert ranking.places == (2, 0, 2, 1)
    assert ranking.above(1, 3)
    assert not ranking.above(0, 2)
    with pytest.raises(InvalidProblem, match="response 1"):
        ranked_by(np.array([0.0, np.nan]))
