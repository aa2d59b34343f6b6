"""MaxMin by three routes: Newton on the dual, a conic program, and SciPy's optimisers."""

from itertools import product

import cvxpy
import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.special import logsumexp

from nlhf import MDP, FiniteHorizon, TokenTree, certify, solve
from nlhf.errors import SolverFailed, Unsupported
from nlhf.exact.convex_maxmin import MaxMinProgram, solve_convex_maxmin
from nlhf.games.maxmin import MaxMinGame
from nlhf.spaces.ambiguity import ChiSquareBall, KLBall, TotalVariationBall, WholeSimplex
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from nlhf.spaces.mdp import Unreachable
from tests.exactness.maxmin_instances import (
    AMBIGUITIES,
    bandit,
    decision_process,
    generator_of,
    spread,
)

KINDS = ("finite horizon", "discounted")


def agree(game, profile, theirs):
    """Check a profile against what the conic program returned, as far as its own gap reaches.

    A policy that secures s has τ KL(π‖π*) at most the value less s: the weights of the
    equilibrium give every policy a payoff of that much less than the value.
    """
    policy, weights = profile
    gap = certify(game, profile).bound
    assert gap.high <= 1e-10 * max(1.0, game.lipschitz)
    primal, dual = game.primal(policy), game.dual(weights)
    rounding = 1e-13 * (1.0 + abs(dual) + game.lipschitz)
    assert theirs.lower <= dual + rounding
    assert primal <= theirs.upper + rounding
    tau = game.temperatures[0]
    apart = tau * game.spaces[0].divergence(theirs.policy, policy).value
    assert apart <= theirs.gap + gap.high + rounding
    return gap.high, theirs.gap


def compare(game):
    theirs = solve_convex_maxmin(game)
    assert theirs.gap <= 1e-6 * max(1.0, game.lipschitz)
    assert game.ambiguity.excess(theirs.weights) <= 1e-9
    return agree(game, solve(game).profile, theirs)


@pytest.mark.parametrize("ambiguity", AMBIGUITIES)
def test_newton_and_the_conic_program_agree_on_a_few_bandits(ambiguity):
    for number in range(8):
        compare(bandit(generator_of("bandit", ambiguity, number), ambiguity))


@pytest.mark.slow
@pytest.mark.parametrize("ambiguity", AMBIGUITIES)
def test_newton_and_the_conic_program_agree_on_five_hundred_bandits(ambiguity):
    for number in range(8, 108):
        compare(bandit(generator_of("bandit", ambiguity, number), ambiguity))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_newton_and_the_conic_program_agree_on_a_few_processes(kind):
    for ambiguity in AMBIGUITIES:
        compare(decision_process(generator_of(kind, ambiguity), kind, ambiguity))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_newton_and_the_conic_program_agree_on_fifty_processes(kind):
    for ambiguity, number in product(AMBIGUITIES, range(5)):
        compare(decision_process(generator_of(kind, ambiguity, number), kind, ambiguity))


@pytest.mark.parametrize("ambiguity", AMBIGUITIES)
def test_scipy_minimises_the_dual_to_the_same_value(ambiguity):
    for number in range(4):
        game = bandit(generator_of("scipy", ambiguity, number), ambiguity, temperature=0.3)
        kappa, eta = game.temperatures[1], game.proportions
        log_mu = game.reference.log_probabilities

        def dual(w, game=game, log_mu=log_mu, kappa=kappa, eta=eta):
            values = logsumexp(log_mu + np.tensordot(w, game.rewards, 1) / 0.3, axis=-1)
            price = np.where(w > 0, w * np.log(np.maximum(w, 1e-300) / eta), 0.0).sum()
            return 0.3 * game.prompt_weights @ values + game.offsets @ w + kappa * price

        found = minimize(
            dual,
            eta,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * len(eta),
            constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1.0}, *written_out(game)],
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        policy, weights = solve(game).profile
        size = 1.0 + game.lipschitz
        # Ours is optimal within its gap; SciPy's may stop above, and leaves W a little.
        assert game.dual(weights) <= found.fun + 1e-6 * size
        assert game.primal(policy) >= found.fun - 1e-4 * size
        assert dual(weights.probabilities) == pytest.approx(game.dual(weights), abs=1e-12 * size)


