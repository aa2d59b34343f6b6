"""Pessimistic equilibria over a version space: the best policy against the worst model left."""

import time
import warnings
from collections.abc import Callable

from nlhf.errors import Approximate, Unsupported
from nlhf.estimation.classes.models import FiniteConfidence
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.offline.active_models import ActiveModels
from nlhf.learning.offline.planes import PlaneSearch
from nlhf.learning.offline.solutions import PessimisticSolution, checked_accuracy
from nlhf.learning.settings import Setting
from nlhf.results import Provenance
from nlhf.spaces.policy import Policy

_NEWTON_UP_TO = 40
"""Responses beyond which a system of as many unknowns for every model takes longer than planes."""
_NEWTON_FROM = 1e-3
"""Temperature, as a share of the largest payoff, below which Newton steps lose their way."""


def plan_version_space(
    setting: Setting,
    confidence: FiniteConfidence,
    *,
    accuracy: float = 1e-8,
    observe: Callable[[int, float], None] | None = None,
) -> PessimisticSolution:
    r"""Return the policy of the largest pessimistic value over a version space.

    .. math:: \max_\pi F(\pi), \qquad F(\pi) = \min_{k \in \mathcal P} \min_\rho J_k(\pi, \rho)

    over the models k that the data leave: PELHF of C. Ye et al., arXiv 2402.07314. The outer
    problem is concave: in bandits of up to 40 responses, at temperatures above 1e-4 of the largest
    payoff, a group-robust game whose groups are models (`ActiveModels`), otherwise solved by planes
    (`PlaneSearch`). The inner one has a closed form.

    Guarantee: on the event that the truth is in the version space, which has a probability of at
    least 1 - δ, the policy secures :math:`F(\hat\pi)` in the true game, and its exploitability is
    at most :math:`-F(\hat\pi) \le \sqrt2 \beta \sqrt{C/n}`, and what `optimality` says, with the
    coverage C of the equilibrium of the true game and :math:`\beta^2` twice the radius
    (pelhf-version-space).

    Args:
        setting: Where the policy acts.
        confidence: The version space.
        accuracy: How far from the largest pessimistic value the policy's may be, in payoff units;
            0 is as near as rounding lets it come.
        observe: Called after every round with its number and how far the policy may still be.

    Warns:
        Approximate: If the accuracy is not reached; `optimality` says what is.

    Raises:
        Unsupported: If the confidence set is not a version space.
        HypothesisViolated: If the accuracy is negative or no number.
    """
    start = time.perf_counter()
    if not isinstance(confidence, FiniteConfidence):
        raise Unsupported(
            f"the confidence set is a {type(confidence).__name__}: it has no models to plan with",
            "use plan_with_bonus, or the confidence set of a FiniteClass",
        )
    checked_accuracy(accuracy)
    centre = setting.solve(confidence.model.table)
    search = _search(setting, confidence, centre)
    search.run(accuracy, observe)
    if search.gap > accuracy:
        warnings.warn(
            f"after {search.rounds} rounds a policy may secure {search.gap:.3g} more than the one "
            f"returned, not at most {accuracy:g}",
            Approximate,
            stacklevel=2,
        )
    provenance = Provenance(
        method=f"{search.method}, {len(confidence.members)} models",
        iterations=search.rounds,
        seconds=time.perf_counter() - start,
    )
    return PessimisticSolution.judged(setting, confidence, search.best, search.gap, provenance)


def _search(
    setting: Setting, confidence: FiniteConfidence, start: Policy
) -> ActiveModels | PlaneSearch:
    tables, members = confidence.tables, confidence.members
    warm = setting.temperature > _NEWTON_FROM * float(confidence.largest.max())
    smooth = warm and setting.temperature > 0.0 and setting.shape[1] <= _NEWTON_UP_TO
    if smooth and isinstance(setting, BanditSetting):
        return ActiveModels(setting, tables, members, start)
    return PlaneSearch(setting, tables, members, start)
