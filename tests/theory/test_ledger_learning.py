"""Margins of the learning statements on hand-made instances, against other routes."""

from dataclasses import replace
from itertools import product
from math import comb, exp, log, sqrt

import numpy as np
import pytest
from nlhf_theory import (
    coverage,
    experiments,
    exploration,
    fast_rate,
    learnt,
    likelihood_radius,
    online,
    pessimism,
    population,
)
from nlhf_theory.draws import Draws
from scipy.optimize import linprog, minimize_scalar
from scipy.stats import binom

import nlhf

FALSE_ALARM = 1e-6
"""Of each statistical test here, if what it tests is true; streams are fixed besides."""


class Seeded(Draws):
    """Draws from a fixed stream, without a search engine."""

    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)

    def whole(self, largest):
        return int(self.generator.integers(largest + 1))


def parts(theorem, instance):
    return dict(theorem.margin(instance).named)


def at_most_with(probability, runs):
    """The count that is exceeded with the false-alarm probability at most."""
    return int(binom.isf(FALSE_ALARM, runs, probability))


def duel(p, q, count, delta):
    models = np.array([[p], [q]])
    return experiments.conduct(models, count, 1, delta, np.random.default_rng(0))


# The radius


@pytest.mark.parametrize(("batch", "rounds"), [(1, 5), (3, 2), (20, 1)])
def test_the_leaves_of_an_experiment_carry_all_probability(batch, rounds):
    generator = np.random.default_rng(1)
    models = generator.random((4, 3))
    found = experiments.levels(
        experiments.conduct(models, batch, rounds, 0.1, generator, greedy=True)
    )
    for level in found:
        assert level.chance.sum() == pytest.approx(1.0, rel=1e-12)


def test_batches_and_single_comparisons_of_one_pair_agree():
    """The estimate after six comparisons depends on the number of wins alone."""
    models = np.array([[0.2], [0.5], [0.9]])
    for delta in (0.05, 0.5):
        found = []
        for batch, rounds in ((6, 1), (1, 6)):
            generator = np.random.default_rng(0)
            level = experiments.levels(
                experiments.conduct(models, batch, rounds, delta, generator)
            )[-1]
            chosen = experiments.farthest_of_likeliest(level)
            found.append([level.chance[chosen == k].sum() for k in range(3)])
        assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_the_probability_of_a_wrong_estimate_is_a_binomial_tail():
    p, q, n = 0.3, 0.6, 25
    # q is as likely from w/n ≥ log((1−p)/(1−q))/log(q(1−p)/(p(1−q))) on.
    share = log((1 - p) / (1 - q)) / log(q * (1 - p) / (p * (1 - q)))
    level = experiments.levels(duel(p, q, n, 0.1))[-1]
    wrong = level.chance[experiments.farthest_of_likeliest(level) == 1].sum()
    assert wrong == pytest.approx(binom.sf(np.ceil(share * n) - 1, n, p), rel=1e-10)


def test_minus_log_of_the_affinity_exceeds_half_the_squared_difference():
    grid = np.linspace(0.0, 1.0, 201)
    for truth in grid:
        models = np.concatenate([[[truth]], grid[:, None]])
        hellinger, squared, _ = experiments.distances(models)
        assert (hellinger >= 0.5 * squared - 1e-15).all()
    near = np.array([[0.5], [0.501]])
    hellinger, squared, _ = experiments.distances(near)
    assert hellinger[1, 0] == pytest.approx(0.5 * squared[1, 0], rel=1e-5)  # it is tight


@pytest.mark.parametrize("bound", [0.1, 1.0, 4.0])
def test_minus_log_of_the_affinity_exceeds_the_squared_log_odds_over_their_factor(bound):
    odds = np.linspace(-bound, bound, 101)
    chances = 1.0 / (1.0 + np.exp(-odds))
    factor = 8.0 * (2.0 + exp(bound) + exp(-bound))
    for truth in chances:
        models = np.concatenate([[[truth]], chances[:, None]])
        hellinger, _, squared = experiments.distances(models)
        assert (hellinger >= squared / factor - 1e-14).all()


