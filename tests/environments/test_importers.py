"""Imported processes are the environments: the table, entry by entry, and as they are played."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from nlhf import Stream
from nlhf.errors import InvalidProblem, MissingExtra, Unsupported
from nlhf.spaces.importers import (
    Environment,
    Layout,
    from_arrays,
    from_gymnasium,
    to_pymdptoolbox,
)
from nlhf.spaces.mdp import MDP, Unreachable

GAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "FrozenLake 4x4": ("FrozenLake-v1", {"map_name": "4x4", "is_slippery": True}),
    "FrozenLake 8x8": ("FrozenLake-v1", {"map_name": "8x8", "is_slippery": True}),
    "FrozenLake 8x8 firm": ("FrozenLake-v1", {"map_name": "8x8", "is_slippery": False}),
    "Taxi": ("Taxi-v4", {}),
    "Taxi rainy": ("Taxi-v4", {"is_rainy": True}),
    "CliffWalking": ("CliffWalking-v1", {}),
    "CliffWalking slippery": ("CliffWalking-v1", {"is_slippery": True}),
}
EPISODES, STEPS = 1500, 25
FALSE_ALARM = 1e-9


@pytest.fixture(params=GAMES)
def simulator(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = make(request.param)
    yield made
    made.close()


def make(name: str) -> Any:
    gymnasium = pytest.importorskip("gymnasium")
    kind, options = GAMES[name]
    return gymnasium.make(kind, **options).unwrapped


def dense(mdp: MDP) -> np.ndarray:
    return mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states)


def test_the_process_is_the_table_until_an_episode_ends(simulator: Any) -> None:
    found = from_gymnasium(simulator, unreachable=Unreachable.KEEP)
    p, r = dense(found.mdp), np.asarray(found.rewards)
    for state, rows in simulator.P.items():
        for action, outcomes in rows.items():
            expected = np.zeros(found.mdp.states)
            if found.terminal[state]:
                expected[state] = 1.0
                assert r[state, action] == 0.0
            else:
                for probability, following, _, _ in outcomes:
                    expected[following] += probability
                earned = sum(probability * reward for probability, _, reward, _ in outcomes)
                assert r[state, action] == pytest.approx(earned, abs=1e-13)
            np.testing.assert_allclose(p[state, action], expected, atol=1e-15)
    np.testing.assert_allclose(found.mdp.initial, simulator.initial_state_distrib, atol=1e-16)


def test_every_end_that_an_episode_can_come_to_is_terminal(simulator: Any) -> None:
    found = from_gymnasium(simulator, unreachable=Unreachable.DROP)
    kept = found.mdp.kept
    place = {int(state): number for number, state in enumerate(kept)}
    for number in np.flatnonzero(~found.terminal):
        for outcomes in simulator.P[int(kept[number])].values():
            for probability, following, _, done in outcomes:
                if probability > 0:
                    assert found.terminal[place[int(following)]] == done


def test_sizes_and_ends_are_the_documented_ones() -> None:
    taxi = from_gymnasium(make("Taxi"), unreachable=Unreachable.KEEP)
    assert (taxi.mdp.states, taxi.mdp.actions, taxi.terminal.sum()) == (500, 6, 4)
    # 404 = 400 before the passenger is delivered + 4 where he has been (Gymnasium's documentation).
    assert from_gymnasium(make("Taxi"), unreachable=Unreachable.DROP).mdp.states == 404
    cliff = from_gymnasium(make("CliffWalking"), unreachable=Unreachable.DROP)
    assert cliff.mdp.states == 48 - 10
    lake = make("FrozenLake 8x8")
    found = from_gymnasium(lake)
    ends = np.isin(lake.desc.ravel(), [b"H", b"G"])
    np.testing.assert_array_equal(found.terminal, ends)
    for name in ("Taxi", "CliffWalking"):
        with pytest.raises(InvalidProblem, match=r"(96 of 500|10 of 48) states are unreachable"):
            from_gymnasium(make(name))


def played(simulator: Any, policy: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Last states and returns of episodes of a policy (S, A), as `step` plays them."""
    thresholds = policy.cumsum(axis=1)[:, :-1]
    rng = Stream(seed).child("play").generator()
    last, returns = np.empty(EPISODES, dtype=int), np.zeros(EPISODES)
    simulator.reset(seed=seed)
    for episode in range(EPISODES):
        state, _ = simulator.reset()
        for draw in rng.random(STEPS):
            action = int(np.searchsorted(thresholds[state], draw))
            state, reward, terminated, _, _ = simulator.step(action)
            returns[episode] += reward
            if terminated:
                break
        last[episode] = state
    return last, returns


