"""Leximin against enumeration of vertices, random policies, and MaxMin itself."""

from itertools import combinations

import numpy as np
import pytest
import scipy.optimize

from nlhf import Discounted, FiniteHorizon, TokenTree, solve
from nlhf.errors import SolverFailed, Unsupported
from nlhf.exact.convex_maxmin import solve_convex_maxmin
from nlhf.exact.leximin import solve_leximin
from nlhf.exact.rewards import mean_of_minimum, single_reward
from nlhf.games.maxmin import MaxMinGame
from nlhf.spaces.ambiguity import KLBall
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from tests.exactness.maxmin_instances import REWARDS, generator_of, spread
from tests.processes.drawn import random_mdp


def leximin_by_enumeration(rewards):
    """Return the sorted leximin utilities of a bandit, by vertices of ever smaller polytopes.

    The least utilities that a policy reaches, group by group in every order, are linear programs;
    each is solved by trying all bases.
    """
    groups = len(rewards)
    fixed = {}
    while len(fixed) < groups:
        level = best_least(rewards, fixed)
        # A group is settled if it cannot have more than the level while no other has less.
        for u in set(range(groups)) - set(fixed):
            others = {v: fixed.get(v, level) for v in range(groups) if v != u}
            if best_least(rewards, others) <= level + 1e-9:
                fixed[u] = level
    return np.sort(list(fixed.values()))


def best_least(rewards, fixed):
    """Maximise the least utility of the groups without a level, by enumeration of vertices."""
    groups, n = rewards.shape
    # Variables (π, t). Rows: π ≥ 0, then utilities less t or level.
    rows, right = [np.append(row, 0.0) for row in np.eye(n)], [0.0] * n
    for u in range(groups):
        rows.append(np.append(rewards[u], 0.0 if u in fixed else -1.0))
        right.append(fixed.get(u, 0.0))
    rows, right = np.array(rows), np.array(right)
    total = np.append(np.ones(n), 0.0)
    best = -np.inf
    for active in combinations(range(len(rows)), n):
        matrix = np.vstack([total, rows[list(active)]])
        if np.linalg.cond(matrix) > 1e10:
            continue
        x = np.linalg.solve(matrix, np.append(1.0, right[list(active)]))
        if (rows @ x >= right - 1e-9).all():
            best = max(best, x[-1])
    return best


def lexicographically_at_least(first, second, tolerance):
    """Whether the sorted first is larger at the first place where they differ, if they do."""
    differ = np.flatnonzero(np.abs(first - second) > tolerance)
    return differ.size == 0 or first[differ[0]] > second[differ[0]]


@pytest.mark.parametrize("kind", REWARDS)
def test_enumeration_of_vertices_finds_the_same_utilities(kind):
    for number in range(4):
        rng = generator_of("leximin", kind, number)
        rewards = REWARDS[kind](rng, (3, 4))
        found = solve_leximin(MaxMinGame(rewards, offsets="as given"))
        expected = leximin_by_enumeration(rewards)
        np.testing.assert_allclose(np.sort(found.utilities), expected, atol=1e-7)
        np.testing.assert_allclose(found.utilities, found.levels, atol=1e-7)


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e6, 1e12])
def test_units_of_the_rewards_do_not_matter(unit):
    for number in range(6):
        rewards = generator_of("leximin units", number).normal(size=(3, 4))
        one = solve_leximin(MaxMinGame(rewards, offsets="as given"))
        other = solve_leximin(MaxMinGame(unit * rewards, offsets="as given"))
        np.testing.assert_allclose(other.levels, unit * one.levels, atol=1e-8 * unit)
        np.testing.assert_allclose(other.utilities, unit * one.utilities, atol=1e-8 * unit)


