from itertools import product
from math import comb, factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.compositions import compositions
from nlhf.learning.reward_on_policy.consensus import (
    cluster_masses,
    consensus_law,
    consensus_pairs,
    draw_consensus_pairs,
    limiting_accuracy,
)
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream
from tests.learning.reward_on_policy.drawn import random_bandit, seeds, widest_deviation

CALIBRATED = np.array([[0.45, 0.30, 0.15, 0.10]])


def brute_force(policy, clusters, reward, samples, threshold):
    """Every sequence of samples, one context."""
    n = len(policy)
    found = np.zeros((n, n))
    for sequence in product(range(n), repeat=samples):
        p = np.prod(policy[list(sequence)])
        of = clusters[list(sequence)]
        counts = np.bincount(of)
        most = counts.max()
        if most == samples or most < threshold * samples:
            continue
        largest = np.flatnonzero(counts == most)
        for g in largest:
            inside = [i for i in sequence if clusters[i] == g]
            outside = [j for j in sequence if clusters[j] != g]
            best = [i for i in inside if reward[i] == max(reward[k] for k in inside)]
            for i, j in product(best, outside):
                found[i, j] += p / (len(largest) * len(best) * len(outside))
    return found


@pytest.mark.parametrize(("total", "parts"), [(1, 1), (3, 2), (10, 4), (5, 6)])
def test_compositions_are_all_of_them_with_their_multinomial_coefficients(total, parts):
    every = compositions(total, parts)
    rows = {tuple(row) for row in every.counts.tolist()}
    expected = {c for c in product(range(total + 1), repeat=parts) if sum(c) == total}
    assert rows == expected
    assert len(every.counts) == comb(total + parts - 1, parts - 1)
    for row, log in zip(every.counts, every.log_coefficient, strict=True):
        coefficient = factorial(total) / np.prod([float(factorial(k)) for k in row])
        assert np.exp(log) == pytest.approx(coefficient, rel=1e-12)
    for size, block in every.blocks:
        assert (every.counts[block].max(axis=1) == size).all()


@given(seeds, st.integers(2, 8))
def test_the_law_of_counts_sums_to_one_also_with_empty_clusters(seed, samples):
    q = np.random.default_rng(seed).dirichlet(np.ones(4), size=2)
    q[1] = [0.25, 0.0, 0.75, 0.0]
    every = compositions(samples, 4)
    law = every.law(q)
    assert law.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert law @ every.counts == pytest.approx(samples * q, abs=1e-12)


@pytest.mark.parametrize(
    ("threshold", "coverage", "modal", "accuracy"),
    # rlp.md, T8: q = (.45, .30, .15, .10) and 10 samples.
    [
        (0.0, 0.9997, 0.669, 0.5698),
        (0.4, 0.942, 0.689, 0.5727),
        (0.5, 0.645, 0.758, 0.5812),
        (0.6, 0.310, 0.842, 0.5925),
        (0.7, 0.112, 0.905, 0.6010),
    ],
)
def test_selection_has_the_published_coverage_and_accuracy(threshold, coverage, modal, accuracy):
    law = consensus_law(CALIBRATED, 10, threshold)
    assert law.coverage[0] == pytest.approx(coverage, abs=5.1e-4)
    assert law.modal[0] == pytest.approx(modal, abs=5.1e-4)
    assert law.calibrated_accuracy[0] == pytest.approx(accuracy, abs=5.1e-5)


@pytest.mark.parametrize(
    ("samples", "coverage", "accuracy"),
    [
        (2, 0.675, 0.500),
        (3, None, 0.542),
        (5, None, 0.564),
        (10, None, 0.581),
        (20, 0.457, 0.600),
        (40, 0.322, 0.611),
    ],
)
def test_more_samples_have_the_published_accuracy(samples, coverage, accuracy):
    law = consensus_law(CALIBRATED, samples, 0.5)
    assert law.calibrated_accuracy[0] == pytest.approx(accuracy, abs=5.1e-4)
    if coverage is not None:
        assert law.coverage[0] == pytest.approx(coverage, abs=6e-4)


