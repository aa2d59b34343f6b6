"""An opponent who picks a group of people, and then how that group replies to every prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, kl_divergence, log_sum_exp
from nlhf.protocols import Anchors, Prox
from nlhf.results import Bound, Units
from nlhf.spaces.ambiguity import Ambiguity
from nlhf.spaces.anchors import pull, total_strength
from nlhf.spaces.groups import GroupSpace
from nlhf.spaces.improvement import Improvement
from nlhf.spaces.policy import Policy
from nlhf.spaces.simplex import Simplex


@dataclass(frozen=True, slots=True, eq=False)
class GroupReplies:
    """A choice of group and a policy of every group.

    Attributes:
        groups: w, shape ``(U,)``; the group is chosen before the prompt is seen.
        replies: ρ, shape ``(U, n)`` or ``(U, X, n)``.
    """

    groups: Policy
    replies: Policy

    def joint(self) -> Policy:
        """Return the distributions w_u ρ_u(y|x) over (u, y), shape ``(U n,)`` or ``(X, U n)``."""
        replies = np.moveaxis(self.replies.log_probabilities, 0, -2)
        logs = self.groups.log_probabilities[:, None] + replies
        return Policy(logs.reshape(*logs.shape[:-2], -1))

    @classmethod
    def of_joint(cls, joint: Policy, unplayed: Policy) -> "GroupReplies":
        """Return the choice of group and the replies of a joint distribution.

        Args:
            joint: w_u ρ_u(y|x), the marginal w the same for all prompts.
            unplayed: The replies of groups of weight 0, shape ``(n,)`` or ``(X, n)``.
        """
        responses = unplayed.log_probabilities.shape[-1]
        logs = joint.log_probabilities
        blocks = np.moveaxis(logs.reshape(*logs.shape[:-1], -1, responses), -2, 0)
        mass = log_sum_exp(blocks)
        reached = np.isfinite(mass)
        relative = blocks - np.where(reached, mass, 0.0)[..., None]
        replies = np.where(reached[..., None], relative, unplayed.log_probabilities)
        weights = mass if mass.ndim == 1 else mass[:, 0]
        return cls(Policy.proportional(weights), Policy(replies))


@dataclass(frozen=True, slots=True, eq=False)
class GroupReplySpace:
    r"""Choices of a group u, then replies ρ_u(·|x): :math:`z_x(u, y) = w_u\,\rho_u(y|x)`.

    A strategy is a `Policy` over the pairs (u, y) in every context, shape ``(X, U n)``, whose
    marginal w does not depend on the context and lies in the ambiguity set W. Payoffs are linear
    in z. KL between strategies is the mean over prompts of that between joint distributions,

    .. math:: KL(z\|z') = KL(w\|w') + \sum_u w_u\, E_x KL(\rho_u(\cdot|x)\|\rho'_u(\cdot|x)),

    the dilated divergence of a decision in two stages, so that proximal steps are exact by
    backward induction: first the reply of every group, whose value is then the payoff of the
    group. The player may pay, on top of the pulls of a step, for either stage alone:
    :math:`a\,KL(w\|\eta) + b \sum_u w_u E_x KL(\rho_u\|\mu)`.

    Attributes:
        ambiguity: W, around η.
        reference: μ, shape ``(n,)`` or ``(X, n)``.
        weights: The prompt distribution, shape ``(X,)``.
        group_price: a ≥ 0, in payoff units.
        reply_price: b ≥ 0, in payoff units.
    """

    ambiguity: Ambiguity
    reference: Policy
    weights: Float[np.ndarray, "context"]
    group_price: float = 0.0
    reply_price: float = 0.0

    def prox(
        self, payoff: Float[np.ndarray, "*context pair"] | None, anchors: Anchors[Policy]
    ) -> Prox[Policy]:
        r"""Return :math:`\arg\max_z \langle g,z\rangle - \sum_i \tau_i KL(z\|z_i)` less the prices.

        Args:
            payoff: g, in payoff units; `None` is zero.
            anchors: Strategies with non-negative strengths in payoff units.

        Raises:
            HypothesisViolated: If a strength is negative or all are zero.
        """
        total = total_strength([strength for _, strength in anchors])
        pulls = [(self.parts(anchor), strength) for anchor, strength in anchors if strength > 0.0]
        groups = [(part.groups, strength) for part, strength in pulls]
        replies = [(part.replies, strength) for part, strength in pulls]
        groups.append((self.ambiguity.centre, self.group_price))
        replies.append((self._references(), self.reply_price))
        temperature = total + self.reply_price
        logits = pull(replies, temperature)
        if payoff is not None:
            logits += self._blocks(payoff) / temperature
        values = temperature * self._over_prompts(log_sum_exp(logits))
        chosen = GroupSpace(self.ambiguity).prox(values, groups).strategy
        found = GroupReplies(chosen, Policy.proportional(logits))
        return Prox(found.joint(), Bound.exact(0.0, Units.NATS))

    def divergence(self, p: Policy, q: Policy) -> Bound:
        """Return KL(p‖q) between joint distributions, in nats, over prompts with their weights."""
        return self._flat(p).divergence(p, q)

    def mixture(self, weighted: Sequence[tuple[Policy, float]]) -> Policy:
        """Return the mean of the joint distributions: replies count as often as they are played.

        Raises:
            HypothesisViolated: If a weight is negative or all are zero.
        """
        return self._flat(weighted[0][0]).mixture(weighted)

    def best_response_method(self, unregularised: bool) -> str:
        """Say how best responses are found."""
        return "by backward induction"

    def improvement(
        self,
        policy: Policy,
        payoff: Float[np.ndarray, "*context pair"],
        reference: Policy,
        temperature: float,
        rounding: Float[np.ndarray, "context"],
    ) -> Improvement:
        """Return the gain of the best response over a strategy.

        With V_u the value of group u's best replies, it is what the groups played lose by their
        replies, plus what the best choice of groups gains at the values V.

        Args:
            policy: z, of which the marginal is in W.
            payoff: g, in payoff units.
            reference: The joint distribution of η and μ.
            temperature: The strength of the pull to it, on top of the prices; in payoff units.
            rounding: Bound on the error of an entry of g, shape ``(1,)``.
        """
        played, centre = self.parts(policy), self.parts(reference)
        price, blocks = temperature + self.reply_price, self._blocks(payoff)
        shape = (-1, blocks.shape[-1])
        error = np.full(blocks[..., 0].size, float(rounding.max()))
        found = Simplex(blocks.shape[-1], np.ones(1)).improvement(
            Policy(played.replies.log_probabilities.reshape(shape)),
            blocks.reshape(shape),
            Policy(centre.replies.log_probabilities.reshape(shape)),
            price,
            error,
        )
        best = Policy(found.response.log_probabilities.reshape(blocks.shape))
        values = self._values(blocks, centre.replies, price)
        size = float(np.abs(blocks).max() - price * centre.replies.log_probabilities.min())
        choice = GroupSpace(self.ambiguity).improvement(
            played.groups,
            values,
            centre.groups,
            temperature + self.group_price,
            rounding + (shape[-1] + 8) * EPSILON * size,
        )
        w = played.groups.probabilities
        losses = self._over_prompts(found.gain.reshape(blocks.shape[:-1]))
        errors = self._over_prompts(found.rounding.reshape(blocks.shape[:-1]))
        return Improvement(
            np.array([float(w @ losses)]) + choice.gain,
            np.array([float(w @ errors)]) + choice.rounding,
            GroupReplies(choice.response, best).joint(),
        )

    def cost(self, strategy: Policy, temperature: float) -> float:
        """Return what a strategy pays for its distance from (η, μ): its pull and the prices."""
        played, total = self.parts(strategy), 0.0
        for price, p, q, weights in (
            (self.group_price, played.groups, self.ambiguity.centre, None),
            (self.reply_price, played.replies, self._references(), played.groups.probabilities),
        ):
            if temperature + price > 0.0:
                each = kl_divergence(p.log_probabilities, q.log_probabilities)
                mean = each if weights is None else weights @ self._over_prompts(each)
                total += (temperature + price) * float(mean)
        return total

    def parts(self, strategy: Policy) -> GroupReplies:
        """Return the choice of group and the replies; groups of weight 0 reply with μ."""
        return GroupReplies.of_joint(strategy, self.reference)

    def _references(self) -> Policy:
        logs = self.reference.log_probabilities
        groups = self.ambiguity.centre.log_probabilities.size
        return Policy(np.broadcast_to(logs, (groups, *logs.shape)))

    def _flat(self, strategy: Policy) -> Simplex:
        return Simplex(strategy.log_probabilities.shape[-1], self.weights)

    def _blocks(
        self, payoff: Float[np.ndarray, "*context pair"]
    ) -> Float[np.ndarray, "group *context response"]:
        responses = self.reference.log_probabilities.shape[-1]
        return np.moveaxis(payoff.reshape(*payoff.shape[:-1], -1, responses), -2, 0)

    def _over_prompts(
        self, values: Float[np.ndarray, "group *context"]
    ) -> Float[np.ndarray, "group"]:
        return values if values.ndim == 1 else values @ self.weights

    def _values(
        self,
        blocks: Float[np.ndarray, "group *context response"],
        reference: Policy,
        price: float,
    ) -> Float[np.ndarray, "group"]:
        """Return what the best replies of every group are worth, at a price for KL(ρ‖μ)."""
        if price == 0.0:
            return self._over_prompts(blocks.max(axis=-1))
        soft = log_sum_exp(reference.log_probabilities + blocks / price)
        return self._over_prompts(price * soft)
