r"""Temperature 0 on decision processes: a linear program over occupancies.

An equilibrium of a game of value 0 is an occupancy d that concedes nothing to the best response,
whose value is the least V that no action exceeds:

.. math:: \min_{o, V, W}\ \langle \rho, V\rangle \quad\text{s.t.}\quad
          (E - M)^\top o = \rho,\; o \ge 0,\; E V \ge K o + M V + N W,\; W \ge K' N^\top o,

in the notation of `FlowGraph`. Statistics of a low-rank payoff are variables of their own, so no
payoff is written out that was given in factors.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nlhf.errors import SolverFailed
from nlhf.exact.sequence_form import (
    FlowGraph,
    Pairing,
    SequentialProblem,
    flow_graph,
    policy_of_occupancy,
    sequence_form,
)
from nlhf.spaces.policy import Policy

OPTIMAL_VERTEX = "an optimal vertex of the linear program over occupancies, where there are many"
UNSEEN_REFERENCE = "the reference at decision points that the equilibrium never comes to"

_ATTEMPTS = (("highs-ipm", 1e-10), ("highs", 1e-10), ("highs", 1e-7))
"""Methods and tolerances until HiGHS reports an optimum, judged by its gap whatever they were. The
interior-point method, followed by a crossover to a vertex, took a ninth to a third of the time of
the simplex method on FrozenLake with 50 steps."""


@dataclass(frozen=True, slots=True, eq=False)
class SequentialVertex:
    """An equilibrium at temperature 0, not yet certified.

    Attributes:
        policy: The policy that both players use.
        iterations: Iterations of the linear program.
    """

    policy: Policy
    iterations: int


def solve_sequential_vertex(game: SequentialProblem) -> SequentialVertex:
    """Return an equilibrium of an unregularised game on a decision process.

    Solver: HiGHS through `scipy.optimize.linprog`.

    Raises:
        SolverFailed: If HiGHS does not report an optimum.
        Unsupported: For a token tree with contexts; its flat game has them.
    """
    form = sequence_form(game)
    solution = _solved(_Program(flow_graph(form.process), form.steps, form.last))
    occupancy = solution.x[: int(np.prod(form.process.shape))].reshape(form.process.shape)
    log_policy = policy_of_occupancy(occupancy, game.reference.log_probabilities)
    return SequentialVertex(Policy(log_policy), int(solution.nit))


class _Program:
    """The variables side by side, (o, statistics, W, V), and what binds them."""

    def __init__(self, graph: FlowGraph, steps: Pairing | None, last: Pairing | None) -> None:
        from scipy.sparse import csr_array, eye_array

        actions, points = graph.owner.shape
        # Absolute tolerances should mean the same whatever the share of a step.
        size = max(float(np.abs(p.left).max(initial=0.0)) for p in (steps, last) if p is not None)
        scale = 1.0 / size if size > 0.0 else 1.0
        self.widths = [actions]
        self.equal: list[tuple[dict[int, Any], np.ndarray]] = [
            ({0: (graph.owner - graph.moves).T}, graph.start)
        ]
        dominance: dict[int, Any] = {}
        if steps is not None:
            place, matrix = self._faced(eye_array(actions, format="csr"), steps)
            dominance[place] = scale * matrix
        ends = None
        if last is not None and graph.ends is not None:
            place, matrix = self._faced(csr_array(graph.ends.T), last)
            ends, at_end = self._new(graph.ends.shape[1]), scale * matrix
            dominance[ends] = graph.ends
        values = self._new(points)
        dominance[values] = graph.moves - graph.owner
        self.above = [dominance]
        if ends is not None:
            self.above.append({place: at_end, ends: -eye_array(self.widths[ends])})
        self.cost = np.zeros(sum(self.widths))
        self.cost[-points:] = graph.start
        self.free = sum(self.widths) - actions

    def _new(self, width: int) -> int:
        self.widths.append(width)
        return len(self.widths) - 1

    def _faced(self, occupied: Any, pairing: Pairing) -> tuple[int, Any]:
        """Return the variables that a payoff depends on, and the payoff as a matrix of them.

        `occupied` takes the occupancies of actions to what the pairing compares.
        """
        from scipy.sparse import eye_array

        left, right = pairing.matrices()
        seen = occupied if right is None else right @ occupied
        place = self._new(seen.shape[0])
        self.equal.append(({0: seen, place: -eye_array(seen.shape[0])}, np.zeros(seen.shape[0])))
        return place, left

    def rows(self, parts: list[dict[int, Any]]) -> Any:
        """Return constraint matrices on top of each other, zero where a variable is absent."""
        from scipy.sparse import block_array, csr_array

        def filled(part: dict[int, Any]) -> list[Any]:
            height = next(iter(part.values())).shape[0]
            blank = [csr_array((height, width)) for width in self.widths]
            return [part.get(i, blank[i]) for i in range(len(self.widths))]

        return block_array([filled(part) for part in parts], format="csr")


def _solved(program: _Program) -> Any:
    from scipy.optimize import linprog

    above = program.rows(program.above)
    equal = program.rows([part for part, _ in program.equal])
    bounds = [(0.0, None)] * program.widths[0] + [(None, None)] * program.free
    for method, tolerance in _ATTEMPTS:
        solution = linprog(
            program.cost,
            A_ub=above,
            b_ub=np.zeros(above.shape[0]),
            A_eq=equal,
            b_eq=np.concatenate([right for _, right in program.equal]),
            bounds=bounds,
            method=method,
            options={
                "primal_feasibility_tolerance": tolerance,
                "dual_feasibility_tolerance": tolerance,
            },
        )
        if solution.status == 0:
            return solution
    raise SolverFailed(
        f"the linear program of {above.shape[0]} + {equal.shape[0]} constraints on "
        f"{above.shape[1]} variables ended with: {solution.message}",
        "use a small positive temperature instead of 0",
        solver="HiGHS",
        status=str(solution.status),
    )
