import math
from dataclasses import replace

import numpy as np
import pytest

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy import judging
from nlhf.learning.reward_on_policy.bandits import BanditFamily
from nlhf.learning.reward_on_policy.cells import Mean
from nlhf.learning.reward_on_policy.labelling import Labeller
from nlhf.learning.reward_on_policy.retraining import reward_learning_on_policy
from nlhf.learning.reward_on_policy.reward_models import fit_tabular_reward
from nlhf.learning.reward_on_policy.study import help_or_hurt, study_cell
from nlhf.numerics import kl_divergence
from nlhf.streams import Stream

STREAM = Stream(5).child("study")


@pytest.fixture(scope="module")
def one():
    bandit = BanditFamily(1.0).draw(STREAM)
    human = bandit.draw_comparisons(100, STREAM.child("comparisons"))
    return (
        bandit,
        human,
        reward_learning_on_policy(bandit, human, tuple(Labeller), (2.0, 0.1), ridge=0.1),
    )


def test_a_round_is_the_fit_of_all_comparisons_together(one):
    bandit, human, found = one
    assert found.reward == pytest.approx(fit_tabular_reward(human, 0.1))
    assert [(r.labeller, r.weight) for r in found.retrained] == [
        (labeller, weight) for labeller in Labeller for weight in (2.0, 0.1)
    ]
    p = bandit.policy(found.reward).probabilities
    gold = bandit.gold_preference
    pairs = p[:, :, None] * p[:, None, :] * ~np.eye(12, dtype=bool)
    share = 2 * gold * pairs / pairs.sum(axis=(1, 2), keepdims=True)
    expected = fit_tabular_reward(human + 2.0 * 100 / 4 * share, 0.1)
    row = list(Labeller).index(Labeller.GOLD) * 2
    assert found.rewards[row] == pytest.approx(expected, abs=1e-9)


def test_changes_are_differences_of_the_judge(one):
    bandit, _, found = one
    before = bandit.policy(found.reward)
    nats = judging.divergence(bandit, before)
    for row, new in zip(found.retrained, found.rewards, strict=True):
        after = bandit.policy(new)
        direct = np.mean(
            (after.probabilities - before.probabilities) * bandit.truth * 12
            - kl_divergence(after.log_probabilities, bandit.reference.log_probabilities)[:, None]
            + kl_divergence(before.log_probabilities, bandit.reference.log_probabilities)[:, None]
        )
        assert row.value_change == pytest.approx(direct, abs=1e-9)
        matched = judging.match_divergence(bandit, new, nats).policy
        assert judging.divergence(bandit, matched) == pytest.approx(nats)
        gain = judging.gold_reward(bandit, matched) - judging.gold_reward(bandit, before)
        assert row.reward_change == pytest.approx(gain, abs=1e-12)


def test_soft_self_labels_change_nothing_and_the_oracle_helps():
    asked = (Labeller.REWARD_SOFT, Labeller.GOLD)
    cell = study_cell(BanditFamily(1.0), 100, 6, STREAM, labellers=asked)
    for weight in (2.0, 0.1):
        same = cell.effect(Labeller.REWARD_SOFT, weight)
        assert same.improved == 0.0
        assert same.reward_change.value == pytest.approx(0.0, abs=1e-9)
        assert same.value_change.value == pytest.approx(0.0, abs=1e-9)
        gold = cell.effect(Labeller.GOLD, weight)
        assert gold.reward_change.interval[0] > 0.0
        assert gold.policy_error_change.value < 0.0
        ahead = cell.advantage(Labeller.GOLD, Labeller.REWARD_SOFT, weight)
        assert ahead.value == pytest.approx(gold.reward_change.value, abs=1e-9)
    with pytest.raises(HypothesisViolated, match="no entry for gold with weight 3"):
        cell.effect(Labeller.GOLD, 3.0)


