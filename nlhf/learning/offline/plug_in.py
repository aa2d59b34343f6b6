"""The baseline of planning from data: play the equilibrium of the estimate."""

import time

from nlhf.estimation.classes.models import Confidence
from nlhf.learning.judging import rounding, secured
from nlhf.learning.offline.solutions import PessimisticSolution
from nlhf.learning.settings import Setting
from nlhf.results import Provenance


def plan_plug_in(setting: Setting, confidence: Confidence) -> PessimisticSolution:
    r"""Return the equilibrium policy of the maximum-likelihood estimate, judged like any other.

    At a positive temperature its exploitability is of second order in the error of the estimate,
    :math:`\frac{1}{2\tau} e^{2/\tau} E_{\mu\times\mu} (\hat T - T^*)^2` for win probabilities
    (plug-in-identity in the ledger), with a constant that grows as temperature falls; it knows
    nothing of where there were data.

    Args:
        setting: Where the policy acts.
        confidence: The estimate, and what is known of its errors.
    """
    start = time.perf_counter()
    policy = setting.solve(confidence.model.table)
    short = rounding(setting, confidence, policy)
    short -= float(secured(setting, confidence.model.table[None], policy)[0])
    provenance = Provenance(
        method="equilibrium of the estimate", seconds=time.perf_counter() - start
    )
    return PessimisticSolution.judged(setting, confidence, policy, short, provenance)