def test_without_a_threshold_accuracy_tends_to_its_limit():
    assert limiting_accuracy(CALIBRATED)[0] == pytest.approx(0.6136, abs=5e-5)
    q = np.array([[0.6, 0.25, 0.15]])
    errors = [
        abs(consensus_law(q, n, 0.0).calibrated_accuracy[0] - limiting_accuracy(q)[0])
        for n in (10, 40, 160)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4


def test_a_majority_of_the_policy_decides_whether_coverage_survives_many_samples():
    with_majority = consensus_law(np.array([[0.62, 0.2, 0.18]]), 150, 0.5).coverage[0]
    without = consensus_law(np.array([[0.4, 0.33, 0.27]]), 150, 0.5).coverage[0]
    assert with_majority > 0.99
    assert without < 0.01


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("samples", [2, 3, 4])
def test_pairs_are_those_of_every_sequence_of_samples(samples, threshold):
    policy = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    clusters = np.array([0, 1, 0, 1, 0])
    reward = np.array([0.3, 1.0, 0.3, -1.0, -0.2])  # 0 and 2 are tied
    found = consensus_pairs(
        Policy.of(policy[None]), clusters[None], reward[None], samples, threshold
    )
    expected = brute_force(policy, clusters, reward, samples, threshold)
    assert found[0] == pytest.approx(expected, abs=1e-14)


@given(seeds, st.sampled_from([0.0, 0.4, 0.5, 0.7, 1.0]))
@settings(max_examples=25)
def test_pairs_join_clusters_as_the_law_of_clusters_says(seed, threshold):
    bandit = random_bandit(seed)
    masses = cluster_masses(bandit.reference, bandit.clusters)
    law = consensus_law(masses, 10, threshold)
    pairs = consensus_pairs(bandit.reference, bandit.clusters, bandit.truth, 10, threshold)
    k = masses.shape[1]
    together = np.zeros_like(law.pairs)
    for x, i, j in np.ndindex(pairs.shape):
        together[x, bandit.clusters[x, i], bandit.clusters[x, j]] += pairs[x, i, j]
    assert together == pytest.approx(law.pairs, abs=1e-12)
    assert together[:, np.arange(k), np.arange(k)] == pytest.approx(0.0, abs=0.0)
    assert (pairs >= -1e-15).all()


@given(seeds)
@settings(max_examples=25)
def test_a_higher_threshold_selects_fewer_contexts(seed):
    q = np.random.default_rng(seed).dirichlet(np.ones(4), size=3)
    coverage = [consensus_law(q, 10, t).coverage for t in np.linspace(0.0, 1.0, 11)]
    assert (np.diff(coverage, axis=0) <= 1e-15).all()
    assert coverage[-1] == pytest.approx(0.0, abs=0.0)


def test_hardly_probable_responses_keep_their_share():
    # The best of two samples is the rare, better response with probability 2ε − ε².
    rare = 1e-20
    policy = Policy.proportional(np.log([[0.5, 0.5 * rare, 0.5]]))
    reward = np.array([[0.0, 1.0, 0.0]])
    pairs = consensus_pairs(policy, np.array([[0, 0, 1]]), reward, 3, 0.5)
    # Two of cluster 0 and one of cluster 1: 3/8.
    assert pairs[0, 1, 2] == pytest.approx(3 / 8 * 2 * rare, rel=1e-12)
    assert pairs[0, 0, 2] == pytest.approx(3 / 8, rel=1e-12)


def _differs(pairs, drawn, repetitions):
    # One false alarm in a million runs.
    allowed = widest_deviation(pairs.size, repetitions, 1e-6)
    return np.abs(drawn / repetitions - pairs).max() > allowed


def test_drawn_pairs_have_the_enumerated_law_and_another_threshold_is_seen():
    bandit = random_bandit(7, contexts=2)
    reward = np.round(bandit.truth)  # with ties
    repetitions = 40_000
    drawn = draw_consensus_pairs(
        bandit.reference, bandit.clusters, reward, 10, 0.5, repetitions, Stream(1).child("draw")
    )
    pairs = consensus_pairs(bandit.reference, bandit.clusters, reward, 10, 0.5)
    assert not _differs(pairs, drawn, repetitions)
    other = consensus_pairs(bandit.reference, bandit.clusters, reward, 10, 0.6)
    assert _differs(other, drawn, repetitions)


@pytest.mark.parametrize(("mass", "threshold"), [(1.0, 0.0), (1.0, 0.5), (0.6, 1.0)])
def test_where_nothing_is_accepted_accuracy_is_not_a_number(mass, threshold):
    # With all mass in one cluster no sample can be rejected; at γ = 1 no pair is left.
    law = consensus_law(np.array([[mass, 1.0 - mass], [0.5, 0.5]]), 4, threshold)
    assert law.coverage[0] == 0.0
    assert np.isnan([law.modal[0], law.calibrated_accuracy[0]]).all()
    assert np.isnan(limiting_accuracy(np.array([[1.0, 0.0]]))).all()
    if threshold < 1.0:
        assert law.calibrated_accuracy[1] == 0.5


def test_out_of_range_is_refused_with_numbers():
    with pytest.raises(HypothesisViolated, match="1 samples and threshold"):
        consensus_law(CALIBRATED, 1, 0.5)
    with pytest.raises(HypothesisViolated, match=r"threshold 1\.5"):
        consensus_law(CALIBRATED, 10, 1.5)
    with pytest.raises(HypothesisViolated, match="sums"):
        consensus_law(0.5 * CALIBRATED, 10, 0.5)
    with pytest.raises(HypothesisViolated, match="sums"):
        limiting_accuracy(0.5 * CALIBRATED)
    for call in (
        lambda r: consensus_pairs(Policy.of([[0.5, 0.5]]), np.array([[0, 1]]), r, 10, 0.5),
        lambda r: draw_consensus_pairs(
            Policy.of([[0.5, 0.5]]), np.array([[0, 1]]), r, 10, 0.5, 3, Stream(1)
        ),
    ):
        with pytest.raises(HypothesisViolated, match="a reward that is not finite"):
            call(np.array([[0.0, np.nan]]))
    with pytest.raises(HypothesisViolated, match="least cluster -1"):
        consensus_pairs(
            Policy.of([[0.5, 0.5]]), np.array([[0, -1]]), np.array([[0.0, 1.0]]), 10, 0.5
        )
    with pytest.raises(HypothesisViolated, match="200000"):
        consensus_law(np.full((1, 12), 1 / 12), 40, 0.5)
