"""The statements on reward learning on policy against arithmetic that shares no code with them."""

from fractions import Fraction
from itertools import product
from math import comb, exp, log, sqrt

import mpmath as mp
import numpy as np
import pytest
from nlhf_theory import (
    amounts,
    consensus,
    frontier,
    over_optimisation,
    selection,
    self_labels,
    synthetic,
)
from scipy.optimize import minimize

import nlhf
from nlhf.learning.reward_on_policy.judging import divergence, gold_reward, match_divergence
from nlhf.learning.reward_on_policy.labelling import Labeller, labelled_pairs
from nlhf.learning.reward_on_policy.reward_models import fit_tabular_reward
from nlhf.numerics import sigmoid


def part(margin, name):
    return dict(margin.named)[name]


def bandit(truth, estimate, reference, temperature) -> over_optimisation.Bandit:
    return over_optimisation.Bandit(
        np.array([truth], dtype=float),
        np.array([estimate], dtype=float),
        np.log(np.array([reference])),
        temperature,
        np.ones(1),
    )


THREE = ((0.5, -0.25, 1.0), (1.0, 0.25, -0.5), (0.5, 0.25, 0.25), 0.5)


def mp_tilt(reference, reward, tau):
    raw = [mp.mpf(p) * mp.exp(mp.mpf(r) / tau) for p, r in zip(reference, reward, strict=True)]
    return [x / sum(raw) for x in raw]


def mp_objective(policy, truth, reference, tau):
    cost = sum(p * mp.log(p / mp.mpf(q)) for p, q in zip(policy, reference, strict=True))
    return sum(p * mp.mpf(r) for p, r in zip(policy, truth, strict=True)) - tau * cost


def test_the_regret_is_the_integral_in_fifty_digits():
    mp.mp.dps = 50
    truth, estimate, reference, tau = THREE
    best, played = mp_tilt(reference, truth, tau), mp_tilt(reference, estimate, tau)
    regret = mp_objective(best, truth, reference, tau) - mp_objective(played, truth, reference, tau)
    off = [mp.mpf(e) - mp.mpf(t) for e, t in zip(estimate, truth, strict=True)]

    def weighted_variance(t):
        at = mp_tilt(best, [t * d for d in off], tau)
        middle = sum(p * d for p, d in zip(at, off, strict=True))
        return t * sum(p * (d - middle) ** 2 for p, d in zip(at, off, strict=True))

    assert abs(regret - mp.quad(weighted_variance, [0, 0.5, 1]) / tau) < mp.mpf(10) ** -40
    instance = over_optimisation.solved(bandit(*THREE))
    found = over_optimisation.objective(instance.bandit, instance.optimum)
    found -= over_optimisation.objective(instance.bandit, instance.policy)
    assert found == pytest.approx(float(regret), rel=1e-13)
    assert not over_optimisation.REGRET_IDENTITY.margin(instance).violated


def test_an_error_that_only_the_reference_sees_costs_nothing():
    # The third response is common under the reference, bad by both rewards, and badly estimated.
    case = bandit((0.0, 0.0, -40.0), (0.0, 0.0, -20.0), (0.25, 0.25, 0.5), 1.0)
    instance = over_optimisation.solved(case)
    under_reference = self_labels.policy_error(case.weights, case.log_reference, case.error)
    regret = over_optimisation.objective(case, instance.optimum)
    regret -= over_optimisation.objective(case, instance.policy)
    assert under_reference == pytest.approx(100.0)
    assert 0.0 <= regret < 1e-6


def test_the_gold_reward_peaks_where_the_covariance_changes_sign():
    # Worth grows with the proxy up to the fourth response and falls at the fifth.
    case = bandit((0, 1, 2, 3, -4), (0, 1, 2, 3, 4), (0.4, 0.3, 0.15, 0.1, 0.05), 0.5)
    at = np.linspace(0.0, 1.0, 20001)
    path = over_optimisation.geometric(case, at)
    gold = (np.exp(path) * case.truth).sum(axis=-1)[:, 0]
    covariances = over_optimisation.covariances(path, case.truth, case.estimate)[:, 0]
    peak = int(gold.argmax())
    assert 0 < peak < len(at) - 1
    assert covariances[peak - 1] > 0.0 > covariances[peak + 1]
    slopes = np.gradient(gold, at)
    assert np.abs(slopes - covariances / 0.5)[1:-1].max() < 1e-6


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_the_gaussian_frontier_in_closed_form(temperature):
    a, c, shift = 1.0, 0.5, 1.0 / temperature
    distance = shift / sqrt(2.0)
    gain = a * shift - c * (1.0 + shift**2) + c
    assert gain == pytest.approx(sqrt(2.0) * a * distance - 2.0 * c * distance**2, rel=1e-13)
    line = frontier.bell(a, c, temperature)
    margin = frontier.GAO_SHAPE.margin(line)
    assert not margin.violated
    # What is left to the peak α²/(4γ) = a²/(4c), reached at d = a/(2√2 c).
    left = part(margin, "peak").value
    assert left == pytest.approx(a**2 / (4.0 * c) - gain, abs=1e-12)


