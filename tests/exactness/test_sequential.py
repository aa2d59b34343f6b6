"""Exact equilibria on processes: Newton against the convex program, extragradient and others."""

from math import sqrt

import numpy as np
import pytest

import nlhf
from nlhf import (
    Discounted,
    FiniteHorizon,
    Histories,
    LowRankPreference,
    MarkovGame,
    Policy,
    SoftBellman,
    Stream,
    TokenTree,
    TokenwiseMixture,
    TrajectoryGame,
    certify,
    solve,
)
from nlhf.errors import Approximate, HypothesisViolated, Unsupported
from nlhf.exact.sequence_form import sequence_form
from nlhf.exact.sequential import solve_sequential
from nlhf.exact.soft_response import SoftResponses
from nlhf.results import Stop
from tests.instances import complete
from tests.processes.drawn import random_mdp, random_preference

TEMPERATURES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)
KINDS = {
    "uniform": lambda rng, *shape: rng.random(shape),
    "tournament": lambda rng, *shape: np.round(rng.random(shape)),
    "ties": lambda rng, *shape: np.full(shape, 0.5),
    "mixed": lambda rng, *shape: rng.choice([0.0, 0.5, 0.5, 1.0], size=shape),
}
SETTINGS = ("steps", "last states", "both", "low rank", "discounted", "histories", "tokens")


def stream(*labels):
    return Stream(8).child("sequential", *map(str, labels)).generator()


