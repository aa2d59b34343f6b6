import math
import warnings
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from nlhf import Stream
from nlhf.data import read_votes, win_counts
from nlhf.errors import Degenerate, SolverFailed
from nlhf.estimation import Assignment, Ties, fit_bradley_terry, fit_mixture
from nlhf.estimation.mixtures.ballots import collect
from nlhf.estimation.mixtures.fitting import Settings
from nlhf.estimation.mixtures.steps import Model, climb
from nlhf.results import Stop
from tests.estimation.electorates import (
    ballots,
    by_prompt,
    cast,
    classification,
    marginal,
    planted,
)

pytestmark = pytest.mark.filterwarnings("ignore::nlhf.errors.NlhfWarning")
few = settings(max_examples=7)
kinds = st.sampled_from(Assignment)
ridges = st.floats(0.1, 5)
rules = st.sampled_from(Ties)
TIE = {Ties.HALF: 0.5, Ties.DISCARDED: 0.0}


def rise(history):
    return float(np.diff(history).min(initial=0.0)) / float(abs(history).max(initial=1.0))


@few
@given(ballots(), st.integers(1, 4), kinds, ridges, rules)
def test_no_iteration_lowers_the_objective(rows, groups, kind, ridge, ties):
    seen = []
    mixture = fit_mixture(
        cast(rows),
        groups,
        assignment=kind,
        ridge=ridge,
        ties=ties,
        restarts=2,
        iterations=50,
        observe=seen.append,
    )
    assert rise(mixture.history) > -1e-12
    for restart in range(2):
        objectives = [e.objective for e in seen if e.restart == restart]
        assert rise(np.array(objectives)) > -1e-12
    assert mixture.objective == mixture.history[-1]


@few
@given(ballots(), st.integers(1, 3), kinds, ridges, rules)
def test_the_objective_is_what_it_says_summed_vote_by_vote(rows, groups, kind, ridge, ties):
    votes = cast(rows)
    found = fit_mixture(
        votes, groups, assignment=kind, ridge=ridge, ties=ties, restarts=1, iterations=20
    )
    rewards = by_prompt(found.offsets, found.rewards)
    penalty = ridge / 2 * float((found.rewards**2).sum())
    log_likelihood = marginal(votes, rewards, found.weights, TIE[ties])
    assert found.log_likelihood == pytest.approx(log_likelihood, rel=1e-10)
    if kind is Assignment.HARD:
        log_likelihood = classification(votes, rewards, TIE[ties])
    assert found.objective == pytest.approx(log_likelihood - penalty, rel=1e-10)


@few
@given(ballots(), st.integers(2, 3), ridges, rules)
def test_the_gradient_of_the_marginal_likelihood_vanishes(rows, groups, ridge, ties):
    votes = cast(rows)
    found = fit_mixture(votes, groups, ridge=ridge, ties=ties, restarts=1)
    assume(found.stop is Stop.CERTIFIED)  # not where two groups part too slowly

    def objective(flat):
        eta = np.exp(flat[:groups]) / np.exp(flat[:groups]).sum()
        r = flat[groups:].reshape(found.rewards.shape)
        weights = [eta] * len(votes.annotators)
        value = marginal(votes, by_prompt(found.offsets, r), weights, TIE[ties])
        return value - ridge / 2 * float(flat[groups:] @ flat[groups:])

    at = np.concatenate([np.log(found.proportions), found.rewards.ravel()])
    for k in range(len(at)):
        step = np.zeros(len(at))
        step[k] = 1e-5
        slope = (objective(at + step) - objective(at - step)) / 2e-5
        assert abs(slope) < 1e-6 * len(votes)


