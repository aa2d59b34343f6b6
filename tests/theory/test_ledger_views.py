"""The statements on multi-view losses against arithmetic that shares no code with them."""

from math import exp, log, sqrt

import mpmath as mp
import numpy as np
import pytest
from nlhf_theory import gaussian_views, multiview, self_labels
from scipy.optimize import minimize, minimize_scalar

from nlhf.learning.reward_on_policy.multiview import critical_ratio
from nlhf.numerics import sigmoid


def part(margin, name):
    return dict(margin.named)[name]


def test_information_is_what_its_definition_says():
    law = np.random.default_rng(7).gamma(0.5, size=(2, 2, 2, 2))
    law /= law.sum()
    joint = law.sum(axis=(1, 2))  # of the code and the label
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    assert multiview.information(law, (3,), (0,)) == pytest.approx(
        float((joint * np.log(joint / alone)).sum()), abs=1e-14
    )
    views = law.sum(axis=3)
    given = views.sum(axis=(1, 2), keepdims=True)
    product_law = views.sum(axis=1, keepdims=True) * views.sum(axis=2, keepdims=True) / given
    assert multiview.information(law, (1,), (2,), given=0) == pytest.approx(
        float((views * np.log(views / product_law)).sum()), abs=1e-14
    )


def test_a_code_that_all_responses_share_leaves_the_loss_of_a_coin():
    policy, head = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0])
    encoder = np.tile(np.array([0.25, 0.75]), (3, 1))
    pairs = multiview.on_policy(policy)
    apart = (encoder @ head)[:, None] - (encoder @ head)[None, :]
    assert float((pairs * np.logaddexp(0.0, -apart)).sum()) == pytest.approx(log(2.0))
    assert float((pairs * multiview.symmetric_divergence(encoder)).sum()) == 0.0


def test_labels_of_the_reward_itself_have_the_least_loss_and_all_add_up_to_the_policys_pairs():
    policy, reward = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.9, 0.4, 0.2])
    apart = reward[:, None] - reward[None, :]

    def loss(first):
        pairs = multiview.labelled(policy, first)
        assert pairs + pairs.T == pytest.approx(2.0 * np.outer(policy, policy), abs=1e-15)
        return float((pairs * np.logaddexp(0.0, -apart)).sum())

    least = loss(multiview.by_reward(reward))
    both = np.outer(policy, policy)
    assert least == pytest.approx(float((both * np.logaddexp(0.0, -np.abs(apart))).sum()))
    # Labels by a coin lose log 2 or more whatever the codes are: they could not break the bound.
    assert least < log(2.0) - 0.05 < log(2.0) < loss(np.full((4, 4), 0.5))
    generator = np.random.default_rng(13)
    assert min(loss(generator.uniform(size=(4, 4))) for _ in range(20)) > least


def test_instances_of_the_loss_come_with_labels_below_the_loss_of_a_coin():
    # Two certain, different codes on policy: D is large, and the loss of the best labels small.
    law, policy = np.full((2, 2, 2, 2), 1 / 16), np.array([0.5, 0.5])
    encoder, head = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([1.0, 0.0])
    reward = encoder @ head
    pairs = multiview.labelled(policy, multiview.by_reward(reward))
    case = multiview.Views(law, policy, encoder, head, reward, pairs)
    assert multiview.MIB_INFORMATION.satisfied(case)
    margin = multiview.MIB_INFORMATION.margin(case)
    assert not margin.violated
    paid = 0.5 * log(2.0) + 0.5 * log(1.0 + exp(-0.8))
    reach = sqrt(0.5 * 0.5 * 0.8 * log(9.0))
    assert part(margin, "loss").value == pytest.approx(paid - log(2.0) + 0.5 * reach, rel=1e-12)
    assert paid < log(2.0) - 0.1


def interval_information(gain, ratio):
    one, two = mp.iv.mpf(1), mp.iv.mpf(2)
    terms = (one + gain * (one + ratio), one + gain, one + gain * (one + two * ratio))
    return mp.iv.log(terms[0]) - (mp.iv.log(terms[1]) + mp.iv.log(terms[2])) / two


def test_the_threshold_is_between_7_950_and_7_951_in_interval_arithmetic():
    """At κ = 7.950, I(s) < s for all s > 0; at 7.951 there is a gain that pays.

    Below 2/κ², I ≤ κ²s²/2 < s; above F(κ) the information cannot reach s. In between the interval
    is halved until every piece is decided, with the slope of s − I, which lies between −κ and 1.
    """
    low = mp.iv.mpf("7.950")
    pieces = [(0.031, 0.8)]
    assert 0.031 < 2 / 7.950**2
    assert log(8.95) - 0.5 * log(16.9) < 0.8
    decided = 0
    while pieces:
        a, b = pieces.pop()
        middle = 0.5 * (a + b)
        gap = mp.iv.mpf(middle) - interval_information(mp.iv.mpf(middle), low)
        at = mp.iv.mpf([a, b])
        fall = low**2 * at / ((1 + at) * (1 + at * (1 + low)) * (1 + at * (1 + 2 * low)))
        slope = mp.iv.mpf(1) - fall
        steepest = max(abs(float(slope.a)), abs(float(slope.b)))
        if float(gap.a) > steepest * 0.5 * (b - a) * (1 + 1e-9):
            decided += 1
            continue
        assert b - a > 1e-7, "undecided"
        pieces += [(a, middle), (middle, b)]
    assert decided > 1
    gain = mp.iv.mpf("0.14843")
    pays = interval_information(gain, mp.iv.mpf("7.951")) - gain
    assert pays.a > 0