def settings(rng):
    mdp = random_mdp(rng, states=4, actions=2, successors=2)
    finite, discounted, tree = FiniteHorizon(mdp, 3), Discounted(mdp, 0.8), TokenTree(2, 3)
    common = {"offsets": "reference"}
    yield MaxMinGame(rng.choice([0.0, 0.5, 1.0], size=(5, 2, 6)), weights=[0.2, 0.8], **common)
    yield MaxMinGame(
        [LeafPayoff(rng.choice([0.0, 1.0], size=8)) for _ in range(4)], process=tree, **common
    )
    for process in (finite, discounted):
        final = rng.normal(size=4) if process is finite else np.zeros(4)
        rewards = [StepPayoff(rng.normal(size=process.shape), final) for _ in range(4)]
        yield MaxMinGame(rewards, process=process, **common)


def test_no_random_policy_is_lexicographically_better_in_any_setting():
    for number in range(2):
        rng = generator_of("leximin settings", number)
        for game in settings(rng):
            found = solve_leximin(game)
            ours = np.sort(found.utilities)
            np.testing.assert_allclose(found.utilities, found.levels, atol=1e-7)
            shape = game.reference.probabilities.shape
            for _ in range(20):
                (policy, _) = game.as_profile((spread(rng, *shape), game.proportions))
                other = np.sort(game.utilities(policy))
                assert lexicographically_at_least(ours, other, 1e-7)


def test_the_least_utility_is_that_of_maxmin_and_rounds_have_rising_levels():
    for game in settings(generator_of("first level")):
        found = solve_leximin(game)
        value = solve_convex_maxmin(game)
        assert value.lower - 1e-7 <= found.levels.min() <= value.upper + 1e-7
        order = np.argsort(found.rounds, kind="stable")
        assert (np.diff(found.levels[order]) >= -1e-7).all()
        assert set(found.rounds) == set(range(found.rounds.max() + 1))


