"""Games with a general utility: gradients, certificates, optima by several routes."""

from functools import partial

import cvxpy
import numpy as np
import pytest

from nlhf import (
    MDP,
    Discounted,
    Extragradient,
    FiniteHorizon,
    Histories,
    MirrorDescent,
    Policy,
    StopRule,
    Stream,
    TokenTree,
    certify,
    solve,
)
from nlhf.algorithms.loop import iterate
from nlhf.errors import HypothesisViolated, InvalidProblem, Unsupported
from nlhf.exact.reward_flow import reward_flow
from nlhf.exact.utility import ascend, solve_utility
from nlhf.games.maxmin import MaxMinGame
from nlhf.games.occupancy_utilities import GroupWelfare, StateEntropy
from nlhf.games.utility import UtilityGame
from nlhf.games.welfare import NashWelfare, SoftMinimum
from nlhf.results import Stop, Units
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from tests.exactness.maxmin_instances import generator_of, spread
from tests.processes.drawn import random_mdp
from tests.unchecked import raised

SETTINGS = ("bandit", "tokens", "histories", "finite horizon", "discounted")


def population(setting, rng, groups=3):
    """Return (process, rewards, reference) of a small setting; prompts in the first two."""
    mdp = random_mdp(rng, states=4, actions=2, successors=2)
    if setting == "bandit":
        return None, rng.normal(size=(groups, 2, 6)), spread(rng, 2, 6)
    if setting == "tokens":
        process = TokenTree(2, 3, contexts=2)
        rewards = [LeafPayoff(rng.normal(size=(2, 8))) for _ in range(groups)]
    elif setting == "histories":
        process = Histories(mdp, 2)
        rewards = [LeafPayoff(rng.normal(size=process.leaves)) for _ in range(groups)]
    elif setting == "finite horizon":
        process = FiniteHorizon(mdp, 3)
        rewards = [
            StepPayoff(rng.normal(size=process.shape), rng.normal(size=4)) for _ in range(groups)
        ]
    else:
        process = Discounted(mdp, 0.8)
        rewards = [StepPayoff(rng.normal(size=process.shape), np.zeros(4)) for _ in range(groups)]
    return process, rewards, spread(rng, *process.shape)


def prompt_weights(process):
    contexts = (2,) if process is None else process.contexts
    return np.array([0.3, 0.7]) if contexts else np.ones(1)


def game_of(setting, welfare, temperature, *labels):
    """Return a game; `welfare` is made from what the groups get under the reference."""
    process, rewards, mu = population(setting, generator_of("utility", setting, *labels))
    weights = prompt_weights(process)
    plain = MaxMinGame(rewards, mu, 1.0, process=process, offsets="as given", weights=weights)
    utility = GroupWelfare(rewards, welfare(plain.utilities(plain.reference)))
    return UtilityGame(utility, mu, temperature, process=process, weights=weights)


def bargaining(at_reference):
    return NashWelfare(at_reference, [0.5, 0.3, 0.2])


def soft(at_reference):
    return SoftMinimum(1.0, [0.5, 0.3, 0.2])


def generous(at_reference):
    """A Nash welfare that no policy can bring to zero."""
    return NashWelfare(at_reference - 20.0, [0.5, 0.3, 0.2])


def run(game, algorithm, gap):
    """Run an algorithm, whether or not `solve` knows the game."""
    rule = StopRule(gap=gap, max_iterations=5000)
    return iterate(game, algorithm, lambda profile: certify(game, profile), rule, Stream(0))


def random_policy(game, *labels):
    return Policy.of(spread(generator_of("policy", *labels), *game.reference.probabilities.shape))


@pytest.mark.parametrize("setting", SETTINGS)
def test_means_over_occupancies_are_those_of_the_space(setting):
    game = game_of(setting, soft, 0.1)
    policy = random_policy(game, setting)
    occupancy = game.occupancy(policy)
    for reward in game.utility.rewards:
        assert occupancy.mean(reward) == pytest.approx(game.spaces[0].mean(policy, reward))


def test_occupancies_are_the_probabilities_of_what_happens():
    rng = generator_of("brute force")
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    table = mdp.transitions.toarray().reshape(3, 2, 3)
    game = UtilityGame(StateEntropy(), process=FiniteHorizon(mdp, 3))
    policy = random_policy(game, "brute force")
    p = policy.probabilities
    expected, last = np.zeros((3, 3, 2)), np.zeros(3)
    for path in np.ndindex(*(3, 2) * 3, 3):
        states, actions = path[::2], path[1::2]
        chance = mdp.initial[states[0]]
        for h in range(3):
            chance *= p[h, states[h], actions[h]] * table[states[h], actions[h], states[h + 1]]
        for h in range(3):
            expected[h, states[h], actions[h]] += chance
        last[states[3]] += chance
    occupancy = game.occupancy(policy)
    np.testing.assert_allclose(occupancy.actions, expected, atol=1e-14)
    np.testing.assert_allclose(occupancy.last, last, atol=1e-14)
    stationary = UtilityGame(StateEntropy(), process=Discounted(mdp, 0.5))
    policy = random_policy(stationary, "stationary")
    moves = np.einsum("sa,sat->st", policy.probabilities, table)
    here, total = mdp.initial, np.zeros(3)
    for t in range(60):  # 2^-60 is left
        total, here = total + 0.5 ** (t + 1) * here, here @ moves
    expected = total[:, None] * policy.probabilities
    np.testing.assert_allclose(stationary.occupancy(policy).actions, expected, atol=1e-14)


