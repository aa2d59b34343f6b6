r"""Games on decision processes in sequence form: payoffs linear in how often one acts where.

The occupancy d of a policy is the expected number of times that it takes every action at every
decision point, and where it ends. It ranges over a polytope as the policy ranges over all
policies, and the payoff of d against d' is the bilinear form :math:`\langle d, K d'\rangle` with
K skew. K is kept as a product :math:`U V^\top`: what the payoff depends on are the statistics
:math:`V^\top d`, few where preferences are of low rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import Unsupported
from nlhf.games.markov import MarkovGame
from nlhf.games.payoffs import DensePayoff, LowRankPayoff, Payoff
from nlhf.games.trajectory import TrajectoryGame
from nlhf.numerics import log_normalise, log_of, log_sum_exp
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.histories import Histories
from nlhf.spaces.layered import Layered
from nlhf.spaces.markov import FiniteHorizon
from nlhf.spaces.policy import Policy
from nlhf.spaces.tree import TokenTree

SequentialProblem = TrajectoryGame | MarkovGame
"""The games that have a sequence form."""

UNSEEN = 1e-14
"""Occupancy of a decision point up to which it counts as rounding of 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    r"""A skew payoff :math:`U V^\top` between occupancies of one kind, in one or several stages.

    All arrays have a last axis of directions k, so that many are worked on at once.

    Attributes:
        stages: Number of stages T: steps of the process, or 1.
        left: U, shape ``(n, d)`` for all stages or ``(T, n, d)``.
        right: V, shape ``(n, d)``; `None` for the identity.
    """

    stages: int
    left: Float[np.ndarray, "*stage item statistic"]
    right: Float[np.ndarray, "item statistic"] | None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of stages and of statistics of a stage."""
        return self.stages, self.left.shape[-1]

    @property
    def items(self) -> int:
        """How many pairs of a state and an action, or last points, are compared."""
        return int(self.left.shape[-2])

    def statistics(
        self, occupancy: Float[np.ndarray, "stage item direction"]
    ) -> Float[np.ndarray, "stage statistic direction"]:
        """Return Vᵀ d, stage by stage."""
        return occupancy if self.right is None else _applied(self.right.T, occupancy)

    def payoff(
        self, statistics: Float[np.ndarray, "stage statistic direction"]
    ) -> Float[np.ndarray, "stage item direction"]:
        """Return U times the statistics, stage by stage."""
        return _applied(self.left, statistics)

    def matrices(self) -> tuple[Any, Any | None]:
        """Return U and Vᵀ over all stages at once, sparse; `None` for the identity."""
        from scipy.sparse import block_diag, csr_array, eye_array, kron

        stages = eye_array(self.stages)
        varies = self.left.ndim == 3
        left = csr_array(block_diag(list(self.left)) if varies else kron(stages, self.left))
        return left, None if self.right is None else csr_array(kron(stages, self.right.T))


@dataclass(frozen=True, slots=True, eq=False)
class SequenceForm:
    """The process of a game and its payoffs, minus the value, as pairings.

    Attributes:
        process: Where the game is played, without contexts.
        steps: Payoffs between actions, one stage per step; one stage if discounted, where the
            occupancy is the probability of stopping after an action. `None`: not compared.
        last: Payoffs between the points where trajectories end; `None`: not compared.
    """

    process: TokenTree | Histories | FiniteHorizon | Discounted
    steps: Pairing | None
    last: Pairing | None

    @property
    def dimension(self) -> int:
        """The number of statistics, over all stages."""
        return sum(p.stages * p.left.shape[-1] for p in (self.steps, self.last) if p is not None)

    def statistics(
        self,
        steps: Float[np.ndarray, "*place action direction"],
        last: Float[np.ndarray, "end direction"],
    ) -> Float[np.ndarray, "statistic direction"]:
        """Return the statistics of occupancies of actions and of last points, one after another."""
        parts = []
        if self.steps is not None:
            stages = steps.reshape(self.steps.stages, self.steps.items, steps.shape[-1])
            parts.append(self.steps.statistics(stages))
        if self.last is not None:
            parts.append(self.last.statistics(last[None]))
        return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])

    def payoffs(
        self, statistics: Float[np.ndarray, "statistic direction"]
    ) -> tuple[
        Float[np.ndarray, "*place action direction"] | None,
        Float[np.ndarray, "end direction"] | None,
    ]:
        """Return the payoffs of actions and of last points that the statistics stand for."""
        directions = statistics.shape[-1]
        steps = last = None
        used = 0
        if self.steps is not None:
            used = int(np.prod(self.steps.shape))
            part = statistics[:used].reshape(*self.steps.shape, directions)
            steps = self.steps.payoff(part).reshape(*self.process.shape, directions)
        if self.last is not None:
            part = statistics[used:].reshape(*self.last.shape, directions)
            last = self.last.payoff(part)[0]
        return steps, last


def sequence_form(game: SequentialProblem) -> SequenceForm:
    """Return the sequence form of a game.

    Raises:
        Unsupported: For token trees with contexts: solve the flat games.
    """
    process = game.process
    if process.contexts:
        raise Unsupported(
            f"a sequence form is of one process, not of {process.contexts[0]} contexts",
            "solve game.flat(), or one context after another",
        )
    if isinstance(game, TrajectoryGame):
        return SequenceForm(process, None, _pairing(game.payoff, 1, 1.0))
    w = game.final_weight
    if isinstance(game.process, Discounted):
        return SequenceForm(process, _pairing(game.step, 1, 1.0), None)
    horizon = game.process.horizon
    steps = None if w == 1.0 else _pairing(game.step, horizon, (1.0 - w) / horizon)
    last = None if w == 0.0 else _pairing(game.final, 1, w)
    return SequenceForm(process, steps, last)


def links(process: Layered[Any]) -> Sequence[Any]:
    """Return what moves where: sparse ``(point * action, next point)``, one matrix per layer.

    Raises:
        Unsupported: For a process that does not tell.
    """
    from scipy.sparse import eye_array

    if isinstance(process, FiniteHorizon):
        return (process.mdp.transitions,) * process.horizon
    if isinstance(process, Histories):
        return tuple(process.links)
    if isinstance(process, TokenTree):
        sizes = [process.vocabulary ** (h + 1) for h in range(process.horizon)]
        return tuple(eye_array(size, format="csr") for size in sizes)
    raise Unsupported(
        f"a {type(process).__name__} does not tell its transitions",
        "run an algorithm: nlhf.solve(game, nlhf.Extragradient())",
    )


@dataclass(frozen=True, slots=True, eq=False)
class FlowGraph:
    r"""All decision points of a process at once, as sparse matrices over its actions.

    The occupancies of actions are the solutions o of :math:`(E - M)^\top o = \rho,\ o \ge 0`;
    :math:`N^\top o` is where trajectories end. The values of points are at least what any action
    brings, :math:`E V \ge g + M V + N W`, with equality where it is worth taking.

    Attributes:
        owner: E, the point at which an action is taken, shape ``(action, point)``, 0 or 1.
        moves: M, the distribution of the next decision point, ``(action, point)``; times the
            discount if there is one.
        ends: N, the distribution of the last point, ``(action, end)``; `None` if discounted.
        start: ρ, the distribution of the first decision point.
    """

    owner: Any
    moves: Any
    ends: Any | None
    start: Float[np.ndarray, "point"]


def flow_graph(process: Layered[Any] | Discounted) -> FlowGraph:
    """Return the graph of a process without contexts, in the order of its policies."""
    from scipy.sparse import csr_array, eye_array, kron, vstack

    actions, points = process.shape[-1], int(np.prod(process.shape[:-1]))
    owner = csr_array(kron(eye_array(points), np.ones((actions, 1))))
    if isinstance(process, Discounted):
        moves = csr_array(process.discount * process.mdp.transitions)
        return FlowGraph(owner, moves, None, process.mdp.initial)
    matrices = links(process)
    start = np.zeros(points)
    start[: len(process.initial)] = process.initial
    begin, rows = len(process.initial), []
    for matrix in matrices[:-1]:
        # The actions of a layer lead to the next one, whose points begin here.
        move = csr_array(matrix).tocoo()
        place = (move.coords[0], move.coords[1] + begin)
        rows.append(csr_array((move.data, place), shape=(matrix.shape[0], points)))
        begin += matrix.shape[1]
    last = csr_array(matrices[-1])
    rows.append(csr_array((last.shape[0], points)))
    before = csr_array((points * actions - last.shape[0], last.shape[1]))
    return FlowGraph(owner, csr_array(vstack(rows)), csr_array(vstack([before, last])), start)


def policy_of_occupancy(
    occupancy: Float[np.ndarray, "*place action"], log_reference: Float[np.ndarray, "*place action"]
) -> Float[np.ndarray, "*place action"]:
    """Return the log-policy of an occupancy; the reference where it never comes.

    Negative entries, which solvers leave within their tolerances, count as 0.
    """
    weights = np.maximum(occupancy, 0.0)
    visits = weights.sum(axis=-1, keepdims=True)
    unseen = visits <= UNSEEN
    logs = log_of(weights / np.where(unseen, 1.0, visits))
    return log_normalise(np.where(unseen, log_reference, logs))


def tree_policy(
    tree: TokenTree,
    leaf_log_probabilities: Float[np.ndarray, "*context leaf"],
    reference: Policy,
) -> Policy:
    """Return the policy that plays a distribution over sequences, which may have zeros.

    After a prefix of probability 0 it is the reference.
    """
    log_policy = np.empty(tree.shape)
    here = leaf_log_probabilities
    for h in reversed(range(tree.horizon)):
        longer = here.reshape(*tree.contexts, -1, tree.vocabulary)
        here = log_sum_exp(longer)
        unseen = np.isneginf(here)[..., None]
        otherwise = tree.layer(reference.log_probabilities, h, trailing=1)
        tree.layer(log_policy, h, trailing=1)[...] = np.where(unseen, otherwise, longer)
    return Policy(log_normalise(log_policy))


def _pairing(payoff: Payoff, stages: int, factor: float) -> Pairing:
    """Return the payoff minus its value 1/2, times a factor."""
    if isinstance(payoff, LowRankPayoff):
        return Pairing(stages, factor * payoff.left, payoff.right)
    assert isinstance(payoff, DensePayoff)
    return Pairing(stages, factor * (payoff.matrix - 0.5), None)


def _applied(
    matrix: Float[np.ndarray, "*stage row column"],
    vectors: Float[np.ndarray, "stage column direction"],
) -> Float[np.ndarray, "stage row direction"]:
    """Return the products, as one matrix product where all stages have the same matrix."""
    if matrix.ndim == 3:
        return np.matmul(matrix, vectors)
    stages, _, directions = vectors.shape
    together = vectors.transpose(1, 0, 2).reshape(-1, stages * directions)
    return (matrix @ together).reshape(-1, stages, directions).transpose(1, 0, 2)
