"""The policies of a decision process, with the geometry of distributions over trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, expectation, log_normalise, log_of
from nlhf.protocols import Prox
from nlhf.results import Bound, Units, weighted_mean
from nlhf.spaces.anchors import log_shares
from nlhf.spaces.improvement import Improvement
from nlhf.spaces.policy import Policy
from nlhf.spaces.process import Process
from nlhf.spaces.realisers import Realiser, SoftBellman, realised, trajectory_divergence


@dataclass(frozen=True, slots=True, eq=False)
class SequentialSpace:
    """The policies of a token tree, of histories, or of a Markov decision process.

    Attributes:
        process: What choices lead to.
        weights: The prompt distribution, shape ``(X,)``.
        realiser: How proximal steps are carried out.
    """

    process: Process[Any]
    weights: Float[np.ndarray, "context"]
    realiser: Realiser = field(default_factory=SoftBellman)

    def prox(self, payoff: Any, anchors: Sequence[tuple[Policy, float]]) -> Prox[Policy]:
        r"""Return the realised :math:`\arg\max_\pi E_\pi[g] - \sum_i \tau_i KL(\pi\|\pi_i)`.

        The divergence is between distributions over trajectories.

        Args:
            payoff: g, a payoff of the process's kind; `None` is zero.
            anchors: Policies with non-negative strengths in payoff units.

        Raises:
            HypothesisViolated: If a strength is negative or all are zero.
            Unsupported: If the payoff is of another kind than the process's policies can answer.
        """
        self.process.check(payoff)
        return realised(self.realiser, self.process, payoff, anchors, self.weights)

    def best_response(self, payoff: Any) -> Policy:
        """Return a deterministic policy of largest payoff: the first best action everywhere."""
        self.process.check(payoff)
        return Policy(self.process.optimum(payoff, None, 0.0))

    def divergence(self, p: Policy, q: Policy) -> Bound:
        """Return the weighted mean over contexts of KL(p‖q) between trajectories, in nats."""
        each = trajectory_divergence(self.process, p.log_probabilities, q.log_probabilities)
        return Bound.exact(weighted_mean(each, self.weights), Units.NATS)

    def mixture(self, weighted: Sequence[tuple[Policy, float]]) -> Policy:
        r"""Return the policy whose visits are the weighted means of the given policies' visits.

        .. math:: \pi(a|s) \propto \sum_i w_i\, d_i(s)\, \pi_i(a|s), with d_i(s) the visits of s.

        Raises:
            HypothesisViolated: If a weight is negative or all are zero.
        """
        shares = log_shares([weight for _, weight in weighted])
        logs = [policy.log_probabilities for policy, weight in weighted if weight > 0.0]
        terms = [
            share + log_of(self.process.visits(log))[..., None] + log
            for share, log in zip(shares, logs, strict=True)
        ]
        mixed = np.asarray(np.logaddexp.reduce(terms, axis=0))
        # Where nobody ever comes, any choice has the same visits: keep the first policy's.
        unseen = np.isneginf(mixed).all(axis=-1, keepdims=True)
        return Policy(log_normalise(np.where(unseen, logs[0], mixed)))

    def mean(self, policy: Policy, payoff: Any) -> Float[np.ndarray, "context"]:
        """Return E_π[g] in every context."""
        self.process.check(payoff)
        return self.process.mean(policy.log_probabilities, payoff)

    def best_response_method(self, unregularised: bool) -> str:
        """Say how best responses are found."""
        return "by dynamic programming" if unregularised else "by soft Bellman recursion"

    def improvement(
        self,
        policy: Policy,
        payoff: Any,
        reference: Policy,
        temperature: float,
        rounding: Float[np.ndarray, "context"],
    ) -> Improvement:
        r"""Return the gain of the best response over the policy, in every context.

        At τ > 0 the best response b comes from the soft Bellman recursion, whatever the realiser,
        and gains exactly :math:`\tau KL(\pi\|b)` between trajectories. At 0 it comes from dynamic
        programming, and gains the sum over visited decision points of what the policy's action
        falls short of the best one there. Both are sums of non-negative terms.

        Args:
            policy: π.
            payoff: g, in payoff units.
            reference: μ.
            temperature: τ ≥ 0, in payoff units.
            rounding: Bound on the error of a trajectory's payoff, shape ``(X,)``.
        """
        self.process.check(payoff)
        log_policy, length = policy.log_probabilities, self.process.length
        own = 8 * EPSILON * length * (payoff.size + 1.0)
        if temperature == 0.0:
            response = self.best_response(payoff)
            q = self.process.action_values(response.log_probabilities, payoff, None)
            short = q.max(axis=-1) - expectation(log_policy, q)
            gain = self.process.total(self.process.visits(log_policy) * short)
            return Improvement(gain, 2 * rounding + own, response)
        response = SoftBellman().realise(self.process, payoff, [(reference, temperature)])
        divergence = trajectory_divergence(self.process, log_policy, response.log_probabilities)
        gain = temperature * divergence
        # An error e in the log-probability of a trajectory under b changes KL(π‖b) by at most
        # e‖b − π‖₁ + e², and ‖b − π‖₁ is at most √(2 KL) by Pinsker's inequality.
        spread = np.minimum(2.0, np.sqrt(2.0 * divergence))
        flat = np.abs(reference.log_probabilities).reshape(len(gain), -1)
        scale = flat.max(axis=-1) + payoff.size / temperature
        error = 2 * rounding / temperature + 8 * EPSILON * length * scale
        total = temperature * (error * spread + error**2) + 8 * EPSILON * length * gain
        return Improvement(gain, total, response)