def test_the_threshold_constants_by_root_finding():
    mp.mp.dps = 30

    def information(s, k):
        return mp.log(1 + s * (1 + k)) - (mp.log(1 + s) + mp.log(1 + s * (1 + 2 * k))) / 2

    def slope(s, k):
        return s * k**2 / ((1 + s) * (1 + s * (1 + k)) * (1 + s * (1 + 2 * k)))

    assert mp.diff(lambda s: information(s, 3), mp.mpf("0.2")) == pytest.approx(
        slope(mp.mpf("0.2"), 3), rel=1e-15
    )
    gain, ratio_ = mp.findroot(
        lambda s, k: (information(s, k) - s, slope(s, k) - 1), (mp.mpf("0.15"), mp.mpf(8))
    )
    assert float(ratio_) == pytest.approx(7.951, abs=5e-4)
    assert float(ratio_ / (1 + ratio_)) == pytest.approx(0.8883, abs=5e-5)
    assert float(gain) == pytest.approx(0.148, abs=5e-4)

    def per_nat(v):
        return (mp.log(1 + v) - mp.log(1 + 2 * v) / 2) / v

    best = mp.findroot(lambda v: mp.diff(per_nat, v), mp.mpf("1.5"))
    assert 0 < gaussian_views.UNIVERSAL - per_nat(best) < 1e-6


def test_no_encoder_that_a_general_minimiser_finds_beats_the_diagonal_one():
    between, within = np.array([[9.0, 6.0], [6.0, 12.0]]), np.array([[1.0, 0.3], [0.3, 0.5]])
    ratios, _ = gaussian_views.directions(between, within)
    bound = gaussian_views.least_loss(ratios, 1.0)
    generator = np.random.default_rng(11)
    found = []
    for _ in range(4):
        start = generator.normal(size=4)
        case = gaussian_views.Shared(between, within, np.eye(2), 1.0, 0.0, 0.0)
        result = minimize(lambda v, c=case: gaussian_views.loss(c, v.reshape(2, 2)), start)
        found.append(float(result.fun))
    assert bound < 0.0
    assert min(found) == pytest.approx(bound, abs=1e-6)
    assert min(found) >= bound - 1e-12


@pytest.mark.parametrize(("ratios", "towards"), [((20.0, 0.2), 0.0), ((0.2, 20.0), 90.0)])
def test_a_backbone_of_rank_one_turns_to_the_direction_that_responses_share(ratios, towards):
    true = 31.0
    angles = np.radians(np.arange(0.0, 180.0, 15.0))
    pairs = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 2.0
    weight = np.array([np.cos(np.radians(true)), np.sin(np.radians(true))])
    labels = self_labels.Labels(pairs, np.full(12, 1 / 12), sigmoid(pairs @ weight))

    def total(degrees, share):
        u = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        seen = self_labels.Labels((pairs @ u)[:, None], labels.mass, labels.first)
        risk = self_labels.risk(seen, self_labels.fitted(seen, np.zeros(1)))
        between = float(u @ (np.array(ratios) * u))
        return risk + share * gaussian_views.least_loss(np.array([between]), 1.0)

    grid = np.arange(0.0, 90.5, 1.0)
    free = grid[np.argmin([total(d, 0.0) for d in grid])]
    bound = grid[np.argmin([total(d, 0.5) for d in grid])]
    assert free == pytest.approx(true, abs=1.0)
    assert abs(bound - towards) < abs(free - towards) - 3.0


def test_the_best_gain_is_what_bounded_search_finds():
    for ratio_, weight in ((20.0, 1.0), (3.0, 0.2), (5.0, 1.0)):
        found = minimize_scalar(
            lambda u, k=ratio_, b=weight: b * exp(u) - gaussian_views.information_at(exp(u), k),
            bounds=(-4.0, 4.0),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert gaussian_views.least_loss(np.array([ratio_]), weight) == pytest.approx(
            min(0.0, found.fun), abs=1e-9
        )


def test_package_thresholds_are_the_ledgers():
    found = critical_ratio(1.0)
    assert gaussian_views.DROPPED < found.ratio < gaussian_views.KEPT
    assert gaussian_views.best_gain(gaussian_views.DROPPED, 1.0) == 0.0
    assert gaussian_views.best_gain(gaussian_views.KEPT, 1.0) == pytest.approx(found.gain, abs=1e-3)
