import numpy as np
import pytest
from hypothesis import given, settings

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy import judging
from nlhf.learning.reward_on_policy.over_optimisation import (
    covariance_along,
    optimisation_curve,
    turning_point,
)
from tests.learning.reward_on_policy.drawn import random_bandit, seeds, temperatures

few = settings(max_examples=10)


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
        if turn is None:
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
