r"""Group-robust Nash games through their dual, a smooth convex function of the group weights.

.. math:: \max_\pi \min_{w \in W} = \min_{w \in W} D(w), \qquad
          D(w) = \max_\pi \sum_u w_u \varphi_u(\pi) - \tau KL(\pi\|\mu) + \kappa KL(w\|\eta),

with :math:`\varphi_u(\pi) = -\tau' E_x \log E_\mu e^{-A_u^\top\pi/\tau'}` what the policy secures
against the best reply of group u. With :math:`\pi_w` the policy that attains it,

.. math:: \partial_u D = \varphi_u(\pi_w) + \ldots, \qquad
          \partial_{uv} D = \big\langle\nabla\varphi_u, H_w^{-1}\nabla\varphi_v\big\rangle + \ldots,

where :math:`-H_w` is the Hessian of what is maximised, on policies. There are as many variables as
groups, however many prompts and responses there are. The kinks of D and of φ have the width of the
temperatures, so both are followed downwards from where D is nearly quadratic, as for MaxMin: on the
way every KL to μ is that at the final temperature, and the rest of the temperature pulls to the
uniform policy.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import Unsupported
from nlhf.exact.ambiguity_regions import Weights, weights_in
from nlhf.exact.interior_point import Iterate, begin, centre
from nlhf.exact.regularised import blas
from nlhf.exact.robust_response import Heat, RobustResponses
from nlhf.games.group_robust import GroupRobustGame
from nlhf.numerics import EPSILON, log_normalise
from nlhf.results import Profile
from nlhf.spaces.group_replies import GroupReplies
from nlhf.spaces.policy import Policy

_UNIT = 0.5
"""Half the range of preferences."""
_BARRIER = 1e-14
"""The last barrier parameter, in these units; the gap it leaves is that times the number of
inequalities."""
_ENOUGH = 1e-12
"""A barrier parameter after which it is no failure if rounding stops the path."""
_ROUNDING = 1e-13
"""Residuals that are taken for rounding, in the same units, where the barrier is smaller."""
_SHARE = 0.1
"""Barrier parameter over temperature, on the way down: the path then bends where D does."""
_WARM = 1e-3
"""The same where the path begins near its end."""
_ASIDE = 0.1
"""Share of the centre in the weights that it then begins with, which may be at the edge of W."""
_LEAST = -700.0
"""Log-probability that a policy to begin with is raised to."""
_BOLD, _TIMID = 1e-4, 0.95
"""Ratios of successive temperatures or barriers: the smallest that is tried, and the largest."""
_MOST_STEPS = 15
"""Newton steps to the next point of the path; more means that it is too far away."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupRobustEquilibrium:
    """What the path ended in, not yet certified.

    Attributes:
        profile: (policy, choice of group with its replies).
        converged: Whether what the barrier leaves of the gap is at most 5e-13 an inequality, or
            rounding where that is more.
        iterations: Newton systems solved, each for all contexts.
    """

    profile: Profile[Policy]
    converged: bool
    iterations: int


def solve_group_robust(
    game: GroupRobustGame, start: tuple[Policy, Policy] | None = None
) -> GroupRobustEquilibrium:
    """Return the equilibrium of a group-robust game at positive temperatures.

    The policy is the best one for the group weights found, and the replies the best ones to it, so
    the duality gap of the profile is what the weights lack of optimality; the caller certifies it.

    Args:
        game: The game; τ > 0 and τ' > 0, and any κ.
        start: A policy and group weights in W, shape ``(U,)``, to begin near: those of a similar
            game, or of one with fewer groups, the others of weight 0. Only the work depends on
            them; where they are no help the path begins at high temperatures, as without them.

    Raises:
        Unsupported: If the temperature of the policy or of the replies is zero, where D and φ have
            kinks, or for an ambiguity set of another type than the shipped ones.
    """
    if min(game.temperatures[0], game.reply_temperature) <= 0.0:
        raise Unsupported(
            f"the temperature is {game.temperatures[0]:g} and that of replies "
            f"{game.reply_temperature:g}: the dual is smooth at positive ones only",
            "make both positive, or name an algorithm, such as nlhf.Extragradient()",
        )
    responses = RobustResponses(game)
    path = _Path(game, responses)
    with blas().limit(limits=1, user_api="blas"):
        end, converged = path.followed(start)
        weights = path.weights(end)
        found = responses.best(end.near, weights.probabilities, responses.final)
    shape = game.reference.log_probabilities.shape
    replies = np.moveaxis(found.response.log_replies, 1, 0).reshape(game.groups, *shape)
    policy = Policy(found.response.log_policy.reshape(shape))
    opponent = GroupReplies(weights, Policy(replies)).joint()
    return GroupRobustEquilibrium(
        (policy, opponent), converged and found.converged, responses.systems
    )