def test_small_counterexamples_by_floating_point():
    for case in (likelihood_radius.SMALLEST, likelihood_radius.UNTIED):
        p, q, n, delta = map(float, (case.truth, case.rival, case.count, case.delta))
        assert n * (q - p) ** 2 > log(2 / delta)
        assert binom.sf(6, n, p) > delta
        assert float(likelihood_radius.chance_of_rival(case)) == pytest.approx(binom.sf(6, n, p))


def random_signs(radius, models, count, delta, runs, seed):
    """How often a rival 1/2 ± m with random signs beats P* = 1/2, with n m² at the radius."""
    generator = np.random.default_rng(seed)
    m = sqrt(radius * log(models / delta) / count) * 1.0001
    signs = generator.choice([-1.0, 1.0], (models - 1, count))
    labels = generator.choice([-1.0, 1.0], (count, runs))
    agreeing = (count + signs @ labels) / 2.0
    gain = agreeing * log(1.0 + 2.0 * m) + (count - agreeing) * log(1.0 - 2.0 * m)
    return int((gain >= 0.0).any(axis=0).sum())


def test_a_thousand_random_models_break_the_small_radius_and_not_the_other():
    """Each side has a false-alarm probability of 1e-6."""
    runs, delta = 400, 0.05
    often = at_most_with(delta, runs)
    assert random_signs(1.0, 1000, 400, delta, runs, seed=5) > often
    assert random_signs(2.0, 1000, 400, delta, runs, seed=5) <= often


def test_the_radius_holds_after_all_rounds_without_their_number_in_it():
    """Greedy designs that stop where it looks worst, at 1e-6."""
    generator, delta, runs = np.random.default_rng(11), 0.2, 300
    models = np.clip(0.5 + 0.3 * generator.choice([-1.0, 1.0], (30, 12)), 0.1, 0.9)
    models[0] = 0.5
    squared, allowed, failed = (models - 0.5) ** 2, 2.0 * log(30 / delta), 0
    for _ in range(runs):
        likelihood, error = np.zeros(30), np.zeros(30)
        for _ in range(60):
            rival = 1 + likelihood[1:].argmax()
            pair = int(generator.integers(12) if generator.random() < 0.5 else rival % 12)
            won = generator.random() < 0.5
            likelihood += np.log(models[:, pair] if won else 1.0 - models[:, pair])
            error += squared[:, pair]
            if error[likelihood.argmax()] > allowed:
                failed += 1
                break
    assert failed <= at_most_with(delta, runs)


def test_the_radius_of_the_package_is_the_proved_one():
    for theorem in (likelihood_radius.MLE_RADIUS, likelihood_radius.MLE_RADIUS_LOG_ODDS):
        assert "shipped" in parts(theorem, duel(0.3, 0.6, 30, 0.1))


# Pessimism


@pytest.mark.parametrize("seed", range(10))
def test_the_gap_is_what_the_package_says(seed):
    instance = learnt.draw_learnt(Seeded(seed))
    game = nlhf.PreferenceGame(
        instance.tables[instance.truth],
        nlhf.Policy(instance.log_reference),
        instance.temperature,
        instance.weights,
    )
    policy = np.log(np.full(instance.policy.shape, 1 / instance.policy.shape[1]))
    found = nlhf.exploitability(game, nlhf.Policy(policy)).bound.value
    assert learnt.gap(instance, policy) == pytest.approx(found, rel=1e-9, abs=1e-12)
    assert learnt.gap(instance, instance.equilibrium) == pytest.approx(0.0, abs=1e-11)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bonus", [False, True])
def test_what_the_package_plans_meets_the_hypotheses_and_the_bounds(seed, bonus):
    instance = learnt.draw_learnt(Seeded(seed))
    theorem = pessimism.PELHF_BONUS if bonus else pessimism.PELHF_VERSION_SPACE
    planned = pessimism.by_package(instance, bonus)
    assert theorem.satisfied(planned)
    assert not theorem.margin(planned).violated