def disagreement(found: Environment, simulator: Any, seed: int) -> tuple[float, float]:
    """How far `step` is from the process, as multiples of what has probability FALSE_ALARM.

    A policy is drawn at random (a uniform one would hide which action does what). Compared are
    the distribution of the last state, on each of six random sets of states, and the mean
    return, both with Hoeffding's inequality.
    """
    mdp, rng = found.mdp, Stream(seed).child("test").generator()
    policy = rng.dirichlet(np.full(mdp.actions, 0.3), size=mdp.states)
    step = np.einsum("sa,sat->st", policy, dense(mdp))
    reward = (policy * found.rewards).sum(axis=1)
    now, expected = mdp.initial, 0.0
    for _ in range(STEPS):
        expected += now @ reward
        now = now @ step
    last, returns = played(simulator, policy, seed)
    sets = rng.random((6, mdp.states)) < 0.5
    allowed = np.sqrt(np.log(2 * 7 / FALSE_ALARM) / (2 * EPISODES))
    off = max(abs(members[last].mean() - now @ members) for members in sets)
    table = [o[2] for rows in simulator.P.values() for each in rows.values() for o in each]
    spread = STEPS * (max(table) - min(table))
    return off / allowed, abs(returns.mean() - expected) / (spread * allowed)


def test_playing_the_environment_follows_the_process(simulator: Any) -> None:
    """All seven comparisons hold with probability 1 - 1e-9 together if the import is right."""
    found = from_gymnasium(simulator, unreachable=Unreachable.KEEP)
    assert max(disagreement(found, simulator, 11)) < 1.0


def test_control_playing_another_environment_does_not() -> None:
    firm = from_gymnasium(make("FrozenLake 8x8 firm"))
    assert max(disagreement(firm, make("FrozenLake 8x8"), 11)) > 1.5


def test_a_name_is_made_and_an_absent_gymnasium_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = from_gymnasium("FrozenLake-v1") if make("FrozenLake 4x4") else None
    np.testing.assert_array_equal(
        dense(by_name.mdp), dense(from_gymnasium(make("FrozenLake 4x4")).mdp)
    )
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtra, match=r"nlhf\[interop\]"):
        from_gymnasium("FrozenLake-v1")


def test_environments_without_a_faithful_table_are_refused() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    with pytest.raises(Unsupported, match="BlackjackEnv has no table"):
        from_gymnasium(gymnasium.make("Blackjack-v1"))
    with pytest.raises(Unsupported, match="fickle"):
        from_gymnasium(gymnasium.make("Taxi-v4", fickle_passenger=True))


def chain() -> dict[int, dict[int, list[tuple[Any, ...]]]]:
    """0 moves to 1 or, ending, to 2; 1 moves to 0; 2's own row is never used."""
    return {
        0: {0: [(0.5, 1, 1.0, False), (0.25, 2, 4.0, True), (0.25, 2, 8.0, True)]},
        1: {0: [(1.0, 0, -1.0, False)]},
        2: {0: [(1.0, 0, 9.0, False)]},
    }


def test_a_table_needs_no_gymnasium_and_repeated_successors_are_summed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    found = from_gymnasium(chain(), initial=0)
    np.testing.assert_array_equal(
        found.mdp.transitions.toarray(), [[0, 0.5, 0.5], [1, 0, 0], [0, 0, 1]]
    )
    np.testing.assert_array_equal(found.rewards, [[3.5], [-1.0], [0.0]])
    np.testing.assert_array_equal(found.terminal, [False, False, True])
    with pytest.raises(InvalidProblem, match="does not say where"):
        from_gymnasium(chain())


def test_a_state_that_ends_only_sometimes_is_refused_unless_nothing_happens_there() -> None:
    table = chain()
    table[1][0] = [(1.0, 2, 0.0, False)]
    with pytest.raises(InvalidProblem, match="1 states, first 2, end the episode"):
        from_gymnasium(table, initial=0)
    with pytest.raises(InvalidProblem, match="1 states, first 2, end the episode"):
        from_gymnasium(chain(), initial=[0.5, 0.0, 0.5])
    table[2][0] = [(1.0, 2, 0.0, True)]
    assert from_gymnasium(table, initial=0).terminal[2]
    table[2][0] = [(1.0, 2, 1.0, False)]  # staying there earns something: it matters who enters
    with pytest.raises(InvalidProblem, match="end the episode"):
        from_gymnasium(table, initial=0)


