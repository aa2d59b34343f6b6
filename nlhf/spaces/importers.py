"""Markov decision processes from elsewhere: Gymnasium's toy-text tables, pymdptoolbox's arrays."""

import reprlib
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem, MissingExtra, Unsupported
from nlhf.results import chosen, float_array, read_only
from nlhf.spaces.mdp import MDP, Unreachable, reachable_states


@unique
class Layout(StrEnum):
    """The order of axes of transition and reward arrays."""

    OURS = "ours"
    """State, action, next state: dense ``(S, A, S)``, or ``(S·A, S)`` with row ``s·A + a``, dense
    or sparse."""
    PYMDPTOOLBOX = "pymdptoolbox"
    """Action, state, next state: dense ``(A, S, S)``, or a sequence of A matrices ``(S, S)``, dense
    or sparse."""


@dataclass(frozen=True, slots=True, eq=False)
class Environment:
    """A process together with its expected rewards.

    Attributes:
        mdp: Transitions and the initial distribution.
        rewards: r(s, a) = E[reward | s, a], shape ``(S, A)``; read-only.
        terminal: States in which nothing happens any more: every action stays there and earns 0;
            shape ``(S,)``, read-only.
    """

    mdp: MDP
    rewards: Float[np.ndarray, "state action"]
    terminal: Bool[np.ndarray, "state"]


def from_gymnasium(
    source: Any,
    *,
    initial: ArrayLike | None = None,
    unreachable: Unreachable | str = Unreachable.ERROR,
) -> Environment:
    """Return the process that a tabular Gymnasium environment simulates, without its time limit.

    States that are entered with ``terminated = True`` become terminal: whatever the table says of
    leaving them is never used by the environment.

    Args:
        source: An environment with a table (FrozenLake, Taxi, CliffWalking), the name of one, or
            the table itself, ``P[state][action] = [(probability, next, reward, terminated), …]``.
        initial: The distribution of the first state or its number; the environment's own if
            `None`, needed with a table.
        unreachable: What becomes of states that are never reached: Taxi has 96 of them,
            CliffWalking 10.

    Raises:
        MissingExtra: If a name is given and Gymnasium is not installed.
        Unsupported: If the environment has no table, or does not follow it.
        InvalidProblem: If the table is malformed, its probabilities are not distributions, or a
            state ends the episode when entered one way and continues it when entered another.
    """
    unreachable = chosen(Unreachable, unreachable, "unreachable")
    table = source if isinstance(source, Mapping) else None
    if table is None:
        environment = _made(source) if isinstance(source, str) else source
        environment = getattr(environment, "unwrapped", environment)
        table = getattr(environment, "P", None)
        if not isinstance(table, Mapping):
            raise Unsupported(
                f"{type(environment).__name__} has no table P of transition probabilities",
                "only tabular environments can be read; pass arrays to from_arrays otherwise",
            )
        if getattr(environment, "fickle_passenger", False):
            raise Unsupported(
                "Taxi with fickle_passenger=True changes destinations outside its table",
                "make it with fickle_passenger=False; is_rainy=True is in the table and can stay",
            )
        if initial is None:
            initial = getattr(environment, "initial_state_distrib", None)
    if initial is None:
        raise InvalidProblem(
            "the table does not say where an episode starts",
            "pass initial=, a distribution over states or the number of a state",
        )
    outcomes = _Outcomes.of(table)
    # Entries are validated here; only the ends of episodes have to be settled before reachability.
    raw = MDP(
        outcomes.matrix(outcomes.probability),
        initial,
        actions=outcomes.actions,
        unreachable=Unreachable.KEEP,
    )
    ended = outcomes.ends(raw.initial)
    rows = np.repeat(ended, outcomes.actions)
    transitions = _absorbing(raw.transitions, rows)
    mdp = MDP(transitions, raw.initial, actions=outcomes.actions, unreachable=unreachable)
    earned = outcomes.expected_reward()
    earned[rows] = 0.0
    return _environment(mdp, earned.reshape(-1, outcomes.actions))


def from_arrays(
    transitions: Any,
    rewards: Any = None,
    *,
    initial: ArrayLike,
    layout: Layout | str = Layout.OURS,
    unreachable: Unreachable | str = Unreachable.ERROR,
) -> Environment:
    """Return the process that these arrays define.

    Args:
        transitions: In the given layout.
        rewards: Of states, shape ``(S,)``, of states and actions, shape ``(S, A)`` in either
            layout, or of transitions, in the layout of the transitions; they are averaged over
            next states. 0 if `None`.
        initial: The distribution of the first state, shape ``(S,)``, or its number.
        layout: The order of the axes: "ours" or "pymdptoolbox".
        unreachable: What becomes of states that are never reached.

    Raises:
        InvalidProblem: If shapes disagree with the layout or with each other, probabilities are
            not distributions, or a reward is not finite.
    """
    layout = chosen(Layout, layout, "layout")
    matrix, actions = _stacked("transitions", transitions, layout)
    mdp = MDP(matrix, initial, actions=actions, unreachable=unreachable)
    return _environment(mdp, _expected(rewards, matrix, actions, layout))


