r"""Equilibria on decision processes from one convex program: an independent route.

With occupancies o of actions, their payoff :math:`K o` against o, and everything in units of the
temperature, the player who is answered by a best response to it solves

.. math:: \min_{o, V}\ \langle\rho, V\rangle + KL(o) \quad\text{s.t.}\quad
          (E - M)^\top o = \rho,\quad
          \sum_{a \in s} \mu_a e^{(K o + M V)_a - V_s} \le 1 \ \text{ for every point } s,

in the notation of `FlowGraph`: the constraint is the soft Bellman inequality of the best response,
and :math:`KL(o) = \sum_a o_a \log(o_a / (E^\top o)_{s(a)}) - o_a \log \mu_a`, the divergence
between trajectories, is convex: jointly so in an occupancy and its sums. The multipliers of the
inequalities are the occupancy of the best response, so the program returns both strategies. At
temperature 0 it is a linear program. It shares with the Newton route how a game is put in
sequence form, but no recursion and no values.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import SolverFailed
from nlhf.exact.convex import ANSWERS, ConvexEquilibrium, cvxpy_module, run_clarabel
from nlhf.exact.sequence_form import (
    SequenceForm,
    SequentialProblem,
    flow_graph,
    policy_of_occupancy,
    sequence_form,
)
from nlhf.numerics import EPSILON, log_sum_exp
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.policy import Policy


def solve_occupancy(game: SequentialProblem) -> ConvexEquilibrium:
    r"""Return the equilibrium of a game on a decision process from the convex program.

    `column` is the variable o, `row` the multiplier of the best response's inequalities: two
    approximations of the one equilibrium policy. `lower` and `upper` are what they secure and
    concede, by value iteration on the graph.

    Args:
        game: A game on a process without contexts, at any temperature.

    Raises:
        SolverFailed: If CLARABEL fails.
        Unsupported: For a token tree with contexts.
    """
    form = sequence_form(game)
    program = _Program(form, game.reference.log_probabilities.reshape(-1), game.temperature)
    status = run_clarabel(program.problem)
    if status not in ANSWERS or program.occupancy.value is None:
        raise SolverFailed(
            f"CLARABEL ended with status {status!r} on a process of shape {form.process.shape} "
            f"at temperature {game.temperature}",
            "use nlhf.solve(game), which does not depend on it",
            solver="CLARABEL",
            status=status,
        )
    shape, reference = form.process.shape, game.reference.log_probabilities
    multiplier = program.faced.dual_variables[0].value
    row, column = (
        Policy(policy_of_occupancy(np.asarray(weights).reshape(shape), reference))
        for weights in (
            -multiplier if game.temperature > 0.0 else multiplier,
            program.occupancy.value,
        )
    )
    conceded = [
        _Judge(program, policy.log_probabilities.reshape(-1)).conceded() for policy in (row, column)
    ]
    return ConvexEquilibrium(
        row=row,
        column=column,
        lower=game.value - conceded[0],
        upper=game.value + conceded[1],
        status=status,
        iterations=int(program.problem.solver_stats.num_iters),
    )


class _Program:
    """The program of one game, in units of its temperature, or of payoff if that is 0."""

    def __init__(
        self, form: SequenceForm, log_reference: Float[np.ndarray, "action"], temperature: float
    ) -> None:
        cp = cvxpy_module()
        self.graph = graph = flow_graph(form.process)
        self.log_reference, self.temperature = log_reference, temperature
        self.unit = temperature or 1.0
        # A discounted process pays the step at which it stops, as a share of those visited.
        self.share = 1.0 / form.process.length if isinstance(form.process, Discounted) else 1.0
        actions, points = graph.owner.shape
        self.occupancy = cp.Variable(actions, nonneg=temperature == 0.0)
        values = cp.Variable(points)
        self.steps, self.last = _payoff(form.steps), _payoff(form.last)
        constraints = [(graph.owner - graph.moves).T @ self.occupancy == graph.start]
        gains = graph.moves @ values - graph.owner @ values
        if self.steps is not None:
            gains += (self.share / self.unit) * _faced(self.steps, self.share * self.occupancy)
        if self.last is not None and graph.ends is not None:
            ends = graph.ends.T @ self.occupancy
            gains += graph.ends @ _faced(self.last, ends) / self.unit
        objective = graph.start @ values
        if temperature > 0.0:
            weights = cp.Variable(actions)
            self.faced = cp.constraints.ExpCone(gains + log_reference, np.ones(actions), weights)
            constraints += [self.faced, graph.owner.T @ weights == 1.0]
            visits = graph.owner @ (graph.owner.T @ self.occupancy)
            objective += cp.sum(cp.rel_entr(self.occupancy, visits))
            objective -= log_reference @ self.occupancy
        else:
            self.faced = gains <= 0.0
            constraints += [self.faced]
        self.problem = cp.Problem(cp.Minimize(objective), constraints)


class _Judge:
    """What a policy concedes to the best response, computed on the graph."""

    def __init__(self, program: _Program, log_policy: Float[np.ndarray, "action"]) -> None:
        self.program, self.graph = program, program.graph
        self.log_policy = log_policy
        self.occupancy = self._occupancy()

    def conceded(self) -> float:
        """Return the best response's payoff against the policy, less the value of the game."""
        program, graph = self.program, self.graph
        gains = np.zeros(len(self.occupancy))
        if program.steps is not None:
            gains += program.share * _faced(program.steps, program.share * self.occupancy)
        if program.last is not None and graph.ends is not None:
            gains += graph.ends @ _faced(program.last, graph.ends.T @ self.occupancy)
        best = float(graph.start @ self._best(gains))
        if program.temperature == 0.0:
            return best
        with np.errstate(invalid="ignore"):
            ratio = self.log_policy - program.log_reference
            divergence = np.where(self.occupancy > 0.0, self.occupancy * ratio, 0.0).sum()
        return best + program.temperature * float(divergence)

    def _best(self, gains: Float[np.ndarray, "action"]) -> Float[np.ndarray, "point"]:
        """Return the (soft) optimal values, by value iteration until they stay as they are."""
        graph, t = self.graph, self.program.temperature
        values = np.zeros(graph.owner.shape[1])
        logs = self.program.log_reference.reshape(len(values), -1)
        smallest = np.inf
        while True:
            q = (gains + graph.moves @ values).reshape(logs.shape)
            new = q.max(axis=-1) if t == 0.0 else t * log_sum_exp(logs + q / t)
            change = float(np.abs(new - values).max())
            values = new
            # A contraction never moves further than before: what does is rounding.
            rounded = change >= smallest and change < 1e-14
            if rounded or change <= 4 * EPSILON * np.abs(values).max():
                return values
            smallest = min(smallest, change)

    def _occupancy(self) -> Float[np.ndarray, "action"]:
        from scipy.sparse import diags_array, eye_array
        from scipy.sparse.linalg import spsolve

        graph, policy = self.graph, np.exp(self.log_policy)
        kept = graph.owner.T @ diags_array(policy) @ graph.moves
        system = (eye_array(kept.shape[0]) - kept).T.tocsc()
        return np.maximum(policy * (graph.owner @ np.atleast_1d(spsolve(system, graph.start))), 0.0)


def _payoff(pairing: Any) -> Any:
    return None if pairing is None else pairing.matrices()


def _faced(payoff: Any, occupancy: Any) -> Any:
    """Return U Vᵀ o, without forming the product of the factors."""
    left, right = payoff
    return left @ (occupancy if right is None else right @ occupancy)