@pytest.mark.parametrize(
    ("state", "outcomes", "message"),
    [
        (0, [(0.5, 1, 0.0, False)], "0.5 in state 0 with action 0"),
        (1, [(1.5, 1, 0.0, False), (-0.5, 0, 0.0, False)], "action 0 in state 1 .* -0.5"),
        (1, [(np.nan, 1, 0.0, False)], "probability nan"),
        (1, [(1.0, 3, 0.0, False)], "leads to state 3 .* 3 states"),
        (1, [(1.0, 0.5, 0.0, False)], "leads to state 0.5"),
        (1, [(1.0, -1, 0.0, False)], "leads to state -1"),
        (1, [(1.0, 0, np.inf, False)], "reward inf"),
        (1, [(1.0, 0, 0.0)], "cannot be read"),
        (1, [("all", 0, 0.0, False)], "cannot be read"),
        (1, [], "1 of 3 rows .* 0 in state 1 with action 0"),
        (1, None, "outcomes of action 0 in state 1 are None"),
    ],
)
def test_a_malformed_row_is_refused_with_its_place(state: int, outcomes: Any, message: str) -> None:
    table = chain()
    table[state][0] = outcomes
    with pytest.raises(InvalidProblem, match=message):
        from_gymnasium(table, initial=0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "states of the table"),
        ({1: {0: []}}, "states of the table"),
        ({0: {}}, "actions of state 0"),
        ({0: {0: [(1.0, 0, 0.0, False)]}, 1: {1: []}}, "actions of state 1"),
        ({0: {0: [(1.0, 0, 0.0, False)], 1: []}, 1: {0: []}}, "actions of state 1"),
        ({0: 3}, "actions of state 0"),
    ],
)
def test_a_table_with_wrong_numbers_is_refused(table: Any, message: str) -> None:
    with pytest.raises(InvalidProblem, match=message):
        from_gymnasium(table, initial=0)


STATES, ACTIONS = 5, 3


