"""Payoffs of sequential settings: one type for histories, another for Markov policies.

A preference between whole trajectories is a payoff at the leaves of the tree of histories; one
that adds up over steps is a payoff of states and actions. They are different types because a
Markov policy cannot answer the first kind: its best response remembers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.results import read_only


@dataclass(frozen=True, slots=True, eq=False)
class LeafPayoff:
    """A payoff of complete histories.

    Attributes:
        leaves: Shape ``(leaf,)``, or ``(X, leaf)`` with contexts; in payoff units.
    """

    leaves: Float[np.ndarray, "*context leaf"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "leaves", read_only(self.leaves))

    def __add__(self, other: "LeafPayoff") -> "LeafPayoff":
        return LeafPayoff(self.leaves + other.leaves)

    def __sub__(self, other: "LeafPayoff") -> "LeafPayoff":
        return LeafPayoff(self.leaves - other.leaves)

    def __mul__(self, factor: float) -> "LeafPayoff":
        return LeafPayoff(self.leaves * factor)

    __rmul__ = __mul__

    @property
    def size(self) -> Float[np.ndarray, "context"]:
        """The largest payoff of a trajectory in each context, in absolute value."""
        return np.atleast_1d(np.abs(self.leaves).max(axis=-1))

    @property
    def half_range(self) -> float:
        """Half the range of the payoffs of trajectories, in any context."""
        return float(np.ptp(self.leaves, axis=-1).max() / 2.0)


@dataclass(frozen=True, slots=True, eq=False)
class StepPayoff:
    """A payoff that adds up over the steps of a trajectory, and of the state it ends in.

    Attributes:
        steps: Payoff of an action in a state, shape ``(H, S, A)``, or ``(S, A)`` if discounted.
        final: Payoff of the last state, shape ``(S,)``; zeros if nothing depends on it.
    """

    steps: Float[np.ndarray, "*step state action"]
    final: Float[np.ndarray, " state"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", read_only(self.steps))
        object.__setattr__(self, "final", read_only(self.final))

    def __add__(self, other: "StepPayoff") -> "StepPayoff":
        return StepPayoff(self.steps + other.steps, self.final + other.final)

    def __sub__(self, other: "StepPayoff") -> "StepPayoff":
        return StepPayoff(self.steps - other.steps, self.final - other.final)

    def __mul__(self, factor: float) -> "StepPayoff":
        return StepPayoff(self.steps * factor, self.final * factor)

    __rmul__ = __mul__

    @property
    def size(self) -> Float[np.ndarray, "context"]:
        """No trajectory has a payoff larger than this in absolute value; a single context."""
        steps = np.abs(self.steps).max(axis=(-2, -1)).sum()
        return np.atleast_1d(steps + np.abs(self.final).max())

    @property
    def half_range(self) -> float:
        """Half the range of the payoffs of trajectories, or more."""
        steps = np.ptp(self.steps, axis=(-2, -1)).sum()
        return float((steps + np.ptp(self.final)) / 2.0)
