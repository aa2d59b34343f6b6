r"""Policies of a single reward made from those of several groups: what MaxMin is compared with."""

import numpy as np

from nlhf.errors import Unsupported
from nlhf.games.maxmin import MaxMinGame
from nlhf.spaces.duals import LeafPayoff
from nlhf.spaces.policy import Policy


def single_reward(game: MaxMinGame) -> Policy:
    r"""Return the policy of the mean reward of the population, :math:`\propto \mu e^{\bar r/\tau}`.

    .. math:: \max_\pi E_\pi\Big[\sum_u \eta_u r_u\Big] - \tau KL(\pi\|\mu),

    with the proportions η of the game: what reinforcement learning from pooled feedback aims at if
    rewards are known. At temperature 0 it plays the first best action. Offsets do not matter.

    Args:
        game: The MaxMin game of the groups.
    """
    return game.best_policy(game.ambiguity.centre)


def mean_of_minimum(game: MaxMinGame) -> Policy:
    r"""Return the policy of the least reward of every sample, :math:`\propto \mu e^{m/\tau}`.

    .. math:: \max_\pi E_{x, y \sim \pi}\Big[m(x, y)\Big] - \tau KL(\pi\|\mu),
              \qquad m(x, y) = \min_u r_u(x, y) + o_u.

    It is what the published code of MaxMin-RLHF trains (Chakraborty et al. 2024, repository). The
    mean of a minimum is at most the minimum of means, so it maximises a lower bound on the MaxMin
    objective :math:`\min_u E_\pi[r_u] - \tau KL`; it avoids responses that any group dislikes,
    where MaxMin may balance them. Groups count alike whatever their proportions.

    Args:
        game: The MaxMin game of the groups: a bandit, a token tree or histories.

    Raises:
        Unsupported: If rewards add up over steps: the least sum of a trajectory is not itself a
            sum over steps, and a Markov policy cannot maximise it.
    """
    if isinstance(game.rewards, np.ndarray):
        return game.best_response((np.moveaxis(game.rewards, 0, -1) + game.offsets).min(axis=-1))
    if not all(isinstance(reward, LeafPayoff) for reward in game.rewards):
        raise Unsupported(
            "the least reward of a trajectory does not add up over steps as the rewards do",
            "pose the game on nlhf.Histories(mdp, horizon) with one LeafPayoff per group",
        )
    leaves = np.stack([reward.leaves for reward in game.rewards], axis=-1)
    return game.best_response(LeafPayoff((leaves + game.offsets).min(axis=-1)))