def arrays(seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Transitions and rewards of transitions, both (S, A, S)."""
    rng = Stream(seed).child("arrays").generator()
    p = rng.dirichlet(np.full(STATES, 0.5), size=(STATES, ACTIONS))
    return p, rng.standard_normal(p.shape)


def test_both_layouts_dense_and_sparse_are_the_same_environment() -> None:
    p, r = arrays()
    expected = np.einsum("sat,sat->sa", p, r)
    theirs, their_rewards = p.swapaxes(0, 1), r.swapaxes(0, 1)
    listed = [sparse.csr_matrix(each) for each in theirs]
    listed_rewards = [sparse.csr_matrix(each) for each in their_rewards]
    flat, flat_rewards = (sparse.csr_array(x.reshape(-1, STATES)) for x in (p, r))
    for found in (
        from_arrays(p, r, initial=0),
        from_arrays(p, expected, initial=0),
        from_arrays(flat, flat_rewards, initial=0),
        from_arrays(flat, r, initial=0),
        from_arrays(theirs, their_rewards, initial=0, layout=Layout.PYMDPTOOLBOX),
        from_arrays(list(theirs), expected, initial=0, layout=Layout.PYMDPTOOLBOX),
        from_arrays(listed, listed_rewards, initial=0, layout=Layout.PYMDPTOOLBOX),
        from_arrays(listed, their_rewards, initial=0, layout=Layout.PYMDPTOOLBOX),
    ):
        np.testing.assert_allclose(dense(found.mdp), p, atol=1e-15)
        np.testing.assert_allclose(found.rewards, expected, atol=1e-13)


def test_rewards_of_states_belong_to_every_action_and_none_are_zero() -> None:
    p, r = arrays()
    found = from_arrays(p, r[:, 0, 0], initial=0)
    np.testing.assert_array_equal(found.rewards, np.repeat(r[:, :1, 0], ACTIONS, axis=1))
    assert not from_arrays(p, initial=0).rewards.any()


def test_their_arrays_survive_the_way_there_and_back() -> None:
    mdp = MDP(arrays()[0], 0)
    again = from_arrays(to_pymdptoolbox(mdp), initial=0, layout=Layout.PYMDPTOOLBOX).mdp
    np.testing.assert_allclose(again.transitions.data, mdp.transitions.data, rtol=1e-15)
    np.testing.assert_array_equal(again.transitions.indices, mdp.transitions.indices)


def test_pymdptoolbox_reads_its_rewards_as_we_do() -> None:
    mdp_module = pytest.importorskip("mdptoolbox.mdp")
    p, r = arrays()
    for rewards in (r.swapaxes(0, 1), r[:, :, 0], r[:, 0, 0]):
        theirs = mdp_module.FiniteHorizon(p.swapaxes(0, 1), rewards, 0.9, 1)
        found = from_arrays(p.swapaxes(0, 1), rewards, initial=0, layout=Layout.PYMDPTOOLBOX)
        np.testing.assert_allclose(found.rewards, np.stack(theirs.R, axis=1), atol=1e-14)


def test_dropped_states_lose_their_rewards_and_terminal_ones_are_found() -> None:
    p = np.zeros((4, 1, 4))
    p[[0, 1, 2, 3], 0, [2, 1, 2, 3]] = 1.0
    found = from_arrays(p, [10.0, 11.0, 0.0, 13.0], initial=0, unreachable=Unreachable.DROP)
    np.testing.assert_array_equal(found.rewards, [[10.0], [0.0]])
    np.testing.assert_array_equal(found.terminal, [False, True])
    earning = from_arrays(p, [10.0, 11.0, 0.1, 0.0], initial=0, unreachable=Unreachable.KEEP)
    np.testing.assert_array_equal(earning.terminal, [False, False, False, True])


@pytest.mark.parametrize(
    ("transitions", "rewards", "layout", "message"),
    [
        (arrays()[0], None, Layout.PYMDPTOOLBOX, "transitions have shape"),
        (arrays()[0].swapaxes(0, 1), None, Layout.OURS, "transitions have shape"),
        (np.eye(3)[:2], None, Layout.OURS, "transitions have shape"),
        (sparse.csr_array(np.eye(3)), None, Layout.PYMDPTOOLBOX, "transitions have shape"),
        ([np.eye(2), np.eye(3)], None, Layout.PYMDPTOOLBOX, "transitions have shape"),
        ([], None, Layout.PYMDPTOOLBOX, "transitions have shape"),
        (arrays()[0], np.ones((ACTIONS, STATES)), Layout.OURS, "rewards have shape"),
        (arrays()[0], np.ones(ACTIONS), Layout.OURS, "rewards have shape"),
        (arrays()[0], np.ones((STATES, 2, STATES)), Layout.OURS, "rewards have shape"),
        (arrays()[0], np.full(STATES, np.nan), Layout.OURS, "action 0 in state 0 is nan"),
        (arrays()[0], "high", Layout.OURS, "the rewards cannot be read"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    transitions: Any, rewards: Any, layout: Layout, message: str
) -> None:
    with pytest.raises(InvalidProblem, match=message):
        from_arrays(transitions, rewards, initial=0, layout=layout)


def test_the_layout_can_be_written_as_a_string() -> None:
    p = arrays()[0]
    ours = from_arrays(p, initial=0, layout="ours", unreachable="keep")
    theirs = from_arrays(p.swapaxes(0, 1), initial=0, layout="pymdptoolbox", unreachable="keep")
    np.testing.assert_array_equal(dense(ours.mdp), dense(theirs.mdp))


@pytest.mark.parametrize("junk", ["junk", "", "state, action, next state", "OURS"])
def test_an_unknown_layout_is_refused_by_name(junk: str) -> None:
    with pytest.raises(InvalidProblem, match="'ours', 'pymdptoolbox'"):
        from_arrays(np.full((2, 2, 2), 0.5), initial=0, layout=junk)


def test_an_unknown_fate_of_unreachable_states_is_refused_by_every_importer() -> None:
    with pytest.raises(InvalidProblem, match="'error', 'keep', 'drop'"):
        from_arrays(np.full((2, 2, 2), 0.5), initial=0, unreachable="junk")
    table = {0: {0: [(1.0, 0, 0.0, False)]}, 1: {0: [(1.0, 1, 0.0, False)]}}
    with pytest.raises(InvalidProblem, match="'error', 'keep', 'drop'"):
        from_gymnasium(table, initial=0, unreachable="junk")
    with pytest.raises(InvalidProblem, match="1 of 2 states are unreachable"):
        from_gymnasium(table, initial=0, unreachable="error")
    assert from_gymnasium(table, initial=0, unreachable="keep").mdp.states == 2
    assert from_gymnasium(table, initial=0, unreachable="drop").mdp.states == 1
