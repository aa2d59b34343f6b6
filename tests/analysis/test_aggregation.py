"""Closed forms of aggregation against numerical maximisation and definitions."""

import numpy as np
import pytest
from scipy.optimize import minimize

from nlhf.analysis.aggregation import (
    hidden_context,
    pooled_reward,
    preference_matching_policy,
    reward_policy,
)
from nlhf.errors import InvalidProblem
from nlhf.games.majority import majority_graph
from nlhf.social_choice.distortion import preference_of_utilities
from nlhf.social_choice.pairwise import borda_scores
from nlhf.spaces.policy import Policy

GROUPS = np.array([[1.0, 0.2, -0.5, 0.4], [-2.0, 0.3, 0.1, 1.0], [0.0, 3.0, -1.0, 0.2]])
SHARES = np.array([0.5, 0.3, 0.2])


def maximum(objective, size: int) -> np.ndarray:
    def loss(logits: np.ndarray) -> float:
        p = np.exp(logits - logits.max())
        return -objective(p / p.sum())

    found = minimize(loss, np.zeros(size), method="BFGS", options={"gtol": 1e-9})
    p = np.exp(found.x - found.x.max())
    return p / p.sum()


def test_one_group_gets_its_own_reward_back():
    assert np.allclose(pooled_reward(GROUPS[:1]), GROUPS[0] - GROUPS[0].mean(), atol=1e-10)


@pytest.mark.parametrize(
    "pairs", [None, np.array([[0, 3, 0, 1], [3, 0, 2, 0], [0, 2, 0, 9], [1, 0, 9, 0.0]])]
)
def test_the_pooled_reward_wins_as_often_as_the_votes_say(pairs):
    p = preference_of_utilities(GROUPS, 1.0, SHARES)
    r = pooled_reward(GROUPS, SHARES, pairs)
    w = 1 - np.eye(4) if pairs is None else pairs
    model = 1 / (1 + np.exp(r[None, :] - r[:, None]))
    assert np.abs((w * (p - model)).sum(axis=1)).max() < 1e-10
    if pairs is None:
        assert np.argsort(r).tolist() == np.argsort(borda_scores(p)).tolist()


def test_policies_maximise_what_they_say():
    r, mu = GROUPS[0], np.array([0.1, 0.2, 0.3, 0.4])
    for beta in (0.3, 1.0, 4.0):
        best = maximum(lambda p, b=beta: p @ r - b * (p * np.log(p / mu)).sum(), 4)
        assert np.allclose(reward_policy(r, beta, Policy.of(mu)).probabilities, best, atol=1e-5)
    best = maximum(lambda p: p @ r - (p * np.log(p)).sum(), 4)
    assert np.allclose(preference_matching_policy(r).probabilities, best, atol=1e-5)


def test_collapse_and_matching_of_sixty_to_forty():
    r = np.log([0.6, 0.4])
    assert reward_policy(r, 0.5).probabilities[0] == pytest.approx(0.692, abs=5e-4)
    assert reward_policy(r, 0.1).probabilities[0] == pytest.approx(0.983, abs=5e-4)
    assert preference_matching_policy(r).probabilities[0] == pytest.approx(0.6)


def test_hidden_contexts_have_the_moments_and_quantiles_of_their_atoms():
    context = hidden_context(GROUPS, SHARES)
    atoms = np.repeat(GROUPS, [5, 3, 2], axis=0)
    assert np.allclose(context.means, atoms.mean(axis=0))
    assert np.allclose(context.variances, atoms.var(axis=0))
    everything = atoms.var()
    assert context.explained_share == pytest.approx(atoms.mean(axis=0).var() / everything)
    for level in (0.01, 0.2, 0.21, 0.5, 0.51, 0.99, 1.0):
        expected = [
            min(v for v in column if (atoms[:, k] <= v).mean() >= level - 1e-12)
            for k, column in enumerate(GROUPS.T)
        ]
        assert context.quantile(level).tolist() == expected
    assert context.averse_choice(0.01) == int(GROUPS.min(axis=0).argmax())


def test_agreement_is_explained_and_opposition_is_not():
    assert hidden_context(np.array([[1.0, 2.0], [1.0, 2.0]])).explained_share == 1.0
    assert hidden_context(np.array([[0.0, 1.0], [1.0, 0.0]])).explained_share == 0.0
    assert hidden_context(np.zeros((2, 2))).explained_share == 1.0


def test_the_single_reward_may_rank_against_the_average_utility():
    """A minority that cares much is outvoted: what comparisons cannot see."""
    utilities = np.array([[4.0, 0.0], [0.0, 1.0]])
    shares = [0.4, 0.6]
    r = pooled_reward(utilities, shares)
    means = hidden_context(utilities, shares).means
    assert means[0] > means[1]
    # 0.4 σ(4) + 0.6 σ(−1) = 0.554: here the strong votes still show ...
    assert r[0] > r[1]
    # ... but not where they are a smaller share: 0.25 σ(4) + 0.75 σ(−1) = 0.447, 1 against 0.75.
    fewer = [0.25, 0.75]
    assert hidden_context(utilities, fewer).means.argmax() == 0
    assert pooled_reward(utilities, fewer).argmax() == 1
    p = preference_of_utilities(utilities, 1.0, fewer)
    assert majority_graph(p).condorcet_winners == (1,)


@pytest.mark.parametrize(
    "call",
    [
        lambda: reward_policy(np.zeros(2), 0.0),
        lambda: reward_policy(np.array([0.0, np.nan]), 1.0),
        lambda: reward_policy(np.zeros(2), 1.0, [0.5, 0.25, 0.25]),
        lambda: preference_matching_policy(np.array([0.0, np.nan])),
        lambda: hidden_context(GROUPS).quantile(0.0),
        lambda: hidden_context(GROUPS, [1.0]),
        lambda: pooled_reward(GROUPS, SHARES, np.eye(4)),
        lambda: pooled_reward(GROUPS, SHARES, np.ones((3, 3))),
    ],
)
def test_what_cannot_be_aggregated_is_refused(call):
    with pytest.raises(InvalidProblem):
        call()
