from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy import judging
from nlhf.learning.reward_on_policy.bandits import ClusteredBandit, distinct_pairs
from nlhf.numerics import sigmoid
from nlhf.spaces.policy import Policy
from tests.learning.reward_on_policy.drawn import random_bandit, seeds, temperatures

few = settings(max_examples=10)


def learned(bandit, seed, noise=0.7):
    return bandit.truth + noise * np.random.default_rng(seed).normal(size=bandit.truth.shape)


@given(seeds, temperatures, st.floats(0.1, 3.0))
@few
def test_nothing_depends_on_offsets_of_contexts(seed, temperature, scale):
    bandit = random_bandit(seed, temperature=temperature)
    reward = learned(bandit, seed)
    shifted = reward + np.random.default_rng(seed).normal(size=(3, 1))
    policy = bandit.policy(reward)
    nats = judging.divergence(bandit, policy)
    for judged in (
        lambda r: judging.centred_error(bandit, policy, r),
        lambda r: judging.pair_accuracy(bandit, policy, r),
        lambda r: judging.objective(bandit, bandit.policy(r)),
        lambda r: judging.matched_derivative(bandit, r, bandit.truth),
        lambda r: judging.gold_reward(bandit, judging.match_divergence(bandit, r, nats).policy),
    ):
        assert judged(shifted) == pytest.approx(judged(reward), abs=1e-9)


@given(seeds)
@few
def test_the_centred_error_is_half_the_mean_square_of_differences(seed):
    bandit = random_bandit(seed)
    reward = learned(bandit, seed)
    p = bandit.reference.probabilities
    error = reward - bandit.truth
    pairs = (error[:, :, None] - error[:, None, :]) ** 2
    expected = 0.5 * np.einsum("x,xi,xj,xij->", bandit.weights, p, p, pairs)
    assert judging.centred_error(bandit, bandit.reference, reward) == pytest.approx(expected)
    assert judging.centred_error(bandit, bandit.reference, bandit.truth) == pytest.approx(
        0.0, abs=1e-28
    )


@given(seeds, temperatures)
@few
def test_the_regret_is_the_shortfall_of_the_objective_and_an_integral_of_variances(
    seed, temperature
):
    # T1: J(π*) − J(π_r) = β KL(π_r‖π*) = (1/β) ∫ t Var_{π_t}(r − r*) dt.
    bandit = random_bandit(seed, temperature=temperature)
    reward = learned(bandit, seed)
    policy, best = bandit.policy(reward), bandit.policy(bandit.truth)
    regret = judging.regret(bandit, policy)
    shortfall = judging.objective(bandit, best) - judging.objective(bandit, policy)
    assert regret == pytest.approx(shortfall, abs=1e-12)
    nodes, masses = np.polynomial.legendre.leggauss(40)
    total = 0.0
    for node, mass in zip((nodes + 1) / 2, masses / 2, strict=True):
        path = bandit.policy(bandit.truth + node * (reward - bandit.truth))
        total += mass * node * judging.centred_error(bandit, path, reward)
    assert regret == pytest.approx(total / temperature, rel=1e-9)


def test_pair_accuracy_counts_right_pairs_and_half_of_the_ties():
    bandit = ClusteredBandit(
        truth=np.array([[2.0, 1.0, 0.0]]),
        reference=Policy.of([[0.5, 0.3, 0.2]]),
        clusters=np.array([[0, 0, 1]]),
        weights=np.array([1.0]),
    )
    reward = np.array([[1.0, 1.0, 3.0]])  # a tie, and two wrong pairs
    right, pairs = 0.5 * 0.15, 0.15 + 0.10 + 0.06
    assert judging.pair_accuracy(bandit, bandit.reference, reward) == pytest.approx(right / pairs)
    assert judging.pair_accuracy(bandit, bandit.reference, bandit.truth) == 1.0
    assert judging.pair_accuracy(bandit, bandit.reference, -bandit.truth) == 0.0
    with pytest.raises(HypothesisViolated, match="no two responses"):
        judging.pair_accuracy(replace(bandit, truth=np.ones((1, 3))), bandit.reference, reward)


@given(seeds)
@few
def test_win_rates_of_two_policies_add_up_to_one(seed):
    bandit = random_bandit(seed)
    policy = bandit.policy(bandit.truth)
    there = judging.win_rate(bandit, policy, bandit.reference)
    back = judging.win_rate(bandit, bandit.reference, policy)
    assert there + back == pytest.approx(1.0)
    assert there > 0.5
    assert judging.win_rate(bandit, policy, policy) == pytest.approx(0.5)


