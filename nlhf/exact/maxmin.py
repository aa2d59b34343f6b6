r"""MaxMin over groups through its dual, a smooth convex function of the group weights alone.

.. math:: \max_\pi \min_{w \in W} = \min_{w \in W} D(w), \qquad
          D(w) = V_\tau(\textstyle\sum_u w_u r_u) + \langle w, o\rangle + \kappa KL(w\|\eta),

with :math:`V_\tau(g) = \max_\pi E_\pi[g] - \tau KL(\pi\|\mu)`: one log-mean-exponential per prompt,
on a decision process soft value iteration. With :math:`\pi_w` the policy that attains it,

.. math:: \partial_u D = U_u(\pi_w) + \ldots, \qquad
          \partial_{uv} D = \tfrac1\tau \sum_s d(s)\, Cov_{a \sim \pi_w(s)}(Q_u, Q_v) + \ldots,

where d(s) are the visits of a decision point and Q_u the action values of r_u under π_w (the
derivative of a soft value is the plain value of the same policy). There are as many variables as
groups, however many prompts, responses or states there are. The kinks of D have the width of the
temperature, so it is followed downwards from where D is nearly quadratic. On the way, at t > τ, the
policy pays :math:`\tau KL(\pi\|\mu) + (t - \tau) KL(\pi\|\mathrm{uniform})`: kinks grow sharp
without moving, however unequal the reference is.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.exact.ambiguity_regions import Weights, weights_in
from nlhf.exact.interior_point import Iterate, begin, centre
from nlhf.games.maxmin import MaxMinGame
from nlhf.numerics import EPSILON, expectation, kl_divergence
from nlhf.results import Profile
from nlhf.spaces.duals import StepPayoff
from nlhf.spaces.markov import FiniteHorizon
from nlhf.spaces.policy import Policy
from nlhf.spaces.realisers import SoftBellman
from nlhf.spaces.sequential import SequentialSpace

_BARRIER = 1e-14
"""The last barrier parameter, in units of half the range of the rewards; the gap it leaves is that
times the number of inequalities."""
_ENOUGH = 1e-12
"""A barrier parameter after which it is no failure if rounding stops the path."""
_ROUNDING = 1e-13
"""Residuals that are taken for rounding, in the same units, where the barrier is smaller."""
_SHARE = 0.1
"""Barrier parameter over temperature, on the way down: the path then bends where D does."""
_BOLD, _TIMID = 1e-4, 0.95
"""Ratios of successive temperatures or barriers: the smallest that is tried, and the largest."""
_MOST_STEPS = 15
"""Newton steps to the next point of the path; more means that it is too far away."""


@dataclass(frozen=True, slots=True, eq=False)
class MaxMinEquilibrium:
    """The MaxMin policy and the group weights that prove it.

    Attributes:
        profile: (policy, group weights).
        converged: Whether what the barrier leaves of the gap is at most 1e-12 an inequality, in
            units of half the range of the rewards, or rounding where that is more.
        iterations: Newton steps.
    """

    profile: Profile[Policy]
    converged: bool
    iterations: int


def solve_maxmin(game: MaxMinGame) -> MaxMinEquilibrium:
    """Return the equilibrium of a MaxMin game at positive policy temperature.

    The policy is the best one for the weights found, so the duality gap of the profile is what
    the weights lack of optimality; the caller certifies it.

    Args:
        game: The game; τ > 0.
    """
    among = weights_in(game.ambiguity)
    if among is None:
        weights = game.ambiguity.centre
        return MaxMinEquilibrium((game.best_policy(weights), weights), True, 0)
    at, converged = _follow(game, among)
    weights = Policy.proportional(np.log(among.at(at.point)))
    profile = (game.best_policy(weights), weights)
    return MaxMinEquilibrium(profile, converged, at.iterations)


def _follow(game: MaxMinGame, among: Weights) -> tuple[Iterate, bool]:
    """Follow the central path: first down to the temperature, then to the last barrier.

    Returns the last point that was reached, and whether its barrier parameter is small enough.
    """
    unit = game.half_range or game.lipschitz or 1.0
    final = game.temperatures[0] / unit
    # Groups may be further apart than the rewards of any of them: the path begins above both.
    size = max(1.0, float(np.ptp(game.utilities(game.reference))) / (2.0 * unit))
    temperature, barrier, ratio = max(size, final), np.inf, 0.2
    at, reached = begin(among.region, _SHARE * size), barrier
    aim = (temperature, _SHARE * size)
    f = DualFunction(game, among, temperature * unit, unit)
    rounding = max(_ROUNDING * max(1.0, game.temperatures[1] / unit), f.rounding)
    while ratio <= _TIMID:
        f = f.at(aim[0] * unit)
        tried, success = centre(f, among.region, at, aim[1], least=rounding, most=_MOST_STEPS)
        if success:
            ratio = max(_BOLD, ratio**3)
            at, temperature, barrier = tried, *aim
            if temperature == final:
                reached = barrier
                if barrier <= _BARRIER:
                    break
        else:
            ratio = ratio**0.5
        if temperature > final:
            cooler = max(final, ratio * temperature)
            aim = (cooler, _SHARE * min(cooler, size))
        else:
            aim = (final, max(_BARRIER, ratio * barrier))
    return at, reached <= max(_ENOUGH, rounding)


class DualFunction:
    """D and its first two derivatives at some temperature, in units of payoff `unit`."""

    def __init__(
        self,
        game: MaxMinGame,
        among: Weights,
        temperature: float,
        unit: float,
        moments: "_Moments | None" = None,
    ) -> None:
        self.game, self.among = game, among
        self.temperature, self.unit = temperature, unit
        if moments is None:
            moments = _moments(game)
        self._moments = moments
        self._last: tuple[Any, Any] = (None, None)

    @property
    def rounding(self) -> float:
        """How accurate an entry of the gradient is."""
        return 8 * EPSILON * self._moments.largest / self.unit

    def at(self, temperature: float) -> "DualFunction":
        """Return the function at another temperature."""
        if temperature == self.temperature:
            return self
        return DualFunction(self.game, self.among, temperature, self.unit, self._moments)

    def derivatives(
        self, v: Float[np.ndarray, " variable"]
    ) -> tuple[float, Float[np.ndarray, " variable"], Float[np.ndarray, "variable variable"]]:
        """Return the value, the gradient and the Hessian; the last ones are remembered."""
        if self._last[0] is not v:
            self._last = (v, self._derivatives(v))
        found: tuple[float, np.ndarray, np.ndarray] = self._last[1]
        return found

    def _derivatives(
        self, v: Float[np.ndarray, " variable"]
    ) -> tuple[float, Float[np.ndarray, " variable"], Float[np.ndarray, "variable variable"]]:
        game, kappa = self.game, self.game.temperatures[1]
        w = self.among.at(v)
        value, gradient, covariance = self._moments.at(w, self.temperature)
        hessian = covariance / self.temperature
        if kappa > 0.0:
            ratio = np.log(w / game.proportions)
            value += kappa * float(w @ ratio)
            gradient += kappa * (ratio + 1.0)
            hessian += np.diag(kappa / w)
        directions = self.among.directions
        return (
            value / self.unit,
            directions.T @ gradient / self.unit,
            directions.T @ hessian @ directions / self.unit,
        )


@runtime_checkable
class _Moments(Protocol):
    """The soft value of w · (r + o), the utilities of π_w, and covariances of action values."""

    largest: float
    """Of what is added up, in absolute value."""

    def at(
        self, w: Float[np.ndarray, "group"], temperature: float
    ) -> tuple[float, Float[np.ndarray, "group"], Float[np.ndarray, "group group"]]: ...


def _moments(game: MaxMinGame) -> _Moments:
    if not isinstance(game.spaces[0].each, SequentialSpace):
        return _MomentsOfResponses(game)
    if isinstance(game.process, FiniteHorizon):
        return _MomentsOfSteps(game, game.process)
    return _MomentsOfVisits(game)


class _MomentsOfResponses:
    """Where responses are chosen at once: from one exponential per response."""

    def __init__(self, game: MaxMinGame) -> None:
        self.weights, self.final = game.prompt_weights, game.temperatures[0]
        self.log_reference = game.reference.log_probabilities.reshape(len(self.weights), -1)
        rewards = game.rewards.reshape(game.groups, *self.log_reference.shape)
        # Less their means, so that neither the covariances below nor large constants cancel.
        means = np.einsum("uxy,xy->ux", rewards, np.exp(self.log_reference))
        self.rewards = rewards - means[..., None]
        self.flat = self.rewards.reshape(game.groups, -1)
        self.means = means @ self.weights + game.offsets
        self.largest = float(np.abs(self.means).max()) + game.half_range

    def at(
        self, w: Float[np.ndarray, "group"], temperature: float
    ) -> tuple[float, Float[np.ndarray, "group"], Float[np.ndarray, "group group"]]:
        logits = ((w / temperature) @ self.flat).reshape(self.log_reference.shape)
        logits += self.log_reference * (self.final / temperature)
        top = logits.max(axis=-1)
        logits -= top[:, None]
        policy = np.exp(logits, out=logits)
        total = policy.sum(axis=-1)
        soft = temperature * float(self.weights @ (top + np.log(total)))
        policy /= total[:, None]
        means = np.matmul(self.rewards.swapaxes(0, 1), policy[..., None])[..., 0]
        centred = self.rewards - means.T[..., None]
        policy *= self.weights[:, None]
        flat = centred.reshape(len(w), -1)
        covariance = (flat * policy.reshape(-1)) @ flat.T
        return soft + float(w @ self.means), self.means + self.weights @ means, covariance


class _MomentsOfVisits:
    """On a decision process: from soft value iteration and the values of its policy."""

    def __init__(self, game: MaxMinGame) -> None:
        self.game, self.largest = game, game.largest
        shape = game.reference.log_probabilities.shape
        self.uniform = Policy(np.full(shape, -np.log(shape[-1])))

    def at(
        self, w: Float[np.ndarray, "group"], temperature: float
    ) -> tuple[float, Float[np.ndarray, "group"], Float[np.ndarray, "group group"]]:
        game, process = self.game, self.game.spaces[0].each.process
        payoff = self.weighted(w)
        anchors = [(game.reference, game.temperatures[0])]
        if temperature > game.temperatures[0]:
            anchors.append((self.uniform, temperature - game.temperatures[0]))
        best = SoftBellman().realise(process, payoff, anchors)
        log_policy = best.log_probabilities
        visits = process.visits(log_policy)
        if process.contexts:
            visits = visits * game.prompt_weights[:, None]
        mass = (visits[..., None] * best.probabilities).reshape(-1)
        flat, means = self.values(best)
        nats = [kl_divergence(log_policy, to.log_probabilities) for to, _ in anchors]
        price = sum(
            pull * float((visits * each).sum())
            for (_, pull), each in zip(anchors, nats, strict=True)
        )
        value = float(w @ (means + game.offsets)) - price
        return value, means + game.offsets, (flat * mass) @ flat.T

    def weighted(self, w: Float[np.ndarray, "group"]) -> Any:
        """Return the reward of a mixture of groups."""
        return self.game.weighted(Policy(np.log(w)))

    def values(
        self, policy: Policy
    ) -> tuple[Float[np.ndarray, "group place"], Float[np.ndarray, "group"]]:
        """Return every group's action values, less their means, and its mean reward."""
        process, log_policy = self.game.spaces[0].each.process, policy.log_probabilities
        each = [process.action_values(log_policy, reward, None) for reward in self.game.rewards]
        flat = [(q - expectation(log_policy, q)[..., None]).reshape(-1) for q in each]
        means = [self.game.spaces[0].mean(policy, reward) for reward in self.game.rewards]
        return np.array(flat), np.array(means)


class _MomentsOfSteps(_MomentsOfVisits):
    """Where there is a horizon: the values of all groups in one sweep."""

    def __init__(self, game: MaxMinGame, process: FiniteHorizon) -> None:
        super().__init__(game)
        self.process = process
        self.steps = np.stack([reward.steps for reward in game.rewards], axis=-1)
        self.final = np.stack([reward.final for reward in game.rewards], axis=-1)

    def weighted(self, w: Float[np.ndarray, "group"]) -> StepPayoff:
        """Return the reward of a mixture of groups."""
        return StepPayoff(self.steps @ w, self.final @ w)

    def values(
        self, policy: Policy
    ) -> tuple[Float[np.ndarray, "group place"], Float[np.ndarray, "group"]]:
        """Return every group's action values, less their means, and its mean reward."""
        mdp, centred, to_come = self.process.mdp, np.empty(self.steps.shape), self.final
        for h in reversed(range(self.process.horizon)):
            q = (mdp.transitions @ to_come).reshape(self.steps.shape[1:]) + self.steps[h]
            to_come = np.einsum("sa,sau->su", policy.probabilities[h], q)
            centred[h] = q - to_come[:, None, :]
        return centred.reshape(-1, len(self.game.rewards)).T, mdp.initial @ to_come
