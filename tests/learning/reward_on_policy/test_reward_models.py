import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.learning.reward_on_policy.bandits import BanditFamily, ClusteredBandit, distinct_pairs
from nlhf.learning.reward_on_policy.labelling import (
    Labeller,
    hard_labels,
    labelled_pairs,
)
from nlhf.learning.reward_on_policy.reward_models import fit_linear_reward, fit_tabular_reward
from nlhf.numerics import sigmoid
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream
from tests.learning.reward_on_policy.drawn import (
    random_bandit,
    seeds,
    temperatures,
    widest_deviation,
)
from tests.unchecked import raised

few = settings(max_examples=10)


def centred(reward):
    return reward - reward.mean(axis=1, keepdims=True)


@given(seeds)
@few
def test_the_population_model_is_the_truth_whatever_pairs_are_compared(seed):
    # T4: realisable and of full rank, so the pair measure does not matter.
    bandit = random_bandit(seed)
    for policy in (bandit.reference, bandit.policy(bandit.truth)):
        wins = 2.0 * distinct_pairs(policy) * bandit.human_preference
        assert fit_tabular_reward(wins, 1e-12) == pytest.approx(centred(bandit.truth), abs=1e-5)


def test_a_linear_model_is_the_truth_if_it_can_be_and_depends_on_the_pairs_if_not():
    bandit = random_bandit(3)
    features = np.random.default_rng(4).normal(size=(3, 6, 2))
    theta = np.array([0.7, -0.4])
    linear = ClusteredBandit(
        features @ theta, bandit.reference, bandit.clusters, bandit.weights, 0.5
    )
    for b, realisable in ((linear, True), (bandit, False)):
        fits = [
            fit_linear_reward(2.0 * distinct_pairs(p) * b.gold_preference, features, 1e-10)
            for p in (b.reference, b.policy(b.truth))
        ]
        assert (np.abs(fits[0] - fits[1]).max() < 1e-7) == realisable
    assert fits[0] != pytest.approx(theta, abs=0.1)


def test_the_linear_fit_minimises_the_stated_loss():
    g = np.random.default_rng(5)
    wins, features = g.random((2, 4, 4)), g.normal(size=(2, 4, 3))

    def loss(theta):
        r = features @ theta
        return 0.35 * theta @ theta + (wins * np.logaddexp(0.0, r[:, None] - r[:, :, None])).sum()

    found = fit_linear_reward(wins, features, 0.7)
    assert found == pytest.approx(minimize(loss, np.zeros(3), tol=1e-12).x, abs=1e-5)


@given(seeds, st.floats(0.1, 10.0), temperatures)
@few
def test_soft_self_labels_of_any_weight_leave_the_model_as_it_is(seed, weight, temperature):
    # T5: an exact fixed point, with a ridge as well.
    bandit = random_bandit(seed, temperature=temperature, flip_rate=0.25)
    human = bandit.draw_comparisons(30, Stream(seed).child("human"))
    reward = fit_tabular_reward(human, 0.1)
    own = labelled_pairs(Labeller.REWARD_SOFT, bandit, reward)
    again = fit_tabular_reward(human + weight * own, 0.1)
    assert again == pytest.approx(reward, abs=1e-9)
    hard = labelled_pairs(Labeller.REWARD, bandit, reward)
    inflated = fit_tabular_reward(human + weight * hard, 0.1)
    assert np.linalg.norm(inflated) > np.linalg.norm(reward)


@given(seeds, st.floats(0.8, 3.0))
@settings(max_examples=8)
def test_frequency_labels_alone_sharpen_the_policy(seed, temperature):
    # T6: every response its own cluster, labels q_i/(q_i + q_j): the model is log π + const.
    bandit = random_bandit(seed, temperature=temperature)
    policy = bandit.policy(bandit.truth)
    logs = policy.log_probabilities
    labels = sigmoid(logs[:, :, None] - logs[:, None, :])
    reward = fit_tabular_reward(2.0 * distinct_pairs(policy) * labels, 1e-12)
    assert reward == pytest.approx(centred(logs), abs=1e-4)
    sharpened = Policy.proportional(bandit.reference.log_probabilities + logs / temperature)
    assert bandit.policy(reward).probabilities == pytest.approx(sharpened.probabilities, abs=1e-4)


@given(seeds)
@few
def test_every_labeller_labels_pairs_of_its_coverage(seed):
    bandit = random_bandit(seed)
    for labeller in Labeller:
        pairs = labelled_pairs(labeller, bandit, np.round(bandit.truth, 1))
        total = pairs.sum(axis=(1, 2))
        assert (pairs >= -1e-15).all()
        assert (total <= 1.0 + 1e-12).all()
        if not labeller.startswith("consensus"):
            assert total == pytest.approx(1.0, abs=1e-12)


def test_ties_of_hard_labels_go_half_to_each_even_if_rounding_breaks_them():
    policy = Policy.of([[0.5, 0.3, 0.2]])
    pairs = hard_labels(policy, np.array([[1.0, 1.0 + 1e-15, -1.0]]))
    assert pairs[0, 0, 1] == pytest.approx(pairs[0, 1, 0], rel=1e-12)
    assert pairs[0, 2] == pytest.approx(0.0, abs=0.0)


def test_drawn_comparisons_have_the_law_of_flipped_labels():
    bandit = random_bandit(11, contexts=2, responses=4, flip_rate=0.25)
    count = 200_000
    drawn = bandit.draw_comparisons(count, Stream(2).child("draw"))
    assert drawn.sum() == count
    weights = bandit.weights[:, None, None]
    law = 2.0 * weights * distinct_pairs(bandit.reference) * bandit.human_preference
    allowed = widest_deviation(law.size, count, 1e-6)
    assert np.abs(drawn / count - law).max() <= allowed
    unflipped = 2.0 * weights * distinct_pairs(bandit.reference) * bandit.gold_preference
    assert np.abs(drawn / count - unflipped).max() > allowed


