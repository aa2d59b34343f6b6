"""Markov decision processes to learn in: trajectories are compared, preferences add up."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from nlhf.data.preference_data import Pairs
from nlhf.errors import Unsupported
from nlhf.exact.sequence_program import solve_sequential_vertex
from nlhf.exact.sequential import solve_sequential
from nlhf.games.group_rewards import Offsets
from nlhf.games.markov import MarkovGame
from nlhf.games.maxmin import MaxMinGame
from nlhf.games.tabular import checked_reference, checked_temperature
from nlhf.games.zero_sum_markov import ZeroSumMarkovGame
from nlhf.learning.judging import exploitability
from nlhf.learning.preferences import as_preferences
from nlhf.numerics import EPSILON
from nlhf.results import Bound, Units, read_only, weighted_mean
from nlhf.spaces.duals import StepPayoff
from nlhf.spaces.markov import FiniteHorizon
from nlhf.spaces.policy import Policy
from nlhf.spaces.realisers import SoftBellman
from nlhf.spaces.sequential import SequentialSpace
from nlhf.streams import Stream


class MarkovSetting:
    r"""A finite-horizon decision process whose trajectories are compared as wholes.

    Stages are the steps, outcomes the pairs (s, a) in the order s·A + a, and every stage has the
    weight 1/H: a pair of trajectories has the payoff
    :math:`\tfrac1H \sum_h T_h(s_h, a_h; s'_h, a'_h)`, of which the link makes one probability.

    Args:
        process: The process and its horizon.
        temperature: τ ≥ 0, in units of the payoffs that will be learned; the price of one nat of
            a whole trajectory.
        reference: μ, of full support, shape ``(H, S, A)`` (leading axes may be left out); uniform
            over actions by default.

    Attributes:
        process: The process.
        reference: μ.
        temperature: τ.
        stage_weights: 1/H for every step.
        space: The policies.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range.
        Unsupported: If the process is none with a finite horizon.
    """

    def __init__(
        self,
        process: FiniteHorizon,
        temperature: float,
        reference: ArrayLike | Policy | None = None,
    ) -> None:
        if not isinstance(process, FiniteHorizon):
            raise Unsupported(
                f"the process is of type {type(process).__name__}",
                "pass nlhf.FiniteHorizon(mdp, horizon)",
            )
        self.process = process
        self.temperature = checked_temperature(temperature)
        self.reference = checked_reference(reference, process.shape[:-1], process.shape[-1])
        self.stage_weights = read_only(np.full(process.horizon, 1.0 / process.horizon))
        self.space = SequentialSpace(process, np.ones(1), SoftBellman())

    def __repr__(self) -> str:
        return f"MarkovSetting({self.process!r}, τ={self.temperature:g})"

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(H, S·A), the numbers of steps and of pairs of a state and an action."""
        horizon, states, actions = self.process.shape
        return horizon, states * actions

    def visits(self, policy: Policy) -> Float[np.ndarray, "stage outcome"]:
        """Return the probability of every (s, a) at every step."""
        reached, _ = self.process.flow(policy.log_probabilities)
        return (reached[..., None] * policy.probabilities).reshape(self.shape)

    def divergence(self, policy: Policy) -> float:
        """Return KL(π‖μ) between trajectories, in nats."""
        return self.space.divergence(policy, self.reference).value

    def best(
        self, values: Float[np.ndarray, "stage outcome"], temperature: float | None = None
    ) -> Policy:
        """Return the best policy against the values of all outcomes; see `Setting`."""
        price = self.temperature if temperature is None else temperature
        payoff = self.payoff(values)
        if price == 0.0:
            return self.space.best_response(payoff)
        return self.space.prox(payoff, [(self.reference, price)]).strategy

    def conceded(
        self, values: Float[np.ndarray, "model stage outcome"]
    ) -> Float[np.ndarray, " model"]:
        """Return the least that any reply can make of the values, its KL paid; see `Setting`."""
        return np.array([-self._worth(-each, self.temperature) for each in values])

    def reached(
        self, values: Float[np.ndarray, "model stage outcome"]
    ) -> Float[np.ndarray, " model"]:
        """Return the most that any policy can make of the values; see `Setting`."""
        return np.array([self._worth(each, 0.0) for each in values])

    def exploitability(
        self, table: Float[np.ndarray, "stage outcome outcome"], policy: Policy, units: Units
    ) -> Bound:
        """Return the exploitability of a policy under skew payoffs, exact up to rounding."""
        values = np.einsum("lij,lj->li", table, self.visits(policy))
        size = float(np.abs(table).max())
        each = (self.shape[1] + 4) * EPSILON + self.process.rounding
        return exploitability(self, self.payoff(values), policy, np.array([each * size]), units)

    def solve(self, table: Float[np.ndarray, "stage outcome outcome"]) -> Policy:
        """Return the equilibrium policy, by the exact solvers of Markov games."""
        preference, scale = as_preferences(table)
        game = MarkovGame(
            self.process,
            step=preference,
            reference=self.reference,
            temperature=scale * self.temperature,
        )
        if game.temperature > 0.0:
            return solve_sequential(game).policy
        return solve_sequential_vertex(game).policy

    def maxmin(self, planes: Sequence[Float[np.ndarray, "stage outcome"]]) -> MaxMinGame:
        """Return the game of a policy that is paid by the worst of several planes."""
        return MaxMinGame(
            [self.payoff(plane) for plane in planes],
            self.reference,
            self.temperature,
            offsets=Offsets.AS_GIVEN,
            process=self.process,
        )

    def zero_sum(self, table: Float[np.ndarray, "stage outcome outcome"]) -> ZeroSumMarkovGame:
        """Return the two-player game of any payoffs."""
        return ZeroSumMarkovGame(
            self.process,
            table,
            references=(self.reference, self.reference),
            temperatures=(self.temperature, self.temperature),
        )

    def draw(self, first: Policy, second: Policy, count: int, stream: Stream) -> Pairs:
        """Return pairs of independent trajectories, one of either policy."""
        generator = stream.generator()
        chosen = [self._trajectories(policy, count, generator) for policy in (first, second)]
        stage = np.broadcast_to(np.arange(self.shape[0]), (count, self.shape[0]))
        return Pairs(self.shape, stage, *chosen)

    def payoff(self, values: Float[np.ndarray, "stage outcome"]) -> StepPayoff:
        """Return the payoff of a trajectory: the mean over steps of what its outcomes are worth."""
        steps = (values * self.stage_weights[:, None]).reshape(self.process.shape)
        return StepPayoff(steps, np.zeros(self.process.mdp.states))

    def _worth(self, values: Float[np.ndarray, "stage outcome"], price: float) -> float:
        policy = self.best(values, price)
        mean = weighted_mean((self.visits(policy) * values).sum(axis=-1), self.stage_weights)
        return mean - (price * self.divergence(policy) if price > 0.0 else 0.0)

    def _trajectories(
        self, policy: Policy, count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, "pair stage"]:
        mdp, (horizon, states, actions) = self.process.mdp, self.process.shape
        moves = np.asarray(mdp.transitions.toarray()).cumsum(axis=-1)
        state = generator.choice(states, size=count, p=mdp.initial)
        chosen = np.empty((count, horizon), dtype=np.int64)
        for h in range(horizon):
            cumulative = policy.probabilities[h].cumsum(axis=-1)
            action = _inverse(cumulative[state], generator)
            chosen[:, h] = state * actions + action
            state = _inverse(moves[chosen[:, h]], generator)
        return chosen


def _inverse(
    cumulative: Float[np.ndarray, "pair choice"], generator: np.random.Generator
) -> Int[np.ndarray, " pair"]:
    draws = generator.random(len(cumulative)) * cumulative[:, -1]
    return np.asarray((cumulative <= draws[:, None]).sum(axis=-1))
