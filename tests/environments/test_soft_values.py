"""Soft value iteration: by enumeration, by the variational identity, in its limits; controls."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nlhf import Stream
from nlhf.errors import HypothesisViolated, InvalidProblem, SolverFailed
from nlhf.exact.backward_induction import SoftValues, soft_value_iteration
from nlhf.numerics import kl_divergence
from nlhf.spaces.importers import to_pymdptoolbox
from nlhf.spaces.mdp import MDP, Unreachable
from nlhf.spaces.policy import Policy

SEEDS = st.integers(0, 10**6)
TEMPERATURES = st.sampled_from([1e-3, 0.05, 0.7, 20.0])


def instance(
    seed: int, states: int = 4, actions: int = 3, *, deterministic: bool = False
) -> tuple[MDP, np.ndarray, Policy]:
    rng = Stream(seed).child("soft").generator()
    p = rng.dirichlet(np.full(states, 0.4), size=(states, actions))
    if deterministic:
        p = np.eye(states)[rng.integers(states, size=(states, actions))]
    mdp = MDP(p, 0, unreachable=Unreachable.KEEP)
    reference = Policy.of(rng.dirichlet(np.full(actions, 0.8), size=states))
    return mdp, rng.standard_normal((states, actions)), reference


def dense(mdp: MDP) -> np.ndarray:
    return mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states)


def over_sequences(
    mdp: MDP, rewards: np.ndarray, reference: Policy, temperature: float, horizon: int
) -> np.ndarray:
    """τ log E_μ exp(R/τ), over all sequences of actions and of states."""
    p, mu = dense(mdp), reference.probabilities
    values = np.empty(mdp.states)
    for start in range(mdp.states):
        logs = []
        for actions in product(range(mdp.actions), repeat=horizon):
            for later in product(range(mdp.states), repeat=horizon):
                path = (start, *later)
                steps = list(zip(path[:-1], actions, path[1:], strict=True))
                weight = np.prod([mu[s, a] * p[s, a, t] for s, a, t in steps])
                if weight > 0:
                    logs.append(
                        np.log(weight) + sum(rewards[s, a] for s, a, _ in steps) / temperature
                    )
        values[start] = temperature * np.logaddexp.reduce(logs)
    return values


@given(SEEDS, TEMPERATURES)
def test_a_deterministic_process_has_the_free_energy_of_its_action_sequences(seed, temperature):
    mdp, rewards, reference = instance(seed, states=3, actions=2, deterministic=True)
    expected = over_sequences(mdp, rewards, reference, temperature, 3)
    found = soft_value_iteration(
        mdp, rewards, temperature=temperature, reference=reference, horizon=3
    )
    np.testing.assert_allclose(found.values[0], expected, atol=1e-12)


def test_control_a_stochastic_process_has_not():
    """That free energy would reward luck: it tilts the transitions as well."""
    mdp, rewards, reference = instance(1, states=3, actions=2)
    lucky = over_sequences(mdp, rewards, reference, 0.5, 3)
    found = soft_value_iteration(mdp, rewards, temperature=0.5, reference=reference, horizon=3)
    assert (lucky > found.values[0] + 1e-3).all()


def regularised_return(
    mdp: MDP, rewards: np.ndarray, reference: Policy, temperature: float, played: list[Policy]
) -> tuple[float, list[np.ndarray]]:
    """J = E[Σ r − τ KL(π‖μ)] forwards in time, and the distributions of the state."""
    now, total, visited = np.asarray(mdp.initial), 0.0, []
    for policy in played:
        visited.append(now)
        pull = kl_divergence(policy.log_probabilities, reference.log_probabilities)
        pi = policy.probabilities
        total += now @ ((pi * rewards).sum(axis=1) - temperature * pull)
        now = np.einsum("s,sa,sat->t", now, pi, dense(mdp))
    return float(total), visited


def policies(found: SoftValues) -> list[Policy]:
    return [found.policy(step) for step in range(len(found.values) - 1)]


@given(SEEDS, TEMPERATURES)
def test_any_policy_falls_short_by_its_divergence_from_the_optimal_one(seed, temperature):
    """V − J(π) = τ E_π Σ_h KL(π_h‖π*_h): optimality, and by how much, in one identity."""
    mdp, rewards, reference = instance(seed)
    found = soft_value_iteration(
        mdp, rewards, temperature=temperature, reference=reference, horizon=4
    )
    best = policies(found)
    rng = Stream(seed).child("other").generator()
    others = [Policy.of(rng.dirichlet(np.ones(mdp.actions), size=mdp.states)) for _ in range(4)]
    for played in (best, others):
        earned, visited = regularised_return(mdp, rewards, reference, temperature, played)
        short = temperature * sum(
            now @ kl_divergence(mine.log_probabilities, theirs.log_probabilities)
            for now, mine, theirs in zip(visited, played, best, strict=True)
        )
        assert found.start == pytest.approx(earned + short, abs=1e-10 * (1 + short))
    assert found.error <= 1e-11 * (1 + temperature)


def test_control_the_identity_notices_a_wrong_temperature():
    mdp, rewards, reference = instance(2)
    found = soft_value_iteration(mdp, rewards, temperature=0.5, reference=reference, horizon=4)
    earned, _ = regularised_return(mdp, rewards, reference, 0.6, policies(found))
    assert abs(found.start - earned) > 1e-3


@given(SEEDS, st.integers(1, 5), st.integers(1, 6))
def test_temperature_costs_at_most_its_entropy(seed, horizon, actions):
    """0 <= V_0 − V_τ <= H τ log A, for the uniform reference."""
    mdp, rewards, _ = instance(seed, actions=actions)
    hard = soft_value_iteration(mdp, rewards, temperature=0, horizon=horizon).values
    for temperature in (1.0, 1e-3, 1e-9):
        soft = soft_value_iteration(mdp, rewards, temperature=temperature, horizon=horizon).values
        steps = np.arange(horizon, -1, -1)[:, None]
        assert (hard - soft >= -1e-12).all()
        assert (hard - soft <= steps * temperature * np.log(actions) + 1e-12).all()


@given(SEEDS, st.integers(1, 70))
def test_hot_values_are_those_of_the_reference(seed, actions):
    """V_τ = E_μ[R] + Var/(2τ) + …: within H²/(8τ)·range² of the reference's own value."""
    mdp, rewards, reference = instance(seed, states=3, actions=actions)
    found = soft_value_iteration(mdp, rewards, temperature=1e6, reference=reference, horizon=3)
    earned, _ = regularised_return(mdp, rewards, reference, 0.0, [reference] * 3)
    spread = 3 * (rewards.max() - rewards.min())
    # The 1e-8 is rounding: values are 1e-6 of the unit they are computed in.
    assert -1e-8 <= found.start - earned <= 3 * spread**2 / 8e6 + 1e-8


