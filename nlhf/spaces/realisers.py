"""How a proximal step is carried out: realisers of the sequence-level prox, exact or named so.

Which algorithm runs is one question, how its proximal steps are realised another. `SoftBellman`
is the prox. The other two are what is often run in its place; each says how far it is from it.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.numerics import kl_divergence, log_normalise
from nlhf.protocols import Anchors, Prox
from nlhf.results import Bound, Units, weighted_mean
from nlhf.spaces.anchors import pull, total_strength
from nlhf.spaces.policy import Policy
from nlhf.spaces.process import Process


@runtime_checkable
class Realiser(Protocol):
    """A way to carry out proximal steps on a decision process."""

    def realise(self, process: Process[Any], payoff: Any, anchors: Anchors[Policy]) -> Policy:
        """Return the strategy that stands for the proximal point."""
        ...


@dataclass(frozen=True, slots=True)
class SoftBellman:
    r"""The proximal point itself, with the KL divergence between whole trajectories.

    .. math:: \arg\max_\pi E_\pi[g] - \sum_i \tau_i KL(\pi\|\pi_i), \qquad
              KL(\pi\|\pi_i) = E_\pi \sum_t \log\frac{\pi(a_t|s_t)}{\pi_i(a_t|s_t)}.

    One soft Bellman recursion with the weights :math:`\sum_i (\tau_i/\tau)\log\pi_i`, which are
    not normalised state by state: what their sum lacks at a state is the price of going there.
    Guarantee: exact up to rounding; every rate proved for distributions over trajectories holds.
    """

    def realise(self, process: Process[Any], payoff: Any, anchors: Anchors[Policy]) -> Policy:
        """Return the proximal point."""
        total = total_strength([strength for _, strength in anchors])
        return Policy(process.optimum(payoff, pull(anchors, total), total))


@dataclass(frozen=True, slots=True)
class TokenwiseMixture:
    """The geometric mixture of the anchors renormalised at every decision point: an approximation.

    It is what a sampler that mixes next-token logits plays. A geometric mixture of sequence models
    is not the token-wise one, so an algorithm run with it ends elsewhere; theorem
    `tokenwise-mixture` measures by how much. Payoffs are then added by the exact recursion.
    """

    def realise(self, process: Process[Any], payoff: Any, anchors: Anchors[Policy]) -> Policy:
        """Return the approximation."""
        total = total_strength([strength for _, strength in anchors])
        return Policy(process.optimum(payoff, log_normalise(pull(anchors, total)), total))


@dataclass(frozen=True, slots=True)
class PolicyMirrorDescent:
    r"""One improvement at every decision point, with the action values of the first anchor.

    .. math:: \pi(\cdot|s) = \arg\max_p \langle p, Q^{\pi_1}(s,\cdot)\rangle
              - \sum_i \tau_i KL(p\|\pi_i(\cdot|s)),

    with :math:`Q^{\pi_1}` the values of following the first anchor, less its own KL costs
    :math:`\sum_i \tau_i KL(\pi_1\|\pi_i)`. Published as policy mirror descent and natural policy
    gradient. It is another map than `SoftBellman`, and the rates for trajectories do not cover it.
    A step that stays where it is under one stays under the other, so methods whose every step
    rests at the equilibrium (mirror descent, extragradient, the proximal point method) end in the
    same place; Nash-MD, whose half step moves even there, does not. The order of anchors matters:
    values are those of the first, whatever its strength.
    """

    def realise(self, process: Process[Any], payoff: Any, anchors: Anchors[Policy]) -> Policy:
        """Return the improved policy."""
        total = total_strength([strength for _, strength in anchors])
        pivot = anchors[0][0].log_probabilities
        cost = np.asarray(
            sum(s * kl_divergence(pivot, a.log_probabilities) for a, s in anchors if s > 0.0)
        )
        q = process.action_values(pivot, payoff, cost)
        return Policy(log_normalise(pull(anchors, total) + q / total))


def trajectory_divergence(
    process: Process[Any],
    p: Float[np.ndarray, "*place action"],
    q: Float[np.ndarray, "*place action"],
) -> Float[np.ndarray, "context"]:
    """Return KL(p‖q) between distributions over trajectories, in nats, in every context.

    Every term of the sum over decision points is non-negative, so nothing cancels.
    """
    visits = process.visits(p)
    each = np.where(visits > 0.0, kl_divergence(p, q), 0.0)
    return process.total(visits * each)


def realised(
    realiser: Realiser,
    process: Process[Any],
    payoff: Any,
    anchors: Anchors[Policy],
    weights: Float[np.ndarray, "context"],
) -> Prox[Policy]:
    """Return the realised step with its divergence from the proximal point, in nats."""
    strategy = realiser.realise(process, payoff, anchors)
    if type(realiser) is SoftBellman:  # a subclass may realise something else
        return Prox(strategy, Bound.exact(0.0, Units.NATS))
    exact = SoftBellman().realise(process, payoff, anchors)
    distance = trajectory_divergence(process, strategy.log_probabilities, exact.log_probabilities)
    return Prox(strategy, Bound.exact(weighted_mean(distance, weights), Units.NATS))