def written_out(game):
    """Return the constraints of W for SciPy, which wants them smooth and non-negative."""
    eta, set_ = game.proportions, game.ambiguity
    match type(set_).__name__:
        case "KLBall":
            return [_ineq(lambda w: set_.radius - (w * np.log(np.maximum(w, 1e-12) / eta)).sum())]
        case "ChiSquareBall":
            return [_ineq(lambda w: set_.radius - ((w - eta) ** 2 / eta).sum())]
        case "TotalVariationBall":
            signs = np.array(list(product([-1.0, 1.0], repeat=len(eta))))
            return [_ineq(lambda w: 2.0 * set_.radius - signs @ (w - eta))]
        case "ConditionalValueAtRisk":
            return [_ineq(lambda w: eta / set_.level - w)]
    return []


def _ineq(function):
    return {"type": "ineq", "fun": function}


@pytest.mark.parametrize("prompts", [1, 3])
def test_at_temperature_zero_a_linear_program_finds_the_same_value(prompts):
    for number in range(5):
        rng = generator_of("linear", prompts, number)
        rewards = rng.normal(size=(3, prompts, 6))
        shares = rng.dirichlet(np.ones(prompts))
        game = MaxMinGame(rewards, offsets="as given", weights=shares)
        # max t with t - Σ_xy p_x π(y|x) r_u(x, y) ≤ 0; variables π then t.
        means = (shares[None, :, None] * rewards).reshape(3, -1)
        found = linprog(
            -np.eye(1, means.shape[1] + 1, means.shape[1])[0],
            A_ub=np.hstack([-means, np.ones((3, 1))]),
            b_ub=np.zeros(3),
            A_eq=np.hstack([np.kron(np.eye(prompts), np.ones(6)), np.zeros((prompts, 1))]),
            b_eq=np.ones(prompts),
            bounds=[(0, None)] * means.shape[1] + [(None, None)],
        )
        theirs = solve_convex_maxmin(game)
        assert -found.fun == pytest.approx(theirs.lower, abs=1e-9)
        assert -found.fun == pytest.approx(theirs.upper, abs=1e-9)


@pytest.mark.parametrize("ambiguity", AMBIGUITIES)
def test_the_conic_program_closes_the_gap_at_temperature_zero_too(ambiguity):
    for number in range(3):
        rng = generator_of("zero", ambiguity, number)
        for game in (
            bandit(rng, ambiguity, temperature=0.0),
            decision_process(rng, "finite horizon", ambiguity, temperature=0.0),
            decision_process(rng, "discounted", ambiguity, temperature=0.0),
        ):
            assert abs(solve_convex_maxmin(game).gap) <= 1e-8 * max(1.0, game.lipschitz)


def test_a_program_compiled_once_solves_other_games_of_the_kind():
    rng = generator_of("compiled")
    games = [
        MaxMinGame(
            rng.normal(size=(3, 2, 5)),
            spread(rng, 2, 5),
            temperature,
            ambiguity=KLBall(rng.dirichlet(np.ones(3)), radius),
            offsets="reference",
            weights=rng.dirichlet(np.ones(2)),
        )
        for temperature, radius in ((1.0, 0.1), (0.1, 0.5), (0.3, 0.01))
    ]
    program = MaxMinProgram(games[0])
    for game in games:
        again, alone = program.solve(game), solve_convex_maxmin(game)
        assert again.lower == pytest.approx(alone.lower, abs=1e-9)
        assert again.upper == pytest.approx(alone.upper, abs=1e-9)