@pytest.mark.parametrize("welfare", [soft, generous])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_operator_is_the_derivative_of_the_utility(setting, welfare):
    game = game_of(setting, welfare, 0.1)
    p, q = random_policy(game, setting, 1), random_policy(game, setting, 2)
    gradient = game.operator((p,)).payoffs[0]
    space, value = game.spaces[0], lambda policy: game.utility.value(game.occupancy(policy))
    step = 1e-6
    ahead = value(space.mixture([(p, 1.0 - step), (q, step)])) - value(p)
    slope = space.mean(q, gradient) - space.mean(p, gradient)
    assert ahead / step == pytest.approx(slope, rel=1e-4, abs=1e-7)
    # A concave function lies below its tangents.
    assert value(q) <= value(p) + slope + 1e-12


@pytest.mark.parametrize("temperature", [0.0, 0.1])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_certificate_bounds_what_any_policy_does_better(setting, temperature):
    game = game_of(setting, soft, temperature)
    policy = random_policy(game, setting, 3)
    certificate = certify(game, policy)
    others = [random_policy(game, setting, other) for other in range(4, 16)]
    others += [game.reference, certificate.witness[0], ascend(game, most=20).policy]
    better = max(game.primal(other) for other in others) - game.primal(policy)
    assert 0.0 < better <= certificate.bound.high


@pytest.mark.parametrize("welfare", [bargaining, soft])
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_exact_optimum_is_certified(setting, temperature, welfare):
    game = game_of(setting, welfare, temperature)
    found = solve_utility(game)
    assert found.converged
    assert certify(game, found.policy).bound.high <= 1e-12


@pytest.mark.parametrize("welfare", [bargaining, soft])
@pytest.mark.parametrize("setting", SETTINGS)
def test_newton_on_exchange_rates_and_mirror_ascent_find_one_policy(setting, welfare):
    game = game_of(setting, welfare, 0.1)
    exact, iterated = solve_utility(game), ascend(game)
    assert iterated.converged
    gap = certify(game, iterated.policy).bound.high
    apart = game.spaces[0].divergence(iterated.policy, exact.policy).value
    assert 0.1 * apart <= gap + 1e-12


@pytest.mark.parametrize("welfare", [bargaining, soft])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_conic_program_over_occupancies_finds_the_same_optimum(setting, welfare):
    temperature = 0.3
    game = game_of(setting, welfare, temperature)
    value, policy = conic_optimum(game)
    exact = solve_utility(game).policy
    assert game.primal(exact) == pytest.approx(value, abs=1e-6)
    # τ KL(π‖π*) is at most what π lacks of the optimum.
    lacks = game.primal(exact) - game.primal(policy)
    assert -1e-10 <= lacks <= 1e-6
    assert temperature * game.spaces[0].divergence(policy, exact).value <= lacks + 1e-10


def conic_optimum(game):
    """Maximise over occupancies: flow conservation, logarithms and relative entropies."""
    utility, tau = game.utility, game.temperature
    shape = game.reference.log_probabilities.shape
    flow = reward_flow(game.process, shape, game.prompt_weights, utility.rewards)
    graph, welfare = flow.graph, utility.welfare
    o = cvxpy.Variable(len(flow.rewards), nonneg=True)
    utilities = flow.rewards.T @ o
    if isinstance(welfare, NashWelfare):
        value = welfare.proportions @ cvxpy.log(utilities - welfare.disagreement)
    else:
        logits = -utilities / welfare.temperature + np.log(welfare.proportions)
        value = -welfare.temperature * cvxpy.log_sum_exp(logits)
    visits = graph.owner @ (graph.owner.T @ o)
    price = cvxpy.sum(cvxpy.rel_entr(o, visits))
    price -= game.reference.log_probabilities.reshape(-1) @ o
    problem = cvxpy.Problem(
        cvxpy.Maximize(value - tau * price), [(graph.owner - graph.moves).T @ o == graph.start]
    )
    return problem.solve(solver=cvxpy.CLARABEL), flow.policy(o.value, game.reference)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_soft_minimum_is_maxmin_with_a_group_temperature(setting):
    game = game_of(setting, soft, 0.5)
    rewards, weights = game.utility.rewards, game.prompt_weights
    rewards = rewards if game.process is None else list(rewards)
    robust = MaxMinGame(
        rewards,
        game.reference,
        0.5,
        proportions=[0.5, 0.3, 0.2],
        group_temperature=1.0,
        offsets="as given",
        weights=weights,
        process=game.process,
    )
    maxmin, utility = solve(robust).profile[0], ascend(game).policy
    gap = certify(game, utility).bound.high
    assert 0.5 * game.spaces[0].divergence(utility, maxmin).value <= gap + 1e-12
    assert game.primal(maxmin) == pytest.approx(robust.primal(maxmin), abs=1e-12)