def test_fits_agree_with_a_general_minimiser():
    generator = np.random.default_rng(3)
    pairs, mass = generator.normal(size=(6, 2)), generator.uniform(0.1, 1.0, 6)
    labels = self_labels.Labels(pairs, mass, generator.uniform(0.1, 0.9, 6))
    found = minimize(lambda w: self_labels.risk(labels, w), np.zeros(2), tol=1e-12)
    assert self_labels.fitted(labels, np.ones(2)) == pytest.approx(found.x, abs=1e-6)


def test_without_realisability_gold_labels_on_policy_lower_the_error_there_and_raise_it_elsewhere():
    # One feature cannot follow a reward that is curved; the policy sits at the upper end.
    features = np.array([[[0.0], [1.0], [2.0], [3.0]]])
    truth = np.array([[0.0, 2.5, 3.5, 4.0]])
    reference, ones = np.log(np.array([[0.4, 0.3, 0.2, 0.1]])), np.ones(1)
    pairs = self_labels.contrasts(features)
    won = sigmoid(self_labels.reward_contrasts(truth))

    def fit(policy):
        p = np.exp(policy[0])
        first, second = np.triu_indices(4, 1)
        labels = self_labels.Labels(pairs, p[first] * p[second], won)
        return features @ self_labels.fitted(labels, np.zeros(1))

    off_policy = fit(reference)
    policy = over_optimisation.tilted_path(reference, off_policy, 1.0, np.ones(1))[0]
    again = fit(policy)

    def error(law, reward):
        return self_labels.policy_error(ones, law, reward - truth)

    assert error(policy, again) < error(policy, off_policy)
    assert error(reference, again) > error(reference, off_policy)


def test_hard_self_labels_lengthen_the_reward_to_first_order():
    generator = np.random.default_rng(5)
    pairs = generator.normal(size=(6, 2))
    human = self_labels.Labels(pairs, np.full(6, 1 / 6), generator.uniform(0.1, 0.9, 6))
    w = self_labels.fitted(human, np.zeros(2))
    u = pairs @ w
    tiny = 1e-5
    own = self_labels.Labels(pairs, np.full(6, tiny / 6), (u > 0.0).astype(float))
    moved = (self_labels.fitted(human.joined(own), w) - w) / tiny
    metric = self_labels.information(human, w)
    assert w @ metric @ moved == pytest.approx(
        float(((1 - sigmoid(np.abs(u))) * np.abs(u)).mean()), rel=1e-3
    )


def test_hard_labels_of_finitely_many_samples_have_a_minimiser_after_all():
    # Two clusters of 2/3 and 1/3, three samples, at least half of them in the largest, not all.
    q, n = Fraction(2, 3), 3
    first = comb(n, 2) * q**2 * (1 - q)
    second = comb(n, 1) * q * (1 - q) ** 2
    assert (first, second) == (Fraction(12, 27), Fraction(6, 27))
    assert first / (first + second) == Fraction(2, 3)
    labels = self_labels.Labels(np.ones((1, 1)), np.ones(1), np.array([2.0 / 3.0]))
    assert self_labels.fitted(labels, np.zeros(1))[0] == pytest.approx(log(2.0), rel=1e-12)
    # In the limit the larger cluster wins for certain, and the risk falls for ever.
    found = consensus.majority(np.log(np.array([[2 / 3, 1 / 3]])), 101)
    assert found[0, 0, 1] > 0.999


