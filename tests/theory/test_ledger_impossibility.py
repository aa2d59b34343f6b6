"""The impossibility rows on hand-made instances, against arithmetic that shares no code."""

from dataclasses import replace
from fractions import Fraction
from math import log1p

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlhf_theory import impossibility, impossibility_rewards
from nlhf_theory.draws import Draws
from nlhf_theory.enclosures import logarithm
from nlhf_theory.impossibility import Duo, Pool, breaks_as_transcribed
from nlhf_theory.impossibility_instances import (
    COORDINATES,
    crowd_of,
    distances,
    draw_tree,
    extremes,
    solved,
    two_responses,
)
from nlhf_theory.impossibility_rewards import BALANCED, POOLED_BOUND, STRETCHED, fitted

from nlhf.streams import Stream


class Random(Draws):
    """Draws from a fixed stream instead of the search engine."""

    def __init__(self, seed: int):
        self._generator = Stream(seed).child("draws").generator()

    def whole(self, largest: int) -> int:
        return int(self._generator.integers(largest + 1))


def part(margin, name):
    return dict(margin.named)[name]


def mp_logistic(x):
    return 1 / (1 + mp.e ** (-x))


def test_three_groups_of_certain_people_by_hand():
    # On two pairs, seldom and often compared, the groups are sure: 00, 01 and 11.
    preferences = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    law, shares = np.array([0.25, 0.75]), np.array([0.5, 0.3, 0.2])
    pool = Pool(preferences, shares, law, shares @ preferences)
    assert distances(preferences, law)[0].tolist() == [0.0, 0.75, 1.0]
    # (u, j) = (0, 2): 1 − 1/4; (2, 0): 1 − 3/4.
    assert extremes(distances(preferences, law)) == ((0, 0.75), (2, 0.25))
    # TV(p*, p_0) = .25 * .2 + .75 * .5 and TV(p*, p_2) = .25 * .8 + .75 * .5.
    assert pytest.approx(0.05) == 0.25 * 0.2 + 0.75 * 0.5 - 0.5 * 0.75
    assert impossibility.TV_STEP.margin(pool).value == pytest.approx(0.05)


