"""Exact equilibria of KL-regularised zero-sum games, by following the branch in 1/temperature."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import ThreadpoolController

from nlhf.errors import HypothesisViolated
from nlhf.exact.blocks import Blocks
from nlhf.exact.branch import BranchEnd, follow_branch
from nlhf.exact.systems import DenseSystem, LowRankSystem, NewtonSystem
from nlhf.games.payoffs import DensePayoff, LowRankPayoff
from nlhf.games.preference import SelfPlayGame
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.numerics import log_normalise
from nlhf.results import Profile
from nlhf.spaces.policy import Policy

_ONE_THREAD_BELOW = 1000
"""Actions below which a second BLAS thread costs more than it brings."""
_IN_CACHE = 1 << 19
"""Entries of the payoff matrices solved at a time, 4 MB: a larger batch is read from memory again
and again, and took 1.6 times as long."""


@dataclass(frozen=True, slots=True, eq=False)
class RegularisedEquilibrium:
    """What the branch ended in, not yet certified.

    Attributes:
        profile: One policy per distinct player.
        converged: Per context, whether the target was reached and no further step helped.
        iterations: Newton systems solved per context.
    """

    profile: Profile[Policy]
    converged: Bool[np.ndarray, "context"]
    iterations: Int[np.ndarray, "context"]


def solve_regularised(game: SelfPlayGame | ZeroSumGame) -> RegularisedEquilibrium:
    r"""Return the unique equilibrium of a game with positive temperatures.

    .. math:: \pi_i \propto \mu_i\, e^{g_i(\pi)/\tau_i} \quad\text{for every player } i.

    Method: predictor-corrector Newton on the branch in 1/temperature from the references, for
    all contexts at once; every linear system has a matrix of the form identity plus skew. Dense
    payoffs cost O(n³) per system at most, low-rank ones O(n d²).

    Raises:
        HypothesisViolated: If a temperature is zero: the branch has no end there.
    """
    if min(game.temperatures) <= 0.0:
        raise HypothesisViolated(
            f"temperatures are {game.temperatures}: the branch needs positive ones",
            "use nlhf.solve(game), which solves temperature 0 by linear programming",
        )
    blocks = Blocks(tuple(space.responses for space in game.spaces), game.temperatures)
    contexts = int(np.prod(game.payoff.contexts, dtype=int))
    log_reference = np.concatenate(
        [
            np.reshape(reference.log_probabilities, (contexts, size))
            for reference, size in zip(game.references, blocks.sizes, strict=True)
        ],
        axis=-1,
    )
    threads = 1 if sum(blocks.sizes) < _ONE_THREAD_BELOW else None
    ends: list[BranchEnd] = []
    with blas().limit(limits=threads, user_api="blas"):
        rest = log_reference
        for system in _systems(game, blocks):
            part, rest = np.split(rest, [system.shape[0]])
            ends.append(follow_branch(system, part))
    logits = log_reference + np.concatenate([end.log_ratios for end in ends])
    profile = tuple(
        Policy(log_normalise(logits[:, b]).reshape(reference.log_probabilities.shape))
        for b, reference in zip(blocks.slices, game.references, strict=True)
    )
    return RegularisedEquilibrium(
        profile,
        converged=np.concatenate([end.converged for end in ends]),
        iterations=np.concatenate([end.iterations for end in ends]),
    )


@cache
def blas() -> ThreadpoolController:
    """Look the BLAS libraries up once: it takes longer than solving a small game."""
    return ThreadpoolController()


def _systems(game: SelfPlayGame | ZeroSumGame, blocks: Blocks) -> Iterator[NewtonSystem]:
    """Yield the payoff operators over temperature, in parts that stay in the cache."""
    if isinstance(game.payoff, LowRankPayoff):
        yield _low_rank_system(game, game.payoff, blocks)
        return
    assert isinstance(game.payoff, DensePayoff)
    matrix = game.payoff.matrix.reshape(-1, *game.payoff.shape)
    centre = matrix.max(axis=(1, 2), keepdims=True) / 2 + matrix.min(axis=(1, 2), keepdims=True) / 2
    size = max(1, _IN_CACHE // sum(blocks.sizes) ** 2)
    for start in range(0, len(matrix), size):
        part = matrix[start : start + size] - centre[start : start + size]
        if isinstance(game, SelfPlayGame):
            part /= game.temperature
            yield DenseSystem(part, blocks)
        else:
            yield DenseSystem(_stacked(part, game.temperatures), blocks)


def _stacked(
    matrix: Float[np.ndarray, "context row column"], temperatures: tuple[float, ...]
) -> Float[np.ndarray, "context action action"]:
    """Return [[0, A/τ₁], [−Aᵀ/τ₂, 0]]."""
    contexts, rows, columns = matrix.shape
    t1, t2 = temperatures
    stacked = np.zeros((contexts, rows + columns, rows + columns))
    stacked[:, :rows, rows:] = matrix / t1
    stacked[:, rows:, :rows] = -np.swapaxes(matrix, 1, 2) / t2
    return stacked


def _low_rank_system(
    game: SelfPlayGame | ZeroSumGame, payoff: LowRankPayoff, blocks: Blocks
) -> NewtonSystem:
    if isinstance(game, SelfPlayGame):
        return LowRankSystem(payoff.left / game.temperature, payoff.right, blocks)
    t1, t2 = game.temperatures
    nothing = np.zeros_like
    left = np.block(
        [[payoff.left / t1, nothing(payoff.left)], [nothing(payoff.right), -payoff.right / t2]]
    )
    right = np.block([[nothing(payoff.left), payoff.left], [payoff.right, nothing(payoff.right)]])
    return LowRankSystem(left, right, blocks)
