r"""Soft best responses of a decision process, and how their occupancies move with the payoff.

In units of temperature the best response to a payoff θ is the policy of

.. math:: Q = \theta + E[V'], \qquad V = \log \sum_a \mu(a|\cdot) e^{Q}, \qquad
          \pi = \mu e^{Q - V},

and moving the payoff by δ moves it by :math:`\dot V = \sum_a \pi \dot Q`,
:math:`\tfrac{d}{dt} \log \pi = \dot Q - \dot V`. The occupancy then moves by C δ, with C the
covariance of what trajectories do, and :math:`\langle\delta, C\delta\rangle` is the variance of δ
over trajectories.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.exact.sequence_form import SequenceForm, links
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from nlhf.spaces.histories import Histories
from nlhf.spaces.layered import Layered
from nlhf.spaces.realisers import trajectory_divergence
from nlhf.spaces.tree import TokenTree

Directions = tuple[np.ndarray | None, np.ndarray | None]
"""Payoffs of actions and of last points with a last axis of directions; `None` is zero."""
Moved = tuple[np.ndarray, np.ndarray, np.ndarray]
"""How the occupancies of actions and of last points move, and the variance in each direction."""


class SoftResponse(ABC):
    """The soft best response to one payoff, with its occupancies.

    Attributes:
        log_policy: Log-probabilities of the policy, in the process's shape.
        steps: How often every action is taken at every decision point; if discounted, the
            probability of stopping after it.
        last: How often a trajectory ends in every last point; empty if discounted.
    """

    log_policy: Float[np.ndarray, "*place action"]
    steps: Float[np.ndarray, "*place action"]
    last: Float[np.ndarray, "end"]

    @abstractmethod
    def moved(self, directions: Directions) -> Moved:
        """Return C δ and the variance of δ for every direction δ."""

    def statistics(self, form: SequenceForm) -> Float[np.ndarray, "statistic"]:
        """Return what the payoffs depend on."""
        return form.statistics(self.steps[..., None], self.last[..., None])[:, 0]


class LayeredResponse(SoftResponse):
    """A response by one sweep backward and one forward; so are its tangents."""

    def __init__(
        self,
        process: Layered[Any],
        transitions: Sequence[Any],
        log_policy: Float[np.ndarray, "*place action"],
    ) -> None:
        self.process = process
        self.transitions = transitions
        self.log_policy = log_policy
        self.probabilities = np.exp(log_policy)
        visits, self.last = process.flow(log_policy)
        self.steps = visits[..., None] * self.probabilities

    def moved(self, directions: Directions) -> Moved:
        """Return C δ and the variance of δ for every direction δ."""
        steps, last = directions
        given = last if steps is None else steps
        assert given is not None
        count = given.shape[-1]
        values = np.zeros((len(self.last), count)) if last is None else last
        policy_moves = np.empty((*self.process.shape, count))
        for h in reversed(range(self.process.horizon)):
            p = self.process.layer(self.probabilities, h, trailing=1)
            q = (self.transitions[h] @ values).reshape(*p.shape, count)
            if steps is not None:
                q = q + self.process.layer(steps, h, trailing=2)
            values = np.matmul(p[:, None, :], q)[:, 0, :]
            target = self.process.layer(policy_moves, h, trailing=2)
            np.subtract(q, values[:, None, :], out=target)
        flow = self.steps[..., None] * policy_moves
        variance = np.einsum("ik,ik->k", *(a.reshape(-1, count) for a in (flow, policy_moves)))
        here = np.zeros((len(self.process.initial), count))
        for h in range(self.process.horizon):
            p = self.process.layer(self.probabilities, h, trailing=1)
            part = self.process.layer(flow, h, trailing=2)
            part += p[..., None] * here[:, None, :]
            here = self.transitions[h].T @ part.reshape(-1, count)
        return flow, here, variance


class DiscountedResponse(SoftResponse):
    """A response by policy iteration; its tangents share one factorisation of I - γ P_π."""

    def __init__(self, process: Discounted, log_policy: Float[np.ndarray, "*place action"]) -> None:
        self.process = process
        self.log_policy = log_policy
        self.probabilities = np.exp(log_policy)
        self.visits = process.visits(log_policy)
        self.steps = self.visits[:, None] * self.probabilities / process.length
        self.last = np.zeros(0)

    def moved(self, directions: Directions) -> Moved:
        """Return C δ and the variance of δ for every direction δ."""
        steps, _ = directions
        assert steps is not None
        count, process = steps.shape[-1], self.process
        p, gamma = self.probabilities, process.discount
        earned = steps / process.length
        values = self._factors.solve(np.matmul(p[:, None, :], earned)[:, 0, :])
        q = earned + gamma * (process.mdp.transitions @ values).reshape(*p.shape, count)
        policy_moves = q - np.matmul(p[:, None, :], q)
        flow = (self.visits[:, None] * p)[..., None] * policy_moves
        variance = np.einsum("ik,ik->k", *(a.reshape(-1, count) for a in (flow, policy_moves)))
        arriving = gamma * (process.mdp.transitions.T @ flow.reshape(-1, count))
        flow += p[..., None] * self._factors.solve(arriving, "T")[:, None, :]
        return flow / process.length, np.zeros((0, count)), variance

    @cached_property
    def _factors(self) -> Any:
        from scipy.sparse.linalg import splu

        return splu(self.process.system(self.log_policy).tocsc())


class SoftResponses:
    """The soft best responses of a sequence form to the payoffs of statistics.

    Args:
        form: The process and its payoffs.
        log_reference: log μ, in the process's shape.
        temperature: τ > 0, in payoff units.
    """

    def __init__(
        self,
        form: SequenceForm,
        log_reference: Float[np.ndarray, "*place action"],
        temperature: float,
    ) -> None:
        self.form = form
        self.log_reference = log_reference
        self.temperature = temperature
        self.links = None if isinstance(form.process, Discounted) else links(form.process)

    @property
    def dimension(self) -> int:
        """The number of statistics."""
        return self.form.dimension

    @property
    def width(self) -> int:
        """How many numbers say how a response moves in one direction."""
        last = 0 if self.links is None else int(self.links[-1].shape[1])
        return int(np.prod(self.form.process.shape)) + last

    def statistics(self, response: SoftResponse) -> Float[np.ndarray, "statistic"]:
        """Return what the payoffs depend on, under a response."""
        return response.statistics(self.form)

    def divergence(self, p: SoftResponse, q: SoftResponse) -> float:
        """Return KL(p‖q) between trajectories, in nats."""
        return float(trajectory_divergence(self.form.process, p.log_policy, q.log_policy).sum())

    def to(self, statistics: Float[np.ndarray, "statistic"]) -> SoftResponse:
        """Return the best response to the payoff that the statistics stand for."""
        steps, last = self.payoffs(statistics[:, None])
        process: Layered[Any] | Discounted = self.form.process
        policy = process.optimum(self._payoff(steps, last), self.log_reference, 1.0)
        if isinstance(process, Discounted):
            return DiscountedResponse(process, policy)
        assert self.links is not None
        return LayeredResponse(process, self.links, policy)

    def payoffs(self, statistics: Float[np.ndarray, "statistic direction"]) -> Directions:
        """Return the payoffs of statistics, in units of temperature."""
        steps, last = self.form.payoffs(statistics)
        t = self.temperature
        return (None if steps is None else steps / t), (None if last is None else last / t)

    def size(self, statistics: Float[np.ndarray, "statistic"]) -> float:
        """Return a bound on the payoff of any trajectory, in units of temperature."""
        return float(self._payoff(*self.payoffs(statistics[:, None])).size.max())

    def moved(
        self, response: SoftResponse, statistics: Float[np.ndarray, "statistic direction"]
    ) -> tuple[Float[np.ndarray, "statistic direction"], Float[np.ndarray, "direction"]]:
        """Return how the statistics of a response move with those that it responds to.

        And the variances of the payoffs of the directions, over the response's trajectories.
        """
        steps, last, variance = response.moved(self.payoffs(statistics))
        return self.form.statistics(steps, last), variance

    def _payoff(self, steps: np.ndarray | None, last: np.ndarray | None) -> Any:
        process = self.form.process
        if isinstance(process, Histories | TokenTree):
            assert last is not None
            return LeafPayoff(last[:, 0])
        return StepPayoff(
            np.zeros(process.shape) if steps is None else steps[..., 0],
            np.zeros(process.mdp.states) if last is None else last[:, 0],
        )
