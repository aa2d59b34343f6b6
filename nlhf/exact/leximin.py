r"""Leximin over groups: the worst group first, then the second worst, and so on.

Of two policies, leximin prefers the one whose sorted utilities are lexicographically larger (Sen
1970). At temperature τ > 0 all groups pay the same KL, and the MaxMin policy is the only one of
its worst utility, so it is leximin. At temperature 0 MaxMin leaves a choice, made here by linear
programs over occupancies: maximise the least utility t of the groups not yet settled; those with a
positive multiplier can have no more than t without another one having less, in any optimal policy
(strict complementarity is not needed: a group that is at its limit with multiplier 0 shows itself
in a later program). Multipliers sum to 1, so every program settles a group, and there are at most
as many programs as groups.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import SolverFailed, Unsupported
from nlhf.exact.maxmin import solve_maxmin
from nlhf.exact.reward_flow import RewardFlow, reward_flow
from nlhf.games.maxmin import MaxMinGame
from nlhf.results import read_only
from nlhf.spaces.ambiguity import WholeSimplex
from nlhf.spaces.policy import Policy

_MULTIPLIER = 1e-6
"""A multiplier above is positive. The largest is at least 1/U, and one that is missed costs a
program more, no accuracy."""
_TOLERANCES = (1e-10, 1e-7)
"""Asked of HiGHS in turn; a program after the first can be infeasible by the rounding of levels."""


@dataclass(frozen=True, slots=True, eq=False)
class Leximin:
    """The leximin policy.

    Attributes:
        policy: π.
        utilities: U(π), offsets included and without the price of KL, shape ``(U,)``.
        levels: At temperature 0 the utility at which each group was settled, which `utilities`
            attain within the tolerance of the solver (1e-9 of the range of rewards is usual); at
            τ > 0 the utilities.
        rounds: The program that settled each group, from 0, shape ``(U,)``; 0 at τ > 0.
    """

    policy: Policy
    utilities: Float[np.ndarray, " group"]
    levels: Float[np.ndarray, " group"]
    rounds: Int[np.ndarray, " group"]


def solve_leximin(game: MaxMinGame) -> Leximin:
    """Return the leximin policy of a MaxMin game.

    Args:
        game: A game over the whole simplex of groups, at group temperature 0.

    Raises:
        Unsupported: If the game bounds or prices the weights of groups: leximin looks at one group
            after another, whatever their proportions.
        SolverFailed: If a linear program fails.
    """
    if not isinstance(game.ambiguity, WholeSimplex) or game.temperatures[1] > 0.0:
        raise Unsupported(
            f"leximin ranks groups, and {game!r} weighs them by {game.ambiguity!r} at group "
            f"temperature {game.temperatures[1]:g}",
            "leave out the ambiguity set and the group temperature",
        )
    if game.temperatures[0] > 0.0:
        policy = solve_maxmin(game).profile[0]
        utilities = read_only(game.utilities(policy))
        return Leximin(policy, utilities, utilities, np.zeros(game.groups, dtype=np.int64))
    shape = game.reference.log_probabilities.shape
    flow = reward_flow(game.process, shape, game.prompt_weights, game.rewards)
    # The tolerances of HiGHS are absolute: rewards go in units of their range.
    unit = float(np.ptp(flow.rewards)) or 1.0
    scaled = replace(flow, rewards=flow.rewards / unit)
    levels = np.full(game.groups, np.nan)
    rounds = np.zeros(game.groups, dtype=np.int64)
    number = 0
    while True:
        found, t, multipliers = _program(scaled, game.offsets / unit, levels)
        settled = np.isnan(levels) & (multipliers > _MULTIPLIER)
        levels[settled], rounds[settled] = t, number
        if not np.isnan(levels).any():
            break
        number += 1
    policy = flow.policy(found, game.reference)
    utilities = read_only(game.utilities(policy))
    return Leximin(policy, utilities, read_only(unit * levels), rounds)


def _program(
    flow: RewardFlow, offsets: Float[np.ndarray, " group"], levels: Float[np.ndarray, " group"]
) -> tuple[Float[np.ndarray, " action"], float, Float[np.ndarray, " group"]]:
    """Maximise the least utility of the groups without a level; the others keep theirs.

    Returns an occupancy, the least utility t and the multipliers of the groups.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack

    actions, groups = flow.rewards.shape
    # t ≤ <G_u, o> + o_u, or level_u in place of t.
    free = np.isnan(levels)
    above = np.hstack([-flow.rewards.T, free.astype(float)[:, None]])
    balance = (flow.graph.owner - flow.graph.moves).T
    for tolerance in _TOLERANCES:
        found: Any = linprog(
            -np.eye(1, actions + 1, actions)[0],
            A_ub=above,
            b_ub=offsets - np.where(free, 0.0, levels),
            A_eq=hstack([balance, csr_array((balance.shape[0], 1))]),
            b_eq=flow.graph.start,
            bounds=[(0.0, None)] * actions + [(None, None)],
            method="highs",
            options={
                "primal_feasibility_tolerance": tolerance,
                "dual_feasibility_tolerance": tolerance,
            },
        )
        if found.status == 0:
            break
    if found.status != 0:
        raise SolverFailed(
            f"HiGHS ended with status {found.status} ({found.message}) on a program of {actions} "
            f"actions and {groups} groups",
            "bring the rewards of the groups to ranges that differ less",
            solver="HiGHS",
            status=str(found.status),
        )
    return found.x[:-1], float(found.x[-1]), np.abs(np.asarray(found.ineqlin.marginals))