@given(SEEDS, TEMPERATURES, st.floats(-50, 50))
def test_shifts_scales_and_final_values_act_as_they_must(seed, temperature, shift):
    mdp, rewards, reference = instance(seed)
    scale = max(1.0, abs(shift))

    def value(r: np.ndarray, tau: float, final: np.ndarray | None = None) -> np.ndarray:
        return soft_value_iteration(
            mdp, r, temperature=tau, reference=reference, horizon=3, discount=0.9, final=final
        ).values[0]

    base = value(rewards, temperature)
    np.testing.assert_allclose(
        value(rewards + shift, temperature), base + shift * (1 + 0.9 + 0.81), atol=1e-11 * scale
    )
    np.testing.assert_allclose(value(3 * rewards, 3 * temperature), 3 * base, atol=1e-11)
    np.testing.assert_allclose(
        value(rewards, temperature, np.full(4, shift)), base + shift * 0.729, atol=1e-11 * scale
    )


@given(SEEDS, TEMPERATURES)
def test_a_horizon_is_a_shorter_one_with_its_values_at_the_end(seed, temperature):
    mdp, rewards, reference = instance(seed)
    long = soft_value_iteration(
        mdp, rewards, temperature=temperature, reference=reference, horizon=5
    )
    short = soft_value_iteration(
        mdp,
        rewards,
        temperature=temperature,
        reference=reference,
        horizon=3,
        final=long.values[3],
    )
    np.testing.assert_allclose(short.values, long.values[:4], atol=1e-12 * (1 + temperature))