def test_a_game_of_another_kind_is_refused():
    rewards = np.eye(3)
    program = MaxMinProgram(MaxMinGame(rewards, temperature=0.1, offsets="as given"))
    other = MaxMinGame(
        rewards, temperature=0.1, ambiguity=KLBall(np.ones(3) / 3, 0.1), offsets="as given"
    )
    with pytest.raises(Unsupported, match="KLBall"):
        program.solve(other)


def test_a_failed_solve_is_an_error_that_names_solver_and_status(monkeypatch):
    def fail(self, **options):
        raise cvxpy.error.SolverError("numbers out of range")

    monkeypatch.setattr(cvxpy.Problem, "solve", fail)
    with pytest.raises(SolverFailed, match="numbers out of range") as caught:
        solve_convex_maxmin(bandit(generator_of("failed"), "CVaR"))
    assert caught.value.solver == "CLARABEL"


def test_the_comparison_rejects_other_weights_and_another_temperature():
    """Control: perturbed answers are further away than the gap of the program allows."""
    rng = generator_of("control")
    rewards, mu = rng.normal(size=(4, 12)), spread(rng, 12)
    game = MaxMinGame(rewards, mu, 0.1, offsets="reference")
    theirs = solve_convex_maxmin(game)
    policy, weights = solve(game).profile
    agree(game, (policy, weights), theirs)
    moved = 0.999 * weights.probabilities + 0.001 / 4
    for wrong in ((policy, moved), (game.best_policy(game.as_profile((policy, moved))[1]), moved)):
        with pytest.raises(AssertionError):
            agree(game, game.as_profile(wrong), theirs)
    warmer = MaxMinGame(rewards, mu, 0.101, offsets="reference")
    with pytest.raises(AssertionError):
        agree(game, solve(warmer).profile, theirs)


def deterministic(vocabulary, horizon):
    """Return the process whose states are the prefixes, the complete ones last."""
    sizes = np.cumsum([0] + [vocabulary**h for h in range(horizon + 1)])
    table = np.zeros((sizes[-1], vocabulary, sizes[-1]))
    for h in range(horizon):
        for prefix, token in product(range(vocabulary**h), range(vocabulary)):
            table[sizes[h] + prefix, token, sizes[h + 1] + prefix * vocabulary + token] = 1.0
    for state in range(sizes[-2], sizes[-1]):
        table[state, :, state] = 1.0
    return FiniteHorizon(MDP(table, 0, unreachable=Unreachable.KEEP), horizon)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_responses_tokens_and_steps_of_a_deterministic_process_have_one_maxmin_policy(temperature):
    vocabulary, horizon, groups = 3, 2, 3
    rng = generator_of("settings", temperature)
    rewards, eta = rng.normal(size=(groups, vocabulary**horizon)), spread(rng, groups)
    common = {"temperature": temperature, "offsets": "reference", "ambiguity": KLBall(eta, 0.5)}
    tree, process = TokenTree(vocabulary, horizon), deterministic(vocabulary, horizon)
    before = np.zeros(process.mdp.states - vocabulary**horizon)
    finals = [np.concatenate([before, reward]) for reward in rewards]
    flat = MaxMinGame(rewards, **common)
    tokens = MaxMinGame([LeafPayoff(reward) for reward in rewards], process=tree, **common)
    steps = MaxMinGame(
        [StepPayoff(np.zeros(process.shape), final) for final in finals], process=process, **common
    )
    expected, weights = solve(flat).profile
    by_token, by_step = solve(tokens).profile, solve(steps).profile
    leaves = tree.leaf_log_probabilities(by_token[0].log_probabilities)
    _, last = process.flow(by_step[0].log_probabilities)
    np.testing.assert_allclose(np.exp(leaves), expected.probabilities, atol=1e-6)
    np.testing.assert_allclose(last[len(before) :], expected.probabilities, atol=1e-6)
    for other in (by_token[1], by_step[1]):
        np.testing.assert_allclose(other.probabilities, weights.probabilities, atol=1e-6)
    values = [
        game.dual(w) for game, w in ((flat, weights), (tokens, by_token[1]), (steps, by_step[1]))
    ]
    assert np.ptp(values) <= 1e-12


