import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.data import read_votes, win_counts
from nlhf.errors import HypothesisViolated
from nlhf.estimation import Ties, fit_bradley_terry
from nlhf.estimation.likelihood import Likelihood, maximise
from tests.estimation.tables import made, tables


def strongly_connected(table):
    share = sum(table)
    return (np.linalg.matrix_power((share > 0) + np.eye(len(share)), len(share)) > 0).all()


rewarded = tables().filter(strongly_connected)


def penalised(data, r, ridge):
    """Log-likelihood with the penalty, summed vote by vote."""
    total = -ridge / 2 * float(r @ r)
    for i in range(len(r)):
        for j in range(len(r)):
            votes = data.wins[i, j] + data.ties[i, j] / 2
            total -= votes * math.log1p(math.exp(r[j] - r[i]))
    return total


@given(rewarded)
def test_every_response_has_as_many_wins_as_expected(table):
    data = made(*table)
    r = fit_bradley_terry(data).rewards
    share = data.wins + data.ties / 2
    expected = data.compared / (1 + np.exp(r[None, :] - r[:, None]))
    np.testing.assert_allclose(share.sum(axis=1), expected.sum(axis=1), atol=1e-8)


@given(tables(), st.floats(1e-2, 10))
def test_with_a_ridge_wins_exceed_their_expectation_by_the_penalty(table, ridge):
    data = made(*table)
    r = fit_bradley_terry(data, ridge=ridge).rewards
    share = data.wins + data.ties / 2
    expected = data.compared / (1 + np.exp(r[None, :] - r[:, None]))
    np.testing.assert_allclose((share - expected).sum(axis=1), ridge * r, atol=1e-8)


@given(rewarded, st.integers(0, 2**32 - 1))
def test_no_other_rewards_are_more_likely(table, seed):
    data = made(*table)
    fit = fit_bradley_terry(data)
    assert fit.log_likelihood == pytest.approx(penalised(data, fit.rewards, 0.0), rel=1e-12)
    generator = np.random.default_rng(seed)
    for scale in (1e-3, 0.1, 1.0):
        other = fit.rewards + scale * generator.normal(size=len(fit.rewards))
        assert penalised(data, other, 0.0) <= fit.log_likelihood + 1e-9


@given(rewarded)
def test_rewards_are_centred_and_the_model_is_complementary(table):
    data = made(*table)
    fit = fit_bradley_terry(data)
    assert abs(fit.rewards.mean()) < 1e-12 * max(1.0, abs(fit.rewards).max())
    np.testing.assert_allclose(fit.preference + fit.preference.T, 1.0, atol=1e-15)
    odds = np.log(fit.preference / fit.preference.T)
    difference = fit.rewards[:, None] - fit.rewards[None, :]
    np.testing.assert_allclose(odds, difference, atol=1e-8)


@given(rewarded, st.randoms(use_true_random=False))
def test_renaming_responses_permutes_the_rewards(table, random):
    data = made(*table)
    order = list(range(len(data.responses)))
    random.shuffle(order)
    turned = made(data.wins[np.ix_(order, order)], data.ties[np.ix_(order, order)])
    np.testing.assert_allclose(
        fit_bradley_terry(turned).rewards, fit_bradley_terry(data).rewards[order], atol=1e-7
    )


@given(rewarded)
def test_a_tie_is_half_a_win_for_each_side(table):
    data = made(*table)
    doubled = made(2 * data.wins + data.ties)
    np.testing.assert_allclose(
        fit_bradley_terry(doubled).rewards, fit_bradley_terry(data).rewards, atol=1e-7
    )


@given(tables(), st.floats(1e-2, 10))
def test_discarded_ties_change_nothing(table, ridge):
    data = made(*table)
    found = fit_bradley_terry(data, ridge=ridge, ties=Ties.DISCARDED)
    without = fit_bradley_terry(made(data.wins), ridge=ridge)
    np.testing.assert_allclose(found.rewards, without.rewards, atol=1e-9)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_counts_in_the_proportion_of_a_model_give_the_model(strengths):
    # 27720 is divisible by every sum of two strengths, so the shares are exact.
    s = np.array(strengths)
    wins = 27720 * s[:, None] // (s[:, None] + s[None, :])
    np.fill_diagonal(wins, 0)
    expected = np.log(s) - np.log(s).mean()
    np.testing.assert_allclose(fit_bradley_terry(made(wins)).rewards, expected, atol=1e-9)


