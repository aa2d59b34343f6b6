"""The best that a reward does in a preference game."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.certificates import exploitability
from nlhf.data.counts import WinCounts
from nlhf.errors import SolverFailed
from nlhf.estimation.bradley_terry import fit_bradley_terry
from nlhf.games.payoffs import DensePayoff
from nlhf.games.preference import SelfPlayGame
from nlhf.numerics import expectation, kl_divergence, log_normalise
from nlhf.spaces.policy import Policy

RIDGE = 0.01
"""Penalty of the Bradley-Terry rewards, in votes per logit²: it makes them finite where a response
won or lost all its votes, and changes little elsewhere."""

_SCALES = 33
"""Points of each of the two grids on which the best scale of a reward is searched."""


@dataclass(frozen=True, slots=True, eq=False)
class RewardBaseline:
    r"""The best that a Bradley-Terry reward does in the preference game.

    Among the policies :math:`\pi_\beta \propto \mu e^{r/\beta}` of the fitted rewards r, the one
    of least exploitability in the game; at a large β it is the reference itself.

    Attributes:
        rewards: r, in logits, with mean 0.
        scale: The best β, in logits.
        scale_range: The least and the largest β that were tried.
        policy: π_β, shape ``(n,)``.
        exploitability: What a best response gains against it in the regularised game.
        loses: Probability that a response of the Nash policy is preferred to one of this policy.
    """

    rewards: Float[np.ndarray, "response"]
    scale: float
    scale_range: tuple[float, float]
    policy: Float[np.ndarray, "response"]
    exploitability: float
    loses: float

    @property
    def at_end(self) -> bool:
        """Whether the best β is an end of the range, so that one beyond may do better."""
        return self.scale in self.scale_range


@dataclass(frozen=True, slots=True)
class NoBaseline:
    """Why a prompt has no Bradley-Terry baseline.

    Attributes:
        reason: What failed.
    """

    reason: str


def best_reward(
    counts: WinCounts,
    game: SelfPlayGame,
    preference: Float[np.ndarray, "response response"],
    nash: Float[np.ndarray, "response"],
) -> RewardBaseline | NoBaseline:
    """Fit rewards, and search the scale that is hardest to exploit: a grid, then a finer one.

    Args:
        counts: The votes.
        game: The game of one prompt, in which the reward's policies are judged.
        preference: P of the prompt.
        nash: Its Nash policy.
    """
    try:
        rewards = fit_bradley_terry(counts, ridge=RIDGE).rewards
    except SolverFailed as error:
        return NoBaseline(error.found)
    temperature = game.temperature
    ends = max(temperature, 1e-4) / 10, 1e3 * max(temperature, 0.1)

    def policies(scales: Float[np.ndarray, "scale"]) -> Float[np.ndarray, "scale response"]:
        return log_normalise(game.reference.log_probabilities + rewards / scales[:, None])

    # The loss need not be unimodal in β: the finer grid lies between the best point's neighbours.
    scales = np.geomspace(*ends, _SCALES)
    best = int(_exploitabilities(game, policies(scales)).argmin())
    around = scales[max(best - 1, 0)], scales[min(best + 1, _SCALES - 1)]
    scales = np.append(np.geomspace(*around, _SCALES), scales[best])
    scale = scales[_exploitabilities(game, policies(scales)).argmin()]
    policy = Policy(policies(np.array([scale]))[0])
    return RewardBaseline(
        rewards=rewards,
        scale=float(scale),
        scale_range=ends,
        policy=policy.probabilities,
        exploitability=exploitability(game, policy).bound.value,
        loses=float(nash @ preference @ policy.probabilities),
    )


def _exploitabilities(
    game: SelfPlayGame, logs: Float[np.ndarray, "scale response"]
) -> Float[np.ndarray, "scale"]:
    """Return what a best response gains against each policy; for searching, without a bound."""
    assert isinstance(game.payoff, DensePayoff)
    payoffs = np.exp(logs) @ game.payoff.matrix.T
    if game.temperature == 0.0:
        return np.asarray(payoffs.max(axis=-1) - expectation(logs, payoffs))
    response = log_normalise(game.reference.log_probabilities + payoffs / game.temperature)
    return game.temperature * kl_divergence(logs, response)