class DualFunction:
    """D and its first two derivatives at temperatures t and t', in units of payoff 1/2.

    Args:
        game: The game.
        among: The ambiguity set.
        responses: The best policies of the game.
        heat: t and t'.
        near: log π, to start from.
    """

    def __init__(
        self,
        game: GroupRobustGame,
        among: Weights,
        responses: RobustResponses,
        heat: Heat,
        near: Float[np.ndarray, "context response"],
    ) -> None:
        self.game, self.among, self.responses, self.heat = game, among, responses, heat
        self.near = near
        self._tangent: tuple[np.ndarray, np.ndarray] | None = None
        self._last: tuple[Any, Any] = (None, None)
        self._lost = False

    def derivatives(
        self, v: Float[np.ndarray, " variable"]
    ) -> tuple[float, Float[np.ndarray, " variable"], Float[np.ndarray, "variable variable"]]:
        """Return the value, the gradient and the Hessian; the last ones are remembered.

        Once a best policy is not found they are nan, which ends the method: the path takes a
        shorter step then.
        """
        if self._lost:
            return np.nan, np.full(v.shape, np.nan), np.full((v.size, v.size), np.nan)
        if self._last[0] is not v:
            self._last = (v, self._derivatives(v))
        found: tuple[float, np.ndarray, np.ndarray] = self._last[1]
        return found

    def _derivatives(
        self, v: Float[np.ndarray, " variable"]
    ) -> tuple[float, Float[np.ndarray, " variable"], Float[np.ndarray, "variable variable"]]:
        w, shares = self.among.at(v), self.responses.prompt_weights
        start = self.near
        if self._tangent is not None:
            before, moves = self._tangent
            start = log_normalise(start + np.einsum("u,xuy->xy", w - before, moves))
        found = self.responses.best(start, w, self.heat)
        if not found.converged:
            self._lost = True
            return self.derivatives(v)
        best = found.response
        moves, flows = found.curvature.moved(best.slopes)
        self.near, self._tangent = best.log_policy, (w, moves)
        value, gradient = float(shares @ best.worth), shares @ best.values
        each = np.matmul(best.slopes, flows.swapaxes(1, 2))
        hessian = np.tensordot(shares, each, 1)
        kappa = self.game.group_temperature
        if kappa > 0.0:
            ratio = np.log(w / self.game.ambiguity.centre.probabilities)
            value += kappa * float(w @ ratio)
            gradient = gradient + kappa * (ratio + 1.0)
            hessian = hessian + np.diag(kappa / w)
        directions = self.among.directions
        return (
            value / _UNIT,
            directions.T @ gradient / _UNIT,
            directions.T @ hessian @ directions / _UNIT,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """A point of the path.

    Attributes:
        heat: Least temperature, in units of payoff 1/2.
        barrier: Barrier parameter.
        near: log π.
        at: Where the interior-point method is; `None` where group weights are fixed.
    """

    heat: float
    barrier: float
    near: Float[np.ndarray, "context response"]
    at: Iterate | None


class _Path:
    """The central path of one game: first down to the temperatures, then to the last barrier."""

    def __init__(self, game: GroupRobustGame, responses: RobustResponses) -> None:
        self.game, self.responses = game, responses
        self.among = weights_in(game.ambiguity)
        self.final = min(responses.final.policy, responses.final.replies) / _UNIT
        size = max(1.0, game.group_temperature / _UNIT)
        # φ is a temperature times a logarithm, of which the digits are those of 1.
        self.rounding = max(_ROUNDING * size, 8 * EPSILON * responses.final.replies / _UNIT)

    def weights(self, point: _Point) -> Policy:
        """Return the group weights at a point."""
        if self.among is None or point.at is None:
            return self.game.ambiguity.centre
        return Policy.proportional(np.log(self.among.at(point.at.point)))

    def followed(self, start: tuple[Policy, Policy] | None) -> tuple[_Point, bool]:
        """Return the last point that was reached, and whether it is near enough to the end."""
        point = None if start is None else self._reached(self._warm(*start))
        if point is None:
            first = self._cold()
            point = self._reached(first)
            if point is None:
                return first, False
        ratio = 0.2
        while ratio <= _TIMID and not self._ended(point, _BARRIER):
            aim = self._beyond(point, ratio)
            reached = self._reached(aim)
            if reached is None:
                cooler = aim.heat < point.heat
                # The step may have been shorter than the ratio, as it ends at the temperatures.
                tried = aim.heat / point.heat if cooler else aim.barrier / point.barrier
                ratio = tried**0.5
            else:
                point, ratio = reached, max(_BOLD, ratio**3)
        return point, self._ended(point, max(_ENOUGH, self.rounding))

    def _ended(self, point: _Point, barrier: float) -> bool:
        return point.heat == self.final and (self.among is None or point.barrier <= barrier)

    def _beyond(self, point: _Point, ratio: float) -> _Point:
        """Return what to try next: a lower temperature, or at the last one a lower barrier."""
        if point.heat > self.final:
            heat = max(self.final, ratio * point.heat)
            return replace(point, heat=heat, barrier=_SHARE * min(heat, 1.0))
        return replace(point, barrier=max(_BARRIER, ratio * point.barrier))

    def _cold(self) -> _Point:
        """Return the centre of W and the uniform policy, at temperatures where D is quadratic."""
        heat, barrier = max(1.0, self.final), _SHARE
        at = None if self.among is None else begin(self.among.region, barrier)
        return _Point(heat, barrier, self.responses.uniform(), at)

    def _warm(self, policy: Policy, weights: Policy) -> _Point:
        """Return a point near an equilibrium, a little towards the centre of W."""
        heat, barrier, at = self.final, _WARM * min(self.final, 1.0), None
        if self.among is not None:
            region = self.among.region
            if not self.among.origin.any():  # the variables are the weights
                inside = (1.0 - _ASIDE) * weights.probabilities + _ASIDE * region.inside
                region = replace(region, inside=inside)
            at = begin(region, barrier)
        near = policy.log_probabilities.reshape(self.responses.log_reference.shape)
        return _Point(heat, barrier, np.maximum(near, _LEAST), at)

    def _reached(self, aim: _Point) -> _Point | None:
        """Return the point of the path with these parameters, if it is found from near it."""
        raised, final = aim.heat * _UNIT, self.responses.final
        heat = Heat(max(raised, final.policy), max(raised, final.replies))
        if self.among is None or aim.at is None:
            weights = self.game.ambiguity.centre.probabilities
            found = self.responses.best(aim.near, weights, heat)
            near = found.response.log_policy
            return replace(aim, near=near) if found.converged else None
        f = DualFunction(self.game, self.among, self.responses, heat, aim.near)
        at, success = centre(
            f, self.among.region, aim.at, aim.barrier, least=self.rounding, most=_MOST_STEPS
        )
        return replace(aim, near=f.near, at=at) if success else None