def test_rewards_that_span_hundreds_of_logits_are_found():
    # A chain in which each beats the next one 999 to 1; on a tree the fit is exact edge by edge.
    n = 100
    wins = np.diag(np.full(n - 1, 999), 1) + np.diag(np.ones(n - 1, int), -1)
    r = fit_bradley_terry(made(wins)).rewards
    np.testing.assert_allclose(np.diff(r), -math.log(999), rtol=1e-9)


def test_counts_of_very_different_sizes_are_fitted():
    # On a tree the fit is exact edge by edge, up to the three votes of the third edge.
    data = made([[0, 10**9, 3], [1, 0, 9 * 10**11], [0, 5, 0]])
    r = fit_bradley_terry(data).rewards
    np.testing.assert_allclose(-np.diff(r), np.log([10**9, 1.8e11]), rtol=1e-6)


@given(tables(least=2))
def test_without_a_ridge_rewards_exist_exactly_if_no_split_has_all_wins_one_way(table):
    data = made(*table)
    n = len(data.responses)
    share = data.wins + data.ties
    splits = (np.array([(k >> i) & 1 for i in range(n)], dtype=bool) for k in range(1, 2**n - 1))
    one_way = any(not share[np.ix_(upper, ~upper)].any() for upper in splits)
    if one_way:
        with pytest.raises(HypothesisViolated, match="not strongly connected"):
            fit_bradley_terry(data)
    else:
        fit_bradley_terry(data)


def test_where_no_rewards_exist_a_vanishing_ridge_drives_them_apart():
    data = made([[0, 5], [0, 0]])
    spread = [np.ptp(fit_bradley_terry(data, ridge=ridge).rewards) for ridge in (1, 1e-2, 1e-4)]
    assert spread[0] < spread[1] < spread[2]
    assert spread[2] > 2 * spread[0]


def test_the_error_names_the_components():
    with pytest.raises(HypothesisViolated, match=r"2 components.*\{'r0', 'r1'\}; \{'r2'\}"):
        fit_bradley_terry(made([[0, 1, 1], [1, 0, 0], [0, 0, 0]]))


def test_ties_connect_unless_they_are_discarded():
    data = made([[0, 3], [0, 0]], [[0, 1], [1, 0]])
    assert fit_bradley_terry(data).rewards[0] == pytest.approx(math.log(7) / 2)
    with pytest.raises(HypothesisViolated, match="ties discarded"):
        fit_bradley_terry(data, ties=Ties.DISCARDED)


@pytest.mark.parametrize("ridge", [-1.0, math.nan, math.inf])
def test_a_ridge_is_a_finite_penalty(ridge):
    with pytest.raises(HypothesisViolated, match="ridge"):
        fit_bradley_terry(made([[0, 1], [1, 0]]), ridge=ridge)


def test_a_single_response_has_reward_zero():
    fit = fit_bradley_terry(made([[0]]))
    assert fit.rewards.tolist() == [0.0]
    assert fit.log_likelihood == 0.0


def test_choix_agrees_on_real_votes(real_data):
    choix = pytest.importorskip("choix")
    for data in win_counts(read_votes(real_data / "convarg" / "votes.csv"))[:4]:
        ours = fit_bradley_terry(data, ties=Ties.DISCARDED).rewards
        theirs = choix.ilsr_pairwise_dense(data.wins.astype(float), tol=1e-12)
        np.testing.assert_allclose(ours, theirs - theirs.mean(), atol=1e-7)


def test_choix_agrees_with_a_ridge_of_twice_its_alpha():
    choix = pytest.importorskip("choix")
    data = made([[0, 4, 1], [2, 0, 0], [3, 5, 0]])
    pairs = [(i, j) for i, j in np.ndindex(3, 3) for _ in range(data.wins[i, j])]
    theirs = choix.opt_pairwise(3, pairs, alpha=0.35)
    ours = fit_bradley_terry(data, ridge=0.7).rewards
    np.testing.assert_allclose(ours, theirs - theirs.mean(), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_maximum_is_found_from_far_away_where_full_newton_steps_are_lost(seed):
    rng = np.random.default_rng(seed)
    likelihood = Likelihood(rng.integers(0, 9, size=(3, 5, 5)) * (1.0 - np.eye(5)), 0.3)
    start = rng.normal(0.0, 12.0, size=(3, 5))
    start -= start.mean(axis=1, keepdims=True)
    found = maximise(likelihood, start)
    np.testing.assert_allclose(likelihood.score(found), 0.0, atol=1e-4)
    np.testing.assert_allclose(found, maximise(likelihood, np.zeros((3, 5))), atol=1e-5)
    full = start
    for _ in range(3):
        full = full + likelihood.newton_step(full)
    assert (likelihood.penalised(full) < likelihood.penalised(start)).any()
