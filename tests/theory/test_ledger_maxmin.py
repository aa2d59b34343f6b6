"""Margins of the MaxMin statements on hand-made instances, against other routes."""

from dataclasses import replace
from itertools import pairwise
from math import exp, log, sqrt, tanh

import cvxpy
import numpy as np
import pytest
from nlhf_theory import group_robust, groups, hedge, maxmin, mixtures

import nlhf
from nlhf.estimation.group_robust import fit_group_robust

EVEN3 = np.log(np.full((1, 3), 1 / 3))
SPECIFIED = np.array([[[1.0, 0.0, 0.2]], [[0.0, 0.6, 0.3]]])


def people(rewards, temperature, log_reference=None):
    rewards = np.asarray(rewards, dtype=float)
    n = rewards.shape[-1]
    reference = np.log(np.full((1, n), 1 / n)) if log_reference is None else log_reference
    return groups.Groups(rewards, reference, temperature, np.ones(1))


def parts(theorem, instance):
    return dict(theorem.margin(instance).named)


def by_cones(played):
    """The MaxMin policy by an exponential-cone program."""
    policy = cvxpy.Variable(played.rewards.shape[-1], nonneg=True)
    worst = cvxpy.min(played.rewards[:, 0] @ policy)
    price = cvxpy.sum(cvxpy.kl_div(policy, np.exp(played.log_reference[0])))
    problem = cvxpy.Problem(
        cvxpy.Maximize(worst - played.temperature * price), [cvxpy.sum(policy) == 1]
    )
    value = problem.solve(solver=cvxpy.CLARABEL)
    return float(value), np.asarray(policy.value)


def test_two_routes_to_the_maxmin_policy_of_the_specification():
    for offset, first in (
        (-1.0, (0.04, 0.79, 0.18)),
        (0.0, (0.30, 0.47, 0.23)),
        (1.0, (0.98, 0.01, 0.02)),
    ):
        rewards = SPECIFIED + offset * np.array([0.0, 1.0])[:, None, None]
        played = people(rewards, 0.2)
        value, policy = by_cones(played)
        assert policy == pytest.approx(first, abs=0.006)
        solved = nlhf.solve(groups.as_maxmin_game(played)).profile
        assert solved[0].probabilities[0] == pytest.approx(policy, abs=1e-4)
        shares = solved[1].probabilities
        assert groups.conceded(played, shares) == pytest.approx(value, abs=1e-7)
        saddle = maxmin.Saddle(played, groups.response(played, shares), shares, EVEN3)
        assert maxmin.MAXMIN_DUALITY.satisfied(saddle)
        assert not maxmin.MAXMIN_DUALITY.margin(saddle).violated


@pytest.mark.parametrize(
    ("theorem", "part"), [(maxmin.MAXMIN_DUALITY, "solver"), (maxmin.OFFSET_SENSITIVITY, "moved")]
)
def test_the_package_s_solver_is_asked_in_every_run_of_the_ledger(theorem, part):
    """Drawn instances ask it now and then; the sharp ones always."""
    for instance in theorem.sharp:
        assert theorem.satisfied(instance)
        assert parts(theorem, instance)[part].decisive
        assert not theorem.margin(instance).violated


def test_the_gradient_of_the_dual_is_the_utilities_of_its_policy():
    played = people(SPECIFIED, 0.2)
    shares = np.array([0.3, 0.7])
    policy = groups.response(played, shares)
    assert groups.slope(played, shares) == pytest.approx(
        groups.utilities(played, policy), rel=1e-13
    )


def test_twins_share_their_weight_as_they_like():
    rewards = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
    played = people(rewards, 0.3)
    for shares in ([0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.5, 0.2, 0.3]):
        w = np.array(shares)
        instance = maxmin.Saddle(played, groups.response(played, w), w, np.log([[0.9, 0.1]]))
        assert maxmin.MAXMIN_DUALITY.satisfied(instance)
        assert groups.response(played, w) == pytest.approx(np.log([[0.5, 0.5]]))


def test_strong_concavity_is_an_identity_for_a_single_group():
    played = people([[[1.0, 0.0]]], 0.5)
    rho = np.log([[0.5, 0.5]])
    instance = maxmin.Saddle(played, groups.response(played, np.ones(1)), np.ones(1), rho)
    # max F = log((1 + e²)/2)/2, F(even) = 1/2.
    assert groups.secured(played, instance.policy) == pytest.approx(0.5 * log((1 + exp(2.0)) / 2))
    assert parts(maxmin.MAXMIN_DUALITY, instance)["unique"].value == pytest.approx(0.0, abs=1e-15)


