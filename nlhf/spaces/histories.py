"""Histories of a Markov decision process, for preferences between whole trajectories."""

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import InvalidProblem
from nlhf.results import read_only
from nlhf.spaces.duals import LeafPayoff
from nlhf.spaces.layered import Layered
from nlhf.spaces.mdp import MDP, check_mdp
from nlhf.spaces.tree import MOST_LEAVES, check_leaf_payoff


class Histories(Layered[LeafPayoff]):
    """The tree of everything that can happen in an MDP within a horizon.

    A decision point is a history (s_0, a_0, ..., s_h) of positive probability, a leaf a complete
    one (s_0, a_0, ..., s_H). A policy of shape ``(N, A)`` may remember everything; the chance
    moves are the environment's and carry no KL cost.

    Args:
        mdp: The process.
        horizon: H, the number of choices; endless processes (`inf`, `None`) need a discount.

    Raises:
        InvalidProblem: If the horizon is not a positive integer, or there are over ten million
            complete histories.
        Unsupported: If `mdp` is not an `MDP`.
    """

    def __init__(self, mdp: MDP, horizon: float | None) -> None:
        check_mdp(mdp, "Histories")
        self.mdp = mdp
        self.horizon = checked_horizon(horizon)
        self.contexts = ()
        start = np.flatnonzero(mdp.initial > 0.0)
        self.initial = read_only(mdp.initial[start])
        states = [start]
        self.links: list[Any] = []
        for h in range(self.horizon):
            link, reached = _grow(mdp, states[-1], h)
            self.links.append(link)
            states.append(reached)
        self.last_states = read_only(states[-1])
        self.states: tuple[np.ndarray, ...] = tuple(read_only(s) for s in states[:-1])
        ends = np.cumsum([0] + [len(s) for s in self.states])
        self._slices = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.leaves = len(self.last_states)
        self.shape = (int(ends[-1]), mdp.actions)

    def __repr__(self) -> str:
        return f"Histories({self.mdp!r}, horizon={self.horizon})"

    def layer(self, array: np.ndarray, h: int, trailing: int) -> np.ndarray:
        """Return the view of the histories with h actions."""
        return array[(..., self._slices[h]) + (slice(None),) * trailing]

    def expected(
        self, h: int, values: Float[np.ndarray, "*context next"]
    ) -> Float[np.ndarray, "*context point action"]:
        """Return the mean over the states that an action may lead to."""
        return (self.links[h] @ values).reshape(-1, self.mdp.actions)

    def moved(
        self, h: int, flow: Float[np.ndarray, "*context point action"]
    ) -> Float[np.ndarray, "*context next"]:
        """Return the probabilities of the histories one step longer."""
        return self.links[h].T @ flow.reshape(-1)

    def check(self, payoff: object) -> None:
        """Raise `Unsupported` unless the payoff is one of complete histories."""
        check_leaf_payoff(payoff)

    def final(self, payoff: LeafPayoff | None) -> Float[np.ndarray, "*context last"]:
        """Return the payoff of every complete history."""
        return np.zeros(self.leaves) if payoff is None else payoff.leaves

    def step(
        self, payoff: LeafPayoff | None, h: int
    ) -> Float[np.ndarray, "*context point action"] | None:
        """Return `None`: a history is paid at its end."""
        return None

    def history(self, leaf: int) -> tuple[int, ...]:
        """Return the complete history (s_0, a_0, s_1, ..., a_{H-1}, s_H) of a leaf."""
        told = [int(self.last_states[leaf])]
        node = leaf
        for h in reversed(range(self.horizon)):
            # Row s·A + a of a link holds the histories that follow; indptr says where they begin.
            row = int(np.searchsorted(self.links[h].indptr, node, side="right")) - 1
            node, action = divmod(row, self.mdp.actions)
            told += [action, int(self.states[h][node])]
        return tuple(reversed(told))

    def remembering(
        self, markov: Float[np.ndarray, "horizon state action"]
    ) -> Float[np.ndarray, "point action"]:
        """Return the policy on histories that follows a Markov policy; any array of its shape."""
        return np.concatenate([markov[h][s] for h, s in enumerate(self.states)])


def checked_horizon(horizon: float | None) -> int:
    """Return the horizon.

    Raises:
        InvalidProblem: If it is not a positive integer.
    """
    whole: object = horizon
    if not isinstance(whole, int | np.integer) or isinstance(whole, bool) or whole < 1:
        raise InvalidProblem(
            f"the horizon is {horizon!r}",
            "pass a positive integer, or use Discounted for a process without an end",
        )
    return int(whole)


def _grow(mdp: MDP, states: Int[np.ndarray, "node"], h: int) -> tuple[Any, Int[np.ndarray, "next"]]:
    """Return the transitions from the histories of a layer to those one step longer."""
    from scipy.sparse import csr_array

    rows = (states[:, None] * mdp.actions + np.arange(mdp.actions)).reshape(-1)
    counts = np.diff(mdp.transitions.indptr)[rows]
    total = int(counts.sum())
    if total > MOST_LEAVES:
        raise InvalidProblem(
            f"there are {total:,} histories after {h + 1} steps, more than {MOST_LEAVES:,}",
            "shorten the horizon, or use a step preference, which Markov policies can answer",
        )
    ends = np.concatenate([[0], np.cumsum(counts)])
    begin = np.repeat(mdp.transitions.indptr[rows], counts)
    entry = begin + np.arange(total) - np.repeat(ends[:-1], counts)
    link = csr_array(
        (mdp.transitions.data[entry], np.arange(total), ends), shape=(len(rows), total)
    )
    return link, mdp.transitions.indices[entry]