@given(SEEDS, st.sampled_from([0.0, 1e-3, 0.7]), st.sampled_from([0.0, 0.5, 0.97]))
def test_stationary_values_are_a_fixed_point_within_the_stated_error(seed, temperature, discount):
    mdp, rewards, reference = instance(seed)
    kwargs = {"temperature": temperature, "reference": reference, "discount": discount}
    found = soft_value_iteration(mdp, rewards, accuracy=1e-10, **kwargs)
    assert found.error <= 1e-10
    again = soft_value_iteration(mdp, rewards, horizon=1, final=found.values[0], **kwargs)
    np.testing.assert_allclose(again.values[0], found.values[0], atol=2e-10)
    coarse = soft_value_iteration(mdp, rewards, accuracy=0.1, **kwargs)
    assert np.abs(coarse.values - found.values).max() <= coarse.error + found.error
    assert coarse.sweeps <= found.sweeps


@given(SEEDS, st.sampled_from([0.0, 1e-3, 0.7]))
def test_a_backup_contracts_by_the_discount(seed, temperature):
    mdp, rewards, reference = instance(seed)
    u, v = Stream(seed).child("values").generator().standard_normal((2, mdp.states))

    def backed(final: np.ndarray) -> np.ndarray:
        return soft_value_iteration(
            mdp,
            rewards,
            temperature=temperature,
            reference=reference,
            horizon=1,
            discount=0.8,
            final=final,
        ).values[0]

    assert np.abs(backed(u) - backed(v)).max() <= 0.8 * np.abs(u - v).max() + 1e-12
    assert (backed(np.maximum(u, v)) >= np.maximum(backed(u), backed(v)) - 1e-12).all()


@given(SEEDS)
def test_actions_outside_the_reference_are_never_played(seed):
    mdp, rewards, _ = instance(seed)
    rewards[:, 1] = 100.0
    reference = Policy.of(np.tile([0.5, 0.0, 0.5], (4, 1)))
    without = MDP(dense(mdp)[:, [0, 2]], 0, unreachable=Unreachable.KEEP)
    for temperature in (0.0, 0.3):
        found = soft_value_iteration(
            mdp, rewards, temperature=temperature, reference=reference, horizon=3
        )
        expected = soft_value_iteration(
            without, rewards[:, [0, 2]], temperature=temperature, horizon=3
        )
        np.testing.assert_allclose(found.values, expected.values, atol=1e-13)
        assert (found.policy(0).probabilities[:, 1] == 0).all()


def sparse_instance(seed: int, states: int, actions: int) -> tuple[MDP, np.ndarray]:
    rng = Stream(seed).child("sparse").generator()
    p = np.zeros((states, actions, states))
    for state, action in product(range(states), range(actions)):
        p[state, action, rng.integers(states, size=3)] = rng.exponential(size=3)
    p /= p.sum(axis=-1, keepdims=True)
    return MDP(p, 0, unreachable=Unreachable.KEEP), rng.standard_normal((states, actions))