def test_cells_are_reproducible_and_their_summaries_plain_means():
    asked = {"labellers": (Labeller.CONSENSUS,), "weights": (2.0,)}
    cell = study_cell(BanditFamily(2.0), 20, 5, STREAM, **asked)
    again = study_cell(BanditFamily(2.0), 20, 5, STREAM, **asked)
    assert cell.effects == again.effects
    changes = []
    for k in range(5):
        bandit = BanditFamily(2.0).draw(STREAM.child(k))
        human = bandit.draw_comparisons(20, STREAM.child(k, "comparisons"))
        found = reward_learning_on_policy(bandit, human, (Labeller.CONSENSUS,), (2.0,), ridge=0.1)
        changes.append(found.retrained[0].reward_change)
    effect = cell.effects[0]
    assert effect.reward_change.value == pytest.approx(np.mean(changes))
    assert effect.reward_change.standard_error == pytest.approx(np.std(changes, ddof=1) / 5**0.5)
    assert effect.improved == np.mean(np.array(changes) > 0)


def test_means_leave_out_what_is_not_a_number():
    found = Mean.of([1.0, math.nan, 3.0])
    assert (found.value, found.count) == (2.0, 2)
    assert found.standard_error == pytest.approx(1.0)
    assert found.interval == pytest.approx((2.0 - 1.959964, 2.0 + 1.959964), abs=1e-6)
    assert math.isnan(Mean.of([1.0, math.nan]).value)


def test_the_map_is_made_of_cells():
    done = []
    found = help_or_hurt((0.0, 1.0), (0.0, 0.25), 20, 2, STREAM, progress=done.append)
    assert done == [1, 2, 3, 4]
    asked = (Labeller.CONSENSUS, Labeller.GOLD)
    places = [[(cell.informativeness, cell.flip_rate) for cell in row] for row in found]
    assert places == [[(0.0, 0.0), (0.0, 0.25)], [(1.0, 0.0), (1.0, 0.25)]]
    family = replace(BanditFamily(1.0), flip_rate=0.0)
    expected = study_cell(family, 20, 2, STREAM, labellers=asked, weights=(2.0,))
    assert found[1][0].effects == expected.effects


def test_comparisons_that_cancel_leave_the_reference_and_nothing_to_predict(one):
    bandit = one[0]
    cancelling = np.zeros_like(one[1])
    cancelling[0, 0, 1] = cancelling[0, 1, 0] = 3.0
    asked = (Labeller.CONSENSUS,)
    found = reward_learning_on_policy(bandit, cancelling, asked, (2.0,), ridge=0.1)
    assert found.reward == pytest.approx(np.zeros_like(found.reward), abs=0.0)
    row = found.retrained[0]
    assert math.isnan(row.predicted)
    assert row.reward_change == pytest.approx(0.0, abs=1e-12)
    assert row.divergence > 0.0


@pytest.mark.parametrize("weights", [(-0.1,), (math.nan,), ()])
def test_weights_out_of_range_are_refused(one, weights):
    with pytest.raises(HypothesisViolated, match="1 labellers with weights"):
        reward_learning_on_policy(one[0], one[1] + 1.0, (Labeller.GOLD,), weights, ridge=0.1)


def test_too_few_instances_are_refused():
    with pytest.raises(HypothesisViolated, match="1 instances"):
        study_cell(BanditFamily(0.0), 20, 1, STREAM)
    with pytest.raises(HypothesisViolated, match="0 human comparisons"):
        study_cell(BanditFamily(0.0), 0, 5, STREAM)


@pytest.mark.slow
def test_consensus_helps_if_the_reference_is_informative_and_hurts_if_it_is_not():
    # The signs of rlp.md 6.3 that are far from 0 there; one-sided at four standard errors.
    asked = {"labellers": (Labeller.SELECT_ALL, Labeller.REWARD), "weights": (2.0,)}
    informed, blind = (study_cell(BanditFamily(w), 100, 200, STREAM, **asked) for w in (1.0, 0.0))
    helped = informed.effect(Labeller.SELECT_ALL, 2.0).reward_change
    assert helped.value > 4 * helped.standard_error
    hurt = blind.effect(Labeller.SELECT_ALL, 2.0).reward_change
    assert hurt.value < helped.value - 4 * helped.standard_error - 4 * hurt.standard_error
    own = blind.effect(Labeller.REWARD, 2.0).reward_change
    assert own.value < 0.0