def test_flips_shrink_preferences_towards_one_half():
    bandit = random_bandit(1, flip_rate=0.25)
    shrunk = (bandit.human_preference - 0.5) / (bandit.gold_preference - 0.5 + np.eye(6))
    off = ~np.eye(6, dtype=bool)
    assert shrunk[:, off] == pytest.approx(0.5, rel=1e-9)


def test_the_family_is_the_stated_one():
    drawn = [BanditFamily(1.5).draw(Stream(9).child(k)) for k in range(400)]
    assert drawn[0].truth.shape == (4, 12)
    assert np.bincount(drawn[0].clusters[0]).tolist() == [3, 3, 3, 3]
    truth = np.stack([b.truth for b in drawn]).reshape(400, 4, 4, 3)
    logs = np.stack([b.reference.log_probabilities for b in drawn]).reshape(400, 4, 4, 3)
    # 19,200 normals in 6,400 clusters; six standard deviations of a variance below 0.14.
    assert truth.var() == pytest.approx(1.25, abs=0.14)
    assert (truth - truth.mean(axis=3, keepdims=True)).var() == pytest.approx(
        0.25 * 2 / 3, abs=0.02
    )
    quality = truth.mean(axis=3) - truth.mean(axis=(2, 3))[..., None]
    leaning = logs.mean(axis=3) - logs.mean(axis=(2, 3))[..., None]
    slope = (quality * leaning).sum() / (quality**2).sum()
    # The mean of a cluster is Q + s ū: regression on it is diluted by 1/(1 + s²/3).
    assert slope == pytest.approx(1.5 / (1 + 0.25 / 3), abs=0.1)


def test_cells_of_a_family_share_their_normals():
    a, b = (BanditFamily(w).draw(Stream(9).child(0)) for w in (0.0, 2.0))
    assert (a.truth == b.truth).all()
    difference = b.reference.log_probabilities - a.reference.log_probabilities
    assert np.ptp(difference.reshape(4, 4, 3), axis=2) == pytest.approx(0.0, abs=1e-12)


def test_shapes_and_types_that_do_not_fit_are_refused_in_words():
    setting = (
        "from nlhf.learning.reward_on_policy import *\n"
        "wins, two, r = np.ones((2, 3, 3)), np.full(2, 0.5), np.zeros((2, 3))\n"
        "policy = nlhf.Policy.of(np.full((2, 3), 1 / 3))\n"
        "bandit = ClusteredBandit(r, policy, np.zeros((2, 3), dtype=int), two)\n"
        "views = Views(np.ones(2), np.ones(2), np.ones(2), np.ones(2))\n"
    )
    expected = {
        "fit_linear_reward(wins, np.ones((2, 4, 1)), 1.0)": "features of shape (2, 4, 1)",
        "fit_tabular_reward(np.ones((1, 2, 3)), 1.0)": "comparisons of shape (1, 2, 3)",
        "consensus_pairs(policy, 0.5 + r, r, 4, 0.5)": "clusters of type float64",
        "reward_learning_on_policy(bandit, wins[:1], (Labeller.GOLD,), (1.0,), ridge=1.0)": (
            "comparisons of shape (1, 3, 3) for 2 contexts of 3 responses"
        ),
        "bottleneck_error(views, np.array([1, 0]), 10)": "kept directions of type int64",
    }
    for call, (kind, message) in raised(setting, expected).items():
        assert kind == "HypothesisViolated", call
        assert expected[call] in message


def test_bad_input_is_refused():
    bandit = random_bandit(0)
    wins = np.ones((2, 3, 3))
    with pytest.raises(HypothesisViolated, match="ridge 0"):
        fit_tabular_reward(wins, 0.0)
    with pytest.raises(HypothesisViolated, match="mass -1"):
        fit_tabular_reward(-wins, 1.0)
    with pytest.raises(HypothesisViolated, match="no comparisons"):
        fit_linear_reward(0.0 * wins, np.ones((2, 3, 1)), 1.0)
    with pytest.raises(HypothesisViolated, match="-1 comparisons"):
        bandit.draw_comparisons(-1, Stream(0))
    with pytest.raises(HypothesisViolated, match="a feature that is not finite"):
        fit_linear_reward(wins, np.full((2, 3, 1), np.nan), 1.0)
    certain = Policy(np.array([[0.0, -2000.0], [np.log(0.5), np.log(0.5)]]))
    two = ClusteredBandit(np.zeros((2, 2)), certain, np.zeros((2, 2), dtype=int), np.full(2, 0.5))
    with pytest.raises(HypothesisViolated, match=r"two different responses in contexts \[0\]"):
        two.draw_comparisons(3, Stream(0))
    with pytest.raises(InvalidProblem, match="0 contexts"):
        BanditFamily(1.0, contexts=0)
    parts = (bandit.truth, bandit.reference, bandit.clusters, bandit.weights)
    for wrong, message in (
        ((np.inf * bandit.truth, *parts[1:]), "not finite"),
        ((*parts[:2], bandit.clusters - 5, parts[3]), "clusters"),
        ((*parts[:3], 2 * bandit.weights), "weights with sum 2"),
        ((*parts, 0.0), "temperature 0"),
        ((*parts, 1.0, 0.5), r"flip rate 0\.5"),
    ):
        with pytest.raises(InvalidProblem, match=message):
            ClusteredBandit(*wrong)
