"""Zero-sum games on decision processes: their payoffs, their contract, and three routes to them."""

from itertools import product

import cvxpy as cp
import numpy as np
import pytest

import nlhf
from nlhf import Extragradient, FiniteHorizon, MarkovGame, Stop, StopRule, certify, solve
from nlhf.algorithms.published import (
    Average,
    MirrorDescent,
    NashMD,
    OptimisticMirrorDescent,
    ProximalPoint,
)
from nlhf.errors import Approximate, InvalidProblem, Unsupported
from nlhf.exact import sequential
from nlhf.games.zero_sum_markov import ZeroSumMarkovGame
from nlhf.spaces.policy import Policy
from nlhf.testing import check_game
from nlhf.testing.games import reached
from nlhf.testing.instances import random_policy
from tests.processes.drawn import random_mdp, random_preference

ENDLESS = nlhf.Discounted(nlhf.MDP(np.ones((1, 4, 1)), [1.0]), 0.9)


def made(seed, *, states=3, actions=2, horizon=3, temperatures=(0.2, 0.1), varies=True, scale=1.0):
    rng = np.random.default_rng([31, seed])
    process = FiniteHorizon(random_mdp(rng, states=states, actions=actions, successors=2), horizon)
    pairs = states * actions
    shape = (horizon, pairs, pairs) if varies else (pairs, pairs)
    references = [random_policy(rng, process.shape) for _ in range(2)]
    return ZeroSumMarkovGame(process, scale * rng.normal(size=shape), references, temperatures)


def profiles(seed, game):
    rng = np.random.default_rng([37, seed])
    return tuple(random_policy(rng, game.process.shape) for _ in range(2))