def test_labels_by_frequency_sharpen_the_policy_of_clusters():
    reference, estimate, tau = np.array([0.3, 0.3, 0.4]), np.array([1.0, 0.0, 0.5]), 0.5
    policy = reference * np.exp(estimate / tau)
    policy /= policy.sum()
    q = np.array([policy[0] + policy[1], policy[2]])  # responses 0 and 1 in one cluster
    sharper = reference * np.array([q[0], q[0], q[1]]) ** (1 / tau)
    reward = np.array([log(q[0] / q[1]), log(q[0] / q[1]), 0.0])
    assert reference * np.exp(reward / tau) / (reference * np.exp(reward / tau)).sum() == (
        pytest.approx(sharper / sharper.sum(), rel=1e-13)
    )
    # Not the same as π_0 π_θ^{1/β} response by response.
    finer = reference * policy ** (1 / tau)
    assert np.abs(finer / finer.sum() - sharper / sharper.sum()).max() > 0.05


def test_the_derivative_at_matched_divergence_agrees_with_differences_of_matched_policies():
    case = bandit(*THREE)
    change = np.array([[0.3, -0.7, 0.4]])
    ours = over_optimisation.as_clustered(case)
    nats = divergence(ours, ours.policy(case.estimate))
    step = 1e-4
    ahead, back = (
        gold_reward(ours, match_divergence(ours, case.estimate + e * change, nats).policy)
        for e in (step, -step)
    )
    policy = over_optimisation.soft_optimum(case, case.estimate)
    rescale = synthetic.matching_rescale(case, policy, change)
    instance = synthetic.Increment(case, policy, change, rescale)
    gold, cost = synthetic.rates(instance)
    assert abs(cost) < 1e-14
    assert (ahead - back) / (2 * step) == pytest.approx(gold, abs=1e-7)


def test_the_noise_of_table_5_gives_the_coverage_that_selection_needs():
    kept = {"rlaif": 52, "reward": 56, "all": 55, "selected": 59}
    information = {name: (2 * Fraction(p, 100) - 1) ** 2 for name, p in kept.items()}
    assert [float(x) for x in information.values()] == [0.0016, 0.0144, 0.01, 0.0324]
    assert information["all"] / information["selected"] == Fraction(25, 81)
    assert float(Fraction(25, 81)) == pytest.approx(0.309, abs=5e-4)


def test_flips_shrink_the_weight_as_the_closed_form_says():
    w, delta, eta = 1.5, 0.8, 0.25
    labels = eta + (1 - 2 * eta) / (1 + exp(-w * delta))
    found = log(labels / (1 - labels)) / delta
    case = synthetic.Noisy(w, np.array([delta]), np.ones(1), (eta, eta), eta)
    margin = synthetic.LABEL_NOISE.margin(case)
    assert not margin.violated
    assert part(margin, "shrinks").value == pytest.approx((1 - 2 * eta) * w - found, rel=1e-10)


POLL = np.array([0.45, 0.30, 0.15, 0.10])


def poll(samples: int, threshold: float) -> selection.Poll:
    four = np.arange(4)
    return selection.Poll(
        POLL[None], four, samples, threshold, four, (0.0, 0.0), POLL[None], np.ones(1), 2
    )


@pytest.mark.parametrize(
    ("threshold", "coverage", "modal", "accuracy"),
    [
        (0.0, 0.9997, 0.669, 0.5698),
        (0.4, 0.942, 0.689, 0.5727),
        (0.5, 0.645, 0.758, 0.5812),
        (0.6, 0.310, 0.842, 0.5925),
        (0.7, 0.112, 0.905, 0.6010),
    ],
)
def test_the_reference_values_of_selection_in_rational_arithmetic(
    threshold, coverage, modal, accuracy
):
    n, q = 10, [Fraction(45, 100), Fraction(30, 100), Fraction(15, 100), Fraction(10, 100)]
    kept = mode = right = Fraction(0)
    for counts in product(range(n + 1), repeat=3):
        last = n - sum(counts)
        most = max(*counts, last)
        if last < 0 or most == n or 10 * most < round(10 * threshold) * n:
            continue
        every = (*counts, last)
        chance, rest = Fraction(1), n
        for count, share in zip(every, q, strict=True):
            chance *= comb(rest, count) * share**count
            rest -= count
        tied = [g for g in range(4) if every[g] == most]
        for g in tied:
            each = chance / len(tied)
            kept += each
            mode += each * (g == 0)
            for h in range(4):
                if h != g:
                    right += each * Fraction(every[h], n - most) * (1 + q[g] - q[h]) / 2
    assert float(kept) == pytest.approx(coverage, abs=6e-4)
    assert float(mode / kept) == pytest.approx(modal, abs=6e-4)
    assert float(right / kept) == pytest.approx(accuracy, abs=6e-5)
    case = poll(n, threshold)
    found = selection.by_counts(case, POLL, n, selection.least_count(case))
    assert found.sum() == pytest.approx(float(kept), rel=1e-12)
    assert selection.accuracy(case, found, POLL) == pytest.approx(float(right / kept), rel=1e-12)