@given(seeds)
@few
def test_labels_by_the_truth_have_the_accuracy_of_its_own_coin(seed):
    bandit = random_bandit(seed)
    pairs = distinct_pairs(bandit.reference)
    assert judging.label_accuracy(bandit, pairs) == pytest.approx(0.5)  # coin flips
    p = sigmoid(bandit.truth[:, :, None] - bandit.truth[:, None, :])
    expected = np.einsum("x,xij,xij->", bandit.weights, pairs, p**2 + (1 - p) ** 2)
    assert judging.label_accuracy(bandit, 2 * pairs * p) == pytest.approx(expected)
    with pytest.raises(HypothesisViolated, match="no labels"):
        judging.label_accuracy(bandit, 0.0 * pairs)


@given(seeds, temperatures, st.floats(0.01, 50.0))
@few
def test_the_scale_of_a_reward_does_not_matter_at_matched_divergence(seed, temperature, inflation):
    bandit = random_bandit(seed, temperature=temperature)
    reward = learned(bandit, seed)
    nats = judging.divergence(bandit, bandit.policy(reward))
    own = judging.match_divergence(bandit, reward, nats)
    assert own.scale == pytest.approx(1.0, rel=1e-6)
    assert own.divergence == pytest.approx(nats, rel=1e-9)
    inflated = judging.match_divergence(bandit, inflation * reward, nats)
    assert inflated.scale == pytest.approx(1.0 / inflation, rel=1e-6)
    assert inflated.policy.probabilities == pytest.approx(own.policy.probabilities, abs=1e-9)


def test_no_divergence_is_the_reference_and_too_much_is_refused():
    bandit = random_bandit(2)
    start = judging.match_divergence(bandit, bandit.truth, 0.0)
    assert start.scale == 0.0
    assert start.policy.probabilities == pytest.approx(bandit.reference.probabilities)
    greedy = bandit.truth.argmax(axis=1)
    most = -bandit.weights @ bandit.reference.log_probabilities[np.arange(3), greedy]
    near = judging.match_divergence(bandit, bandit.truth, 0.999 * most)
    assert near.divergence == pytest.approx(0.999 * most)
    with pytest.raises(HypothesisViolated, match="nats from the reference"):
        judging.match_divergence(bandit, bandit.truth, 1.001 * most)
    with pytest.raises(HypothesisViolated, match="nats from the reference"):
        judging.match_divergence(bandit, np.ones_like(bandit.truth), 0.1)
    for wrong in (-0.1, float("nan")):
        with pytest.raises(HypothesisViolated, match="a divergence of"):
            judging.match_divergence(bandit, bandit.truth, wrong)
    with pytest.raises(HypothesisViolated, match="not finite"):
        judging.match_divergence(bandit, np.nan * bandit.truth, 0.1)


def test_a_context_that_never_comes_does_not_limit_the_scale():
    bandit = replace(random_bandit(2), weights=np.array([0.5, 0.5, 0.0]))
    reward = bandit.truth * np.array([[1e-12], [1e-12], [1.0]])
    assert judging.match_divergence(bandit, reward, 0.2).divergence == pytest.approx(0.2)


@given(seeds, temperatures)
@few
def test_the_criterion_is_the_derivative_at_matched_divergence(seed, temperature):
    # T7, against central differences of the root finding.
    bandit = random_bandit(seed, temperature=temperature)
    reward = learned(bandit, seed)
    direction = np.random.default_rng(seed + 1).normal(size=reward.shape)
    nats = judging.divergence(bandit, bandit.policy(reward))
    step = 1e-4

    def gold(epsilon):
        matched = judging.match_divergence(bandit, reward + epsilon * direction, nats)
        return judging.gold_reward(bandit, matched.policy)

    slope = (gold(step) - gold(-step)) / (2 * step)
    assert judging.matched_derivative(bandit, reward, direction) == pytest.approx(slope, abs=1e-5)


@given(seeds)
@few
def test_moving_along_the_reward_itself_changes_nothing_at_matched_divergence(seed):
    bandit = random_bandit(seed)
    reward = learned(bandit, seed)
    assert judging.matched_derivative(bandit, reward, 3.0 * reward) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(HypothesisViolated, match="variance 0"):
        judging.matched_derivative(bandit, np.zeros_like(reward), reward)


@pytest.mark.parametrize("temperature", [1.0, 0.02])
def test_the_criterion_of_an_almost_greedy_policy_is_that_of_its_two_best_responses(temperature):
    # With two responses all covariances are π(1 − π) times products of differences.
    bandit = ClusteredBandit(
        np.array([[0.3, -0.4, 2.0]]),
        Policy.of([[0.3, 0.3, 0.4]]),
        np.zeros((1, 3), dtype=np.int64),
        np.ones(1),
        temperature,
    )
    reward, direction = np.array([[1.7, 0.7, -20.0]]), np.array([[0.1, 0.5, 0.0]])
    found = judging.matched_derivative(bandit, reward, direction)
    assert found == pytest.approx(0.0, abs=1e-4 * np.exp(-1.0 / temperature))
    # Constant shifts of the reward leave it alone.
    assert judging.matched_derivative(bandit, reward + 0.3, direction) == pytest.approx(
        found, abs=1e-12
    )