def to_pymdptoolbox(mdp: MDP) -> list[Any]:
    """Return the transitions as pymdptoolbox takes them: A sparse matrices of shape ``(S, S)``.

    Its rewards of shape ``(S, A)`` are ours.
    """
    from scipy.sparse import csr_matrix

    return [csr_matrix(mdp.transitions[action :: mdp.actions]) for action in range(mdp.actions)]


def _made(name: str) -> Any:
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        raise MissingExtra.of("gymnasium", "interop") from error
    return gymnasium.make(name)


@dataclass(frozen=True, slots=True, eq=False)
class _Outcomes:
    """A Gymnasium table, one entry per possible outcome; `row` is ``s·A + a``."""

    states: int
    actions: int
    row: Int[np.ndarray, "outcome"]
    probability: Float[np.ndarray, "outcome"]
    following: Int[np.ndarray, "outcome"]
    reward: Float[np.ndarray, "outcome"]
    done: Bool[np.ndarray, "outcome"]

    @classmethod
    def of(cls, table: Mapping[Any, Any]) -> "_Outcomes":
        states, first = len(table), next(iter(table.values()), ())
        actions = len(first) if isinstance(first, Sized) else 0
        _check_numbered("states of the table", table, states)
        entries: list[tuple[int, float, int, float, bool]] = []
        for state in range(states):
            _check_numbered(f"actions of state {state}", table[state], actions)
            for action in range(actions):
                row, given = state * actions + action, table[state][action]
                if not isinstance(given, list | tuple):
                    raise InvalidProblem(
                        f"the outcomes of action {action} in state {state} are "
                        f"{reprlib.repr(given)}",
                        "list them as (probability, next state, reward, terminated)",
                    )
                entries += [(row, *_outcome(each, states, state, action)) for each in given]
        columns = np.array(entries, dtype=np.float64).reshape(-1, 5).T
        rows, probability, following, reward, done = columns
        return cls(
            states,
            actions,
            rows.astype(np.int64),
            probability,
            following.astype(np.int64),
            reward,
            done != 0.0,
        )

    def matrix(self, entries: Float[np.ndarray, "outcome"]) -> Any:
        """Return the sparse matrix of shape ``(S·A, S)`` with these entries, duplicates summed."""
        from scipy.sparse import coo_array

        shape = (self.states * self.actions, self.states)
        return coo_array((entries, (self.row, self.following)), shape=shape)

    def expected_reward(self) -> Float[np.ndarray, "row"]:
        """Return E[reward | s, a] in row ``s·A + a``."""
        rows = self.states * self.actions
        earned = np.bincount(self.row, self.probability * self.reward, minlength=rows)
        return earned / np.bincount(self.row, self.probability, minlength=rows)

    def ends(self, initial: Float[np.ndarray, "state"]) -> Bool[np.ndarray, "state"]:
        """Return which states end an episode; refuse those that only sometimes do.

        Only what can happen counts: rows of states that no episode visits before its end are
        never used (Taxi's table lets the taxi drive on after the passenger was delivered).
        """
        state = self.row // self.actions
        possible = self.probability > 0.0
        idle = np.ones(self.states, dtype=bool)
        idle[state[possible & ((self.following != state) | (self.reward != 0.0))]] = False
        goes_on = self.matrix(np.where(self.done, 0.0, self.probability)).tocsr()
        goes_on.eliminate_zeros()
        live = reachable_states(goes_on, initial, self.actions)
        ended = np.zeros(self.states, dtype=bool)
        ended[self.following[possible & self.done & live[state]]] = True
        torn = np.flatnonzero(ended & live & ~idle)
        if len(torn):
            raise InvalidProblem(
                f"{len(torn)} states, first {torn[0]}, end the episode when entered with "
                "terminated=True, but an episode can also start in them or pass through them "
                "without ending",
                "split such a state in two, one that ends the episode and one that does not",
            )
        # Where no episode comes, an end is an end whoever enters.
        ended[self.following[possible & self.done & ~live[self.following]]] = True
        return ended


def _outcome(outcome: Any, states: int, state: int, action: int) -> tuple[float, int, float, bool]:
    where = f"action {action} in state {state}"
    try:
        probability, following, reward, done = outcome
        read = float(probability), int(following), float(reward), bool(done)
    except (TypeError, ValueError) as error:
        raise InvalidProblem(
            f"the outcome {outcome!r} of {where} cannot be read: {error}",
            "an outcome is (probability, next state, reward, terminated)",
        ) from error
    if not 0 <= read[1] < states or read[1] != following or not np.isfinite(read[2]):
        raise InvalidProblem(
            f"{where} leads to state {following} with reward {reward}; the table has {states} "
            "states",
            f"next states are numbered from 0 to {states - 1} and rewards are finite",
        )
    if not (np.isfinite(read[0]) and read[0] >= 0.0):
        raise InvalidProblem(
            f"{where} leads to state {following} with probability {read[0]!r}",
            "probabilities are finite and at least 0",
        )
    return read