@pytest.mark.filterwarnings("ignore:Comparing a sparse matrix")
@given(SEEDS, st.sampled_from([0.3, 0.95, 1.0]))
def test_temperature_zero_is_pymdptoolbox(seed, discount):
    toolbox = pytest.importorskip("mdptoolbox.mdp")
    mdp, rewards = sparse_instance(seed, 12, 4)
    try:
        theirs = toolbox.FiniteHorizon(to_pymdptoolbox(mdp), rewards, discount, 9)
    except toolbox._error.StochasticError:  # a row further than ten roundings from 1
        assume(False)
    theirs.run()
    found = soft_value_iteration(mdp, rewards, temperature=0, horizon=9, discount=discount)
    np.testing.assert_allclose(found.values, theirs.V.T, atol=1e-12)
    for step in range(9):
        np.testing.assert_array_equal(
            found.policy(step).probabilities.argmax(axis=1), theirs.policy[:, step]
        )
    soft = soft_value_iteration(mdp, rewards, temperature=1e-14, horizon=9, discount=discount)
    np.testing.assert_allclose(soft.values, theirs.V.T, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Comparing a sparse matrix")
def test_stationary_values_at_temperature_zero_are_pymdptoolbox_policy_iteration():
    toolbox = pytest.importorskip("mdptoolbox.mdp")
    mdp, rewards = sparse_instance(7, 30, 4)
    dense_ = np.stack([each.toarray() for each in to_pymdptoolbox(mdp)])
    theirs = toolbox.PolicyIteration(dense_, rewards, 0.95)
    theirs.run()
    found = soft_value_iteration(mdp, rewards, temperature=0, discount=0.95, accuracy=1e-11)
    np.testing.assert_allclose(found.values[0], theirs.V, atol=2e-11)
    np.testing.assert_array_equal(
        found.policy().probabilities.argmax(axis=1), np.array(theirs.policy)
    )


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_blocks_do_not_show(temperature, monkeypatch):
    mdp, rewards = sparse_instance(8, 11, 3)
    whole = soft_value_iteration(mdp, rewards, temperature=temperature, horizon=4)
    for size in (1, 6, 12):  # 1, 2 and 4 states at a time; the last block is shorter
        monkeypatch.setattr("nlhf.spaces.backup._IN_CACHE", size)
        parts = soft_value_iteration(mdp, rewards, temperature=temperature, horizon=4)
        np.testing.assert_allclose(parts.values, whole.values, rtol=1e-14, atol=1e-14)


def solve(**changes: object) -> SoftValues:
    mdp, rewards, _ = instance(3)
    arguments = {"rewards": rewards, "temperature": 0.1, "horizon": 2} | changes
    return soft_value_iteration(mdp, **arguments)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"horizon": None}, HypothesisViolated, "infinite horizon with discount 1"),
        ({"horizon": None, "discount": 0.5, "final": np.zeros(4)}, InvalidProblem, "no horizon"),
        ({"horizon": 0}, InvalidProblem, "horizon is 0"),
        ({"temperature": -0.1}, InvalidProblem, "temperature is -0.1"),
        ({"temperature": np.nan}, InvalidProblem, "temperature is nan"),
        ({"temperature": 1e-310}, InvalidProblem, "overflow"),
        ({"discount": 1.1}, InvalidProblem, "discount 1.1"),
        ({"rewards": np.zeros((4, 2))}, InvalidProblem, r"shape \(4, 2\)"),
        ({"rewards": np.full((4, 3), np.inf)}, InvalidProblem, "12 entries that are not finite"),
        ({"final": np.zeros(3)}, InvalidProblem, r"final values have shape \(3,\)"),
        ({"reference": Policy.of(np.full(3, 1 / 3))}, InvalidProblem, r"shape \(3,\)"),
        ({"horizon": None, "discount": 0.99, "accuracy": 1e-18}, HypothesisViolated, "rounding"),
        ({"horizon": None, "discount": 0.99, "max_sweeps": 3}, SolverFailed, "after 3 backups"),
    ],
)
def test_what_has_no_answer_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        solve(**changes)


def test_there_is_one_policy_per_step():
    with pytest.raises(InvalidProblem, match="no step 2"):
        solve().policy(2)
    with pytest.raises(InvalidProblem, match="no step -1"):
        solve().policy(-1)
    stationary = solve(horizon=None, discount=0.5)
    np.testing.assert_array_equal(
        stationary.policy(0).log_probabilities, stationary.policy(9).log_probabilities
    )


def test_the_error_is_one_of_every_step_not_of_the_first_alone():
    # One state, one action, no reward: V_h = γ^(H-h) V_H exactly, and late values are the largest.
    mdp, last, gamma = MDP(np.ones((1, 1, 1)), 0), 1e6 / 3, 0.1
    found = soft_value_iteration(
        mdp, np.zeros((1, 1)), temperature=0.1, horizon=60, discount=gamma, final=[last]
    )
    exact = [Fraction(last) * Fraction(gamma) ** (60 - h) for h in range(61)]
    off = [abs(Fraction(float(v)) - e) for v, e in zip(found.values[:, 0], exact, strict=True)]
    assert max(off) <= found.error
    assert found.error < 1e-8
