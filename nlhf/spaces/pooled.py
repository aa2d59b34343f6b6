"""A space whose contexts are judged together, since another player's choice couples them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.protocols import Prox
from nlhf.results import Bound, weighted_mean
from nlhf.spaces.improvement import Improvement
from nlhf.spaces.policy import Policy
from nlhf.spaces.sequential import SequentialSpace
from nlhf.spaces.simplex import Simplex


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """The policies of a space, as one decision: what deviations gain is averaged over prompts.

    Proximal steps still factorise over the contexts, so they are those of the space itself.

    Attributes:
        each: The space of the policies.
    """

    each: Simplex | SequentialSpace

    @property
    def weights(self) -> Float[np.ndarray, "context"]:
        """The prompt distribution."""
        return self.each.weights

    def prox(self, payoff: Any, anchors: Sequence[tuple[Policy, float]]) -> Prox[Policy]:
        """Return the proximal point of every context."""
        return self.each.prox(payoff, anchors)

    def best_response(self, payoff: Any) -> Policy:
        """Return a deterministic policy of largest payoff."""
        return self.each.best_response(payoff)

    def divergence(self, p: Policy, q: Policy) -> Bound:
        """Return the weighted mean over contexts of KL(p‖q), in nats."""
        return self.each.divergence(p, q)

    def mixture(self, weighted: Sequence[tuple[Policy, float]]) -> Policy:
        """Return the policy that plays each of the given ones with its normalised weight."""
        return self.each.mixture(weighted)

    def mean(self, policy: Policy, payoff: Any) -> float:
        """Return E_π[g] over the prompt distribution."""
        return weighted_mean(self.each.mean(policy, payoff), self.weights)

    def best_response_method(self, unregularised: bool) -> str:
        """Say how best responses are found."""
        return self.each.best_response_method(unregularised)

    def improvement(
        self,
        policy: Policy,
        payoff: Any,
        reference: Policy,
        temperature: float,
        rounding: Float[np.ndarray, "context"],
    ) -> Improvement:
        """Return the gain of the best response, averaged over the prompt distribution.

        Args:
            policy: π.
            payoff: g, in payoff units.
            reference: μ.
            temperature: τ ≥ 0, in payoff units.
            rounding: Bound on the error of a payoff in any context, shape ``(1,)``.
        """
        spread = np.full(self.weights.shape, float(rounding.max()))
        found = self.each.improvement(policy, payoff, reference, temperature, spread)
        return Improvement(
            gain=np.array([weighted_mean(found.gain, self.weights)]),
            rounding=np.array([weighted_mean(found.rounding, self.weights)]),
            response=found.response,
        )