def test_a_single_group_is_regularised_reward_maximisation():
    rng = generator_of("single")
    rewards, mu = rng.normal(size=(1, 3, 7)), spread(rng, 3, 7)
    policy, _ = solve(MaxMinGame(rewards, mu, 0.2)).profile
    tilted = mu * np.exp(rewards[0] / 0.2)
    np.testing.assert_allclose(
        policy.probabilities, tilted / tilted.sum(-1, keepdims=True), rtol=1e-12
    )


def test_prompts_without_weight_and_contexts_of_trees_are_no_trouble():
    rng = generator_of("trees")
    tree = TokenTree(2, 2, contexts=3)
    rewards = [LeafPayoff(rng.normal(size=(3, 4))) for _ in range(3)]
    game = MaxMinGame(
        rewards, temperature=0.1, offsets="reference", process=tree, weights=[0.25, 0.75, 0.0]
    )
    compare(game)
    assert isinstance(game.ambiguity, WholeSimplex)


@pytest.mark.parametrize(
    ("ball", "radius"),
    [
        *product([KLBall, ChiSquareBall], [1e-12, 1e-9, 1e-6, 1e-3]),
        *product([TotalVariationBall], [1e-9, 1e-6, 1e-3]),
    ],
)
def test_small_balls_are_solved_to_the_last_digits(ball, radius):
    rng = generator_of("small", ball.__name__, radius)
    eta = rng.dirichlet(np.ones(4))
    game = MaxMinGame(
        rng.normal(size=(4, 2, 5)), None, 0.3, ambiguity=ball(eta, radius), offsets="as given"
    )
    policy, weights = solve(game).profile
    # The ball is worth about the root of its radius: against that, too, the gap is small.
    assert certify(game, (policy, weights)).bound.value <= 1e-12
    worst = game.ambiguity.largest(-game.utilities(policy)).probabilities
    size = np.abs(worst - eta).max()
    np.testing.assert_allclose(weights.probabilities, worst, rtol=0, atol=1e-3 * size + 1e-15)


@pytest.mark.parametrize("offsets", ["as given", "reference", "regret"])
def test_constants_far_beyond_the_range_of_rewards_do_not_stop_the_solver(offsets):
    rng = generator_of("constants", offsets)
    for ambiguity in (WholeSimplex(np.full(5, 0.2)), KLBall(np.full(5, 0.2), 0.3)):
        rewards = rng.normal(size=(5, 1, 3)) + 1e5 * rng.normal(size=(5, 1, 1))
        game = MaxMinGame(rewards, None, 1e-3, ambiguity=ambiguity, offsets=offsets)
        bound = solve(game).certificate.bound  # without a warning that it stalled
        assert bound.value <= 1e-13 * game.lipschitz + 10.0 * (bound.high - bound.value)


@pytest.mark.parametrize("process", [None, FiniteHorizon(MDP(np.ones((1, 2, 1)), [1.0]), 5)])
def test_a_reference_that_all_but_forbids_a_response_does_not_stop_the_solver(process):
    # A path in the temperature alone breaks down: the kinks of D move with τ log μ.
    for number in (4, 18, 20) if process is None else (4,):
        rng = generator_of("many groups", number)
        rewards = rng.normal(size=(30, 5, 2))
        rare = np.array([1e-12, 1.0]) / (1.0 + 1e-12)
        arguments = {"temperature": 2e-4, "offsets": "as given"}
        game = MaxMinGame(rewards, rare, **arguments)
        if process is not None:
            steps = [StepPayoff(r[:, None], np.zeros(1)) for r in rewards[:4]]
            reference = np.broadcast_to(rare, (5, 1, 2))
            game = MaxMinGame(steps, reference, process=process, **arguments)
        assert solve(game).certificate.bound.high <= 1e-10