def test_the_example_of_the_mean_of_the_least_in_closed_form():
    tau, c = 0.05, 0.4
    instance = maxmin.example_per_sample(c, tau)
    trained = groups.best(instance.groups, instance.reward)
    optimal = groups.response(instance.groups, instance.shares)
    masses = 2 / (2 + exp(c / tau)), 2 / (2 + exp((c - 0.5) / tau))
    for policy, mass in zip((trained, optimal), masses, strict=True):
        found = groups.utilities(instance.groups, policy)
        assert found == pytest.approx(np.full(2, c + (0.5 - c) * mass), rel=1e-12)
    worst = [groups.utilities(instance.groups, policy).min() for policy in (trained, optimal)]
    assert [round(value, 3) for value in worst] == [0.4, 0.494]


def test_training_on_the_least_can_serve_the_worst_group_better_but_for_the_price():
    tau = 0.5
    played = people([[[1.0, -1.0, 1.0]], [[1.0, 1.0, -1.0]]], tau)
    half = np.full(2, 0.5)
    assert maxmin.shortfall(played, half) == pytest.approx(0.0, abs=1e-15)
    trained = groups.best(played, played.rewards.min(axis=0))
    optimal = groups.response(played, half)
    for policy, power in ((trained, 2.0), (optimal, 1.0)):
        mass = exp(power / tau) / (exp(power / tau) + 2)
        assert groups.utilities(played, policy) == pytest.approx(np.full(2, mass), rel=1e-12)
    assert groups.utilities(played, trained).min() > groups.utilities(played, optimal).min() + 0.1
    assert groups.secured(played, trained) < groups.secured(played, optimal) - 0.05


def test_a_single_group_forgives_any_offset():
    for offset in (-3.0, 0.0, 7.0):
        found = nlhf.solve(groups.as_maxmin_game(people(SPECIFIED[:1] + offset, 0.2)))
        raw = np.exp(SPECIFIED[0, 0] / 0.2)
        assert found.profile[0].probabilities[0] == pytest.approx(raw / raw.sum(), rel=1e-12)


def test_offsets_keep_preferences_and_dictate_the_policy():
    played = people(SPECIFIED, 0.2)
    least = maxmin.disagreement(played)
    assert least == 1.0
    added = tuple(
        np.broadcast_to(-1.5 * np.eye(2)[u][:, None, None], SPECIFIED.shape).copy() for u in (0, 1)
    )
    instance = maxmin.Dictated(played, (0, 1), added, solved=True)
    assert maxmin.OFFSET_SENSITIVITY.satisfied(instance)
    assert not maxmin.OFFSET_SENSITIVITY.margin(instance).violated
    short = replace(instance, added=tuple(0.2 / 1.5 * one for one in added))
    assert maxmin.OFFSET_SENSITIVITY.violates_only("handicap", short)
    assert parts(maxmin.OFFSET_SENSITIVITY, short)["moved"].violated


def test_one_round_of_hedge_is_the_even_mixture():
    played = people(SPECIFIED, 0.2)
    run = hedge.hedge(played, hedge.hedge_step(played, 1), 1)
    even = np.full(2, 0.5)
    value = groups.conceded(played, even) - groups.secured(played, groups.response(played, even))
    margin = parts(hedge.HEDGE_RATE, run)["gap"]
    # R = 1 is at the first response.
    assert margin.value == pytest.approx(sqrt(log(2.0) / 2.0) - value, rel=1e-9)


def test_two_rounds_of_hedge_by_hand():
    played = people(np.eye(2)[:, None, :] + np.array([0.5, 0.0])[:, None, None], 1.0)
    eta = hedge.hedge_step(played, 2)
    assert eta == pytest.approx(sqrt(4.0 * log(2.0)) / 1.5)
    run = hedge.hedge(played, eta, 2)
    # Even weights play evenly: utilities 1 and 1/2.
    odds = exp(-0.5 * eta)
    assert np.exp(run.log_shares[1]) == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
    ahead = (2 * odds / (1 + odds) - 1) * 1.0  # log-odds of the first response
    first = (0.5 + 1 / (1 + exp(-ahead))) / 2
    assert np.exp(run.policy[0]) == pytest.approx([first, 1 - first])


@pytest.mark.parametrize("tau", [0.05, 0.3, 2.0])
def test_alternation_between_two_rivals_in_closed_form(tau):
    played = hedge.rivals(tau)
    h = tanh(1 / (2 * tau))
    assert hedge.envy(played, 0) == pytest.approx(h) == hedge.envy(played, 1)
    assert hedge.distance_bound(played) == pytest.approx(tau * h**2)
    assert hedge.best_value(played) == pytest.approx(0.5, rel=1e-12)
    own = tau * np.logaddexp(0.0, 1 / tau) - tau * log(2.0) - h
    policies = hedge.alternate(played, np.log([[0.6, 0.4]]), 7)
    found = [groups.secured(played, policy) for policy in policies[1:]]
    assert found == pytest.approx([own] * 7)
    assert own < 0.5 - tau * h**2
    for before, after in pairwise(policies[1:]):
        assert before == pytest.approx(after[:, ::-1])


def test_the_package_finds_the_optimum_that_alternation_misses():
    played = hedge.rivals(0.3)
    found = nlhf.solve(groups.as_maxmin_game(played)).profile
    assert found[0].probabilities[0] == pytest.approx([0.5, 0.5])


