r"""Optima of general utilities: through the groups' weights, or by mirror ascent.

A Nash welfare is maximised through its dual, a function of the groups' exchange rates w > 0,

.. math:: \min_{w > 0}\ V_\tau\big(\textstyle\sum_u w_u r_u\big) - \langle w, d\rangle
          + \sum_u \eta_u \log(\eta_u/w_u) - \eta_u,

by Newton's method; its logarithms keep the iterates inside, and the temperature is lowered in
stages. A soft minimum is MaxMin with a group temperature and solved as such. Any other utility is
maximised by mirror ascent in the KL geometry, which needs only that f is smooth relative to KL:
:math:`D_{-f}(d'\|d) \le s\,KL(d'\|d)`, with s found on the way.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.exact.maxmin import solve_maxmin
from nlhf.games.group_rewards import Offsets
from nlhf.games.maxmin import MaxMinGame
from nlhf.games.occupancy_utilities import GroupWelfare
from nlhf.games.utility import UtilityGame
from nlhf.games.welfare import NashWelfare, SoftMinimum
from nlhf.numerics import EPSILON, expectation
from nlhf.protocols import Anchors
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.policy import Policy
from nlhf.spaces.realisers import SoftBellman
from nlhf.spaces.sequential import SequentialSpace

_COOLING = 0.2
"""Ratio of the temperatures of successive stages."""
_INSIDE = 0.9
"""No Newton step takes more than this share of a weight."""
_QUADRATIC = 1e-8
"""Newton decrement, in units of the temperature, at which the next stage can begin."""
_SETTLED = 1e-28
_SLOPE = 0.5
_SHORTEST = 1e-10
_MOST_NEWTON_STEPS = 100
_GAP = 1e-12
"""Linearised gap at which mirror ascent ends, in units of 1 + |F|."""
_MOST_STEPS = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class UtilityOptimum:
    """The policy that maximises a general utility, as far as the solver got; certify it.

    Attributes:
        policy: π.
        converged: Whether the solver met its own tolerance.
        iterations: Steps taken.
        method: What the solver was.
    """

    policy: Policy
    converged: bool
    iterations: int
    method: str


def solve_utility(game: UtilityGame) -> UtilityOptimum:
    """Return the optimum of a game with a general utility.

    Exact up to rounding for the welfares of `games.welfare` at τ > 0. Otherwise mirror ascent with
    a linear rate at τ > 0, and a gap of O(1/k) after k steps at τ = 0.

    Args:
        game: The game.
    """
    utility = game.utility
    if isinstance(utility, GroupWelfare) and game.temperature > 0.0:
        if isinstance(utility.welfare, NashWelfare):
            return _bargain(game, utility, utility.welfare)
        if isinstance(utility.welfare, SoftMinimum):
            return _as_maxmin(game, utility, utility.welfare)
    return ascend(game)


def ascend(
    game: UtilityGame, start: Policy | None = None, *, gap: float = _GAP, most: int = _MOST_STEPS
) -> UtilityOptimum:
    r"""Maximise by mirror ascent, :math:`z_{k+1} = prox(\nabla f(d_{z_k}), \{z_k: s_k\})`.

    The strength s of the pull is doubled until
    :math:`\langle\nabla f(d) - \nabla f(d'), d' - d\rangle \le s\,KL(z'\|z)`, and halved after
    every step. It implies :math:`D_{-f}(d'\|d) \le s\,KL(z'\|z)`, so that F never falls, and
    unlike that it does not cancel near the optimum.
    With s bounded, :math:`KL(\pi^*\|z_k)` falls by the factor 1 + τ/s a step (Lu, Freund &
    Nesterov 2018).

    Args:
        game: The game.
        start: Where to start, of full support; `game.start()` by default.
        gap: Linearised gap to stop at, in units of 1 + |F|.
        most: Steps to stop after.
    """
    policy, strength = game.start()[0] if start is None else start, 1.0
    own = [(game.reference, game.temperature)] if game.temperature > 0.0 else []
    here = game.occupancy(policy)
    gradient = game.utility.gradient(here)
    for iteration in range(most):
        size = 1.0 + abs(game.utility.value(here))
        if _gap(game, policy, gradient) <= gap * size:
            return UtilityOptimum(policy, True, iteration, "mirror ascent")
        strength *= 0.5
        while True:
            moved = _step(game, gradient, [(policy, strength), *own])
            there = game.occupancy(moved)
            if np.isfinite(game.utility.value(there)):
                faced = game.utility.gradient(there)
                bent = (there - here).mean(gradient - faced)
                allowed = strength * float(game.spaces[0].divergence(moved, policy).value)
                if bent <= allowed + 8 * EPSILON * (there - here).mass * size:
                    break
            strength *= 2.0
        policy, here, gradient = moved, there, faced
    return UtilityOptimum(policy, False, most, "mirror ascent")


def _gap(game: UtilityGame, policy: Policy, gradient: Any) -> float:
    """Return what the best response to the gradient gains."""
    space, tau = game.spaces[0], game.temperature
    if tau == 0.0:
        best = space.best_response(gradient)
        return float(space.mean(best, gradient) - space.mean(policy, gradient))
    best = _step(game, gradient, [(game.reference, tau)])
    return tau * float(space.divergence(policy, best).value)


def _step(game: UtilityGame, payoff: Any, anchors: Anchors[Policy]) -> Policy:
    """Return the proximal point itself, whatever the realiser of the game."""
    each = game.spaces[0].each
    if isinstance(each, SequentialSpace):
        return SoftBellman().realise(each.process, payoff, anchors)
    moved: Policy = each.prox(payoff, anchors).strategy
    return moved


def _as_maxmin(game: UtilityGame, utility: GroupWelfare, welfare: SoftMinimum) -> UtilityOptimum:
    found = solve_maxmin(
        MaxMinGame(
            utility.rewards,
            game.reference,
            game.temperature,
            proportions=welfare.proportions,
            group_temperature=welfare.temperature,
            offsets=Offsets.AS_GIVEN,
            weights=game.prompt_weights,
            process=game.process,
        )
    )
    method = "interior-point Newton on the dual over group weights"
    return UtilityOptimum(found.profile[0], found.converged, found.iterations, method)


def _bargain(game: UtilityGame, utility: GroupWelfare, welfare: NashWelfare) -> UtilityOptimum:
    """Minimise the dual of a Nash welfare, in stages of falling temperature."""
    gains = utility.utilities(game.occupancy(game.start()[0])) - welfare.disagreement
    weights = welfare.proportions / gains
    stages = [game.temperature]
    # Nothing bends above the range of the weighted rewards.
    while stages[0] < _range(utility.weighted(weights)):
        stages.insert(0, stages[0] / _COOLING)
    steps, settled = 0, False
    for temperature in stages:
        dual = _BargainingDual(game, utility, welfare, temperature)
        last = temperature == game.temperature
        weights, used, settled = _newton(
            dual, weights, _SETTLED if last else _QUADRATIC * temperature
        )
        steps += used
    method = "Newton on the dual over exchange rates"
    policy = dual.policy(weights)
    if not np.isfinite(game.primal(policy)):
        policy, settled = game.start()[0], False
    # Rates much larger than the temperature: their rounding is a matter for the policy, not for
    # its ascent. Where the policy is as good already, ascent takes no step.
    closer = ascend(game, policy)
    if settled and not closer.iterations:
        return UtilityOptimum(policy, True, steps, method)
    return UtilityOptimum(
        closer.policy, closer.converged, steps + closer.iterations, f"{method}, and mirror ascent"
    )


def _range(reward: Any) -> float:
    """Return by how much what a prompt or a trajectory is paid can differ, at most."""
    if isinstance(reward, np.ndarray):
        return float(np.ptp(reward, axis=-1).max())
    return 2.0 * float(reward.half_range)


def _newton(
    dual: "_BargainingDual", weights: Float[np.ndarray, "group"], decrement: float
) -> tuple[Float[np.ndarray, "group"], int, bool]:
    """Return the minimiser, the steps taken and whether the decrement was reached."""
    gradient, hessian = dual.derivatives(weights)
    last = np.inf
    for step in range(_MOST_NEWTON_STEPS):
        # In units of the weights themselves, so that groups of different scales are alike.
        scaled = hessian * weights[:, None] * weights[None, :]
        try:
            change = -np.linalg.solve(scaled, gradient * weights)
        except np.linalg.LinAlgError:
            return weights, step, False
        promised = -float(change @ (gradient * weights))
        near = promised <= _QUADRATIC * dual.temperature
        if promised <= decrement or (near and promised >= 0.5 * last):
            return weights, step, near
        direction, length = weights * change, min(1.0, _INSIDE / float(np.abs(change).max()))
        while True:
            moved = weights + length * direction
            gradient, hessian = dual.derivatives(moved)
            # Convex: a step too far shows in its slope, which unlike the value does not cancel.
            if float(gradient @ direction) <= _SLOPE * promised or length < _SHORTEST:
                break
            length *= 0.5
        weights, last = moved, promised
    return weights, _MOST_NEWTON_STEPS, False


@dataclass(frozen=True, slots=True, eq=False)
class _BargainingDual:
    """The dual of a Nash welfare at some temperature."""

    game: UtilityGame
    utility: GroupWelfare
    welfare: NashWelfare
    temperature: float

    def policy(self, weights: Float[np.ndarray, "group"]) -> Policy:
        """Return the best policy for these exchange rates."""
        anchors = [(self.game.reference, self.temperature)]
        return _step(self.game, self.utility.weighted(weights), anchors)

    def derivatives(
        self, weights: Float[np.ndarray, "group"]
    ) -> tuple[Float[np.ndarray, "group"], Float[np.ndarray, "group group"]]:
        """Return the gradient and the Hessian."""
        policy = self.policy(weights)
        occupancy = self.game.occupancy(policy)
        slope, curvature = self.welfare.conjugate_derivatives(weights)
        covariance = self._covariance(policy, occupancy.actions)
        gradient = self.utility.utilities(occupancy) + slope
        return gradient, covariance / self.temperature + np.diag(curvature)

    def _covariance(
        self, policy: Policy, actions: Float[np.ndarray, "*place action"]
    ) -> Float[np.ndarray, "group group"]:
        """Return the covariances of action values, added up over the visits of points."""
        logs, process = policy.log_probabilities, self.game.process
        values = self.utility.rewards
        if process is not None:
            values = [process.action_values(logs, reward, None) for reward in values]
        centred = np.array([(q - expectation(logs, q)[..., None]).reshape(-1) for q in values])
        # Under a discount an occupancy is a probability, and there are 1/(1 - γ) visits.
        visits = process.length if isinstance(process, Discounted) else 1.0
        return np.asarray((centred * (visits * actions.reshape(-1))) @ centred.T)