def spread(rng, *shape):
    """Distributions with entries down to about 1e-6."""
    weights = 10.0 ** rng.uniform(-6, 0, shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def low_rank(rng, count, rank):
    features = rng.normal(size=(count, rank))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    skew = rng.normal(size=(rank, rank))
    skew = skew - skew.T
    return LowRankPreference(features, 0.5 * skew / np.linalg.norm(skew, 2))


def game_of(setting, temperature, rng, kind="uniform", deterministic=False):
    """Four states, two actions, three steps; two steps on histories, three tokens on a tree."""

    def preference(count, *stages):
        return complete(KINDS[kind](rng, *stages, count, count))

    mdp = random_mdp(rng, states=4, actions=2, successors=1 if deterministic else 2)
    mu, finite = spread(rng, 3, 4, 2), FiniteHorizon(mdp, 3)
    if setting == "tokens":
        tree = TokenTree(3, 3)
        return TrajectoryGame(tree, preference(27), spread(rng, *tree.shape), temperature)
    if setting == "histories":
        tree = Histories(mdp, 2)
        return TrajectoryGame(tree, preference(tree.leaves), spread(rng, *tree.shape), temperature)
    if setting == "discounted":
        process = Discounted(mdp, rng.choice([0.0, 0.5, 0.9, 0.99]))
        return MarkovGame(process, preference(8), reference=mu[0], temperature=temperature)
    compared = {
        "steps": {"step": preference(8, 3)},
        "last states": {"final": preference(4)},
        "both": {"step": preference(8), "final": preference(4), "final_weight": 0.3},
        "low rank": {"step": low_rank(rng, 8, 4)},
    }[setting]
    return MarkovGame(finite, reference=mu, temperature=temperature, **compared)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_temperature_ends_certified(setting, kind):
    for k, temperature in enumerate(TEMPERATURES):
        rng = stream(setting, kind, temperature)
        solution = solve(game_of(setting, temperature, rng, kind, deterministic=k % 3 == 2))
        assert solution.stop is Stop.SOLVER
        assert solution.certificate.bound.high <= 1e-12


@pytest.mark.parametrize("setting", SETTINGS)
def test_extragradient_arrives_at_the_same_policy(setting):
    for temperature in (1.0, 0.1):
        game = game_of(setting, temperature, stream("iterated", setting, temperature))
        exact = solve(game)
        iterated = solve(game, nlhf.Extragradient(), stop=nlhf.StopRule(gap=1e-12))
        gap = iterated.certificate.bound.high
        assert gap <= 1e-12
        apart = exact.profile[0], iterated.profile[0]
        divergence = game.spaces[0].divergence(apart[1], apart[0]).value
        assert temperature * divergence <= gap + exact.certificate.bound.high


def test_a_tree_is_solved_by_its_sequences_and_by_its_tokens():
    for temperature in TEMPERATURES:
        game = game_of("tokens", temperature, stream("two ways", temperature))
        by_sequences, by_tokens = solve(game).policy, solve_sequential(game).policy
        np.testing.assert_allclose(by_tokens.probabilities, by_sequences, rtol=0, atol=1e-9)
        assert certify(game, by_tokens).bound.high <= 1e-12


def test_trees_of_several_prompts_are_solved_at_once():
    rng = stream("prompts")
    preference, mu = random_preference(rng, 8, 3), spread(rng, 3, 7, 2)
    for temperature in (0.05, 0.0):
        together = solve(TrajectoryGame(TokenTree(2, 3, 3), preference, mu, temperature))
        assert together.certificate.per_context.max() <= 1e-12
        for x in range(3):
            alone = solve(TrajectoryGame(TokenTree(2, 3), preference[x], mu[x], temperature))
            np.testing.assert_allclose(together.policy[x], alone.policy, rtol=0, atol=1e-9)
    game = TrajectoryGame(TokenTree(2, 3, 3), preference, mu, 0.1)
    with pytest.raises(Unsupported, match="3 contexts"):
        solve_sequential(game)


@pytest.mark.parametrize("temperature", [1.0, 0.01, 0.0])
def test_a_preference_over_last_states_is_one_game_in_two_forms(temperature):
    rng = stream("last states", temperature)
    mdp, final = random_mdp(rng, states=3, actions=2, successors=2), random_preference(rng, 3)
    mu = spread(rng, 3, 3, 2)
    histories = Histories(mdp, 3)
    short = MarkovGame(FiniteHorizon(mdp, 3), final=final, reference=mu, temperature=temperature)
    ends = histories.last_states
    long = TrajectoryGame(
        histories, final[np.ix_(ends, ends)], histories.remembering(mu), temperature
    )
    markov, remembers = solve(short).log_policy, solve(long).log_policy
    assert certify(long, Policy(histories.remembering(markov))).bound.high <= 1e-11
    if temperature > 0.0:
        lifted = np.exp(histories.remembering(markov))
        np.testing.assert_allclose(np.exp(remembers), lifted, rtol=0, atol=1e-9)
        _, leaves = histories.flow(remembers)
        _, last = short.process.flow(markov)
        np.testing.assert_allclose(np.bincount(ends, leaves, minlength=3), last, rtol=0, atol=1e-12)


@pytest.mark.parametrize("setting", ["both", "discounted", "histories"])
def test_large_systems_are_solved_iteratively_and_alike(setting, monkeypatch):
    for temperature in (0.1, 1e-3):
        game = game_of(setting, temperature, stream("krylov", setting, temperature))
        eliminated = solve(game).policy
        monkeypatch.setattr("nlhf.exact.sequential._ELIMINATED", 0)
        iterated = solve(game)
        assert iterated.certificate.bound.high <= 1e-12
        np.testing.assert_allclose(iterated.policy, eliminated, rtol=0, atol=1e-9)
        monkeypatch.undo()


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_tangents_are_those_of_the_responses(setting):
    game = game_of(setting, 0.2, stream("tangents", setting))
    form = sequence_form(game)
    responses = SoftResponses(form, game.reference.log_probabilities, game.temperature)
    rng = stream("directions", setting)
    at, direction = rng.normal(size=(2, form.dimension)) / form.dimension
    moved, variance = responses.moved(responses.to(at), direction[:, None])
    steps, last, _ = responses.to(at).moved(responses.payoffs(direction[:, None]))
    assert responses.width == steps.size + last.size
    step = 1e-5
    ahead, behind = (responses.to(at + sign * step * direction) for sign in (1, -1))
    slope = (ahead.statistics(form) - behind.statistics(form)) / (2 * step)
    np.testing.assert_allclose(moved[:, 0], slope, rtol=0, atol=1e-8 * np.abs(slope).max() + 1e-9)
    # The variance is twice the divergence caused, to second order.
    logs = Policy(ahead.log_policy), Policy(behind.log_policy)
    divergence = game.spaces[0].divergence(*logs).value
    assert variance[0] == pytest.approx(2 * divergence / (2 * step) ** 2, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_temperature_zero_ends_certified_and_names_its_choices(setting, kind):
    for trial in range(3):
        game = game_of(setting, 0.0, stream("zero", setting, kind, trial), kind, trial == 2)
        solution = solve(game)
        assert solution.certificate.bound.value <= 1e-10
        assert any("never comes" in choice for choice in solution.provenance.choices)
        assert not np.isnan(solution.log_policy).any()


def test_the_reference_is_played_where_an_equilibrium_never_comes():
    """The first of the first tokens wins whatever follows; after the other nothing is decided."""
    rng = stream("unseen")
    mu = spread(rng, 3, 2)
    order = np.array([0, 1, 2, 3])
    preference = np.where(order[:, None] == order, 0.5, order[:, None] < order)
    policy = solve(TrajectoryGame(TokenTree(2, 2), preference, mu)).policy
    np.testing.assert_array_equal(policy[:2], [[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(policy[2], mu[2], rtol=1e-14)


def test_small_temperatures_come_close_to_temperature_zero():
    """What a nat may cost is the most that a regularised equilibrium can be exploited for."""
    for setting in SETTINGS:
        rng = (stream("limit", setting) for _ in range(2))
        cold, frozen = game_of(setting, 1e-4, next(rng)), game_of(setting, 0.0, next(rng))
        gap = certify(frozen, solve(cold).profile[0]).bound.value
        nats = cold.process.length * -cold.reference.log_probabilities.min()
        assert gap <= 2 * 1e-4 * nats


def test_control_a_tokenwise_mixture_ends_elsewhere():
    rng = stream("tokenwise")
    preference, mu = random_preference(rng, 8), spread(rng, 7, 2)
    tree = TokenTree(2, 3)
    games = [
        TrajectoryGame(tree, preference, mu, 0.1, realiser=r)
        for r in (
            SoftBellman(),
            TokenwiseMixture(),
        )
    ]
    stop = nlhf.StopRule(gap=1e-12, max_iterations=400)
    right, wrong = (solve(game, nlhf.Extragradient(), stop=stop) for game in games)
    assert right.certificate.bound.value <= 1e-12
    assert wrong.certificate.bound.value >= 1e-6


def test_control_the_equilibrium_of_another_temperature_has_a_gap():
    for setting in SETTINGS:
        rng = (stream("wrong", setting) for _ in range(2))
        game, other = game_of(setting, 0.1, next(rng)), game_of(setting, 0.11, next(rng))
        assert certify(game, solve(other).profile[0]).bound.value >= 1e-9


def test_a_branch_that_stalls_says_so(monkeypatch):
    monkeypatch.setattr("nlhf.exact.sequential._MAX_SYSTEMS", 2)
    game = game_of("both", 1e-3, stream("stalled"))
    with pytest.warns(Approximate, match="stalled after"):
        solution = solve(game)
    assert solution.stop is Stop.STALLED
    assert solution.certificate.bound.value >= 1e-6


def test_the_branch_needs_a_temperature():
    with pytest.raises(HypothesisViolated, match="needs a positive one"):
        solve_sequential(game_of("both", 0.0, stream("no temperature")))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.1, 1e-2, 1e-3])
@pytest.mark.parametrize("name", ["FrozenLake8x8-v1", "Taxi-v4"])
def test_real_environments_are_solved(name, temperature):
    pytest.importorskip("gymnasium")
    from nlhf.spaces.importers import from_gymnasium
    from nlhf.spaces.mdp import Unreachable

    mdp = from_gymnasium(name, unreachable=Unreachable.KEEP).mdp
    rng = stream("environments", name)
    for rank in (2, 4):
        step = low_rank(rng, mdp.states * mdp.actions, rank)
        for process in (FiniteHorizon(mdp, 50), Discounted(mdp, 0.95)):
            solution = solve(MarkovGame(process, step, temperature=temperature))
            assert solution.certificate.bound.high <= 1e-12


def test_the_distance_bound_holds_between_two_solvers():
    for temperature in (1.0, 0.1):
        game = game_of("steps", temperature, stream("distance", temperature))
        exact, rough = solve(game), solve(game, nlhf.Extragradient(), stop=nlhf.StopRule(gap=1e-4))
        visits = [game.process.visits(s.log_policy)[..., None] * s.policy for s in (exact, rough)]
        apart = max(np.abs(a - b).sum() for a, b in zip(*visits, strict=True))
        assert apart <= sqrt(rough.certificate.bound.high / temperature)