def test_the_best_pessimistic_policy_of_two_responses_by_search_on_a_line():
    tables = np.array([[[[0.5, p], [1.0 - p, 0.5]]] for p in (0.2, 0.625, 0.75)])
    uniform, count = np.log(np.full((1, 2), 0.5)), np.array([[[0.0, 4.0], [0.0, 0.0]]])
    instance = learnt.Learnt(
        tables, 1, 2, count, count / 4.0, 4.0, uniform, 0.1, np.ones(1), uniform, uniform
    )
    shares = np.linspace(1e-6, 1.0 - 1e-6, 801)
    values = [
        learnt.secured(instance, tables, np.log(np.array([[1.0 - s, s]]))).min() for s in shares
    ]
    planned = pessimism.by_package(instance, bonus=False)
    assert np.exp(planned.policy[0, 1]) == pytest.approx(shares[np.argmax(values)], abs=2e-3)


def test_all_bounds_meet_on_the_attained_instance():
    for half, count in ((0.1, 4.0), (0.2, 50.0)):
        instance = pessimism.attained(half, count)
        assert learnt.gap(instance, instance.policy) == pytest.approx(2.0 * half, rel=1e-12)
        for theorem in (pessimism.PELHF_VERSION_SPACE, pessimism.PELHF_BONUS):
            for name, part in parts(theorem, instance).items():
                assert abs(part.value) <= 1e-12, name


def failing(models, law, count, delta):
    """The exact probability that P* is outside the version space, or that it is not typical."""
    radius, lost = 2.0 * log(len(models) / delta), 0.0
    for n1 in range(count + 1):
        n2 = count - n1
        pairs = list(product(range(n1 + 1), range(n2 + 1)))
        w1, w2 = np.array(pairs).T
        chances = binom.pmf(n1, count, law)
        chances = chances * binom.pmf(w1, n1, models[0, 0]) * binom.pmf(w2, n2, models[0, 1])
        wins = np.stack([w1, w2], axis=1)
        logs = wins @ np.log(models.T) + (np.array([n1, n2]) - wins) @ np.log(1.0 - models.T)
        for chance, best in zip(chances, logs.argmax(axis=1), strict=True):
            apart = (models - models[best]) ** 2
            inside = apart @ [n1, n2] <= radius
            expected = count * (apart @ [law, 1.0 - law])
            typical = (expected[inside] <= population.SPREAD * radius).all()
            lost += chance * (not (inside[0] and typical))
    return lost


@pytest.mark.parametrize("delta", [0.02, 0.3, 0.9])
def test_the_events_of_the_population_bound_by_enumeration(delta):
    models = np.array([[0.5, 0.5], [0.98, 0.5], [0.5, 0.02], [0.9, 0.1]])
    for law in (0.1, 0.5):
        assert failing(models, law, 12, delta) <= delta
    # A radius of nothing fails, so that the enumeration sees failures.
    assert failing(models, 0.5, 12, len(models) * exp(-1e-3)) > 0.01


def test_the_cited_population_bound_in_numbers():
    instance = population.as_learnt(population.WITNESS)
    assert learnt.gap(instance, instance.policy) > 0.3397
    case = population.WITNESS.duel
    apart = np.abs(
        np.exp(instance.equilibrium[0]) @ (instance.tables[0, 0] - instance.tables[1, 0])
    )
    root = apart.max() / float(case.rival - case.truth)
    assert 4.0 * sqrt(2.0 * instance.radius / case.count) * root < 0.338
    assert instance.counts.sum() * float(case.rival - case.truth) ** 2 > instance.radius
    assert np.exp(instance.policy[0, 1]) > 1.0 - 2.0 * exp(-14.0)


# Coverage


def test_no_policy_does_better_than_half_the_advantage_by_linear_programming():
    for h, beaten in ((0.5, 0.25), (0.2, 0.4), (0.3, 0.15)):
        truths = coverage.twins(h, beaten)
        # min t with 1/2 − Σ_a π(a) P_i(a, b) ≤ t for both truths and every b.
        rows = [np.append(-truth[:, b], -1.0) for truth in truths for b in range(3)]
        found = linprog(
            [0, 0, 0, 1],
            A_ub=np.array(rows),
            b_ub=np.full(6, -0.5),
            A_eq=[[1, 1, 1, 0]],
            b_eq=[1],
            bounds=[(0, None)] * 4,
        )
        assert found.fun == pytest.approx(h / 2.0, abs=1e-9)


