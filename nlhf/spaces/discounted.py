r"""Discounted Markov decision processes with stationary policies.

A discount γ is a process that stops with probability 1 - γ after every step. Two independent
copies are compared by the steps at which they stop, and the KL divergence is that of the whole
trajectory until the stop. So a payoff g of the step at which the process stops has the mean
:math:`(1-\gamma) \sum_t \gamma^t E[g(s_t, a_t)]`, the divergence is
:math:`\sum_t \gamma^t E[KL(\pi(\cdot|s_t)\|\mu(\cdot|s_t))]`, and every theorem on distributions
over trajectories holds as it stands.
"""

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import InvalidProblem, SolverFailed
from nlhf.numerics import EPSILON, expectation, log_certain, log_normalise, log_sum_exp
from nlhf.spaces.duals import StepPayoff
from nlhf.spaces.markov import check_step_payoff
from nlhf.spaces.mdp import MDP, check_mdp

_MOST_IMPROVEMENTS = 200
"""Policy iteration converges quadratically; a policy is improved a dozen times, not hundreds."""


class Discounted:
    r"""An MDP without an end, in which the future counts γ per step.

    Policies are stationary, of shape ``(S, A)``; payoffs are of the step at which the process
    stops. Values are computed by policy iteration with sparse factorisations of
    :math:`I - \gamma P_\pi`.

    Args:
        mdp: The process.
        discount: γ, from 0 to below 1.

    Raises:
        InvalidProblem: If the discount is not in [0, 1): without one, nothing ever ends.
        Unsupported: If `mdp` is not an `MDP`.
    """

    def __init__(self, mdp: MDP, discount: float) -> None:
        check_mdp(mdp, "Discounted")
        number = isinstance(discount, int | float | np.floating) and not isinstance(discount, bool)
        if not (number and 0.0 <= discount < 1.0):
            raise InvalidProblem(
                f"the discount is {discount!r}",
                "pass a number from 0 to below 1, or use FiniteHorizon(mdp, horizon): an endless "
                "process without discount has no finite values",
            )
        self.mdp = mdp
        self.discount = float(discount)
        self.contexts: tuple[int, ...] = ()
        self.shape: tuple[int, ...] = (mdp.states, mdp.actions)

    def __repr__(self) -> str:
        return f"Discounted({self.mdp!r}, discount={self.discount:g})"

    @property
    def length(self) -> float:
        """The expected number of steps, 1/(1 - γ)."""
        return 1.0 / (1.0 - self.discount)

    @cached_property
    def rounding(self) -> float:
        """A bound on the rounding error of the discounted distribution over states, in mass.

        The systems are diagonally dominant M-matrices, which elimination solves to rounding.
        """
        return self.length * (self.mdp.fan + 8) * EPSILON

    def check(self, payoff: object) -> None:
        """Raise `Unsupported` unless the payoff is one of states and actions."""
        check_step_payoff(payoff)

    def optimum(
        self,
        payoff: StepPayoff | None,
        log_weights: Float[np.ndarray, "*place action"] | None,
        temperature: float,
    ) -> Float[np.ndarray, "*place action"]:
        """Return the log-probabilities of the best stationary policy, by policy iteration.

        Each round evaluates the policy exactly and improves it everywhere; it is Newton's method
        on the soft Bellman equation, so the values increase and converge quadratically.

        Raises:
            SolverFailed: If rounding keeps it from settling within 200 rounds.
        """
        steps = self._steps(payoff)
        if log_weights is None:
            return self._greedy_optimum(steps)
        log_policy = log_normalise(log_weights + steps / temperature)
        last = np.inf
        for _ in range(_MOST_IMPROVEMENTS):
            earned = steps - temperature * (log_policy - log_weights)
            values = self._solve(log_policy, expectation(log_policy, earned))
            logits = log_weights + (steps + self._next(values)) / temperature
            moved = float(np.abs(temperature * log_sum_exp(logits) - values).max())
            log_policy = log_normalise(logits)
            # Values far apart cost digits: no smaller change than their rounding can be asked for.
            floor = 8 * EPSILON * (np.abs(values).max() + np.abs(logits).max() * temperature)
            if moved <= floor or (moved <= 1e3 * floor and moved >= last):
                return log_policy
            last = moved
        raise self._unsettled(moved)

    def visits(self, log_policy: Float[np.ndarray, "*place action"]) -> Float[np.ndarray, "*place"]:
        """Return Σ_t γ^t P(s_t = s), whose sum is 1/(1 - γ)."""
        return np.maximum(_linear(self.system(log_policy).T, self.mdp.initial), 0.0)

    def action_values(
        self,
        log_policy: Float[np.ndarray, "*place action"],
        payoff: StepPayoff | None,
        cost: Float[np.ndarray, "*place"] | None,
    ) -> Float[np.ndarray, "*place action"]:
        """Return what is still to come after an action, if the policy is followed from then on."""
        steps = self._steps(payoff)
        earned = expectation(log_policy, steps)
        values = self._solve(log_policy, earned if cost is None else earned - cost)
        return steps + self._next(values)

    def mean(
        self, log_policy: Float[np.ndarray, "*place action"], payoff: StepPayoff
    ) -> Float[np.ndarray, "context"]:
        """Return the expected payoff of the step at which the process stops."""
        return self.total(self.visits(log_policy) * expectation(log_policy, self._steps(payoff)))

    def total(self, values: Float[np.ndarray, "*place"]) -> Float[np.ndarray, "context"]:
        """Return the sum over the states."""
        return np.atleast_1d(values.sum())

    def _steps(self, payoff: StepPayoff | None) -> Float[np.ndarray, "state action"]:
        if payoff is None:
            return np.zeros(self.shape)
        return (1.0 - self.discount) * payoff.steps

    def _greedy_optimum(
        self, steps: Float[np.ndarray, "state action"]
    ) -> Float[np.ndarray, "state action"]:
        choice = steps.argmax(axis=-1)
        for _ in range(_MOST_IMPROVEMENTS):
            log_policy = log_certain(choice, self.shape[-1])
            values = self._solve(log_policy, expectation(log_policy, steps))
            q = steps + self._next(values)
            here = np.take_along_axis(q, np.asarray(choice)[:, None], axis=-1)[:, 0]
            # Only a gain beyond rounding changes a choice: else equal actions alternate for ever.
            better = q.max(axis=-1) > here + 64 * EPSILON * self.length * np.abs(steps).max()
            if not better.any():
                return log_policy
            choice = np.where(better, q.argmax(axis=-1), choice)
        raise self._unsettled(float((q.max(axis=-1) - here).max()))

    def _next(self, values: Float[np.ndarray, "state"]) -> Float[np.ndarray, "state action"]:
        return self.discount * (self.mdp.transitions @ values).reshape(self.shape)

    def system(self, log_policy: Float[np.ndarray, "state action"]) -> Any:
        """Return I - γ P_π."""
        from scipy.sparse import csr_array, eye_array

        states, actions = self.shape
        weights = csr_array(
            (
                np.exp(log_policy).reshape(-1),
                np.arange(states * actions),
                np.arange(0, states * actions + 1, actions),
            ),
            shape=(states, states * actions),
        )
        return eye_array(states, format="csr") - self.discount * (weights @ self.mdp.transitions)

    def _solve(
        self, log_policy: Float[np.ndarray, "state action"], earned: Float[np.ndarray, "state"]
    ) -> Float[np.ndarray, "state"]:
        return _linear(self.system(log_policy), earned)

    def _unsettled(self, moved: float) -> SolverFailed:
        return SolverFailed(
            f"policy iteration still moves values by {moved:.3g} after {_MOST_IMPROVEMENTS} rounds",
            "use a smaller discount or a higher temperature",
            solver="policy iteration",
            status="not settled",
        )


def _linear(matrix: Any, right: Float[np.ndarray, "state"]) -> Float[np.ndarray, "state"]:
    from scipy.sparse.linalg import spsolve

    return np.atleast_1d(spsolve(matrix.tocsc(), right))
