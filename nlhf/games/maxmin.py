"""MaxMin: one policy for several groups of people, judged by the group that it serves worst."""

from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.games.group_rewards import (
    Offsets,
    checked_offsets,
    checked_payoffs,
    checked_rewards,
    checked_setting,
)
from nlhf.games.preference import checked_group_preferences
from nlhf.games.tabular import (
    RegularisedGame,
    checked_reference,
    checked_temperature,
    checked_weights,
    responses_of,
)
from nlhf.numerics import EPSILON, kl_divergence
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units, read_only
from nlhf.spaces.ambiguity import Ambiguity, checked_ambiguity, require_inside
from nlhf.spaces.groups import GroupSpace
from nlhf.spaces.policy import Policy
from nlhf.spaces.pooled import Pooled
from nlhf.spaces.process import Process
from nlhf.spaces.realisers import Realiser, SoftBellman
from nlhf.spaces.sequential import SequentialSpace
from nlhf.spaces.simplex import Simplex
from nlhf.streams import Stream


class MaxMinGame(RegularisedGame):
    r"""A policy against whoever picks the group that it is judged by.

    .. math:: \max_\pi \min_{w \in W}\ \sum_u w_u U_u(\pi) - \tau KL(\pi\|\mu) + \kappa KL(w\|\eta),
              \qquad U_u(\pi) = E_{x,\, y \sim \pi(\cdot|x)}\, r_u(x, y) + o_u,

    with η the proportions of the groups, W an ambiguity set around them and o the offsets.

    * Egalitarian MaxMin: W the whole simplex, κ = 0 (the default): the worst group counts.
    * Distributionally robust: W a ball around η, or κ > 0 (the worst mixture, at a price).
    * The average over groups: W = {η}, a ball of radius 0.

    The weights couple the prompts, so there is one context for a certificate: gains and distances
    are averaged over prompts. With τ > 0 the policy of the equilibrium is unique, and so are the
    weights if κ > 0. On a decision process KL is between distributions over trajectories.

    Args:
        rewards: r, shape ``(U, n)`` or ``(U, X, n)``; with a process, one payoff of its kind for
            every group (`LeafPayoff`, `StepPayoff`).
        reference: μ, of full support; uniform by default.
        temperature: τ ≥ 0, in reward units.
        proportions: η, shape ``(U,)``, of full support; uniform by default. Not together with an
            ambiguity set, which has a centre of its own.
        group_temperature: κ ≥ 0, in reward units.
        ambiguity: W; the whole simplex by default.
        offsets: What makes the groups' rewards comparable; `None` takes them as given, and warns.
        weights: The prompt distribution; uniform by default.
        units: Units of the rewards.
        process: A token tree, histories or a Markov decision process to act in.
        realiser: How proximal steps on a process are carried out; exactly by default.

    Attributes:
        rewards: r as given, one array or one payoff per group.
        offsets: o, shape ``(U,)``.
        normalisation: How the offsets were chosen.
        prompt_weights: The prompt distribution, shape ``(X,)``.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range.
        Unsupported: If the process is none, or cannot be paid so.

    Warns:
        Unnormalised: If there are several groups and no choice of offsets.
    """

    def __init__(
        self,
        rewards: Any,
        reference: ArrayLike | Policy | None = None,
        temperature: float = 0.0,
        *,
        proportions: ArrayLike | None = None,
        group_temperature: float = 0.0,
        ambiguity: Ambiguity | None = None,
        offsets: Offsets | str | None = None,
        weights: ArrayLike | None = None,
        units: Units = Units.PAYOFF,
        process: Process[Any] | None = None,
        realiser: Realiser | None = None,
    ) -> None:
        realiser = SoftBellman() if realiser is None else realiser
        if process is None:
            self.rewards: Any = checked_rewards(rewards)
            shape = self.rewards.shape[1:]
            self.prompt_weights = checked_weights(weights, shape[:-1])
            space = Pooled(Simplex(shape[-1], self.prompt_weights))
        else:
            played = checked_setting(process)
            self.rewards, shape = checked_payoffs(played, rewards), played.shape
            self.prompt_weights = checked_weights(weights, played.contexts)
            space = Pooled(SequentialSpace(played, self.prompt_weights, realiser))
        self.process = process
        self.exact_steps = process is None or type(realiser) is SoftBellman
        self.ambiguity = checked_ambiguity(ambiguity, proportions, len(self.rewards))
        super().__init__(
            spaces=(space, GroupSpace(self.ambiguity)),
            references=(checked_reference(reference, shape[:-1], shape[-1]), self.ambiguity.centre),
            temperatures=(checked_temperature(temperature), checked_temperature(group_temperature)),
            weights=read_only(np.ones(1)),
            units=units,
        )
        self.normalisation = checked_offsets(offsets, len(self.rewards))
        self.offsets = read_only(self._offsets())

    @classmethod
    def of_preferences(
        cls,
        preference: ArrayLike,
        reference: ArrayLike | Policy | None = None,
        temperature: float = 0.0,
        *,
        proportions: ArrayLike | None = None,
        group_temperature: float = 0.0,
        ambiguity: Ambiguity | None = None,
        weights: ArrayLike | None = None,
    ) -> "MaxMinGame":
        r"""Return the game for the worst group's preference over the reference policy.

        .. math:: r_u(x, y) = \sum_{y'} \mu(y'|x)\, P_u(y \succ y' | x),

        so that U_u(π) is the probability that group u prefers a response of π to one of μ, and
        1/2 at the reference: there is no offset to choose.

        Args:
            preference: P_u, shape ``(U, n, n)`` or ``(U, X, n, n)``.
            reference: μ, as in the game.
            temperature: τ ≥ 0, in win probability.
            proportions: η, as in the game.
            group_temperature: κ ≥ 0, in win probability.
            ambiguity: W, as in the game.
            weights: The prompt distribution, as in the game.

        Raises:
            InvalidProblem: If an argument has a wrong shape or an entry out of range.
        """
        p = checked_group_preferences(preference)
        policy = checked_reference(reference, p.shape[1:-2], p.shape[-1])
        return cls(
            np.einsum("...ij,...j->...i", p, policy.probabilities),
            policy,
            temperature,
            proportions=proportions,
            group_temperature=group_temperature,
            ambiguity=ambiguity,
            offsets=Offsets.AS_GIVEN,
            weights=weights,
            units=Units.WIN_PROBABILITY,
        )

    @property
    def groups(self) -> int:
        """U, the number of groups."""
        return len(self.rewards)

    @property
    def reference(self) -> Policy:
        """μ."""
        return self.references[0]

    @property
    def proportions(self) -> Float[np.ndarray, "group"]:
        """η."""
        return self.references[1].probabilities

    @cached_property
    def half_range(self) -> float:
        """Half the range of any group's rewards, the most of all groups and prompts."""
        if isinstance(self.rewards, np.ndarray):
            return float(np.ptp(self.rewards, axis=-1).max() / 2.0)
        return float(max(reward.half_range for reward in self.rewards))

    @cached_property
    def lipschitz(self) -> float:
        r"""Half the range of either player's payoffs, the most of all.

        For the policy it is that of a group's rewards, for the groups half of what two of them may
        be apart under one policy, offsets included. So
        :math:`\|F(z)-F(z')\|_\infty \le L\|z-z'\|_1` up to a constant per player, for which the
        first would do, where the distance of policies is that of distributions over prompts and
        responses together; and no payoff has a larger half range, which bounds the distance of
        the equilibrium from the references.
        """
        return max(self.half_range, self._most_apart() / 2.0)

    @cached_property
    def largest(self) -> float:
        """The largest reward in absolute value, and on top of it the largest offset."""
        if isinstance(self.rewards, np.ndarray):
            reward = float(np.abs(self.rewards).max())
        else:
            reward = float(max(payoff.size.max() for payoff in self.rewards))
        return reward + float(np.abs(self.offsets).max())

    @cached_property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """A bound on the rounding error of an entry of a payoff of either player."""
        if isinstance(self.rewards, np.ndarray):
            error = (self.rewards[0].size + self.groups + 8) * EPSILON
        else:
            played = self.spaces[0].each.process
            error = 2 * played.rounding + (8 * played.length + self.groups) * EPSILON
        return read_only(np.array([error * self.largest]))

    def operator(self, profile: Profile[Policy], stream: Stream | None = None) -> Evaluation[Any]:
        """Return (Σ_u w_u r_u, −U(π)); exact, so the stream is not used."""
        policy, weights = profile
        return Evaluation((self.weighted(weights), -self.utilities(policy)))

    def weighted(self, weights: Policy) -> Any:
        """Return the reward of a mixture of groups, Σ_u w_u r_u."""
        w = weights.probabilities
        if isinstance(self.rewards, np.ndarray):
            return np.tensordot(w, self.rewards, axes=1)
        total = self.rewards[0] * float(w[0])
        for share, reward in zip(w[1:], self.rewards[1:], strict=True):
            total = total + reward * float(share)
        return total

    def utilities(self, policy: Policy) -> Float[np.ndarray, "group"]:
        """Return U(π), every group's utility, without the price of KL."""
        if isinstance(self.rewards, np.ndarray):
            drawn = self.prompt_weights[:, None] * np.atleast_2d(policy.probabilities)
            means = self.rewards.reshape(self.groups, -1) @ drawn.reshape(-1)
        else:
            mean = self.spaces[0].mean
            means = np.array([mean(policy, reward) for reward in self.rewards])
        return np.asarray(means + self.offsets)

    def cost(self, policy: Policy) -> float:
        """Return τ KL(π‖μ)."""
        temperature = self.temperatures[0]
        if temperature == 0.0:
            return 0.0
        return temperature * float(self.spaces[0].divergence(policy, self.reference).value)

    def primal(self, policy: Policy) -> float:
        r"""Return what a policy secures, :math:`\min_{w \in W} \ldots - \tau KL(\pi\|\mu)`."""
        space, kappa = self.spaces[1], self.temperatures[1]
        utilities = self.utilities(policy)
        worst = (
            space.best_response(-utilities)
            if kappa == 0.0
            else space.prox(-utilities, [(self.references[1], kappa)]).strategy
        )
        return float(worst.probabilities @ utilities) + self._group_cost(worst) - self.cost(policy)

    def dual(self, weights: Policy) -> float:
        r"""Return what group weights concede, :math:`\max_\pi \ldots + \kappa KL(w\|\eta)`."""
        best = self.best_policy(weights)
        value = float(weights.probabilities @ self.utilities(best))
        return value - self.cost(best) + self._group_cost(weights)

    def best_policy(self, weights: Policy) -> Policy:
        r"""Return the best policy for a mixture of groups, :math:`\propto \mu e^{w \cdot r/\tau}`.

        At temperature 0 it plays the first best action.
        """
        return self.best_response(self.weighted(weights))

    def as_profile(self, strategies: object) -> Profile[Policy]:
        """Return a validated profile (policy, group weights).

        Raises:
            InvalidProblem: If a shape does not fit, or the weights are outside the ambiguity set.
        """
        profile = super().as_profile(strategies)
        require_inside(self.ambiguity, profile[1])
        return profile

    def best_response(self, payoff: Any) -> Policy:
        """Return the policy of largest payoff, less the price of KL."""
        space, tau = self.spaces[0], self.temperatures[0]
        if tau > 0.0 and self.exact_steps:
            best: Policy = space.prox(payoff, [(self.reference, tau)]).strategy
        else:  # the space's judge: a realiser may only approximate the proximal step
            found = space.improvement(self.reference, payoff, self.reference, tau, np.zeros(1))
            best = found.response
        return best

    def _most_apart(self) -> float:
        """Return the largest difference of two groups' utilities that any policy brings about."""
        space, apart = self.spaces[0], 0.0
        for u, v in permutations(range(self.groups), 2):
            difference = self.rewards[u] + self.rewards[v] * -1.0
            most = space.mean(space.best_response(difference), difference)
            apart = max(apart, most + float(self.offsets[u] - self.offsets[v]))
        return apart

    def _decisions(self) -> str:
        what = responses_of(self.reference) if self.process is None else repr(self.process)
        return f"{what}, {self.ambiguity!r}"

    def _group_cost(self, weights: Policy) -> float:
        kappa = self.temperatures[1]
        if kappa == 0.0:
            return 0.0
        centre = self.references[1].log_probabilities
        return kappa * float(kl_divergence(weights.log_probabilities, centre))

    def _offsets(self) -> Float[np.ndarray, "group"]:
        if self.normalisation is Offsets.AS_GIVEN:
            return np.zeros(self.groups)
        mean = self.spaces[0].mean
        if self.normalisation is Offsets.REFERENCE:
            return -np.array([mean(self.reference, reward) for reward in self.rewards])
        best = [(self.best_response(reward), reward) for reward in self.rewards]
        return np.array([self.cost(policy) - mean(policy, reward) for policy, reward in best])