def test_leximin_refines_maxmin():
    """Group 0 gets 1 of responses 0 and 1 and nothing more; group 1 prefers the second."""
    rewards = np.array([[1.0, 1.0, 0.0], [2.0, 3.0, 9.0]])
    found = solve_leximin(MaxMinGame(rewards, offsets="as given"))
    np.testing.assert_allclose(found.policy.probabilities, [0.0, 1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(found.levels, [1.0, 3.0], atol=1e-9)
    assert found.rounds.tolist() == [0, 1]


def test_at_a_positive_temperature_maxmin_is_leximin():
    rng = generator_of("regularised leximin")
    game = MaxMinGame(rng.normal(size=(4, 6)), spread(rng, 6), 0.2, offsets="reference")
    found = solve_leximin(game)
    best = np.sort(found.utilities - game.cost(found.policy))
    np.testing.assert_array_equal(found.levels, found.utilities)
    for _ in range(30):
        near = found.policy.log_probabilities + 0.1 * rng.normal(size=6)
        for logits in (near, rng.normal(size=6)):
            p = np.exp(logits) / np.exp(logits).sum()
            (policy, _) = game.as_profile((p, game.proportions))
            other = np.sort(game.utilities(policy) - game.cost(policy))
            assert lexicographically_at_least(best, other, 1e-9)


@pytest.mark.parametrize(
    "options", [{"group_temperature": 0.1}, {"ambiguity": KLBall([0.5, 0.5], 0.1)}]
)
def test_leximin_of_weighted_groups_is_refused(options):
    with pytest.raises(Unsupported, match="leximin ranks groups"):
        solve_leximin(MaxMinGame(np.eye(2), offsets="as given", **options))


def test_control_the_mean_of_the_minimum_is_not_leximin():
    """The example of the specification: .494 for the worst group against .400."""
    rewards = np.array([[1.0, 0.0, 0.4], [0.0, 1.0, 0.4]])
    game = MaxMinGame(rewards, temperature=0.05, offsets="as given")
    maxmin, sampled = solve(game).profile[0], mean_of_minimum(game)
    np.testing.assert_allclose(maxmin.probabilities, [0.468, 0.468, 0.063], atol=1e-3)
    assert game.utilities(maxmin).min() == pytest.approx(0.494, abs=1e-3)
    assert game.utilities(sampled).min() == pytest.approx(0.4, abs=1e-3)
    found = solve_leximin(MaxMinGame(rewards, offsets="as given")).utilities
    cold = mean_of_minimum(MaxMinGame(rewards, offsets="as given"))
    assert found.min() > game.utilities(cold).min() + 0.09


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_the_mean_of_the_minimum_maximises_it_and_bounds_maxmin_from_below(temperature):
    rng = generator_of("mean of minimum", temperature)
    rewards, mu, shares = rng.normal(size=(3, 2, 5)), spread(rng, 2, 5), np.array([0.4, 0.6])
    game = MaxMinGame(rewards, mu, temperature, offsets="reference", weights=shares)
    least = (rewards + game.offsets[:, None, None]).min(axis=0)

    def objective(policy):
        return float(shares @ (policy.probabilities * least).sum(-1)) - game.cost(policy)

    found = mean_of_minimum(game)
    assert objective(found) <= game.primal(found) + 1e-12
    for _ in range(30):
        (other, _) = game.as_profile((spread(rng, 2, 5), game.proportions))
        assert objective(other) <= objective(found) + 1e-12
        assert objective(other) <= game.primal(other) + 1e-12


def test_single_reward_policies_in_closed_form():
    rng = generator_of("single reward")
    rewards, mu, eta = rng.normal(size=(3, 4)), spread(rng, 4), np.array([0.7, 0.2, 0.1])
    game = MaxMinGame(rewards, mu, 0.3, proportions=eta, offsets="regret")
    tilted = mu * np.exp(eta @ rewards / 0.3)
    found = single_reward(game).probabilities
    np.testing.assert_allclose(found, tilted / tilted.sum(), rtol=1e-12)
    tree = TokenTree(2, 2)
    tokens = MaxMinGame(
        [LeafPayoff(r) for r in rewards], temperature=0.3, offsets="as given", process=tree
    )
    least = np.exp(rewards.min(axis=0) / 0.3)
    leaves = tree.leaf_log_probabilities(mean_of_minimum(tokens).log_probabilities)
    np.testing.assert_allclose(np.exp(leaves), least / least.sum(), rtol=1e-12)


def test_the_least_reward_of_a_trajectory_does_not_add_up_over_steps():
    game = next(
        game
        for game in settings(generator_of("steps"))
        if game.process is not None and isinstance(game.process, FiniteHorizon)
    )
    with pytest.raises(Unsupported, match="does not add up"):
        mean_of_minimum(game)


def refusing(monkeypatch, tolerances):
    """Let HiGHS fail at these tolerances, and return the list of those that it is asked for."""
    asked, exact = [], scipy.optimize.linprog

    def linprog(*program, options, **rest):
        asked.append(options["primal_feasibility_tolerance"])
        found = exact(*program, options=options, **rest)
        if asked[-1] in tolerances:
            found.status, found.x = 4, np.full_like(found.x, np.nan)
        return found

    monkeypatch.setattr("scipy.optimize.linprog", linprog)
    return asked


def test_the_first_tolerance_that_succeeds_is_the_last_that_is_asked_for(monkeypatch):
    game = MaxMinGame(generator_of("tolerances").normal(size=(3, 4)), offsets="as given")
    plain = solve_leximin(game)
    programs = plain.rounds.max() + 1
    with monkeypatch.context() as patch:
        asked = refusing(patch, [])
        solve_leximin(game)
        assert asked == [1e-10] * programs
    with monkeypatch.context() as patch:
        asked = refusing(patch, [1e-10])
        found = solve_leximin(game)
        assert asked == [1e-10, 1e-7] * programs
        np.testing.assert_allclose(found.levels, plain.levels, atol=1e-6)
    with monkeypatch.context() as patch:
        refusing(patch, [1e-10, 1e-7])
        with pytest.raises(SolverFailed, match="status 4"):
            solve_leximin(game)
