"""How little is known of the payoff of one policy against another.

It is about policies, not cells: what averages out over all that two policies do counts for nothing.
The least known competitor is found exactly: differences are linear in its visits.
"""

from dataclasses import dataclass
from math import inf, isfinite, sqrt

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated, Unsupported
from nlhf.estimation.classes.models import Confidence, FiniteConfidence
from nlhf.learning.judging import opposed
from nlhf.learning.settings import Setting
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    r"""How uncertainty is measured: λ, and the number m of comparisons that count as one.

    On the event of a confidence set with radius ρ the truth differs from the estimate by at most
    :math:`\beta\Gamma` between any two policies, :math:`\beta = \sqrt{\lambda + \rho/m}`, whatever
    λ and m are (enhancer-certificate).

    Attributes:
        ridge: λ, in squared payoff units.
        queries: m.

    Raises:
        HypothesisViolated: If one of them is not positive and finite.
    """

    ridge: float
    queries: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 < self.ridge < inf and 0.0 < self.queries < inf):
            raise HypothesisViolated(
                f"the ridge is {self.ridge!r}, the number of queries {self.queries!r}",
                "give positive numbers; the radius over the number of queries is a good ridge",
            )

    def beta(self, confidence: Confidence) -> float:
        r"""Return :math:`\beta = \sqrt{\lambda + \rho/m}`, in payoff units."""
        return sqrt(self.ridge + confidence.radius / self.queries)


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """How uncertain the payoff of a policy is against its least known competitor.

    Attributes:
        gamma: Γ(π, ρ), the largest that any ρ has; without unit.
        competitor: A ρ that has it.
    """

    gamma: float
    competitor: Policy


def greatest_uncertainty(
    setting: Setting, confidence: Confidence, policy: Policy, ridge: Ridge
) -> Uncertainty:
    r"""Return the uncertainty of a policy against the competitor where it is greatest.

    .. math:: \max_\rho \Gamma(\pi, \rho), \qquad \Gamma(\pi, \rho) = \max_k
              \frac{|(T_k - \hat T)(\pi, \rho)|}
                   {\sqrt{\lambda + \frac1m \sum_i (T_k - \hat T)^2(z_i)}}

    for a finite class, over all its models (:math:`\tilde\Gamma^m` of Ye et al., arXiv
    2402.07314). For any other class the width w of its confidence set takes the place of βΓ:
    :math:`\Gamma(\pi, \rho) = w(\pi, \rho)/\beta`. In either case on the event

    .. math:: |(T^* - \hat T)(\pi, \rho)| \le \beta\, \Gamma(\pi, \rho).

    KL to the reference costs the competitor nothing.
    """
    values, scales = _differences(setting, confidence, policy, ridge)
    most, signs = reached_either_way(setting, values)
    found = most / scales
    model = int(np.argmax(found))
    competitor = setting.best(signs[model] * values[model], 0.0)
    return Uncertainty(max(0.0, float(found[model])), competitor)


def uncertainty(
    setting: Setting, confidence: Confidence, first: Policy, second: Policy, ridge: Ridge
) -> float:
    """Return Γ of two given policies; see `greatest_uncertainty`."""
    values, scales = _differences(setting, confidence, first, ridge)
    return float((np.abs(worth(setting, values, second)) / scales).max())


def reached_either_way(
    setting: Setting, values: Float[np.ndarray, "model stage outcome"]
) -> tuple[Float[np.ndarray, " model"], Float[np.ndarray, " model"]]:
    """Return the most that any competitor makes of every model's values in size, and its sign."""
    upward, downward = setting.reached(values), setting.reached(-values)
    return np.maximum(upward, downward), np.where(upward >= downward, 1.0, -1.0)


def worth(
    setting: Setting, values: Float[np.ndarray, "model stage outcome"], policy: Policy
) -> Float[np.ndarray, " model"]:
    r"""Return :math:`\sum_l \omega_l \langle\psi_l, v_{kl}\rangle` of a policy for every model."""
    visits = setting.visits(policy)
    return np.asarray(np.einsum("klj,lj->kl", values, visits) @ setting.stage_weights)


def _differences(
    setting: Setting, confidence: Confidence, policy: Policy, ridge: Ridge
) -> tuple[Float[np.ndarray, "model stage outcome"], Float[np.ndarray, " model"]]:
    """Return by what models differ from the estimate against a policy, and what divides it."""
    visits = setting.visits(policy)
    if isinstance(confidence, FiniteConfidence):
        estimate = opposed(confidence.model.table[None], visits)
        values = opposed(confidence.tables, visits) - estimate
        return values, np.sqrt(ridge.ridge + confidence.in_sample / ridge.queries)
    widest = float(confidence.width.max())
    if not isfinite(widest):
        raise Unsupported(
            f"the width of the confidence set is {widest} somewhere",
            "use a class whose payoffs are bounded",
        )
    return opposed(confidence.width[None], visits), np.array([ridge.beta(confidence)])
