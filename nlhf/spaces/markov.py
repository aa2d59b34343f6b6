"""Finite-horizon Markov decision processes, with a policy for every step."""

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import Unsupported
from nlhf.numerics import EPSILON
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from nlhf.spaces.histories import checked_horizon
from nlhf.spaces.layered import Layered
from nlhf.spaces.mdp import MDP, check_mdp


class FiniteHorizon(Layered[StepPayoff]):
    """An MDP that is played for `horizon` steps by a policy of shape ``(H, S, A)``.

    Payoffs add up over the steps. A preference between whole trajectories does not: the best
    response to it depends on the past, which a Markov policy has forgotten.

    Args:
        mdp: The process.
        horizon: H, the number of choices; endless processes (`inf`, `None`) need a discount.

    Raises:
        InvalidProblem: If the horizon is not a positive integer.
        Unsupported: If `mdp` is not an `MDP`.
    """

    def __init__(self, mdp: MDP, horizon: float | None) -> None:
        check_mdp(mdp, "FiniteHorizon")
        self.mdp = mdp
        self.horizon = checked_horizon(horizon)
        self.contexts = ()
        self.shape = (self.horizon, mdp.states, mdp.actions)
        self.initial = mdp.initial

    def __repr__(self) -> str:
        return f"FiniteHorizon({self.mdp!r}, horizon={self.horizon})"

    @cached_property
    def rounding(self) -> float:
        """A bound on the rounding error of a distribution over states, in total mass."""
        return self.horizon * (self.mdp.fan + 4) * EPSILON

    @cached_property
    def _arrivals(self) -> Any:
        """The transposed transitions: making the object takes longer than a small product."""
        return self.mdp.transitions.T

    def layer(self, array: np.ndarray, h: int, trailing: int) -> np.ndarray:
        """Return the part of step h."""
        return array[h]

    def expected(
        self, h: int, values: Float[np.ndarray, "*context next"]
    ) -> Float[np.ndarray, "*context point action"]:
        """Return the mean value of the next state."""
        return (self.mdp.transitions @ values).reshape(self.mdp.states, self.mdp.actions)

    def moved(
        self, h: int, flow: Float[np.ndarray, "*context point action"]
    ) -> Float[np.ndarray, "*context next"]:
        """Return the distribution of the next state."""
        return self._arrivals @ flow.reshape(-1)

    def check(self, payoff: object) -> None:
        """Raise `Unsupported` unless the payoff adds up over steps."""
        check_step_payoff(payoff)

    def final(self, payoff: StepPayoff | None) -> Float[np.ndarray, "*context last"]:
        """Return the payoff of every last state."""
        return np.zeros(self.mdp.states) if payoff is None else payoff.final

    def step(
        self, payoff: StepPayoff | None, h: int
    ) -> Float[np.ndarray, "*context point action"] | None:
        """Return the payoff of every action at step h."""
        return None if payoff is None else payoff.steps[h]


def check_step_payoff(payoff: object) -> None:
    """Raise `Unsupported` unless the payoff adds up over steps."""
    if isinstance(payoff, LeafPayoff):
        raise Unsupported(
            "a preference between trajectories has best responses that depend on the whole "
            "history; a Markov policy sees the state and the step only",
            "play a TrajectoryGame on Histories(mdp, horizon), or a MarkovGame with a preference "
            "between steps or last states",
        )
    if payoff is not None and not isinstance(payoff, StepPayoff):
        raise Unsupported(
            f"a Markov decision process is paid by a StepPayoff, not a {type(payoff).__name__}",
            "pass nlhf.spaces.duals.StepPayoff(steps, final)",
        )