@pytest.mark.parametrize("method", [MirrorDescent, Extragradient])
@pytest.mark.parametrize("welfare", [generous, soft])
def test_methods_of_games_run_with_the_step_that_the_bound_allows(method, welfare):
    game = game_of("bandit", welfare, 0.5)
    assert np.isfinite(game.lipschitz)
    found = run(game, method(), 1e-10)
    assert found.stop is Stop.CERTIFIED
    exact = solve_utility(game).policy
    assert game.spaces[0].divergence(found.profile[0], exact).value <= 1e-9


def test_without_a_bound_a_step_is_a_choice():
    game = game_of("bandit", bargaining, 0.5)
    assert game.lipschitz == np.inf
    with pytest.raises(HypothesisViolated, match="no step size is proven"):
        run(game, Extragradient(), 1e-9)
    chosen = Extragradient(step_size=0.05, unproven=True)
    found = run(game, chosen, 1e-9)
    assert found.stop is Stop.CERTIFIED


@pytest.mark.parametrize("welfare", [generous, soft])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_lipschitz_constant_bounds_gradients_and_their_changes(setting, welfare):
    game = game_of(setting, welfare, 0.1)
    for number in range(8):
        p, q = (random_policy(game, setting, number, which) for which in "pq")
        first, second = (game.operator((policy,)).payoffs[0] for policy in (p, q))
        change = first - second
        space = game.spaces[0]

        def half_range(payoff, space=space):
            ends = (space.best_response(payoff), space.best_response(payoff * -1.0))
            means = [space.mean(end, payoff) for end in ends]
            return (means[0] - means[1]) / 2.0

        apart = np.sqrt(2.0 * space.divergence(p, q).value)  # Pinsker: at least ‖p − q‖₁
        assert half_range(first) <= game.lipschitz * (1 + 1e-12)
        assert half_range(change) <= game.lipschitz * apart * (1 + 1e-12)


def test_the_bargain_does_not_depend_on_units_and_origins_where_kl_is_free():
    rng = generator_of("units")
    rewards, mu = rng.normal(size=(3, 8)), spread(rng, 8)
    d = rewards @ mu
    scale, shift = np.array([1.0, 10.0, 0.03]), np.array([5.0, -2.0, 0.0])
    for temperature in (1.0, 0.01):
        plain = UtilityGame(GroupWelfare(rewards, NashWelfare(d)), mu, temperature)
        moved = scale[:, None] * rewards + shift[:, None]
        other = UtilityGame(GroupWelfare(moved, NashWelfare(scale * d + shift)), mu, temperature)
        # φ changes by a constant, Σ η log scale, and the price of KL not at all.
        first, second = solve_utility(plain).policy, solve_utility(other).policy
        np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-9)
    # A soft minimum adds utilities up: it does depend on units.
    policies = [
        solve_utility(
            UtilityGame(GroupWelfare(r, SoftMinimum(0.1, np.ones(3) / 3)), mu, 0.1)
        ).policy.probabilities
        for r in (rewards, scale[:, None] * rewards)
    ]
    assert np.abs(policies[0] - policies[1]).max() > 1e-3


def test_two_groups_that_divide_a_cake_share_it_by_proportions():
    """Nash 1950 in one line: max η log p + (1 − η) log(1 − p) at p = η."""
    game = UtilityGame(GroupWelfare(np.eye(2), NashWelfare([0.0, 0.0], [0.7, 0.3])), None, 0.0)
    found = solve_utility(game)
    np.testing.assert_allclose(found.policy.probabilities, [0.7, 0.3], atol=1e-6)
    cold = UtilityGame(GroupWelfare(np.eye(2), NashWelfare([0.0, 0.0], [0.7, 0.3])), None, 1e-9)
    np.testing.assert_allclose(solve_utility(cold).policy.probabilities, [0.7, 0.3], atol=1e-6)


