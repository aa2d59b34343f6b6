"""What all spaces do with weighted policies: geometric pulls and arithmetic weights."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.numerics import log_normalise
from nlhf.protocols import Anchors
from nlhf.spaces.policy import Policy


def total_strength(strengths: Sequence[float]) -> float:
    """Return the sum τ of the strengths of a proximal step.

    Raises:
        HypothesisViolated: If a strength is negative or all are zero.
    """
    total = float(sum(strengths))
    if not total > 0.0 or any(s < 0.0 for s in strengths):
        raise HypothesisViolated(
            f"a proximal step needs non-negative strengths with a positive sum, got {strengths}",
            "anchor the step at a policy, or use best_response for the unregularised limit",
        )
    return total


def pull(anchors: Anchors[Policy], total: float) -> Float[np.ndarray, "*place action"]:
    r"""Return :math:`\sum_i (\tau_i/\tau) \log \pi_i`, which is not normalised."""
    pulls = (a.log_probabilities * (s / total) for a, s in anchors if s > 0.0)
    result = next(pulls)
    for other in pulls:
        result += other
    return result


def log_shares(weights: Sequence[float]) -> list[float]:
    """Return the logarithms of the positive weights over their sum.

    Raises:
        HypothesisViolated: If a weight is negative or all are zero.
    """
    total = float(sum(weights))
    if not total > 0.0 or any(w < 0.0 for w in weights):
        raise HypothesisViolated(
            f"a mixture needs non-negative weights with a positive sum, got {list(weights)}",
            "give at least one policy a positive weight",
        )
    return [float(np.log(w / total)) for w in weights if w > 0.0]


def mean_policy(weighted: Anchors[Policy]) -> Policy:
    """Return the policy of the weighted mean probabilities; weights are normalised.

    Raises:
        HypothesisViolated: If a weight is negative or all are zero.
    """
    shares = log_shares([weight for _, weight in weighted])
    logs = [policy.log_probabilities for policy, weight in weighted if weight > 0.0]
    terms = [log + share for log, share in zip(logs, shares, strict=True)]
    return Policy(log_normalise(np.asarray(np.logaddexp.reduce(terms, axis=0))))
