r"""Groups that are served by one policy: the objects of the MaxMin statements, and their draws.

As in `definitions`, everything is computed straight from its definition and nothing is validated.
Axes: u groups, x contexts, a responses; policies are log-probabilities.
"""

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from jaxtyping import Complex, Float

import nlhf
from nlhf.numerics import log_certain

from .definitions import Logs, Weights, depth, divergence, free_energy, rounding, tilt
from .draws import Draws
from .instances import draw_policy, draw_reference, draw_sizes, draw_weights

Rewards = Float[np.ndarray, "group context response"]
Shares = Float[np.ndarray, "group"]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    r"""Rewards r of groups, a reference μ, a temperature τ and context weights.

    .. math:: F_u(\pi) = U_u(\pi) - \tau KL(\pi\|\mu), \qquad U_u(\pi) = E_{x, a \sim \pi}\,r_u.
    """

    rewards: Rewards
    log_reference: Logs
    temperature: float
    weights: Weights


def utilities(groups: Groups, policy: Logs) -> Shares:
    """Return U(π), every group's mean reward."""
    found: Shares = np.einsum("uxa,xa,x->u", groups.rewards, np.exp(policy), groups.weights)
    return found


def cost(groups: Groups, policy: Logs) -> float:
    """Return τ KL(π‖μ)."""
    return groups.temperature * divergence(groups.weights, policy, groups.log_reference)


def secured(groups: Groups, policy: Logs) -> float:
    """Return F(π) = min_u F_u(π), what the policy secures for everybody."""
    return float(utilities(groups, policy).min()) - cost(groups, policy)


def mixed(groups: Groups, shares: Shares) -> Logs:
    """Return the reward Σ_u w_u r_u."""
    return np.tensordot(shares, groups.rewards, axes=1)


def best(groups: Groups, payoff: Logs) -> Logs:
    """Return the best policy for one reward; without a price of KL, the first best response."""
    if groups.temperature == 0.0:
        return log_certain(payoff.argmax(axis=-1), payoff.shape[-1])
    return tilt(groups.log_reference, payoff, groups.temperature)


def response(groups: Groups, shares: Shares) -> Logs:
    """Return π_w, the best policy for a mixture of the groups."""
    return best(groups, mixed(groups, shares))


def conceded(groups: Groups, shares: Shares) -> float:
    """Return D(w), the largest value of Σ_u w_u F_u."""
    payoff = mixed(groups, shares)
    if groups.temperature == 0.0:
        return float(groups.weights @ payoff.max(axis=-1))
    return free_energy(groups.log_reference, payoff, groups.temperature, groups.weights)


def slope(groups: Groups, shares: Shares) -> Shares:
    """Return the gradient of D at τ > 0 by complex steps through D alone, exact up to rounding."""
    top = mixed(groups, shares).max(axis=-1, keepdims=True)

    def value(w: Complex[np.ndarray, "group"]) -> complex:
        raised = (np.tensordot(w, groups.rewards, axes=1) - top) / groups.temperature
        each = np.log((np.exp(groups.log_reference) * np.exp(raised)).sum(axis=-1))
        return complex(groups.weights @ (groups.temperature * each + top[:, 0]))

    tiny = 1e-40
    steps = np.eye(shares.size)
    return np.array([value(shares + 1j * tiny * step).imag / tiny for step in steps])


def size(groups: Groups, *policies: Logs) -> float:
    """Return the size of the terms that values are summed from."""
    largest = float(np.abs(groups.rewards).max())
    return largest + groups.temperature * depth(groups.log_reference, *policies)


def error(groups: Groups, *policies: Logs) -> float:
    """Return a bound on the rounding error of a sum of up to four values; see `definitions`."""
    count, _, responses = groups.rewards.shape
    return rounding(size(groups, *policies), responses + count)


def spread(groups: Groups) -> float:
    """Return R, the most that two groups' utilities of one policy can differ by."""
    apart = np.ptp(groups.rewards, axis=0).max(axis=-1)
    return float(groups.weights @ apart)


def as_maxmin_game(groups: Groups) -> nlhf.MaxMinGame:
    """Return the package's game."""
    return nlhf.MaxMinGame(
        groups.rewards,
        nlhf.Policy(groups.log_reference),
        groups.temperature,
        offsets="as given",
        weights=groups.weights,
    )


def certified(groups: Groups, policy: Logs, shares: Shares) -> nlhf.Certificate[nlhf.Policy]:
    """Return the package's certificate of a pair."""
    with np.errstate(divide="ignore"):
        pair = (nlhf.Policy(policy), nlhf.Policy(np.log(shares)))
    return nlhf.certify(as_maxmin_game(groups), pair)


def draw_groups(draws: Draws, least: int = 1, most: int = 4) -> Groups:
    """Draw rewards of one to four groups, now and then sparse, and what else there is."""
    contexts, responses = draw_sizes(draws)
    count = least + draws.whole(most - least)
    rewards = np.asarray(draws.array((count, contexts, responses), -1.0, 1.0))
    if draws.chance(4):
        rewards = np.round(rewards)
    return Groups(
        rewards * draws.logarithmic(0.1, 10.0),
        draw_reference(draws, contexts, responses),
        draws.logarithmic(0.02, 10.0),
        draw_weights(draws, contexts),
    )


def once_in(times: int, values: Float[np.ndarray, "..."]) -> bool:
    """Return true for one in so many arrays, by their bits.

    It is for what is slow: the search would climb to a draw that decides it, and stay there.
    """
    return crc32(np.ascontiguousarray(values).tobytes()) % times == 0


def draw_shares(draws: Draws, count: int) -> Shares:
    """Draw group weights, some of them 0 in half of the cases."""
    raw = np.asarray(draws.array((count,), 0.05, 1.0))
    if draws.chance(2):
        kept = draws.whole(count - 1)
        raw = np.where([u == kept or draws.chance(2) for u in range(count)], raw, 0.0)
    return np.asarray(raw / raw.sum())


def draw_challenger(draws: Draws, groups: Groups) -> Logs:
    """Draw any policy."""
    contexts, responses = groups.log_reference.shape
    return draw_policy(draws, contexts, responses, lowest=-20.0, zeros=True)


def balanced(groups: Groups, shares: Shares, slack: Shares) -> Groups:
    r"""Return the groups with constants added to their rewards, so that (π_w, w) is a saddle point.

    A constant moves no best response, so every group's utility of π_w can be put where it should
    be: at 0, and the slack above where w_u = 0. Every saddle point is one of these, up to a common
    constant.
    """
    raised = np.where(shares > 0.0, 0.0, slack) - utilities(groups, response(groups, shares))
    return replace(groups, rewards=groups.rewards + raised[:, None, None])
