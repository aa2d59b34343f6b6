"""Certificates of games on processes against their definition, trajectory by trajectory."""

import numpy as np
import pytest

from nlhf import (
    Discounted,
    FiniteHorizon,
    Histories,
    MarkovGame,
    Policy,
    Stream,
    TokenTree,
    TrajectoryGame,
    certify,
    solve,
)
from nlhf.spaces.mdp import MDP
from tests.processes.drawn import random_mdp, random_preference
from tests.sequential_definition import (
    Process,
    deterministic_markov,
    duality_gap,
    markov,
    payoffs,
    remembering,
)

TEMPERATURES = (1.0, 0.1, 1e-2, 1e-3, 0.0)


def stream(*labels):
    return Stream(3).child("certificates of processes", *map(str, labels)).generator()


def table_of(mdp):
    return mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states)


def spread(rng, *shape):
    """Distributions with entries down to about 1e-6."""
    weights = 10.0 ** rng.uniform(-6, 0, shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def stepwise(step, final, weight, actions):
    """Compare two trajectories step by step and by their last states."""

    def compare(left, right):
        pairs = [
            step[h][
                left[2 * h] * actions + left[2 * h + 1], right[2 * h] * actions + right[2 * h + 1]
            ]
            for h in range(len(left) // 2)
        ]
        return (1 - weight) * float(np.mean(pairs)) + weight * final[left[-1], right[-1]]

    return compare


def numbered(process, preference):
    """Compare two trajectories by their places in the order of all."""
    place = {t: i for i, t in enumerate(process.histories(process.horizon))}
    return lambda left, right: preference[place[left], place[right]]


def agrees(certificate, exact):
    """Within the stated rounding, and to the digits that a gap of rounding size has left."""
    assert abs(certificate.bound.value - float(exact)) <= (
        certificate.bound.high - certificate.bound.low + 1e-11 * float(exact) + 1e-24
    )
    assert certificate.bound.low - 1e-30 <= float(exact) <= certificate.bound.high + 1e-30


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_markov_game_is_judged_as_its_definition_says(temperature):
    rng = stream("markov", temperature)
    mdp = random_mdp(rng, states=2, actions=2, successors=2)
    step, final = random_preference(rng, 4, 3), random_preference(rng, 2)
    mu = spread(rng, 3, 2, 2)
    game = MarkovGame(
        FiniteHorizon(mdp, 3), step, final, 0.3, reference=mu, temperature=temperature
    )
    process = Process(table_of(mdp), mdp.initial, 3)
    compare = stepwise(step, final, 0.3, 2)
    reference = markov(game.reference.log_probabilities)
    equilibrium = solve(game).log_policy
    for log_policy in (equilibrium, np.log(spread(rng, 3, 2, 2)), np.log(mu)):
        exact = duality_gap(process, compare, markov(log_policy), reference, temperature)
        agrees(certify(game, Policy(log_policy)), exact)
    # Among all policies with a memory: the Markov equilibrium is one of the whole game.
    assert duality_gap(process, compare, markov(equilibrium), reference, temperature) <= 1e-12


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_game_of_histories_is_judged_as_its_definition_says(temperature):
    rng = stream("histories", temperature)
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    histories = Histories(mdp, 2)
    preference = random_preference(rng, histories.leaves)
    mu = spread(rng, *histories.shape)
    game = TrajectoryGame(histories, preference, mu, temperature)
    process = Process(table_of(mdp), mdp.initial, 2)
    compare = numbered(process, preference)
    reference = remembering(process, game.reference.log_probabilities)
    for log_policy in (solve(game).log_policy, np.log(spread(rng, *histories.shape))):
        policy = remembering(process, log_policy)
        exact = duality_gap(process, compare, policy, reference, temperature)
        agrees(certify(game, Policy(log_policy)), exact)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_token_tree_is_judged_as_its_definition_says(temperature):
    rng = stream("tokens", temperature)
    tree = TokenTree(3, 2)
    preference, mu = random_preference(rng, 9), spread(rng, *tree.shape)
    game = TrajectoryGame(tree, preference, mu, temperature)
    process = Process(np.ones((1, 3, 1)), np.ones(1), 2)
    compare = numbered(process, preference)
    reference = remembering(process, game.reference.log_probabilities)
    for log_policy in (solve(game).log_policy, np.log(spread(rng, *tree.shape))):
        policy = remembering(process, log_policy)
        exact = duality_gap(process, compare, policy, reference, temperature)
        agrees(certify(game, Policy(log_policy)), exact)


def test_no_deterministic_policy_beats_the_certificate_at_temperature_zero():
    rng = stream("enumeration")
    mdp = random_mdp(rng, states=2, actions=2, successors=2)
    step, final = random_preference(rng, 4, 3), random_preference(rng, 2)
    game = MarkovGame(FiniteHorizon(mdp, 3), step, final, 0.4)
    process = Process(table_of(mdp), mdp.initial, 3)
    log_policy = np.log(spread(rng, 3, 2, 2))
    faced = payoffs(process, stepwise(step, final, 0.4, 2), markov(log_policy))

    def earned(logs):
        chances = np.array([float(process.chance(t)) for t in faced])
        played = [
            all(markov(logs)(t[: 2 * h + 1])[t[2 * h + 1]] == 0.0 for h in range(3)) for t in faced
        ]
        return float(chances[played] @ np.array([float(faced[t]) for t in faced])[played])

    best = max(earned(logs) for logs in deterministic_markov(3, 2, 2))
    assert certify(game, Policy(log_policy)).bound.value == pytest.approx(
        2 * (best - 0.5), abs=1e-13
    )


@pytest.mark.parametrize("temperature", [0.3, 0.03, 0.0])
def test_a_discounted_game_is_one_with_an_explicit_stop(temperature):
    """Every pair of a state and an action gets an absorbing state: stopped after that step."""
    rng = stream("stop", temperature)
    discount, horizon = 0.5, 45
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    step, mu = random_preference(rng, 6), spread(rng, 3, 2)
    table = np.zeros((9, 2, 9))
    table[:3, :, :3] = discount * table_of(mdp)
    for s, a in np.ndindex(3, 2):
        table[s, a, 3 + 2 * s + a] = 1 - discount
    table[np.arange(3, 9), :, np.arange(3, 9)] = 1.0
    final = np.full((9, 9), 0.5)
    final[3:, 3:] = step
    both = np.concatenate([mu, np.full((6, 2), 0.5)])
    explicit = MarkovGame(
        FiniteHorizon(MDP(table, np.concatenate([mdp.initial, np.zeros(6)])), horizon),
        final=final,
        reference=both,
        temperature=temperature,
    )
    endless = MarkovGame(Discounted(mdp, discount), step, reference=mu, temperature=temperature)

    def stopping(policy):
        return np.broadcast_to(np.concatenate([policy, both[3:]]), (horizon, 9, 2))

    cut = 100 * discount**horizon
    equilibrium = solve(endless).policy
    assert certify(explicit, stopping(equilibrium)).bound.value <= 1e-12 + cut
    for policy in (equilibrium, mu, spread(rng, 3, 2)):
        assert certify(endless, policy).bound.value == pytest.approx(
            certify(explicit, stopping(policy)).bound.value, abs=cut
        )
    if temperature > 0.0:
        early = solve(explicit).policy[0, :3]
        np.testing.assert_allclose(early, equilibrium, atol=1e-6)


def test_best_markov_responses_miss_part_of_what_histories_gain():
    """Recorded fact: against trajectory preferences a policy has to remember."""
    missed = []
    for trial in range(20):
        rng = stream("memory", trial)
        mdp = random_mdp(rng, states=2, actions=2, successors=2)
        histories = Histories(mdp, 2)
        game = TrajectoryGame(histories, random_preference(rng, histories.leaves))
        policy = Policy(histories.remembering(np.log(spread(rng, 2, 2, 2))))
        faced = game.payoff_against(policy).leaves
        restricted = max(
            float(np.exp(leaf_logs(histories, logs)) @ faced)
            for logs in deterministic_markov(2, 2, 2)
        )
        gap = certify(game, policy).bound.value
        assert 2 * (restricted - 0.5) <= gap + 1e-13
        missed.append(1.0 - 2 * (restricted - 0.5) / gap)
    assert np.mean(np.array(missed) > 0.01) >= 0.5, missed
    assert max(missed) >= 0.5, missed


def test_control_where_only_last_states_count_memory_brings_nothing():
    for trial in range(5):
        rng = stream("no memory", trial)
        mdp = random_mdp(rng, states=2, actions=2, successors=2)
        histories = Histories(mdp, 2)
        final = random_preference(rng, 2)[np.ix_(histories.last_states, histories.last_states)]
        game = TrajectoryGame(histories, final)
        policy = Policy(histories.remembering(np.log(spread(rng, 2, 2, 2))))
        faced = game.payoff_against(policy).leaves
        restricted = max(
            float(np.exp(leaf_logs(histories, logs)) @ faced)
            for logs in deterministic_markov(2, 2, 2)
        )
        assert certify(game, policy).bound.value == pytest.approx(2 * (restricted - 0.5), abs=1e-13)


def leaf_logs(histories, markov_logs):
    _, leaves = histories.flow(histories.remembering(markov_logs))
    with np.errstate(divide="ignore"):
        return np.log(leaves)


@pytest.mark.parametrize("temperature", [0.1, 0.0])
def test_control_a_policy_moved_by_a_thousandth_has_a_gap(temperature):
    rng = stream("moved", temperature)
    mdp = random_mdp(rng, states=3, actions=2, successors=2)
    game = MarkovGame(FiniteHorizon(mdp, 3), random_preference(rng, 6), temperature=temperature)
    policy = solve(game).policy
    moved = policy + 1e-3 * (policy[..., ::-1] - policy)
    assert certify(game, policy).bound.value <= 1e-12
    assert certify(game, moved).bound.value >= 1e-9
