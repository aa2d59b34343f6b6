r"""MaxMin from one conic program over decision points, by an interior-point method.

An independent route to `exact.maxmin`: it knows no value function, recursion or derivative. In
units of the temperature (at 0, of half the range of payoffs), with the rewards G of actions and the
flow of `RewardFlow`,

.. math:: \min_{w \in W, V}\ \langle\rho, V\rangle + \langle w, o\rangle/\tau
              + (\kappa/\tau)\, KL(w\|\eta) \quad\text{s.t.}\quad
          \sum_{a \in s} \mu_a e^{(G w)_a/\tau + (M V)_a - V_s} \le 1 \ \text{ for every point } s:

V are the soft values of the weighted reward, and where responses are chosen at once V is the
log-mean-exponential of a prompt. There is one exponential cone per action. The multipliers of the
cones are the occupancy of the MaxMin policy, so one solution brings policy and weights. The set W
is given by its definition: KL ball by exponential cones, χ² ball by a second-order cone, total
variation ball and CVaR by linear inequalities. At temperature 0 the cones become linear.

The primal, :math:`\max_{o, t}\ t - \tau KL(o)` with t the support function of W, is the same
program seen by its multipliers. Solved by the same method it is less accurate in the policy, which
it sees as probabilities and not as log-probabilities.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import SolverFailed, Unsupported
from nlhf.exact.convex import ANSWERS, cvxpy_module, run_clarabel
from nlhf.exact.reward_flow import RewardFlow, reward_flow
from nlhf.games.maxmin import MaxMinGame
from nlhf.numerics import log_of
from nlhf.spaces.ambiguity import (
    Ambiguity,
    ChiSquareBall,
    ConditionalValueAtRisk,
    KLBall,
    TotalVariationBall,
    WholeSimplex,
)
from nlhf.spaces.policy import Policy

_LEAST = 1e-100
"""What a weight of 0 counts as: an interior-point method may leave one of −1e-15."""


@dataclass(frozen=True, slots=True, eq=False)
class ConvexMaxMin:
    """What the interior-point method returned, and what that proves.

    Attributes:
        policy: The multipliers of the cones, as a policy.
        weights: The group weights, moved into the ambiguity set if rounding left them outside.
        lower: What the policy secures, `game.primal(policy)`: the value is at least this.
        upper: What the weights concede, `game.dual(weights)`: the value is at most this.
        status: CLARABEL's: ``"optimal"``, or ``"optimal_inaccurate"`` where it stopped short of
            its own tolerances.
        iterations: Interior-point iterations.
    """

    policy: Policy
    weights: Policy
    lower: float
    upper: float
    status: str
    iterations: int

    @property
    def gap(self) -> float:
        """The primal-dual gap."""
        return self.upper - self.lower


class MaxMinProgram:
    """The program of all games alike one, compiled once.

    Rewards, references, offsets, prompt weights, proportions, radii and levels, and temperatures
    are parameters in the sense of disciplined parametrised programming. What games must share is
    the process, the shape of a policy, the number of groups, the kind of ambiguity set, and which
    of their temperatures are 0.

    Args:
        game: A game of the kind.

    Raises:
        Unsupported: If the ambiguity set is none of `nlhf.spaces.ambiguity`.
    """

    def __init__(self, game: MaxMinGame) -> None:
        cp = cvxpy_module()
        self._kind = _kind(game)
        flow = _flow(game)
        actions, points = flow.graph.owner.shape
        soft, priced = (t > 0.0 for t in game.temperatures)
        self._slope = cp.Parameter((actions, game.groups))
        self._log_mu, self._start = cp.Parameter(actions), cp.Parameter(points, nonneg=True)
        self._offsets = cp.Parameter(game.groups)
        self._weights = cp.Variable(game.groups, nonneg=True)
        values = cp.Variable(points)
        gains = self._slope @ self._weights + (flow.graph.moves - flow.graph.owner) @ values
        if soft:
            masses = cp.Variable(actions)
            self._faced = cp.constraints.ExpCone(gains + self._log_mu, np.ones(actions), masses)
            constraints = [self._faced, flow.graph.owner.T @ masses == 1.0]
        else:
            self._faced = gains <= 0.0
            constraints = [self._faced]
        objective = self._start @ values + self._offsets @ self._weights
        self._ambiguity = _Constraint(game.ambiguity, self._weights)
        if priced:
            self._price = cp.Parameter(nonneg=True)
            self._log_eta = cp.Parameter(game.groups)  # κ/τ log η: one parameter per product
            entropy = -cp.sum(cp.entr(self._weights))
            objective += self._price * entropy - self._log_eta @ self._weights
        constraints += [cp.sum(self._weights) == 1.0, *self._ambiguity.constraints]
        self._problem = cp.Problem(cp.Minimize(objective), constraints)

    def solve(self, game: MaxMinGame) -> ConvexMaxMin:
        """Return the MaxMin policy and weights of one game.

        Raises:
            Unsupported: If the game is not like the one that the program was compiled for.
            SolverFailed: If CLARABEL ends with any status but ``optimal`` and
                ``optimal_inaccurate``.
        """
        if _kind(game) != self._kind:
            raise Unsupported(
                f"the program is for {self._kind}, the game has {_kind(game)}",
                "compile another one with MaxMinProgram(game)",
            )
        flow = _flow(game)
        self._set_parameters(game, flow)
        status = run_clarabel(self._problem)
        if status not in ANSWERS or self._weights.value is None:
            raise SolverFailed(
                f"CLARABEL ended with status {status!r} on {game!r}",
                "use nlhf.solve(game), which does not depend on it",
                solver="CLARABEL",
                status=status,
            )
        multiplier = np.asarray(self._faced.dual_variables[0].value)
        occupancy = -multiplier if game.temperatures[0] > 0.0 else multiplier
        policy = flow.policy(occupancy, game.reference)
        weights = game.ambiguity.project(np.log(np.maximum(self._weights.value, _LEAST)))
        return ConvexMaxMin(
            policy=policy,
            weights=weights,
            lower=game.primal(policy),
            upper=game.dual(weights),
            status=status,
            iterations=int(self._problem.solver_stats.num_iters),
        )

    def _set_parameters(self, game: MaxMinGame, flow: RewardFlow) -> None:
        tau, kappa = game.temperatures
        unit = tau or game.lipschitz or 1.0
        self._slope.value = flow.rewards / unit
        self._log_mu.value = game.reference.log_probabilities.reshape(-1)
        self._start.value, self._offsets.value = flow.graph.start, game.offsets / unit
        self._ambiguity.set(game.ambiguity)
        if kappa > 0.0:
            self._price.value = kappa / unit
            self._log_eta.value = kappa / unit * log_of(game.proportions)


def solve_convex_maxmin(game: MaxMinGame) -> ConvexMaxMin:
    """Return the MaxMin policy and weights of a game from the conic program.

    Args:
        game: A game at any temperatures, 0 included, in any setting.

    Raises:
        Unsupported: If the ambiguity set is none of `nlhf.spaces.ambiguity`.
        SolverFailed: If CLARABEL fails.
    """
    return MaxMinProgram(game).solve(game)


class _Constraint:
    """w ∈ W by the definition of the set, its numbers as parameters."""

    def __init__(self, ambiguity: Ambiguity, weights: Any) -> None:
        cp = cvxpy_module()
        groups = ambiguity.centre.probabilities.size
        self._size = cp.Parameter(nonneg=True)
        self._vector, self._scale = cp.Parameter(groups), cp.Parameter(groups, nonneg=True)
        self.constraints: list[Any] = []
        if isinstance(ambiguity, KLBall):
            divergence = -cp.sum(cp.entr(weights)) - self._vector @ weights
            self.constraints = [divergence <= self._size]
        elif isinstance(ambiguity, ChiSquareBall):
            distance = cp.norm(cp.multiply(self._scale, weights) - self._vector)
            self.constraints = [distance <= self._size]
        elif isinstance(ambiguity, TotalVariationBall):
            self.constraints = [cp.norm1(weights - self._vector) <= self._size]
        elif isinstance(ambiguity, ConditionalValueAtRisk):
            self.constraints = [weights <= self._vector]
        elif not isinstance(ambiguity, WholeSimplex):
            raise Unsupported(
                f"{ambiguity!r} has no conic form here", "use a set of nlhf.spaces.ambiguity"
            )

    def set(self, ambiguity: Ambiguity) -> None:
        """Set the parameters to those of a set of the kind."""
        eta: Float[np.ndarray, group] = ambiguity.centre.probabilities
        if isinstance(ambiguity, KLBall):
            self._vector.value, self._size.value = log_of(eta), ambiguity.radius
        elif isinstance(ambiguity, ChiSquareBall):
            self._scale.value, self._vector.value = 1.0 / np.sqrt(eta), np.sqrt(eta)
            self._size.value = np.sqrt(ambiguity.radius)
        elif isinstance(ambiguity, TotalVariationBall):
            self._vector.value, self._size.value = eta, 2.0 * ambiguity.radius
        elif isinstance(ambiguity, ConditionalValueAtRisk):
            self._vector.value = eta / ambiguity.level


def _flow(game: MaxMinGame) -> RewardFlow:
    shape = game.reference.log_probabilities.shape
    return reward_flow(game.process, shape, game.prompt_weights, game.rewards)


def _kind(game: MaxMinGame) -> tuple[object, ...]:
    """Return what games of one program share."""
    return (
        game.process,
        game.reference.log_probabilities.shape,
        game.groups,
        type(game.ambiguity).__name__,
        tuple(t > 0.0 for t in game.temperatures),
    )