def test_the_limit_of_selection_and_what_more_samples_do_below_the_majority():
    assert selection.limit(POLL) == pytest.approx(0.6136, abs=5e-5)
    values = {2: (0.500, 0.675), 3: (0.542, None), 5: (0.564, None), 20: (0.600, 0.457)}
    for n, (accuracy, coverage) in values.items():
        case = poll(n, 0.5)
        found = selection.by_counts(case, POLL, n, selection.least_count(case))
        assert selection.accuracy(case, found, POLL) == pytest.approx(accuracy, abs=6e-4)
        if coverage is not None:
            assert found.sum() == pytest.approx(coverage, abs=6e-4)


def test_the_distance_from_the_limit_is_bounded_sharply_enough_to_see_a_wrong_one(monkeypatch):
    policy, two = np.array([0.95, 0.05]), np.arange(2)
    case = selection.Poll(policy[None], two, 3, 0.0, two, (0.0, 0.0), policy[None], np.ones(1), 24)
    assert abs(part(selection.SELECTION.margin(case), "limit").value) < 1e-4
    right = selection.limit
    monkeypatch.setattr(selection, "limit", lambda shares: right(shares) + 1e-3)
    assert part(selection.SELECTION.margin(case), "limit").violated


def ratio(t: Fraction, b: Fraction) -> Fraction:
    return (1 + t + b * t * t) / (1 + t) ** 2


@pytest.mark.parametrize("b", [Fraction(1, 4), Fraction(3, 4), Fraction(1), Fraction(5)])
def test_some_synthetic_data_always_help_one_parameter(b):
    small = Fraction(1, 1000) / (1 + b)
    assert ratio(small, b) < 1
    if 2 * b > 1:
        best = 1 / (2 * b - 1)
        assert ratio(best, b) == 1 - 1 / (4 * b)
        grid = [Fraction(k, 20) for k in range(200)]
        assert min(ratio(t, b) for t in grid) >= 1 - 1 / (4 * b)
        # At B < 1 synthetic data alone beat human data alone, and a mixture beats both.
        assert ratio(best, b) < min(b, 1) or b == Fraction(1, 2)
    else:
        assert min(ratio(Fraction(k), b) for k in range(200)) > b


def test_over_whole_numbers_none_at_all_may_be_best():
    b, one = Fraction(5), Fraction(1, 2)  # a synthetic comparison counts half of all human ones
    assert all(ratio(k * one, b) > 1 for k in range(1, 200))


def test_own_soft_labels_are_the_coupling_that_changes_nothing():
    base = amounts.at_the_best()
    none = np.zeros((2, 1))
    hessians = (base.hessians[0], 3.0 * base.hessians[1])
    coupling = hessians[1] @ np.linalg.inv(hessians[0])
    for amount in (0.0, 1.0, 50.0):
        case = amounts.Mixture(
            base.human, base.human_law, none, base.synthetic_law, coupling, hessians,
            base.error, (2, 1), 1.0,
        )  # fmt: skip
        assert float(amounts.expected(case, amount)) == pytest.approx(0.5, rel=1e-14)


def test_the_packages_tabular_reward_is_a_fixed_point_of_its_own_soft_labels_too():
    case = over_optimisation.as_clustered(bandit(*THREE))
    human = np.array([[[0.0, 3.0, 1.0], [1.0, 0.0, 2.0], [4.0, 1.0, 0.0]]])
    reward = fit_tabular_reward(human, 0.1)
    soft, hard = (
        fit_tabular_reward(human + 5.0 * labelled_pairs(one, case, reward), 0.1)
        for one in (Labeller.REWARD_SOFT, Labeller.REWARD)
    )
    assert np.abs(soft - reward).max() < 1e-8
    assert np.abs(hard - reward).max() > 0.1


def test_package_policies_are_the_ledgers():
    case = bandit(*THREE)
    ours = over_optimisation.as_clustered(case).policy(case.estimate)
    assert isinstance(ours, nlhf.Policy)
    assert ours.log_probabilities == pytest.approx(
        over_optimisation.soft_optimum(case, case.estimate), abs=1e-14
    )
