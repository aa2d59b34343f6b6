"""The judge of learned policies: what is certain of them on the confidence event.

Everything here is evaluated from the data's confidence set and the policy alone, whoever proposed
it. Imports no planner and no solver.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import InvalidProblem
from nlhf.estimation.classes.models import Confidence, FiniteConfidence
from nlhf.learning.settings import Setting
from nlhf.numerics import EPSILON
from nlhf.results import Bound, Knows, Units, weighted_mean
from nlhf.spaces.policy import Policy

_ENTRIES = 2**16
"""Payoffs that are worked on at a time: few enough to stay in the cache."""


def exploitability(
    setting: Setting,
    payoff: Any,
    policy: Policy,
    rounding: Float[np.ndarray, " context"],
    units: Units,
) -> Bound:
    """Return what the best reply to a policy gains over it, given what replies are paid.

    Args:
        setting: Where the policy acts.
        payoff: Of every reply against the policy, as the setting's space takes it.
        policy: The policy.
        rounding: Bound on the error of the payoff, one per context of the space.
        units: Units of the payoff.
    """
    found = setting.space.improvement(
        policy, payoff, setting.reference, setting.temperature, rounding
    )
    weights = setting.space.weights
    return Bound.exact(
        weighted_mean(found.gain, weights), units, weighted_mean(found.rounding, weights)
    )


def opposed(
    tables: Float[np.ndarray, "model stage outcome outcome"],
    visits: Float[np.ndarray, "stage outcome"],
    among: Int[np.ndarray, " chosen"] | None = None,
) -> Float[np.ndarray, "chosen stage outcome"]:
    """Return what every outcome concedes to a policy of the given visits: Σ_i ψ_l(i) T_l(i, j).

    Args:
        tables: Payoffs of models.
        visits: ψ.
        among: The numbers of the models that are asked for; all by default. Large tables are not
            copied.

    Raises:
        InvalidProblem: If payoffs and visits are of different shapes.
    """
    stages, outcomes = visits.shape
    if tables.shape[1:] != (stages, outcomes, outcomes):
        raise InvalidProblem(
            f"payoffs of shape {tables.shape[1:]}, a policy that visits {outcomes} outcomes at "
            f"{stages} stages",
            "use payoffs and policies of one setting",
        )
    models = np.arange(len(tables)) if among is None else among
    found = np.empty((len(models), stages, outcomes))
    at_once = max(1, _ENTRIES // tables[0].size)
    for start in range(0, len(models), at_once):
        chosen = models[start : start + at_once]
        part = tables[chosen[0]][None] if at_once == 1 else tables[chosen]
        found[start : start + at_once] = np.matmul(visits[:, None, :], part)[:, :, 0, :]
    return found


def secured(
    setting: Setting,
    tables: Float[np.ndarray, "model stage outcome outcome"],
    policy: Policy,
    among: Int[np.ndarray, " chosen"] | None = None,
) -> Float[np.ndarray, " chosen"]:
    r"""Return :math:`J_k(\pi, \dagger) = \min_\rho J_k(\pi, \rho)` of every model, or of some.

    The minimum over replies is a closed form, or a soft Bellman recursion; the tables need not be
    skew.
    """
    values = opposed(tables, setting.visits(policy), among)
    return setting.conceded(values) - _price(setting, policy)


def pessimistic_value(setting: Setting, confidence: Confidence, policy: Policy) -> Bound:
    r"""Return what a policy secures in the true game, at least, with probability 1 - δ.

    .. math:: \min_{T \in \mathcal T} \min_\rho T(\pi, \rho) - \tau KL(\pi\|\mu)
              + \tau KL(\rho\|\mu) \le J^*(\pi, \dagger),

    over the version space of a finite class; of any other over all payoffs, skew or not, that are
    within the width of the estimate and no larger than the class allows. It holds on the event of
    the confidence set, for any policy, chosen by these data or not.

    Returns:
        A lower bound of confidence 1 - δ, in units of the payoff; never above 0, the value.
    """
    if isinstance(confidence, FiniteConfidence):
        least = float(secured(setting, confidence.tables, policy, confidence.members).min())
    else:
        least = float(secured(setting, confidence.lowest[None], policy)[0])
    least = min(least - rounding(setting, confidence, policy), 0.0)
    units, sure = confidence.model.link.units, 1.0 - confidence.delta
    return Bound(least, Knows.LOWER, units, least, 0.0, sure)


def certified_gap(value: Bound) -> Bound:
    """Return the upper bound on the exploitability that goes with a lower bound on the value."""
    gap = 0.0 - value.low
    return Bound(gap, Knows.UPPER, value.units, 0.0, gap, value.confidence)


def rounding(setting: Setting, confidence: Confidence, policy: Policy) -> float:
    """Return a bound on the rounding error of a policy's secured value."""
    stages, outcomes = setting.shape
    size = float(np.abs(confidence.model.table).max() + confidence.width.max())
    finite = policy.log_probabilities[np.isfinite(policy.log_probabilities)]
    nats = float(np.abs(setting.reference.log_probabilities).max() + np.abs(finite).max(initial=0))
    return 4 * (outcomes + stages + 8) * EPSILON * (size + setting.temperature * nats * stages)


def _price(setting: Setting, policy: Policy) -> float:
    if setting.temperature == 0.0:
        return 0.0
    return setting.temperature * setting.divergence(policy)