def trajectories(process, policy):
    """Yield (probability, pairs) of every trajectory, from the definition."""
    moves = process.mdp.transitions.toarray()
    horizon, states, actions = process.shape
    for places in product(range(states * actions), repeat=horizon):
        chance = process.mdp.initial[places[0] // actions]
        for h, pair in enumerate(places):
            chance *= policy.probabilities[h, pair // actions, pair % actions]
            if h + 1 < horizon:
                chance *= moves[pair, places[h + 1] // actions]
        if chance > 0.0:
            yield chance, places


@pytest.mark.parametrize("varies", [True, False])
def test_payoffs_are_means_over_pairs_of_trajectories(varies):
    game = made(0, states=2, varies=varies)
    profile = profiles(0, game)
    a = np.broadcast_to(game.step.matrix, (3, 4, 4))
    first, second = (list(trajectories(game.process, policy)) for policy in profile)
    expected = sum(
        p * q * np.mean([a[h, i, j] for h, (i, j) in enumerate(zip(x, y, strict=True))])
        for (p, x), (q, y) in product(first, second)
    )
    row, column = game.operator(profile).payoffs
    means = [
        float(space.mean(policy, payoff)[0])
        for space, policy, payoff in zip(game.spaces, profile, (row, column), strict=True)
    ]
    np.testing.assert_allclose(means, [expected, -expected], rtol=1e-12)


@pytest.mark.parametrize("varies", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_game_keeps_the_contract(varies):
    game = made(1, horizon=2, temperatures=(1.0, 0.8), varies=varies)
    report = check_game(game, profiles=reached(game, 3))
    assert not report.notes


@pytest.mark.slow
def test_without_temperatures_it_keeps_the_contract_but_for_rates():
    report = check_game(made(2, temperatures=(0.0, 0.0)))
    assert [note for note in report.notes if not note.startswith("settles")] == []


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.001])
def test_newton_closes_the_gap(temperature):
    for seed in range(2):
        game = made(seed, horizon=2, temperatures=(temperature, 3.0 * temperature))
        assert solve(game).certificate.bound.high <= 1e-12


@pytest.mark.slow
def test_payoffs_large_in_temperatures_are_no_trouble():
    game = made(5, states=5, actions=3, horizon=5, temperatures=(1e-2, 1e-3), scale=10.0)
    assert solve(game).certificate.bound.high <= 1e-10


@pytest.mark.parametrize("temperature", [0.5, 0.05])
def test_with_skew_payoffs_it_is_the_markov_game(temperature):
    rng = np.random.default_rng(3)
    process = FiniteHorizon(random_mdp(rng, states=4, actions=2, successors=3), 3)
    p, mu = random_preference(rng, 8), random_policy(rng, process.shape)
    both = ZeroSumMarkovGame(process, p - 0.5, (mu, mu), (temperature, temperature))
    alone = MarkovGame(process, p, reference=mu, temperature=temperature)
    expected = solve(alone).profile[0]
    for policy in solve(both).profile:
        np.testing.assert_allclose(policy.probabilities, expected.probabilities, atol=1e-10)
    played = profiles(3, both)[0]
    gap = certify(alone, played).bound.value
    assert certify(both, (played, played)).bound.value == pytest.approx(gap, rel=1e-10)


def test_one_state_and_one_step_are_the_zero_sum_game():
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(4, 4))
    process = FiniteHorizon(nlhf.MDP(np.ones((1, 4, 1)), [1.0]), 1)
    mu, nu = rng.dirichlet(np.ones(4), size=2)
    plain = nlhf.ZeroSumGame(matrix, (mu, nu), (0.1, 0.3))
    game = ZeroSumMarkovGame(process, matrix, (mu, nu), (0.1, 0.3))
    for ours, theirs in zip(solve(game).profile, solve(plain).profile, strict=True):
        np.testing.assert_allclose(ours.probabilities[0, 0], theirs.probabilities, atol=1e-10)


def test_changing_sides_changes_nothing_else():
    game = made(6)
    turned = ZeroSumMarkovGame(
        game.process,
        -np.swapaxes(game.step.matrix, 1, 2),
        game.references[::-1],
        game.temperatures[::-1],
    )
    for ours, theirs in zip(solve(game).profile, solve(turned).profile[::-1], strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-10)


def conic_program(game):
    """The row player's problem over occupancies, and a policy that solves it.

    The column player's soft values are concave in what it faces, hence in the row's occupancies.
    """
    horizon, states, actions = game.process.shape
    moves, initial = game.process.mdp.transitions.toarray(), game.process.mdp.initial
    (mu, nu), (t1, t2) = (r.probabilities for r in game.references), game.temperatures
    a = np.broadcast_to(game.step.matrix, (horizon, states * actions, states * actions))
    d = [cp.Variable((states, actions), nonneg=True) for _ in range(horizon)]
    values, cost, constraints = np.zeros(states), 0.0, []
    arriving = initial
    for h in range(horizon):
        here = cp.sum(d[h], axis=1)
        constraints.append(here == arriving)
        arriving = moves.T @ cp.vec(d[h], order="C")
        together = cp.multiply(mu[h], here[:, None] @ np.ones((1, actions)))
        cost += cp.sum(cp.rel_entr(d[h], together))
    for h in reversed(range(horizon)):
        faced = a[h].T @ cp.vec(d[h], order="C") / horizon + moves @ values
        values = cp.hstack(
            [
                -t2
                * cp.log_sum_exp(-faced[s * actions : (s + 1) * actions] / t2 + np.log(nu[h, s]))
                for s in range(states)
            ]
        )
    program = cp.Problem(cp.Maximize(initial @ values - t1 * cost), constraints)
    value = program.solve(solver=cp.CLARABEL)
    occupancy = np.maximum([x.value for x in d], 1e-300)
    return value, Policy.of(occupancy / occupancy.sum(-1, keepdims=True))


def secured(game, policy):
    """What a policy secures, its own KL paid: by the best response of the column player."""
    _, faced = game.operator((policy, game.references[1])).payoffs
    space, t = game.spaces[1], game.temperatures
    reply = space.prox(faced, [(game.references[1], t[1])]).strategy
    paid = (
        float(space.mean(reply, faced)[0])
        - t[1] * space.divergence(reply, game.references[1]).value
    )
    return -paid - t[0] * game.spaces[0].divergence(policy, game.references[0]).value


def agree(game, profile, policy):
    """Check that another policy is as near as what it secures says, and return what it lacks."""
    gap = certify(game, profile).bound.high
    assert gap <= 1e-10
    short = secured(game, profile[0]) - secured(game, policy)
    apart = game.temperatures[0] * game.spaces[0].divergence(policy, profile[0]).value
    assert -1e-12 - gap <= short
    assert apart <= short + gap + 1e-12
    return short


@pytest.mark.parametrize("seed", range(3))
def test_a_conic_program_over_occupancies_finds_the_same_policy(seed):
    game = made(seed)
    value, policy = conic_program(game)
    profile = solve(game).profile
    assert secured(game, profile[0]) == pytest.approx(value, abs=1e-6)
    assert agree(game, profile, policy) <= 1e-5


def test_the_comparison_rejects_other_policies_and_temperatures():
    """Control: neither a perturbed answer nor that of a warmer game passes."""
    game = made(0)
    _, theirs = conic_program(game)
    policy, reply = solve(game).profile
    warmer = ZeroSumMarkovGame(game.process, game.step.matrix, game.references, (0.22, 0.1))
    moved = Policy.of(0.99 * policy.probabilities + 0.005)
    for wrong in ((moved, reply), solve(warmer).profile):
        with pytest.raises(AssertionError):
            agree(game, wrong, theirs)


@pytest.mark.parametrize(
    "algorithm",
    [
        Extragradient(),
        MirrorDescent(),
        OptimisticMirrorDescent(),
        ProximalPoint(inner_steps=4),
        NashMD(),
    ],
    ids=repr,
)
def test_every_algorithm_runs_on_it_unchanged(algorithm):
    game = made(8, horizon=2, temperatures=(1.0, 0.8))
    start = certify(game, game.start()).bound.value
    biased = isinstance(algorithm, NashMD)
    rule = StopRule(gap=1e-9, max_iterations=100 if biased else 2000)
    found = solve(game, algorithm, stop=rule)
    assert found.certificate.bound.high <= (0.1 * start if biased else 1e-9)
    if not biased:
        assert found.stop is Stop.CERTIFIED
        exact = solve(game).profile
        for ours, theirs in zip(found.profile, exact, strict=True):
            space, t = game.spaces[0], min(game.temperatures)
            assert t * space.divergence(ours, theirs).value <= 1e-9


@pytest.mark.slow
def test_without_temperatures_averages_approach_an_equilibrium():
    game = made(9, temperatures=(0.0, 0.0))
    found = solve(game, Average(OptimisticMirrorDescent()), stop=StopRule(gap=3e-2))
    assert found.certificate.bound.high <= 3e-2


def test_a_branch_that_stalls_warns_and_says_so(monkeypatch):
    monkeypatch.setattr(sequential, "_MAX_SYSTEMS", 1)
    with pytest.warns(Approximate, match="stalled after"):
        found = solve(made(0, temperatures=(1e-3, 1e-3)))
    assert found.stop is Stop.STALLED


@pytest.mark.parametrize("temperatures", [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1)])
def test_temperature_zero_is_referred_to_algorithms(temperatures):
    with pytest.raises(Unsupported, match="name an algorithm"):
        solve(made(0, temperatures=temperatures))


