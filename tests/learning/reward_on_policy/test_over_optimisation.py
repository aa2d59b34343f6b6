from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy import judging
from nlhf.learning.reward_on_policy.bandits import ClusteredBandit
from nlhf.learning.reward_on_policy.over_optimisation import (
    covariance_along,
    optimisation_curve,
    turning_point,
)
from nlhf.spaces.policy import Policy
from tests.learning.reward_on_policy.drawn import random_bandit, seeds, temperatures

few = settings(max_examples=8)


def learned(bandit, seed):
    noise = np.random.default_rng(seed).normal(size=bandit.truth.shape)
    return 0.7 * bandit.truth + noise


@given(seeds, temperatures)
@few
def test_the_gain_is_the_integral_of_the_covariance(seed, temperature):
    # T2: E_{π_1} r* − E_{π_0} r* = (1/β) ∫ Cov_{π_s}(r*, r̂) ds.
    bandit = random_bandit(seed, temperature=temperature)
    reward = learned(bandit, seed)
    nodes, masses = np.polynomial.legendre.leggauss(40)
    slopes = [covariance_along(bandit, reward, float(s)) for s in (nodes + 1) / 2]
    gain = judging.gold_reward(bandit, bandit.policy(reward)) - judging.gold_reward(
        bandit, bandit.reference
    )
    assert gain == pytest.approx(masses / 2 @ slopes / temperature, abs=1e-9)


@given(seeds)
@few
def test_points_of_the_curve_are_policies_at_their_divergence(seed):
    bandit = random_bandit(seed)
    reward = learned(bandit, seed)
    most = judging.divergence(bandit, bandit.policy(3.0 * reward))
    nats = np.linspace(0.0, most, 5)
    curve = optimisation_curve(bandit, reward, nats)
    assert curve.divergence == pytest.approx(nats, abs=1e-9)
    assert curve.scale[-1] == pytest.approx(3.0, rel=1e-6)
    assert (np.diff(curve.proxy) > 0.0).all()
    assert curve.gold[0] == pytest.approx(0.0, abs=1e-15)
    assert curve.proxy[0] == pytest.approx(0.0, abs=1e-15)
    gain = judging.gold_reward(bandit, bandit.policy(3.0 * reward)) - judging.gold_reward(
        bandit, bandit.reference
    )
    assert curve.gold[-1] == pytest.approx(gain, abs=1e-8)


def test_the_true_reward_has_its_maximum_at_the_turning_point():
    seen = 0
    for seed in range(6):
        bandit = random_bandit(seed)
        reward = learned(bandit, seed)
        turn = turning_point(bandit, reward)
        if turn is None or turn.scale == 0.0:
            continue
        seen += 1
        around = [
            judging.gold_reward(bandit, bandit.policy(f * turn.scale * reward))
            for f in (0.99, 1.0, 1.01)
        ]
        assert around[1] >= max(around)
    assert seen > 0
    # Control: the truth itself never turns down.
    assert turning_point(bandit, bandit.truth) is None
    with pytest.raises(HypothesisViolated, match="constant"):
        turning_point(bandit, np.ones_like(bandit.truth))
    with pytest.raises(HypothesisViolated, match="range is nan"):
        turning_point(bandit, np.nan * bandit.truth)


def test_a_true_reward_that_falls_from_the_start_turns_down_at_the_reference():
    bandit = ClusteredBandit(
        np.array([[0.0, 1.0, -4.0]]),
        Policy.of([[0.5, 0.3, 0.2]]),
        np.array([[0, 1, 1]]),
        np.ones(1),
    )
    reward = np.array([[0.0, 1.0, 2.0]])
    gold = [
        judging.gold_reward(bandit, bandit.policy(s * reward)) for s in np.geomspace(1e-3, 50, 99)
    ]
    assert max(gold) < judging.gold_reward(bandit, bandit.reference)
    turn = turning_point(bandit, reward)
    assert turn is not None
    assert (turn.scale, turn.divergence, turn.gold) == (0.0, 0.0, 0.0)


def test_offsets_of_the_truth_do_not_move_the_turning_point():
    bandit = random_bandit(0)
    # On a grid so that the offsets add without rounding.
    bandit = replace(bandit, truth=np.round(1024.0 * bandit.truth) / 1024.0)
    far = replace(bandit, truth=bandit.truth + 2.0**30 * np.array([[0.0], [1.0], [-1.0]]))
    found = []
    for seed in range(3):
        reward = learned(bandit, seed)
        here, there = (covariance_along(b, reward, 1.0) for b in (bandit, far))
        assert there == pytest.approx(here, abs=1e-13)
        ours, theirs = (turning_point(b, reward) for b in (bandit, far))
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert theirs.scale == pytest.approx(ours.scale, rel=1e-9)
            found.append(ours.scale)
    assert max(found) > 0.0