def test_the_balanced_likelihood_has_its_root_at_the_most_distant_group():
    mp.mp.dps = 40
    z = [(1, 1), (1, 0), (0, 8)]
    law = [mp.mpf(w.numerator) / w.denominator for w in BALANCED.law()]
    groups = [(mp.log(4), mp.log("0.75")), (mp.log(5), mp.mpf(0)), (mp.log(5), -mp.log(7))]
    shares = [mp.mpf("0.2"), mp.mpf("0.4"), mp.mpf("0.4")]

    def chance(group, pair):
        return mp_logistic(group[0] * pair[0] + group[1] * pair[1])

    def score(*at):
        found = [mp.mpf(0), mp.mpf(0)]
        for pair, weight in zip(z, law, strict=True):
            everybody = sum(s * chance(g, pair) for s, g in zip(shares, groups, strict=True))
            for k in range(2):
                found[k] += weight * pair[k] * (chance(at, pair) - everybody)
        return found

    root = mp.findroot(score, (mp.mpf("2"), mp.mpf("-0.5")))
    assert abs(root[0] - groups[0][0]) < mp.mpf(10) ** -30
    assert abs(root[1] - groups[0][1]) < mp.mpf(10) ** -30

    def apart(a, b):
        return sum(
            w * abs(chance(groups[a], pair) - chance(groups[b], pair))
            for pair, w in zip(z, law, strict=True)
        )

    assert apart(0, 2) > max(apart(0, 1), apart(1, 2))
    epsilon = float(apart(0, 2) - apart(1, 2))
    assert epsilon > 0.0003
    crowd = BALANCED.crowd(0.2)
    assert extremes(distances(crowd.preferences, crowd.law))[0] == (0, pytest.approx(epsilon))
    margin = impossibility_rewards.REWARD_MISMATCH_MISSPECIFIED.margin(crowd)
    assert margin.violated
    # The second order of the pair says nothing worse: there the mismatch is not 0.
    assert margin.value == pytest.approx(-0.25 / crowd.radius * 0.8 * epsilon, rel=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_the_balanced_group_loses_nothing_whatever_its_share(share):
    crowd = BALANCED.crowd(share)
    assert fitted(crowd).candidate == pytest.approx(crowd.parameters[0], abs=1e-12)
    assert not impossibility_rewards.POOLED.holds(crowd)
    assert impossibility_rewards.STATIONARY.holds(crowd)
    margin = impossibility.IMPOSSIBILITY_REPAIRED.margin(crowd)
    assert part(margin, "explicit").violated
    assert not part(margin, "identity").violated
    assert not part(margin, "segment").violated


def test_the_stretched_likelihood_has_its_root_below_the_sharp_bound():
    mp.mp.dps = 40
    own, other = mp.log(mp.mpf(24) / 23), mp.log(30)
    pairs = ((31, mp.mpf(1) / 3), (1, mp.mpf(2) / 3))
    share = mp.mpf(10) / 11

    def score(at):
        return sum(
            w
            * z
            * (
                mp_logistic(z * at)
                - share * mp_logistic(z * own)
                - (1 - share) * mp_logistic(z * other)
            )
            for z, w in pairs
        )

    root = mp.findroot(score, own + mp.mpf("0.005"))
    epsilon = sum(w * (mp_logistic(z * other) - mp_logistic(z * own)) for z, w in pairs)
    claimed = mp.mpf(4) / 31 * epsilon * (1 - share)
    assert mp.mpf("0.99") * claimed < root - own < mp.mpf("0.9992") * claimed
    assert root < mp.log(mp.mpf(109) / 104)
    margin = impossibility_rewards.REWARD_MISMATCH_SHARP_MISSPECIFIED.margin(STRETCHED.crowd())
    assert margin.value == pytest.approx(float(root - own - claimed), rel=1e-6)


def test_the_certificates_can_fail():
    assert impossibility_rewards.is_balanced(BALANCED)
    assert not impossibility_rewards.is_balanced(replace(BALANCED, reach=1))
    assert not impossibility_rewards.is_balanced(replace(BALANCED, own_base=Fraction(20)))
    assert impossibility_rewards.breaks_sharp(STRETCHED, POOLED_BOUND)
    assert not impossibility_rewards.breaks_sharp(STRETCHED, Fraction(110, 104))
    assert not impossibility_rewards.breaks_sharp(STRETCHED, Fraction(24, 23))
    assert not impossibility_rewards.breaks_sharp(replace(STRETCHED, reach=3), POOLED_BOUND)
    assert breaks_as_transcribed(impossibility.SMALLEST)
    assert not breaks_as_transcribed(replace(impossibility.SMALLEST, inverse_beta=1))
    assert not breaks_as_transcribed(replace(impossibility.EVEN, other=Fraction(2, 3)))


@pytest.mark.parametrize(
    "x", [Fraction(*x) for x in ((1, 60), (12, 13), (1, 1), (2, 1), (169, 121), (999, 2))]
)
def test_rational_bounds_of_the_logarithm_enclose_it(x):
    mp.mp.dps = 400
    low, high = (mp.mpf(b.numerator) / b.denominator for b in logarithm(x))
    exact = mp.log(mp.mpf(x.numerator) / x.denominator)
    assert low <= exact <= high
    assert high - low < mp.mpf("0.01") ** 2


@pytest.mark.parametrize(
    "case", [impossibility.SMALLEST, impossibility.EVEN, impossibility.MINORITY]
)
def test_the_counterexamples_in_forty_digits(case):
    mp.mp.dps = 40
    own, other, share = (
        mp.mpf(x.numerator) / x.denominator for x in (case.own, case.other, case.share)
    )
    m = case.inverse_beta
    pooled = share * own + (1 - share) * other
    single, mine = (p**m / (p**m + (1 - p) ** m) for p in (pooled, own))
    gap = (single * mp.log(single / mine) + (1 - single) * mp.log((1 - single) / (1 - mine))) / m
    least = min(single, 1 - single, mine, 1 - mine)
    bound = m**2 * least * abs(own - other) * (1 - share) / 16
    assert gap < bound
    margin = impossibility.IMPOSSIBILITY_AS_TRANSCRIBED.margin(case.crowd)
    assert margin.violated
    assert margin.value <= float(gap - bound) + 1e-15


@given(
    x=st.lists(st.floats(-8, 8), min_size=4, max_size=4),
    t=st.lists(st.floats(0, 12), min_size=4, max_size=4),
    weights=st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
)
def test_the_lemma_behind_the_bound_for_two_groups(x, t, weights):
    x, t, weights = (np.array(values) for values in (x, t, weights))
    weights = weights / weights.sum()
    chance = 1 / (1 + np.exp(-x))
    steep, rise = chance * (1 - chance), 1 / (1 + np.exp(-x - t)) - chance
    left, right = weights @ (t * rise), (weights @ (t * steep)) * (weights @ rise)
    assert left >= right - 1e-13


def test_two_groups_that_nearly_meet_attain_the_sharp_constant():
    crowd = two_responses(1e-3, -1e-3, 0.5)
    apart = abs(float(crowd.candidate[0] - crowd.parameters[0, 0]))
    (_, epsilon), _ = extremes(distances(crowd.preferences, crowd.law))
    assert 2.0 / 0.5 * 0.5 * epsilon == pytest.approx(apart, rel=1e-6)
    assert log1p(0.5 * epsilon) / (2 * 0.5) < apart


@pytest.mark.parametrize("seed", range(20))
def test_a_tree_of_pairs_makes_the_pooled_model_exact(seed):
    crowd = draw_tree(Random(seed))
    for hypothesis in impossibility.IMPOSSIBILITY_REPAIRED.hypotheses:
        assert hypothesis.holds(crowd), hypothesis.name
    assert fitted(crowd).candidate == pytest.approx(crowd.candidate, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_every_number_of_the_package_is_the_ledger_s(seed):
    crowd = draw_tree(Random(100 + seed))
    found = impossibility.packaged(crowd)
    u, d, beta = found.minority, found.radius, crowd.beta
    apart = distances(crowd.preferences, crowd.law)
    assert np.allclose(found.diversity, apart, rtol=1e-12, atol=1e-15)
    epsilon = dict(extremes(apart))[u]
    y = epsilon * (1.0 - crowd.proportions[u])
    known = impossibility.constants(crowd, u)
    z = crowd.differences
    moment = np.linalg.norm(z.T @ (crowd.law * (crowd.pooled - crowd.preferences[u])))
    largest = np.linalg.eigvalsh(z.T @ (crowd.law[:, None] * z))[-1]
    change = crowd.candidate - crowd.parameters
    low = impossibility.least_covariance(crowd, u)[0]
    expected = {
        "published": y / (4 * d),
        "sharp": 2 * y / d,
        "moments": 4 * moment / largest,
        "two_groups": log1p(max(y, 0.0)) / (2 * d),
    }
    for name, value in expected.items():
        number = getattr(found.mismatch_bounds, name)
        assert number == pytest.approx(value, rel=1e-9, abs=1e-13), name
    transcribed = known.eigenvalue * known.least * y / (64 * beta**2 * d**2)
    repaired = 2 * known.pairs * known.least**2 * known.eigenvalue * y * abs(y) / (beta * d**2)
    near = {"rel": 1e-6, "abs": 1e-13}
    assert found.epsilon == pytest.approx(epsilon, rel=1e-9, abs=1e-15)
    assert d == pytest.approx(crowd.radius)
    assert found.mismatch == pytest.approx(np.linalg.norm(change, axis=1), **near)
    assert found.gap_bounds.transcribed == pytest.approx(transcribed, **near)
    assert found.gap_bounds.squared == pytest.approx(transcribed * abs(y), **near)
    assert found.gap_bounds.repaired == pytest.approx(repaired, **near)
    segment = low * (change[u] @ change[u]) / (2 * beta)
    assert segment * 0.9 - 1e-13 <= found.gap_bounds.segment <= segment * (1 + 1e-6) + 1e-13


@pytest.mark.parametrize("seed", range(10))
def test_coordinates_return_the_crowd_they_came_from(seed):
    crowd = draw_tree(Random(seed))
    again = COORDINATES.from_vector(crowd, COORDINATES.to_vector(crowd))
    for name in ("features", "parameters", "proportions", "candidate", "log_reference", "beta"):
        assert getattr(again, name) == pytest.approx(getattr(crowd, name), rel=1e-9, abs=1e-9), name


def test_the_integral_of_the_proof_gives_the_gap():
    features = np.array([[0.3, -1.0], [1.0, 0.2], [-0.7, 0.9]])
    pairs, law = np.array([[1, 0], [2, 0]]), np.array([0.4, 0.6])
    parameters = np.array([[1.0, -0.5], [-0.3, 0.8]])
    crowd = solved(crowd_of(features, pairs, law, parameters, np.array([0.3, 0.7]), beta=0.7))
    mp.mp.dps = 30
    gaps, _ = impossibility.alignment_gaps(crowd)
    change = crowd.parameters[0] - crowd.candidate
    rewards = [mp.mpf(float(r)) for r in features @ change]
    start = [mp.mpf(float(r)) for r in features @ crowd.candidate]

    def integrand(t):
        raw = [mp.e ** ((s + t * r) / mp.mpf("0.7")) for s, r in zip(start, rewards, strict=True)]
        total = sum(raw)
        mean = sum(w * r for w, r in zip(raw, rewards, strict=True)) / total
        second = sum(w * r * r for w, r in zip(raw, rewards, strict=True)) / total
        return (1 - t) * (second - mean**2)

    exact = mp.quad(integrand, [0, 1]) / mp.mpf("0.7")
    assert gaps[0] == pytest.approx(float(exact), rel=1e-12)


def test_a_duo_has_the_probabilities_it_says():
    crowd = Duo(Fraction(1, 3), Fraction(3, 4), Fraction(1, 4), 2).crowd
    assert crowd.preferences[:, 0] == pytest.approx([1 / 3, 3 / 4])
    assert crowd.model[0] == pytest.approx(1 / 12 + 9 / 16)
    assert crowd.beta == 0.5