def test_it_says_what_it_is():
    game = made(0)
    assert repr(game) == f"ZeroSumMarkovGame({game.process!r}, temperatures=(0.2, 0.1))"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"process": nlhf.TokenTree(2, 2)}, Unsupported, "TokenTree"),
        ({"process": ENDLESS}, Unsupported, "FiniteHorizon"),
        ({"step": np.eye(3)}, InvalidProblem, r"step payoff has shape \(3, 3\).*\(6, 6\)"),
        ({"step": np.zeros((2, 6, 6))}, InvalidProblem, "leading axis of 3"),
        ({"step": np.full((6, 6), np.nan)}, InvalidProblem, "nan"),
        ({"step": np.full((6, 6), 1e200)}, InvalidProblem, "1e.200"),
        ({"references": (None,)}, InvalidProblem, "references"),
        ({"references": (None, [1.0, 0.0])}, InvalidProblem, "reference entry"),
        ({"temperatures": (0.1, -1.0)}, InvalidProblem, "-1.0"),
        ({"temperatures": (0.1,)}, InvalidProblem, "temperatures"),
    ],
)
def test_what_makes_no_game_is_refused_with_its_numbers(change, error, said):
    arguments = {"process": made(0).process, "step": np.zeros((6, 6))} | change
    with pytest.raises(error, match=said):
        ZeroSumMarkovGame(**arguments)
