r"""Exact equilibria of two-player zero-sum games on decision processes, by Newton on a branch.

The statistics θ of `nlhf.exact.sequential` are stacked: what the row player responds to, the
occupancy d' of the column player, and what that one responds to. With C₁, C₂ the covariances of
trajectories, and payoffs over temperature,

.. math:: \partial_\theta F = I - s \begin{pmatrix} 0 & -C_2 A^\top/\tau_2 \\
          C_1 A/\tau_1 & 0 \end{pmatrix},

which has the eigenvalues of the identity plus a skew matrix: it is never singular, and one smooth
branch leads from the references at s = 0 to the equilibrium at s = 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.errors import Unsupported
from nlhf.exact.sequence_form import Pairing, SequenceForm
from nlhf.exact.sequential import follow
from nlhf.exact.soft_response import SoftResponse, SoftResponses
from nlhf.games.zero_sum_markov import ZeroSumMarkovGame
from nlhf.results import Profile
from nlhf.spaces.policy import Policy

Pair = tuple[SoftResponse, SoftResponse]
"""The responses of the row and of the column player."""


@dataclass(frozen=True, slots=True, eq=False)
class ZeroSumSequentialEquilibrium:
    """What the branch ended in, not yet certified.

    Attributes:
        profile: The policies of the row and of the column player.
        converged: Whether the target was reached and no further step helped.
        iterations: Newton systems solved.
    """

    profile: Profile[Policy]
    converged: bool
    iterations: int


class PairedResponses:
    """The soft best responses of both players, each to the statistics of the other.

    Args:
        game: The game; its temperatures are positive.
    """

    def __init__(self, game: ZeroSumMarkovGame) -> None:
        horizon, matrix = game.process.horizon, game.step.matrix / game.process.horizon
        payoffs = (matrix, -np.swapaxes(matrix, -1, -2))
        self.players = tuple(
            SoftResponses(
                SequenceForm(game.process, Pairing(horizon, payoff, None), None),
                reference.log_probabilities,
                temperature,
            )
            for payoff, reference, temperature in zip(
                payoffs, game.references, game.temperatures, strict=True
            )
        )

    @property
    def dimension(self) -> int:
        """The number of statistics."""
        return sum(player.dimension for player in self.players)

    @property
    def width(self) -> int:
        """How many numbers say how a response moves in one direction."""
        return sum(player.width for player in self.players)

    def to(self, statistics: Float[np.ndarray, "statistic"]) -> Pair:
        """Return the best responses to the payoffs that the statistics stand for."""
        row, column = self.players
        first, second = np.split(statistics, 2)
        return row.to(first), column.to(second)

    def statistics(self, response: Pair) -> Float[np.ndarray, "statistic"]:
        """Return what the payoffs depend on: for the row player, what the column player does."""
        row, column = self.players
        return np.concatenate([column.statistics(response[1]), row.statistics(response[0])])

    def moved(
        self, response: Pair, statistics: Float[np.ndarray, "statistic direction"]
    ) -> tuple[Float[np.ndarray, "statistic direction"], Float[np.ndarray, "direction"]]:
        """Return how statistics move with those responded to, and the payoffs' variances."""
        row, column = self.players
        first, second = np.split(statistics, 2)
        of_row, one = row.moved(response[0], first)
        of_column, other = column.moved(response[1], second)
        return np.concatenate([of_column, of_row]), one + other

    def size(self, statistics: Float[np.ndarray, "statistic"]) -> float:
        """Return a bound on the payoff of any trajectory, in nats."""
        return max(
            player.size(part)
            for player, part in zip(self.players, np.split(statistics, 2), strict=True)
        )

    def divergence(self, p: Pair, q: Pair) -> float:
        """Return KL(p‖q) between trajectories, in nats, of both players together."""
        return sum(player.divergence(a, b) for player, a, b in zip(self.players, p, q, strict=True))


def solve_zero_sum_sequential(game: ZeroSumMarkovGame) -> ZeroSumSequentialEquilibrium:
    """Return the unique equilibrium of a zero-sum game on a process at positive temperatures.

    Raises:
        Unsupported: If a temperature is zero: the branch has no end there.
    """
    if min(game.temperatures) <= 0.0:
        raise Unsupported(
            f"temperatures are {game.temperatures}: the branch needs positive ones",
            "make both positive, or name an algorithm, such as nlhf.Average(nlhf.Extragradient())",
        )
    pair, arrived, systems = follow(PairedResponses(game))
    profile = tuple(Policy(response.log_policy) for response in pair)
    return ZeroSumSequentialEquilibrium(profile, arrived, systems)