def _check_numbered(what: str, found: Any, count: int) -> None:
    if count == 0:
        raise InvalidProblem(
            f"the {what} are {reprlib.repr(found)}: there are none",
            "a process has at least one state, and at least one action in every state",
        )
    keys = list(found) if isinstance(found, Mapping) else None
    if isinstance(found, list | tuple):
        keys = list(range(len(found)))
    if keys is None or len(keys) != count or set(keys) != set(range(count)):
        shown = found if keys is None else keys
        raise InvalidProblem(
            f"the {what} are {reprlib.repr(shown)}, expected 0 to {count - 1}",
            "number states and actions from 0, with the same actions in every state",
        )


def _absorbing(matrix: Any, rows: Bool[np.ndarray, "row"]) -> Any:
    """Return the matrix with the marked rows replaced by staying where one is."""
    from scipy.sparse import csr_array, diags_array

    actions = matrix.shape[0] // matrix.shape[1]
    marked = np.flatnonzero(rows)
    stay = csr_array((np.ones(len(marked)), (marked, marked // actions)), shape=matrix.shape)
    return diags_array((~rows).astype(np.float64)) @ matrix + stay


def _environment(mdp: MDP, rewards: Float[np.ndarray, "given action"]) -> Environment:
    """Restrict rewards to the states that were kept, and find those that are terminal."""
    r = rewards[mdp.kept]
    state = np.repeat(np.arange(mdp.states), np.diff(mdp.transitions.indptr[:: mdp.actions]))
    terminal = ~r.any(axis=1)
    terminal[state[mdp.transitions.indices != state]] = False
    return Environment(mdp, read_only(r), read_only(terminal))


def _stacked(name: str, given: Any, layout: Layout) -> tuple[Any, int]:
    """Return numbers on transitions as one CSR array of shape (S·A, S), and A."""
    from scipy.sparse import csr_array, issparse, vstack

    if layout is Layout.OURS:
        matrix = given if issparse(given) else float_array(f"the {name}", given)
        shape = matrix.shape
        if len(shape) == 3 and 0 not in shape and shape[0] == shape[2]:
            return csr_array(matrix.reshape(-1, shape[2])), shape[1]
        if len(shape) == 2 and 0 not in shape and shape[0] % shape[1] == 0:
            return csr_array(matrix), shape[0] // shape[1]
        raise _misshapen(name, shape, layout)
    if issparse(given):
        raise _misshapen(name, given.shape, layout)
    parts = [part if issparse(part) else float_array(f"the {name}", part) for part in given]
    shapes = {part.shape for part in parts}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2 or shape[0] != shape[1] or not shape[0]:
        raise _misshapen(name, [part.shape for part in parts], layout)
    states, actions = shape[0], len(parts)
    by_state = (np.arange(states)[:, None] + states * np.arange(actions)).ravel()
    return csr_array(vstack([csr_array(part) for part in parts], format="csr")[by_state]), actions


def _expected(
    rewards: Any, matrix: Any, actions: int, layout: Layout
) -> Float[np.ndarray, "state action"]:
    """Return r(s, a) from rewards of any of the shapes that are read."""
    from scipy.sparse import issparse

    shape = (matrix.shape[1], actions)
    if rewards is None:
        return np.zeros(shape)
    listed = isinstance(rewards, list | tuple) and any(issparse(part) for part in rewards)
    sparse = listed or issparse(rewards)
    r = None if sparse else float_array("the rewards", rewards)
    if r is not None and r.shape == (shape[0],):
        r = np.repeat(r[:, None], actions, axis=1)
    elif r is None or r.ndim == 3:
        each, found = _stacked("rewards", rewards, layout)
        if (each.shape, found) != (matrix.shape, actions):
            raise _misshapen("rewards", (each.shape[1], found, each.shape[1]), layout)
        r = ((matrix * each).sum(axis=1) / matrix.sum(axis=1)).reshape(shape)
    if r.shape != shape:
        raise _misshapen("rewards", r.shape, layout)
    if not np.isfinite(r).all():
        state, action = np.argwhere(~np.isfinite(r))[0]
        raise InvalidProblem(
            f"the reward of action {action} in state {state} is {r[state, action]}",
            "rewards are finite",
        )
    return r


def _misshapen(name: str, shape: object, layout: Layout) -> InvalidProblem:
    return InvalidProblem(
        f"the {name} have shape {shape}, which does not fit the layout {str(layout)!r} of the "
        "transitions",
        'pass layout="pymdptoolbox" for (A, S, S) and sequences of A matrices, "ours" '
        "for (S, A, S) and (S*A, S); rewards may also be (S,) or (S, A)",
    )