def flat_objective(votes, groups, ridge, sizes):
    """The negative penalised marginal log-likelihood and its gradient, with dense arrays."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    a = starts[votes.prompt] + votes.response_a
    b = starts[votes.prompt] + votes.response_b
    first, second = np.where(votes.label > 0, a, b), np.where(votes.label > 0, b, a)
    raters, items = len(votes.annotators), int(starts[-1])

    def value(flat):
        beta, r = flat[:groups], flat[groups:].reshape(groups, items)
        eta = np.exp(beta) / np.exp(beta).sum()
        d = r[:, first] - r[:, second]
        joint = np.zeros((raters, groups)) + np.log(eta)
        np.add.at(joint, votes.annotator, -np.logaddexp(0, -d).T)
        top = joint.max(axis=1, keepdims=True)
        total = top + np.log(np.exp(joint - top).sum(axis=1, keepdims=True))
        gamma = np.exp(joint - total)
        push = gamma[votes.annotator].T / (1 + np.exp(d))
        slope = np.zeros((groups, items))
        for u in range(groups):
            np.add.at(slope[u], first, push[u])
            np.add.at(slope[u], second, -push[u])
        slope -= ridge * r
        on_beta = (gamma - eta).sum(axis=0)
        gradient = np.concatenate([on_beta, slope.ravel()])
        return -(total.sum() - ridge / 2 * (r * r).sum()), -gradient

    return value


@pytest.mark.parametrize("seed", range(4))
def test_a_quasi_newton_method_on_the_marginal_likelihood_finds_nothing_higher(seed):
    generator = Stream(20).child("oracle", seed).generator()
    rewards = generator.normal(size=(2, 3, 4))
    votes, _ = planted(generator, rewards, [0.6, 0.4], 120, 6)
    found = fit_mixture(votes, 2, ridge=0.5)
    value = flat_objective(votes, 2, 0.5, [4, 4, 4])
    at = np.concatenate([np.log(found.proportions), found.rewards.ravel()])
    assert value(at)[0] == pytest.approx(-found.objective, rel=1e-12)
    assert abs(value(at)[1]).max() < 1e-6
    nearby = minimize(
        value, at + 0.01 * generator.normal(size=at.shape), jac=True, method="L-BFGS-B"
    )
    assert -nearby.fun <= found.objective + 1e-6
    elsewhere = [
        -minimize(value, generator.normal(size=at.shape), jac=True, method="L-BFGS-B").fun
        for _ in range(5)
    ]
    assert max(elsewhere) <= found.objective + 1e-4


@pytest.mark.parametrize("kind", Assignment)
def test_one_group_agrees_with_choix(kind):
    choix = pytest.importorskip("choix")
    generator = Stream(20).child("choix").generator()
    votes, _ = planted(generator, generator.normal(size=(1, 1, 8)), [1.0], 40, 50)
    found = fit_mixture(votes, 1, ridge=0.0, assignment=kind)
    pairs = [
        (int(a), int(b)) if label > 0 else (int(b), int(a))
        for a, b, label in zip(votes.response_a, votes.response_b, votes.label, strict=True)
    ]
    theirs = choix.ilsr_pairwise(8, pairs, alpha=0.0, tol=1e-13)
    np.testing.assert_allclose(found.rewards[0], theirs - theirs.mean(), atol=1e-8)
    ridged = choix.opt_pairwise(8, pairs, alpha=0.35, tol=1e-12)
    ours = fit_mixture(votes, 1, ridge=0.7).rewards[0]
    np.testing.assert_allclose(ours, ridged - ridged.mean(), atol=1e-5)


@few
@given(ballots(), ridges, rules, kinds)
def test_one_group_is_the_bradley_terry_fit_of_every_prompt(rows, ridge, ties, kind):
    votes = cast(rows)
    found = fit_mixture(votes, 1, ridge=ridge, ties=ties, assignment=kind)
    total = 0.0
    for prompt, counts in enumerate(win_counts(votes)):
        alone = fit_bradley_terry(counts, ridge=ridge, ties=ties)
        np.testing.assert_allclose(found.rewards_of(prompt)[0], alone.rewards, atol=1e-8)
        total += alone.log_likelihood
    assert found.log_likelihood == pytest.approx(total, rel=1e-10)
    assert found.stop is Stop.CERTIFIED


@settings(max_examples=4)
@given(ballots(), st.integers(0, 2**32 - 1))
def test_the_order_of_votes_does_not_matter(rows, seed):
    mixed = np.random.default_rng(seed).permutation(rows)
    one, other = (
        fit_mixture(cast(each, [4, 4]), 2, restarts=1, iterations=20) for each in (rows, mixed)
    )
    np.testing.assert_array_equal(one.responsibilities, other.responsibilities)
    np.testing.assert_array_equal(one.rewards, other.rewards)


def model_of(votes, kind=Assignment.SOFT, ridge=1.0):
    settings = Settings(kind, None, None, ridge, Ties.HALF, 1, 100)
    return settings.model(votes, collect(votes, Ties.HALF))


@few
@given(ballots(), kinds, st.integers(0, 2**32 - 1))
def test_renaming_raters_and_groups_renames_the_climb(rows, kind, seed):
    generator = np.random.default_rng(seed)
    renamed, order = generator.permutation(8), generator.permutation(3)
    if kind is Assignment.HARD:
        order = np.arange(3)  # groups that explain a rater equally well are taken in order
    other_rows = rows.copy()
    other_rows[:, 3] = renamed[rows[:, 3]]
    start, flat = generator.normal(size=(3, 8)), generator.normal(size=(1, 3))
    ends = []
    for each, parameters, coefficients in (
        (rows, start, flat),
        (other_rows, start[order], flat[:, order]),
    ):
        model = model_of(cast(each, [4, 4]), kind)
        ends.append(climb(model, model.expect(parameters, coefficients), 2, lambda *_: None).point)
    one, other = ends
    assert other.objective == pytest.approx(one.objective, rel=1e-9)
    np.testing.assert_allclose(other.parameters, one.parameters[order], atol=1e-5)
    np.testing.assert_allclose(
        other.responsibilities[renamed], one.responsibilities[:, order], atol=1e-5
    )


class Mistaken(Model):
    """Assigns to every rater the groups of another."""

    def expect(self, parameters, coefficients):
        right = super().expect(parameters, coefficients)
        return replace(right, responsibilities=np.roll(right.responsibilities, 1, axis=0))


@pytest.mark.parametrize("kind", Assignment)
def test_a_wrong_assignment_of_raters_is_caught_by_the_fall_of_the_objective(kind):
    generator = Stream(20).child("mistaken").generator()
    rewards = generator.normal(size=(2, 1, 4))
    votes, _ = planted(generator, rewards, [0.5, 0.5], 60, 20)
    right = model_of(votes, kind)
    wrong = Mistaken(right.ballots, right.rewards, right.weights, kind)
    start = right.expect(rewards.reshape(2, -1), np.zeros((1, 2)))
    climb(right, start, 30, lambda *_: None)
    with pytest.raises(SolverFailed, match="objective fell from"):
        climb(wrong, wrong.expect(rewards.reshape(2, -1), np.zeros((1, 2))), 30, lambda *_: None)


def matched(found, truth):
    groups = found.shape[1]
    table = np.zeros((groups, groups))
    np.add.at(table, (truth, found.argmax(axis=1)), 1)
    return max(
        sum(table[u, order[u]] for u in range(groups)) for order in permutations(range(groups))
    ) / len(truth)


@pytest.mark.parametrize("kind", Assignment)
@pytest.mark.parametrize("seed", range(3))
def test_planted_groups_are_found_again(kind, seed):
    generator = Stream(21).child("planted", seed).generator()
    rewards = 1.5 * generator.normal(size=(3, 5, 5))
    rewards -= rewards.mean(axis=-1, keepdims=True)
    votes, group = planted(generator, rewards, [0.5, 0.3, 0.2], 300, 40)
    found = fit_mixture(votes, 3, assignment=kind, ridge=0.1)
    assert matched(found.responsibilities, group) > 0.97
    share = np.bincount(group, minlength=3) / len(group)
    np.testing.assert_allclose(found.proportions, np.sort(share)[::-1], atol=0.02)
    closest = rewards.reshape(3, -1)[np.argsort(-share)]
    assert abs(found.rewards - closest).max() < 1.5
    assert np.sqrt(((found.rewards - closest) ** 2).mean()) < 0.35


def test_votes_of_opposite_raters_are_told_apart_without_error():
    rows = [(0, 0, 1, h, 1 if h < 12 else -1) for h in range(20) for _ in range(10)]
    found = fit_mixture(cast(rows), 2, ridge=0.1)
    assert found.responsibilities.argmax(axis=1).tolist() == [0] * 12 + [1] * 8
    np.testing.assert_allclose(found.proportions, [0.6, 0.4], atol=1e-6)
    # One group: 120 wins of 120, its reward r solves 120 (1 - σ(2r)) = ρ r.
    r = found.rewards[0, 0]
    assert 120 / (1 + math.exp(2 * r)) == pytest.approx(0.1 * r, rel=1e-3)


@few
@given(ballots(), kinds)
def test_a_rater_without_votes_changes_nothing(rows, kind):
    with_one = fit_mixture(cast(rows, [4, 4], 9), 2, assignment=kind, restarts=1, iterations=20)
    without = fit_mixture(cast(rows, [4, 4], 8), 2, assignment=kind, restarts=1, iterations=20)
    np.testing.assert_allclose(with_one.rewards, without.rewards, atol=1e-9)
    np.testing.assert_allclose(with_one.responsibilities[8], without.proportions, atol=1e-9)


@few
@given(ballots(), st.floats(0.1, 5))
def test_identity_features_are_the_tabular_rewards(rows, ridge):
    votes = cast(rows, [4, 4])
    one = fit_mixture(votes, 1, ridge=ridge)
    other = fit_mixture(votes, 1, ridge=ridge, features=np.eye(8))
    np.testing.assert_allclose(other.rewards, one.rewards, atol=1e-8)
    model, start = model_of(votes, ridge=ridge), np.random.default_rng(0).normal(size=(2, 8))
    settings = Settings(Assignment.SOFT, np.eye(8), None, ridge, Ties.HALF, 1, 100)
    linear = settings.model(votes, collect(votes, Ties.HALF))
    wins = model.ballots.by_side(np.ones((8, 2)))
    np.testing.assert_allclose(
        model.rewards.score(wins, start), linear.rewards.score(wins, start), atol=1e-10
    )


def test_linear_rewards_are_found_again():
    generator = Stream(21).child("linear").generator()
    features = generator.normal(size=(30 * 6, 4))
    truth = np.array([[1.5, 0, 0, -1], [0, 1.5, -1, 0]])
    rewards = (truth @ features.T).reshape(2, 30, 6)
    votes, group = planted(generator, rewards, [0.7, 0.3], 300, 30)
    found = fit_mixture(votes, 2, features=features, ridge=0.1)
    assert matched(found.responsibilities, group) > 0.98
    np.testing.assert_allclose(found.parameters, truth, atol=0.25)
    np.testing.assert_allclose(found.rewards, found.parameters @ features.T, atol=1e-12)


def test_group_weights_follow_the_covariates_of_raters():
    generator = Stream(21).child("covariates").generator()
    covariates = generator.normal(size=(600, 1))
    probability = 1 / (1 + np.exp(-(0.5 + 2.0 * covariates[:, 0])))
    group = (generator.random(600) > probability).astype(int)
    rewards = np.stack([[np.linspace(-2, 2, 5)], [np.linspace(2, -2, 5)]])
    votes = _votes_of(generator, rewards, group, 4)
    found = fit_mixture(votes, 2, covariates=covariates, ridge=0.1)
    slope = (found.coefficients[:, 0] - found.coefficients[:, 1]).tolist()
    np.testing.assert_allclose(slope, [0.5, 2.0], atol=0.5)
    plain = fit_mixture(votes, 2, ridge=0.1)
    assert found.log_likelihood > plain.log_likelihood + 50
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, atol=1e-12)
    assert found.proportions[0] == pytest.approx(found.weights[:, 0].mean())


def _votes_of(generator, rewards, group, each):
    rater = np.repeat(np.arange(len(group)), each)
    responses = rewards.shape[-1]
    a = generator.integers(responses, size=len(rater))
    b = (a + generator.integers(1, responses, size=len(rater))) % responses
    better = rewards[group[rater], 0, a] - rewards[group[rater], 0, b]
    label = np.where(generator.random(len(rater)) < 1 / (1 + np.exp(-better)), 1, -1)
    rows = np.stack([np.zeros_like(a), a, b, rater, label], axis=1)
    return cast(rows, [responses], len(group))


@settings(max_examples=4)
@given(ballots(), ridges)
def test_the_score_with_covariates_vanishes(rows, ridge):
    votes = cast(rows, [4, 4])
    covariates = np.linspace(-1, 1, 8)[:, None]
    found = fit_mixture(votes, 2, covariates=covariates, ridge=ridge, restarts=1)
    assume(found.stop is Stop.CERTIFIED)  # not where two groups part too slowly
    z = np.hstack([np.ones((8, 1)), covariates])
    penalty = ridge * np.array([[0.0], [1.0]]) * found.coefficients
    gradient = z.T @ (found.responsibilities - found.weights) - penalty
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_prompts_with_many_responses_are_solved_like_small_ones(monkeypatch):
    generator = Stream(21).child("sparse").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 2, 30)), [0.5, 0.5], 60, 40)
    dense = fit_mixture(votes, 2, restarts=1)
    monkeypatch.setattr("nlhf.estimation.mixtures.rewards._DENSE", 10)
    sparse = fit_mixture(votes, 2, restarts=1)
    np.testing.assert_allclose(sparse.rewards, dense.rewards, atol=1e-6)


@pytest.mark.parametrize("kind", Assignment)
def test_groups_of_real_raters_rise_and_are_stationary(real_data, kind):
    votes = read_votes(real_data / "convarg" / "votes.csv")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = fit_mixture(votes, 3, assignment=kind, restarts=2)
    assert rise(found.history) > -1e-12
    assert found.stop is Stop.CERTIFIED
    assert any(one.category is Degenerate and "696 of 3608" in str(one.message) for one in caught)
    np.testing.assert_allclose(found.responsibilities.sum(axis=1), 1.0, atol=1e-12)