def test_outcome_probabilities_by_enumerating_labels():
    truths = coverage.twins(0.3, 0.4)
    instance = coverage.Uncovered(truths, 0.3, (2, 1, 2), np.tile([1.0, 0.0, 0.0], (18, 1)))
    pairs = [(0, 1)] * 2 + [(0, 2)] + [(1, 2)] * 2
    found = np.zeros((2, 3, 2, 3))
    for labels in product((0, 1), repeat=5):
        wins = sum(labels[:2]), labels[2], sum(labels[3:])
        for i, truth in enumerate(truths):
            chances = [
                truth[p] if y else 1.0 - truth[p] for p, y in zip(pairs, labels, strict=True)
            ]
            found[i][wins] += np.prod(chances)
    assert coverage.outcome_chances(instance) == pytest.approx(found.reshape(2, -1), rel=1e-12)


def test_a_policy_against_itself_sees_no_difference_and_a_bound_by_it_would_be_false():
    instance = coverage.evenly(0.5)
    found = parts(coverage.UNILATERAL_COVERAGE_NEEDED, instance)
    assert abs(found["a policy against itself"].value) <= 1e-16
    assert coverage.expected_gaps(instance).max() == pytest.approx(0.25)


@pytest.mark.parametrize("tau", [1 / 6, 0.1, 0.05])
def test_no_blind_policy_beats_the_lower_bound_by_a_search_on_a_line(tau):
    share, count = exp(-0.5 / tau), int(coverage.few(tau))

    def worst(odds):
        blind = coverage.Rare(tau, share, count, np.zeros(3))
        best = coverage.rare_equilibria(blind)
        seen = best[:, 1] - best[:, 0]
        return float(coverage.rare_gaps(replace(blind, log_odds=np.append(odds, seen))).max())

    found = minimize_scalar(worst, bounds=(-1.0 / tau, 1.0), method="bounded")
    assert found.fun >= tau / 8.0
    # With 30 times as many comparisons the same search goes below.
    share_of = 1.0 - 2.0 * share * (1.0 - share)
    assert found.fun * share_of ** (29 * count) < tau / 8.0


# Exploration


@pytest.mark.parametrize("seed", range(10))
def test_no_random_policy_is_more_uncertain_than_the_enhancers(seed):
    instance = learnt.draw_learnt(Seeded(seed))
    bare = exploration.Explored(instance, 5.0, 0.1, instance.policy)
    best = exploration.uncertainty(replace(bare, second=exploration.most_uncertain(bare)))
    generator = np.random.default_rng(seed)
    for _ in range(20):
        masses = generator.dirichlet(np.full(instance.policy.shape[1], 0.3), len(instance.weights))
        with np.errstate(divide="ignore"):
            other = replace(bare, second=np.log(masses))
        assert exploration.uncertainty(other) <= best * (1.0 + 1e-12)