WINS = np.zeros((3, 2, 2))
WINS[0, 0, 1], WINS[1, 0, 1], WINS[1, 1, 0], WINS[2, 1, 0] = 3.0, 2.0, 1.0, 2.0


def test_the_objectives_vote_by_vote():
    point = mixtures.Point(np.array([[1.0, 0.0], [-0.5, 0.5]]), np.log([0.7, 0.3]))
    p = 1 / (1 + exp(-1.0)), 1 / (1 + exp(1.0))
    each = [[q**3, q**2 * (1 - q), (1 - q) ** 2] for q in p]
    marginal = sum(log(0.7 * a + 0.3 * b) for a, b in zip(*each, strict=True))
    best = sum(log(max(a, b)) for a, b in zip(*each, strict=True))
    lost = 0.4 / 2 * 1.5
    for hard, expected in ((False, marginal), (True, best)):
        climb = mixtures.Climb(WINS, 0.4, hard, (point,), (), np.zeros(0))
        assert mixtures.objective(climb, point) == pytest.approx(expected - lost, rel=1e-12)


def test_an_iteration_of_em_by_hand():
    """With two responses and no ridge to speak of the M-step ends at the log-odds of the wins."""
    point = mixtures.Point(np.array([[1.0, 0.0], [0.0, 1.0]]), np.log([0.5, 0.5]))
    gamma = mixtures.assign(WINS, True, point)
    assert gamma.tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    moved = point
    for _ in range(30):
        moved = mixtures.ascend(WINS, 1e-9, gamma, moved)
    assert np.ptp(moved.rewards[0]) == pytest.approx(log(5.0), rel=1e-6)
    assert moved.log_shares == pytest.approx(np.log([2 / 3, 1 / 3]))
    soft = mixtures.assign(WINS, False, point)
    assert soft[0, 0] / soft[0, 1] == pytest.approx(exp(3.0))


@pytest.mark.parametrize("hard", [False, True])
def test_the_package_s_objective_is_the_ledger_s(hard):
    rng = np.random.default_rng(5)
    wins = rng.integers(0, 3, size=(9, 3, 3)) * (1.0 - np.eye(3))
    point, history = mixtures.shipped(wins, 0.5, hard, 2)
    climb = mixtures.Climb(wins, 0.5, hard, (point,), (), np.zeros(0))
    assert mixtures.objective(climb, point) == pytest.approx(history[-1], rel=1e-10)


def test_gradients_of_both_losses_by_differences():
    rng = np.random.default_rng(1)
    for squared in (False, True):
        problem = group_robust.Problem(
            rng.normal(size=(3, 4, 2)), squared, 0.7, 2.0, 0.6, np.array([0.0, 0.1, 0.2])
        )
        theta, weights = rng.normal(size=2), rng.dirichlet(np.ones(3))
        h = 1e-6
        expected = [
            weights
            @ (
                group_robust.losses(problem, theta + h * step)
                - group_robust.losses(problem, theta - h * step)
            )
            / (2 * h)
            for step in np.eye(2)
        ]
        assert group_robust.gradient(problem, theta, weights) == pytest.approx(expected, rel=1e-6)


def test_the_constants_bound_what_they_say():
    rng = np.random.default_rng(2)
    for squared in (False, True):
        problem = group_robust.Problem(
            rng.normal(size=(3, 4, 2)), squared, 0.7, 1.5, 1.0, np.array([0.0, 0.3, 0.1])
        )
        longest = furthest = 0.0
        for _ in range(300):
            theta = group_robust.into_ball(2.0 * rng.normal(size=2), 1.5)
            lengths = [
                np.linalg.norm(group_robust.gradient(problem, theta, one)) for one in np.eye(3)
            ]
            longest = max(longest, *lengths)
            furthest = max(furthest, float(np.ptp(group_robust.losses(problem, theta))))
        assert longest <= group_robust.steepest(problem)
        assert furthest <= group_robust.apart(problem)


def test_the_package_takes_the_same_steps():
    rng = np.random.default_rng(3)
    problem = group_robust.Problem(rng.normal(size=(2, 3, 2)), False, 1.3, 2.0, 0.8, np.zeros(2))
    count = 25
    run = group_robust.train(
        problem,
        group_robust.descent_step(problem, count),
        group_robust.tilt_step(problem, count),
        count,
    )
    fit = fit_group_robust(
        tuple(problem.comparisons), 1.3, radius=2.0, trade_off=0.8, iterations=count
    )
    assert fit.parameters == pytest.approx(run.theta, rel=1e-10)
    assert fit.weights == pytest.approx(group_robust.shares(problem, run.alpha), rel=1e-10)
    assert fit.guarantee == pytest.approx(group_robust.bound(problem, count), rel=1e-10)
    assert fit.history == pytest.approx(group_robust.losses(problem, run.thetas), rel=1e-10)
