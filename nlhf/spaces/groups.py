"""Weights of groups: distributions over sub-populations, within an ambiguity set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, expectation, kl_divergence
from nlhf.protocols import Prox
from nlhf.results import Bound, Units
from nlhf.spaces.ambiguity import Ambiguity
from nlhf.spaces.anchors import mean_policy, pull, total_strength
from nlhf.spaces.improvement import Improvement
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class GroupSpace:
    """The group weights w in an ambiguity set W, with the KL geometry.

    Attributes:
        ambiguity: W.
    """

    ambiguity: Ambiguity

    def prox(
        self,
        payoff: Float[np.ndarray, "group"] | None,
        anchors: Sequence[tuple[Policy, float]],
    ) -> Prox[Policy]:
        r"""Return :math:`\arg\max_{w \in W} \langle g,w\rangle - \sum_i \kappa_i KL(w\|w_i)`.

        It is the point of W of least KL to the exact tilt, hence exact.

        Args:
            payoff: g, in payoff units; `None` is zero.
            anchors: Group weights with non-negative strengths in payoff units.

        Raises:
            HypothesisViolated: If a strength is negative or all are zero.
        """
        total = total_strength([strength for _, strength in anchors])
        logits = pull(anchors, total)
        if payoff is not None:
            logits += payoff / total
        return Prox(self.ambiguity.project(logits), Bound.exact(0.0, Units.NATS))

    def best_response(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        """Return weights in W of largest payoff."""
        return self.ambiguity.largest(payoff)

    def divergence(self, p: Policy, q: Policy) -> Bound:
        """Return KL(p‖q), in nats."""
        return Bound.exact(
            float(kl_divergence(p.log_probabilities, q.log_probabilities)), Units.NATS
        )

    def mixture(self, weighted: Sequence[tuple[Policy, float]]) -> Policy:
        """Return the weighted mean of the group weights, which is in W as W is convex.

        Raises:
            HypothesisViolated: If a weight is negative or all are zero.
        """
        return mean_policy(weighted)

    def best_response_method(self, unregularised: bool) -> str:
        """Say how best responses are found."""
        return "in closed form"

    def improvement(
        self,
        policy: Policy,
        payoff: Float[np.ndarray, "group"],
        reference: Policy,
        temperature: float,
        rounding: Float[np.ndarray, "context"],
    ) -> Improvement:
        r"""Return the gain of the best weights b in W over the given ones.

        It is :math:`\langle g, b-w\rangle - \kappa\,(KL(b\|\eta) - KL(w\|\eta))`, and over the
        whole simplex exactly :math:`\kappa KL(w\|b)`.

        Args:
            policy: w, in W.
            payoff: g, in payoff units.
            reference: η.
            temperature: κ ≥ 0, in payoff units.
            rounding: Bound on the error of an entry of g, shape ``(1,)``.
        """
        log_w = policy.log_probabilities
        response = (
            self.best_response(payoff)
            if temperature == 0.0
            else self.prox(payoff, [(reference, temperature)]).strategy
        )
        log_b, log_eta = response.log_probabilities, reference.log_probabilities
        # Only differences of payoffs matter: without their common part nothing large cancels.
        relative = payoff - expectation(log_w, payoff)
        gain = float(expectation(log_b, relative) - expectation(log_w, relative))
        size = float(np.abs(relative).max())
        if temperature > 0.0:
            costs = [float(kl_divergence(log, log_eta)) for log in (log_b, log_w)]
            gain -= temperature * (costs[0] - costs[1])
            size += temperature * (sum(costs) + float(np.abs(log_eta).max()))
        error = 2.0 * float(rounding.max()) + 8 * EPSILON * (size + float(np.abs(payoff).max()))
        return Improvement(np.array([max(gain, 0.0)]), np.array([error]), response)