def test_log_determinants_are_the_sum_that_bounds_the_potential():
    vectors = np.random.default_rng(3).normal(size=(30, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    designs = exploration.designs(vectors, 0.5)
    norms = [v @ np.linalg.solve(d, v) for v, d in zip(vectors, designs, strict=True)]
    last = designs[-1] + np.outer(vectors[-1], vectors[-1])
    total = np.linalg.slogdet(last)[1] - 4 * log(0.5)
    assert np.log1p(norms).sum() == pytest.approx(total, rel=1e-12)
    assert total <= 4 * log(1 + 30 / (4 * 0.5))
    assert (np.minimum(1.0, norms) <= np.log1p(norms) / log(2.0) + 1e-15).all()


def a_run(seed, rounds=6):
    generator = np.random.default_rng(seed)
    above = np.triu(np.round(generator.uniform(0.3, 0.7, (4, 3, 3)) * 2**20) / 2**20, 1)
    tables = above + np.tril(1.0 - np.swapaxes(above, 1, 2), -1) + 0.5 * np.eye(3)
    nothing = np.zeros((0, 3))
    blank = online.Run(
        tables, np.log(np.full(3, 1 / 3)), 0.25, 0.2, 0.3, 1.0, (), nothing, nothing,
        np.zeros((0, 3, 3)),
    )  # fmt: skip
    return online.conduct(blank, rounds, generator, first=int(generator.integers(4)))


def test_the_events_of_a_run_hold_as_often_as_they_should_and_then_a_round_is_good():
    """False-alarm probability 1e-6."""
    by_name = {h.name: h for h in online.ONLINE_EXISTENCE.hypotheses}
    failed, runs = 0, 120
    for seed in range(runs):
        run = a_run(seed)
        assert by_name["equilibrium"].holds(run)
        assert by_name["enhancer"].holds(run)
        assert by_name["queries"].holds(run)
        events = by_name["event"].holds(run) and by_name["typical"].holds(run)
        failed += not events
        if events and by_name["rounds"].holds(run):
            assert online.gaps(run, run.tables[0]).min() <= run.epsilon
    assert failed <= at_most_with(0.3, runs)


def test_a_run_that_knows_nothing_has_the_coefficient_of_its_first_round():
    run = a_run(3, rounds=1)
    apart = np.abs(np.exp(run.main[0]) @ (run.tables - run.tables[run.estimates[0]]))
    first = min(1.0, float((apart.max() ** 2) / run.ridge))
    assert online.coefficient(run) == pytest.approx(first, rel=1e-12)
    assert run.ridge == pytest.approx(run.epsilon**2 / 18.0, rel=1e-2)


# The fast rate


def test_expected_gaps_by_another_formula_have_the_slope_of_minus_one():
    p, tau, share = 0.6, 0.3, log(0.3 / 0.7)
    found = []
    for n in (200, 800):
        learner = fast_rate.comparing(p, share, tau, n)
        odds = share + (np.arange(n + 1) / n - 0.5) / tau
        played, best = 1 / (1 + np.exp(-odds)), 1 / (1 + exp(-share - (p - 0.5) / tau))
        divergence = played * np.log(played / best)
        divergence += (1 - played) * np.log((1 - played) / (1 - best))
        gap = tau * float(binom.pmf(np.arange(n + 1), n, p) @ divergence)
        assert fast_rate.expected_gap(learner, 0) == pytest.approx(gap, rel=1e-8)
        found.append(gap)
    assert log(found[0] / found[1]) / log(4.0) == pytest.approx(1.0, abs=0.02)


def test_the_pessimists_bound_is_that_of_a_version_space_of_two_responses():
    learner = fast_rate.comparing(0.7, -0.4, 0.3, 20)
    tables = np.array([[[[0.5, p], [1.0 - p, 0.5]]] for p in (0.7, 0.5, 0.9)])
    for which, count in enumerate(learner.counts):
        counts, odds = count * np.array([[[0.0, 1.0], [0.0, 0.0]]]), learner.log_share + 0.2 / 0.3
        best = np.array([[-log(1.0 + exp(-odds)), -log(1.0 + exp(odds))]])
        instance = learnt.Learnt(
            tables, 0, 1, counts, counts / count, 7.0, best, 0.3, np.ones(1), best, best
        )
        coverage_term = sqrt(pessimism.coverage(instance, counts))
        assert pessimism.VERSION_SPACE * pessimism.beta(instance) * coverage_term == pytest.approx(
            fast_rate.pessimistic_bound(learner, which, radius=7.0), rel=1e-12
        )


def test_moments_of_a_mean_of_labels_by_enumeration():
    for n in (1, 3, 10):
        errors = np.arange(n + 1) / n - 0.3
        weights = [comb(n, w) * 0.3**w * 0.7 ** (n - w) for w in range(n + 1)]
        found = fast_rate.moments(0.3, n)
        assert found == pytest.approx((weights @ errors**2, weights @ errors**4), rel=1e-12)


def test_the_remainder_is_a_third_of_the_greatest_third_derivative():
    theta = np.linspace(-5.0, 5.0, 200001)
    s = 1 / (1 + np.exp(-theta))
    third = np.abs(s * (1 - s) * (1 - 2 * s)).max()
    assert third / 3.0 == pytest.approx(fast_rate.THIRD, rel=1e-8)
