"""A policy that gives every group more than its disagreement utility, or the proof of none."""

from collections.abc import Sequence
from math import log, sqrt
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import InvalidProblem, SolverFailed
from nlhf.numerics import log_normalise
from nlhf.spaces.policy import Policy
from nlhf.spaces.pooled import Pooled

_ROUNDS = 3000
_ROUNDING = 1e-12
"""Gains this small, in units of the range of a group's gains, count as none."""
_ENOUGH = 0.5
"""The least gain that is looked for, over what it could be at most."""
_SHARE = 0.25
"""The largest share of a gain that is given up for full support."""


def agreement(
    space: Pooled,
    reference: Policy,
    rewards: Sequence[Any] | np.ndarray,
    disagreement: Float[np.ndarray, "group"],
) -> Policy:
    r"""Return a policy of full support with E r_u > d_u for every group u.

    Exponential weights on the groups play against best responses. Either the mean of the responses
    gives every group more, or the weights w prove that nothing does:
    :math:`\max_\pi \sum_u w_u (E_\pi r_u - d_u) \le 0`. Gains are in units of what the group could
    gain, so neither units nor origins matter.

    Args:
        space: The policies.
        reference: μ, of full support.
        rewards: One payoff per group.
        disagreement: d.

    Raises:
        InvalidProblem: If no policy gives every group more; the message names the weights.
        SolverFailed: If neither is found: the best policies give some group hardly more.
    """
    best = np.array([space.mean(space.best_response(reward), reward) for reward in rewards])
    reachable = best - disagreement
    if reachable.min() <= 0.0:
        u = int(np.argmin(reachable))
        raise InvalidProblem(
            f"group {u} gets at most {best[u]:.6g} under any policy, no more than its "
            f"disagreement utility {disagreement[u]:.6g}",
            "lower its disagreement utility, or leave the group out",
        )

    def gains(policy: Policy) -> Float[np.ndarray, "group"]:
        means = np.array([space.mean(policy, reward) for reward in rewards])
        return np.asarray((means - disagreement) / reachable)

    total = np.zeros(len(best))
    mean: Policy | None = None
    highest = np.inf
    for played in range(1, _ROUNDS + 1):
        log_weights = log_normalise(-sqrt(log(len(best)) / played) * total)
        weights = np.exp(log_weights)
        response = space.best_response(_weighted(rewards, weights / reachable))
        gain = gains(response)
        highest = min(highest, float(weights @ gain))
        if highest <= _ROUNDING:
            raise _impossible(weights, highest)
        total = total + gain
        mean = (
            response
            if mean is None
            else space.mixture([(mean, float(played - 1)), (response, 1.0)])
        )
        if total.min() / played >= _ENOUGH * highest:
            break
    found = None if mean is None else _with_reference(space, mean, reference, gains)
    if found is not None:
        return found
    raise _undecided(highest)


def _impossible(weights: Float[np.ndarray, "group"], highest: float) -> InvalidProblem:
    return InvalidProblem(
        "no policy gives every group more than its disagreement utility: the mean of the groups "
        f"with weights {np.round(weights, 4).tolist()}, in units of what each could gain, is at "
        f"most {highest:.3g}",
        "lower the disagreement utilities, for instance to those of the reference",
    )


def _undecided(highest: float) -> SolverFailed:
    return SolverFailed(
        f"after {_ROUNDS} rounds no policy was found that gives every group more than its "
        f"disagreement utility, nor a proof that there is none: it could be {highest:.3g} of what "
        "each could gain",
        "lower the disagreement utilities a little",
        solver="exponential weights",
        status="undecided",
    )


def _with_reference(space: Pooled, policy: Policy, reference: Policy, gains: Any) -> Policy | None:
    """Mix in as much of the reference as leaves most of every gain, for full support."""
    inside, outside = gains(policy), gains(reference)
    if inside.min() <= 0.0:
        return None
    share = _SHARE * float((inside / np.maximum(inside - outside, inside)).min())
    mixed = space.mixture([(policy, 1.0 - share), (reference, share)])
    return mixed if gains(mixed).min() > 0.0 else None


def _weighted(rewards: Sequence[Any] | np.ndarray, weights: Float[np.ndarray, "group"]) -> Any:
    if isinstance(rewards, np.ndarray):
        return np.tensordot(weights, rewards, axes=1)
    total = rewards[0] * float(weights[0])
    for weight, reward in zip(weights[1:], rewards[1:], strict=True):
        total = total + reward * float(weight)
    return total
