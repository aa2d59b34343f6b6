"""The group-robust Nash game: a policy that no group of people prefers another policy to."""

from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.games.payoffs import DensePayoff
from nlhf.games.preference import checked_group_preferences
from nlhf.games.tabular import (
    RegularisedGame,
    checked_reference,
    checked_temperature,
    checked_weights,
    responses_of,
)
from nlhf.numerics import PROBABILITY_TOLERANCE
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units, read_only
from nlhf.spaces.ambiguity import Ambiguity, checked_ambiguity, require_inside
from nlhf.spaces.group_replies import GroupReplies, GroupReplySpace
from nlhf.spaces.policy import Policy
from nlhf.spaces.pooled import Pooled
from nlhf.spaces.simplex import Simplex
from nlhf.streams import Stream


class GroupRobustGame(RegularisedGame):
    r"""A policy against whoever picks a group of people and, for that group, another policy.

    .. math:: \max_\pi \min_{w \in W,\ \rho}\ \sum_u w_u\,\big(E_x P_u(\pi, \rho_u | x)
              + \tau' E_x KL(\rho_u\|\mu)\big) - \tau KL(\pi\|\mu) + \kappa KL(w\|\eta),

    where :math:`P_u(\pi, \rho | x)` is the probability that a member of group u prefers a response
    of π to one of ρ, η are the proportions of the groups and W is an ambiguity set around them.
    With one group, and :math:`\tau' = \tau`, the policy of the equilibrium is that of the
    `PreferenceGame`. The value is at most 1/2 if :math:`\tau' \le \tau`, for every group may reply
    with π itself: what it falls short of 1/2 is the price of having several groups.

    The opponent chooses in two stages, the group before the prompt is seen. Its strategies are
    `Policy` objects over pairs (u, y), shape ``(U n,)`` or ``(X, U n)``, of probabilities
    :math:`w_u\,\rho_u(y|x)`; `opponent` takes them apart, and wherever a profile is given by the
    caller a `GroupReplies` will do. Temperatures are (τ, min(κ, τ')): that of the opponent is the
    strength of its pull to the joint reference, and what κ or τ' exceed it by a price of one stage.

    Group weights couple the prompts, so there is one context for a certificate: gains and
    distances are averaged over prompts.

    Args:
        preference: P_u, shape ``(U, n, n)`` or ``(U, X, n, n)``, each as for `PreferenceGame`.
        reference: μ, of full support, ``(n,)`` or ``(X, n)``; uniform by default.
        temperature: τ ≥ 0, in win probability.
        reply_temperature: τ' ≥ 0 of the opponent's replies, in win probability; τ by default.
        group_temperature: κ ≥ 0 of the opponent's choice of group, in win probability.
        proportions: η, shape ``(U,)``, of full support; uniform by default. Not together with an
            ambiguity set, which has a centre of its own.
        ambiguity: W; the whole simplex by default.
        weights: The prompt distribution; uniform by default.

    Attributes:
        payoff: The game's matrices, ``A[..., y, u n + y'] = P_u[..., y, y']``.
        ambiguity: W.
        prompt_weights: The prompt distribution, shape ``(X,)``.
        reply_temperature: τ'.
        group_temperature: κ.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range.
    """

    def __init__(
        self,
        preference: ArrayLike,
        reference: ArrayLike | Policy | None = None,
        temperature: float = 0.0,
        *,
        reply_temperature: float | None = None,
        group_temperature: float = 0.0,
        proportions: ArrayLike | None = None,
        ambiguity: Ambiguity | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        p = checked_group_preferences(preference)
        groups, *contexts, responses, _ = p.shape
        mu = checked_reference(reference, tuple(contexts), responses)
        self.prompt_weights = checked_weights(weights, tuple(contexts))
        self.ambiguity = checked_ambiguity(ambiguity, proportions, groups)
        self.reply_temperature = checked_temperature(
            temperature if reply_temperature is None else reply_temperature
        )
        self.group_temperature = checked_temperature(group_temperature)
        joint = np.moveaxis(p, 0, -2).reshape(*contexts, responses, groups * responses)
        self.payoff = DensePayoff(joint)
        common = min(self.group_temperature, self.reply_temperature)
        opponent = GroupReplySpace(
            self.ambiguity,
            mu,
            self.prompt_weights,
            group_price=self.group_temperature - common,
            reply_price=self.reply_temperature - common,
        )
        centre = GroupReplies(
            self.ambiguity.centre,
            Policy(np.broadcast_to(mu.log_probabilities, (groups, *contexts, responses))),
        )
        super().__init__(
            spaces=(Pooled(Simplex(responses, self.prompt_weights)), opponent),
            references=(mu, centre.joint()),
            temperatures=(checked_temperature(temperature), common),
            weights=read_only(np.ones(1)),
            units=Units.WIN_PROBABILITY,
        )

    @property
    def reference(self) -> Policy:
        """μ."""
        return self.references[0]

    @property
    def groups(self) -> int:
        """U, the number of groups."""
        return self.ambiguity.centre.log_probabilities.size

    @cached_property
    def lipschitz(self) -> float:
        r"""Half the range of the preferences, at most 1/2.

        Distances are root mean squares over prompts of those in every prompt, where the opponent's
        strategy is a distribution over pairs of a group and a reply.
        """
        return self.payoff.half_range

    @cached_property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """A bound on the rounding error of an entry of a payoff of either player."""
        return read_only(np.array([float(self.payoff.rounding.max())]))

    def operator(
        self, profile: Profile[Policy], stream: Stream | None = None
    ) -> Evaluation[np.ndarray]:
        """Return (A z, −Aᵀ π) in every context; exact, so the stream is not used."""
        policy, opponent = profile
        return Evaluation(
            (
                self.payoff.rows(opponent.probabilities),
                -self.payoff.columns(policy.probabilities),
            )
        )

    def opponent(self, strategy: Policy) -> GroupReplies:
        """Return the choice of group and the replies that a strategy of the opponent stands for.

        Groups that are never chosen reply with μ.
        """
        space: GroupReplySpace = self.spaces[1]
        return space.parts(strategy)

    def primal(self, policy: Policy) -> float:
        """Return what a policy secures: the value of the opponent's best response to it."""
        payoff = -self.payoff.columns(policy.probabilities)
        return self._value(policy, self._best(1, payoff))

    def dual(self, opponent: Policy | GroupReplies) -> float:
        """Return what the opponent concedes: the value of the best policy against it."""
        joint = opponent.joint() if isinstance(opponent, GroupReplies) else opponent
        return self._value(self._best(0, self.payoff.rows(joint.probabilities)), joint)

    def as_profile(self, strategies: object) -> Profile[Policy]:
        """Return a validated profile (policy, opponent).

        Args:
            strategies: A pair of policies or arrays of probabilities; the second may be a
                `GroupReplies`.

        Raises:
            InvalidProblem: If a shape does not fit, or the opponent's choice of group depends on
                the prompt or is outside the ambiguity set.
        """
        if isinstance(strategies, tuple | list):
            strategies = tuple(
                item.joint() if isinstance(item, GroupReplies) else item for item in strategies
            )
        profile = super().as_profile(strategies)
        self._check_groups(profile[1])
        return profile

    def _check_groups(self, strategy: Policy) -> None:
        p = np.atleast_2d(strategy.probabilities)
        weights = p.reshape(p.shape[0], self.groups, -1).sum(axis=-1)
        off = np.abs(weights - weights[0])
        if off.max() > PROBABILITY_TOLERANCE:
            prompt, group = (int(i) for i in np.unravel_index(int(off.argmax()), off.shape))
            raise InvalidProblem(
                f"group {group} is chosen with probability {weights[prompt, group]:.9g} in context "
                f"{prompt} and {weights[0, group]:.9g} in context 0 "
                f"(tolerance {PROBABILITY_TOLERANCE:g})",
                "choose the group before the prompt: pass GroupReplies(groups, replies)",
            )
        require_inside(self.ambiguity, self.opponent(strategy).groups)

    def _best(self, player: int, payoff: Float[np.ndarray, "*context action"]) -> Policy:
        reference = self.references[player]
        found = self.spaces[player].improvement(
            reference, payoff, reference, self.temperatures[player], np.zeros(1)
        )
        best: Policy = found.response
        return best

    def _value(self, policy: Policy, opponent: Policy) -> float:
        own, other = self.spaces
        joint = self.payoff.rows(opponent.probabilities)
        value = own.mean(policy, joint)
        if self.temperatures[0] > 0.0:
            value -= self.temperatures[0] * own.divergence(policy, self.reference).value
        return float(value + other.cost(opponent, self.temperatures[1]))

    def _decisions(self) -> str:
        return f"{responses_of(self.reference)}, {self.ambiguity!r}"
