"""Contextual bandits: a batch of probability simplices with the KL geometry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, expectation, kl_divergence, log_certain
from nlhf.protocols import Prox
from nlhf.results import Bound, Units, weighted_mean
from nlhf.spaces.anchors import mean_policy, pull, total_strength
from nlhf.spaces.improvement import Improvement
from nlhf.spaces.policy import Policy

_EXACT = Bound.exact(0.0, Units.NATS)


@dataclass(frozen=True, slots=True, eq=False)
class Simplex:
    """The policies over `responses` actions in each of the weighted contexts.

    Attributes:
        responses: Number of responses n.
        weights: The prompt distribution, shape ``(X,)``.
    """

    responses: int
    weights: Float[np.ndarray, "context"]

    def prox(
        self,
        payoff: Float[np.ndarray, "*context response"] | None,
        anchors: Sequence[tuple[Policy, float]],
    ) -> Prox[Policy]:
        r"""Return the exact tilt :math:`\propto \prod_i \pi_i^{\tau_i/\tau} e^{g/\tau}`.

        It solves :math:`\max_\pi \langle g,\pi\rangle - \sum_i \tau_i KL(\pi\|\pi_i)` in every
        context, with :math:`\tau = \sum_i \tau_i`. Adding a constant to g, or scaling g and all
        strengths together, changes nothing.

        Args:
            payoff: g, in payoff units; `None` is zero.
            anchors: Policies with non-negative strengths in payoff units.

        Raises:
            HypothesisViolated: If a strength is negative or all are zero.
        """
        total = total_strength([strength for _, strength in anchors])
        logits = pull(anchors, total)
        if payoff is not None:
            logits += payoff / total
        return Prox(Policy.proportional(logits), _EXACT)

    def best_response(self, payoff: Float[np.ndarray, "*context response"]) -> Policy:
        """Return the policy that plays the first response of highest payoff."""
        return Policy(log_certain(np.asarray(payoff.argmax(axis=-1)), self.responses))

    def divergence(self, p: Policy, q: Policy) -> Bound:
        """Return the weighted mean over contexts of KL(p‖q), in nats."""
        each = np.atleast_1d(kl_divergence(p.log_probabilities, q.log_probabilities))
        return Bound.exact(weighted_mean(each, self.weights), Units.NATS)

    def mixture(self, weighted: Sequence[tuple[Policy, float]]) -> Policy:
        """Return the policy of the weighted mean probabilities; weights are normalised.

        Raises:
            HypothesisViolated: If a weight is negative or all are zero.
        """
        return mean_policy(weighted)

    def mean(
        self, policy: Policy, payoff: Float[np.ndarray, "*context response"]
    ) -> Float[np.ndarray, "context"]:
        """Return ⟨π, g⟩ in every context."""
        return np.atleast_1d(expectation(policy.log_probabilities, payoff))

    def best_response_method(self, unregularised: bool) -> str:
        """Say how best responses are found."""
        return "by enumeration" if unregularised else "in closed form"

    def improvement(
        self,
        policy: Policy,
        payoff: Float[np.ndarray, "*context response"],
        reference: Policy,
        temperature: float,
        rounding: Float[np.ndarray, "context"],
    ) -> Improvement:
        r"""Return the gain of the best response over the policy, in every context.

        At τ > 0 the best response is :math:`b \propto \mu e^{g/\tau}` and gains exactly
        :math:`\tau KL(\pi\|b)`; at 0 it gains :math:`\max_a g_a - \langle\pi, g\rangle`.

        Args:
            policy: π.
            payoff: g, in payoff units.
            reference: μ.
            temperature: τ ≥ 0, in payoff units.
            rounding: Bound on the error of an entry of g, shape ``(X,)``.
        """
        if temperature == 0.0:
            mean = expectation(policy.log_probabilities, payoff)
            gain = np.atleast_1d(payoff.max(axis=-1) - mean)
            return Improvement(gain, 2 * rounding, self.best_response(payoff))
        response = self.prox(payoff, [(reference, temperature)]).strategy
        gain = np.atleast_1d(
            temperature * kl_divergence(policy.log_probabilities, response.log_probabilities)
        )
        # An error e in log b changes KL(π‖b) by at most e‖b − π‖₁ + e² to second order.
        spread = np.atleast_1d(np.abs(response.probabilities - policy.probabilities).sum(axis=-1))
        scale = np.atleast_1d(
            np.abs(reference.log_probabilities).max(axis=-1)
            + np.abs(payoff).max(axis=-1) / temperature
        )
        error = 2 * rounding / temperature + 8 * EPSILON * scale
        total = temperature * (error * spread + error**2) + 8 * EPSILON * gain
        return Improvement(gain, total, response)