def test_a_disagreement_that_a_group_cannot_beat_is_refused_with_numbers():
    rewards = np.array([[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(InvalidProblem, match=r"group 1 gets at most 1 .* 1\.5"):
        UtilityGame(GroupWelfare(rewards, NashWelfare([0.0, 1.5])), None, 0.1)
    with pytest.raises(InvalidProblem, match="no policy gives every group more") as caught:
        UtilityGame(GroupWelfare(rewards, NashWelfare([0.6, 0.6])), None, 0.1)
    assert "0.5, 0.5" in str(caught.value)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_run_starts_where_every_group_has_more_than_without_an_agreement(setting):
    game = game_of(setting, bargaining, 0.1)
    (start,) = game.start()
    gains = game.utility.utilities(game.occupancy(start)) - game.utility.welfare.disagreement
    assert gains.min() > 0.0
    assert np.isfinite(start.log_probabilities).all()


def test_a_certificate_outside_the_domain_is_refused():
    game = game_of("bandit", bargaining, 0.1)
    with pytest.raises(HypothesisViolated, match="without an agreement"):
        certify(game, game.reference)


@pytest.mark.parametrize(
    "make", [lambda mdp: Discounted(mdp, 0.9), lambda mdp: FiniteHorizon(mdp, 4)]
)
@pytest.mark.parametrize("temperature", [0.3, 0.03])
def test_exploration_is_certified_and_beats_other_policies(make, temperature):
    rng = generator_of("exploration")
    process = make(random_mdp(rng, states=5, actions=3, successors=2))
    game = UtilityGame(StateEntropy(), None, temperature, process=process, units=Units.NATS)
    found = solve_utility(game)
    assert found.converged
    assert certify(game, found.policy).bound.high <= 1e-11
    best = game.primal(found.policy)
    assert all(game.primal(random_policy(game, n)) < best for n in range(15))


def test_a_ring_is_explored_uniformly():
    """From a uniform start every walk that is as likely to turn either way stays uniform."""
    states = 5
    table = np.zeros((states, 2, states))
    for s in range(states):
        table[s, 0, (s + 1) % states] = table[s, 1, (s - 1) % states] = 1.0
    process = Discounted(MDP(table, np.full(states, 1.0 / states)), 0.9)
    game = UtilityGame(StateEntropy(), None, 0.1, process=process)
    policy = solve_utility(game).policy
    np.testing.assert_allclose(policy.probabilities, 0.5, atol=1e-6)
    assert game.utility.value(game.occupancy(policy)) == pytest.approx(np.log(states))


def test_the_entropy_of_states_needs_states():
    with pytest.raises(Unsupported, match="Markov decision process"):
        UtilityGame(StateEntropy(), process=TokenTree(2, 2, contexts=2))
    with pytest.raises(Unsupported, match="Markov decision process"):
        UtilityGame(StateEntropy(), np.full(3, 1.0 / 3.0))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: GroupWelfare(np.eye(3), NashWelfare([0.0, 0.0])), "3 groups of rewards and 2"),
        (lambda: GroupWelfare(np.full((2, 2), np.nan), NashWelfare([0, 0])), "4 entries"),
        (lambda: NashWelfare([0.0, np.inf]), "disagreement"),
        (lambda: NashWelfare([0.0, 0.0], [1.0, 0.0]), "proportions"),
        (lambda: SoftMinimum(0.0, [0.5, 0.5]), "temperature of the soft minimum"),
        (lambda: UtilityGame(StateEntropy()), "how many responses"),
    ],
)
def test_wrong_arguments_are_refused(make, said):
    with pytest.raises(InvalidProblem, match=said):
        make()


@pytest.mark.parametrize("number", range(4))
def test_a_bargain_over_almost_nothing_is_not_said_to_have_converged_unless_it_has(
    monkeypatch, number
):
    # No policy gives all three groups much more than the reference does. Exchange rates are 1e4,
    # with rounding errors that the dual does not see.
    monkeypatch.setattr("nlhf.exact.utility.ascend", partial(ascend, most=20))
    rewards = 100.0 * generator_of("almost nothing", number).normal(size=(3, 2))
    welfare = NashWelfare(rewards.mean(axis=1) - 1e-4)
    game = UtilityGame(GroupWelfare(rewards, welfare), None, 0.05)
    found = solve_utility(game)
    gap = certify(game, found.policy).bound.value
    assert not found.converged or gap <= 1e-9


def test_rewards_in_place_of_a_utility_are_refused_in_words():
    calls = ["nlhf.UtilityGame(np.eye(2))", "nlhf.UtilityGame([[1.0, 0.0]])"]
    for kind, message in raised("", calls).values():
        assert kind == "InvalidProblem"
        assert "has no gradient" in message


def test_control_a_policy_of_other_exchange_rates_is_not_certified():
    game = game_of("bandit", bargaining, 0.1)
    other = game_of("bandit", lambda d: NashWelfare(d, [0.49, 0.31, 0.2]), 0.1)
    assert certify(game, solve_utility(other).policy).bound.value > 1e-6
