"""Contextual bandits: a batch of probability simplices with the KL geometry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.numerics import (
    PROBABILITY_TOLERANCE,
    kl_divergence,
    log_normalise,
    log_of,
    log_sum_exp,
)
from nlhf.protocols import Prox
from nlhf.results import Bound, Units, float_array, read_only, weighted_mean


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A distribution over responses in every context, stored as log-probabilities.

    Attributes:
        log_probabilities: Normalised on the last axis, shape ``(n,)`` or ``(X, n)``; read-only.
    """

    log_probabilities: Float[np.ndarray, "*context response"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_probabilities", read_only(self.log_probabilities))

    def __reduce__(self) -> tuple[type["Policy"], tuple[np.ndarray]]:
        return Policy, (self.log_probabilities,)  # a copy is as read-only as the original

    def checked(self) -> "Policy":
        """Return the policy itself if its probabilities are numbers and sum to 1 within 1e-9.

        Raises:
            InvalidProblem: Otherwise; the constructor takes log-probabilities on trust.
        """
        logs = self.log_probabilities
        if np.isnan(logs).any() or (logs == np.inf).any():
            raise InvalidProblem(
                f"log-probability {_entry(np.isnan(logs) | (logs == np.inf))} is not a number",
                "log-probabilities are at most 0, and -inf for a probability of 0",
            )
        off = np.atleast_1d(log_sum_exp(logs))
        if not np.abs(off).max() <= PROBABILITY_TOLERANCE:
            row = int(np.argmax(np.abs(off)))
            raise InvalidProblem(
                f"the probabilities of context {row} sum to e^{off[row]:.6g}, not 1 "
                f"(tolerance {PROBABILITY_TOLERANCE:g})",
                "normalise them, or use Policy.of(probabilities)",
            )
        return self

    @classmethod
    def of(cls, probabilities: ArrayLike) -> "Policy":
        """Return the policy with these probabilities, shape ``(n,)`` or ``(X, n)``.

        Raises:
            InvalidProblem: If an entry is negative or not finite, or a row's sum is further
                than 1e-9 from 1.
        """
        p = float_array("the policy", probabilities)
        if p.ndim not in (1, 2) or p.shape[-1] == 0:
            raise InvalidProblem(
                f"a policy needs shape (n,) or (X, n), got {p.shape}",
                "put responses on the last axis and contexts, if any, on the first",
            )
        bad = ~(np.isfinite(p) & (p >= 0))
        if bad.any():
            where = _entry(bad)
            raise InvalidProblem(
                f"policy entry {where} is {float(p[where])!r}",
                "probabilities are finite and at least 0",
            )
        off = np.abs(p.sum(axis=-1) - 1.0)
        if off.max() > PROBABILITY_TOLERANCE:
            row = int(np.argmax(off))
            raise InvalidProblem(
                f"the policy of context {row} sums to 1 {off.flat[row]:+.3g} "
                f"(tolerance {PROBABILITY_TOLERANCE:g})",
                "divide every row by its sum",
            )
        return cls(log_normalise(log_of(p)))

    @property
    def probabilities(self) -> Float[np.ndarray, "*context response"]:
        """Probabilities; those below 1e-308 underflow to zero, their logarithms do not."""
        return np.exp(self.log_probabilities)


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
        strengths = [strength for _, strength in anchors]
        total = float(sum(strengths))
        if not total > 0.0 or any(s < 0.0 for s in strengths):
            raise HypothesisViolated(
                "a proximal step needs non-negative strengths with a positive sum, "
                f"got {strengths}",
                "anchor the step at a policy, or use best_response for the unregularised limit",
            )
        logits = sum(a.log_probabilities * (s / total) for a, s in anchors if s > 0.0)
        if payoff is not None:
            logits = logits + payoff / total
        return Prox(Policy(log_normalise(np.asarray(logits))), Bound.exact(0.0, Units.NATS))

    def best_response(self, payoff: Float[np.ndarray, "*context response"]) -> Policy:
        """Return the policy that plays the first response of highest payoff."""
        choice = payoff.argmax(axis=-1)
        logits = np.full(payoff.shape, -np.inf)
        np.put_along_axis(logits, np.asarray(choice)[..., None], 0.0, axis=-1)
        return Policy(logits)

    def divergence(self, p: Policy, q: Policy) -> Bound:
        """Return the weighted mean over contexts of KL(p‖q), in nats."""
        each = np.atleast_1d(kl_divergence(p.log_probabilities, q.log_probabilities))
        return Bound.exact(weighted_mean(each, self.weights), Units.NATS)


def _entry(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])
