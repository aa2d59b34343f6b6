r"""The multi-view losses of reward learning on policy, in the linear-Gaussian model, per direction.

Two responses of a prompt have features :math:`h_i = c + w_i`, where c varies between prompts with
covariance :math:`\Sigma_c` and w within a prompt with :math:`\Sigma_w`. A head encodes
:math:`z_i = A h_i + \varepsilon_i` with standard normal noise. In the basis in which
:math:`\Sigma_w = I` and :math:`\Sigma_c = diag(\kappa)`, a direction with gain :math:`s = a^2` has

.. math::

    \rho = \frac{s\kappa}{1 + s(1 + \kappa)}, \qquad I(z_1; z_2) = -\tfrac12\log(1 - \rho^2),
    \qquad E\,D_{SKL} = s,

and the losses add up over directions, but for the Jensen-Shannon one. The intraclass correlation of
a direction is κ/(1 + κ): how much responses of one prompt have in common.

Source: the objective is that of Lang, Huang, Li (2024), section 4.2, the multi-view information
bottleneck of Federici et al. (2020) with β = 1; mib-threshold in the ledger has the proofs.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np

from nlhf.errors import HypothesisViolated
from nlhf.results import read_only

_ROOT = 1e-13
_LOWEST_LOG, _HIGHEST_LOG = -14.0, 10.0
"""Of gains: they hold every gain with which a direction of ratio up to 1e6 can enter."""

_SMALLEST_RATIO, _LARGEST_RATIO = 1e-100, 1e6
_SMALLEST_PENALTY, _LARGEST_PENALTY = 1e-6, 900.0

_STEP, _END = 0.1, 9.0
"""Of the trapezoidal rule for each of two standard normals."""


class ViewLoss(StrEnum):
    """What the auxiliary loss asks of the code z of a response."""

    INFO_MAX = "InfoMax"
    """Maximal information on its own response, I(v; z)."""
    MULTI_VIEW = "MVI"
    """Maximal information on the other response's code, I(z₁; z₂)."""
    BOTTLENECK = "MIB"
    """MVI less the symmetric divergence of the two codes: RLP-UML's loss in theory."""
    JENSEN_SHANNON = "JSD"
    """The same with the Jensen-Shannon functional in place of I: what is trained in practice."""


def code_correlation(gain: float, ratio: float) -> float:
    r"""Return :math:`\rho = s\kappa/(1 + s(1 + \kappa))`, of the two codes of a direction."""
    return gain * ratio / (1.0 + gain * (1.0 + ratio))


def shared_information(gain: float, ratio: float) -> float:
    r"""Return :math:`I(z_1; z_2) = -\tfrac12\log(1 - \rho^2)`, in nats."""
    return -0.5 * math.log1p(-(code_correlation(gain, ratio) ** 2))


def information_slope(gain: float, ratio: float) -> float:
    r"""Return :math:`dI/ds = s\kappa^2/[(1 + s)(1 + s(1 + \kappa))(1 + s(1 + 2\kappa))]`."""
    steps = (1.0 + gain) * (1.0 + gain * (1.0 + ratio)) * (1.0 + gain * (1.0 + 2.0 * ratio))
    return gain * ratio * ratio / steps


def jensen_shannon_information(correlation: float) -> float:
    r"""Return :math:`2\,JSD(p(z_1, z_2) \| p(z_1) p(z_2))` for a Gaussian pair, in nats.

    Between 0 and 2 log 2; about ρ²/4 for a small ρ, half of the information. By the trapezoidal
    rule in :math:`(z_1 \pm z_2)/\sqrt2`, whose variances are 1 ± ρ and 1: to 1e-10 up to
    abs(ρ) = 0.95, to 1e-4 at 0.99, and only to 0.02 at 0.999.

    Raises:
        HypothesisViolated: The correlation is not between -1 and 1.
    """
    if not -1.0 < correlation < 1.0:
        raise HypothesisViolated(
            f"a correlation of {correlation!r}", "give one between -1 and 1, of noisy codes"
        )
    nodes, mass = _normal_pair()
    r = correlation

    def log_ratio(stretch: float, shrink: float) -> np.ndarray:
        plus, minus = stretch * nodes[:, None] ** 2, shrink * nodes[None, :] ** 2
        tilt = 0.5 * (plus * r / (1.0 + r) - minus * r / (1.0 - r))
        return tilt - 0.5 * math.log1p(-r * r)

    joint = np.logaddexp(0.0, -log_ratio(1.0 + r, 1.0 - r))
    apart = np.logaddexp(0.0, log_ratio(1.0, 1.0))
    return 2.0 * math.log(2.0) - float((mass * (joint + apart)).sum())


def view_loss(loss: ViewLoss, gain: float, ratio: float, penalty: float = 1.0) -> float:
    """Return the loss of one direction, 0 where nothing is encoded.

    Args:
        loss: Which; InfoMax and MVI have no penalty.
        gain: s ≥ 0, in units of the variance within prompts.
        ratio: κ ≥ 0, variance between prompts per variance within.
        penalty: b > 0, the weight of the symmetric divergence.
    """
    if loss is ViewLoss.INFO_MAX:
        return -0.5 * math.log1p(gain * (1.0 + ratio))
    if loss is ViewLoss.MULTI_VIEW:
        return -shared_information(gain, ratio)
    if loss is ViewLoss.BOTTLENECK:
        return penalty * gain - shared_information(gain, ratio)
    return penalty * gain - jensen_shannon_information(code_correlation(gain, ratio))


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where a direction is just worth keeping.

    Attributes:
        ratio: κ.
        gain: s, the gain with which it enters: not 0, the transition is of first order.
        penalty: b.
    """

    ratio: float
    gain: float
    penalty: float

    @property
    def intraclass_correlation(self) -> float:
        """κ/(1 + κ)."""
        return self.ratio / (1.0 + self.ratio)


def critical_penalty(ratio: float, loss: ViewLoss = ViewLoss.BOTTLENECK) -> Threshold:
    r"""Return the largest penalty at which a direction is kept, :math:`\max_s I(s)/s`.

    Args:
        ratio: κ > 0.
        loss: BOTTLENECK or JENSEN_SHANNON; the others have no penalty.

    Raises:
        HypothesisViolated: The ratio is not in [1e-100, 1e6], or the loss has no penalty.
    """
    from scipy.optimize import brentq, minimize_scalar

    if not _SMALLEST_RATIO <= ratio <= _LARGEST_RATIO:
        raise HypothesisViolated(
            f"ratio {ratio!r}", f"give one in [{_SMALLEST_RATIO:g}, {_LARGEST_RATIO:g}]"
        )
    if loss is ViewLoss.BOTTLENECK:
        # I/s is stationary where s I' = I; s I' − I is positive before, and negative after.
        gain = math.exp(
            brentq(
                lambda t: (
                    math.exp(t)
                    * information_slope(math.exp(t), ratio)
                    / shared_information(math.exp(t), ratio)
                    - 1.0
                ),
                _LOWEST_LOG,
                _HIGHEST_LOG,
                xtol=_ROOT,
            )
        )
        return Threshold(ratio, gain, shared_information(gain, ratio) / gain)
    if loss is not ViewLoss.JENSEN_SHANNON:
        raise HypothesisViolated(f"{loss} has no penalty", "ask for MIB or JSD")
    found = minimize_scalar(
        lambda t: view_loss(loss, math.exp(t), ratio, 0.0) / math.exp(t),
        bounds=(_LOWEST_LOG, _HIGHEST_LOG),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return Threshold(ratio, math.exp(found.x), -float(found.fun))


def critical_ratio(penalty: float = 1.0, loss: ViewLoss = ViewLoss.BOTTLENECK) -> Threshold:
    r"""Return the ratio κ* below which a direction is dropped, by root finding.

    At b = 1, the weight in the paper, κ* = 7.951 for MIB: only directions with an intraclass
    correlation above 0.888 are kept.

    Args:
        penalty: b > 0.
        loss: BOTTLENECK or JENSEN_SHANNON.

    Raises:
        HypothesisViolated: The penalty is not in [1e-6, 900], or the loss has none.
    """
    from scipy.optimize import brentq

    if not _SMALLEST_PENALTY <= penalty <= _LARGEST_PENALTY:
        raise HypothesisViolated(
            f"penalty {penalty!r}", f"give one in [{_SMALLEST_PENALTY:g}, {_LARGEST_PENALTY:g}]"
        )
    logs = brentq(
        lambda t: critical_penalty(math.exp(t), loss).penalty - penalty,
        math.log(penalty),
        math.log(1e3 * penalty + 1e3),
        xtol=1e-12,
    )
    return critical_penalty(math.exp(logs), loss)


def least_loss(
    loss: ViewLoss, ratio: float, penalty: float = 1.0, largest_gain: float = math.inf
) -> float:
    r"""Return the minimum of a direction's loss over gains :math:`0 \le s \le \bar s`.

    Args:
        loss: INFO_MAX, MULTI_VIEW or BOTTLENECK.
        ratio: κ in [0, 1e6].
        penalty: b > 0.
        largest_gain: s̄ ≥ 0; InfoMax needs a finite one, its loss has no minimum.

    Raises:
        HypothesisViolated: InfoMax without a limit, the Jensen-Shannon loss, or an argument out of
            range.
    """
    from scipy.optimize import brentq

    if not (0.0 <= ratio <= _LARGEST_RATIO and penalty > 0.0 and largest_gain >= 0.0):
        raise HypothesisViolated(
            f"ratio {ratio!r}, penalty {penalty!r}, gains up to {largest_gain!r}",
            f"give a ratio in [0, {_LARGEST_RATIO:g}], a positive penalty, a limit of at least 0",
        )

    if loss is ViewLoss.JENSEN_SHANNON or (loss is ViewLoss.INFO_MAX and math.isinf(largest_gain)):
        raise HypothesisViolated(
            f"{loss} with gains up to {largest_gain:g}",
            "limit the gain of InfoMax; minimise the Jensen-Shannon loss yourself",
        )
    if loss is ViewLoss.MULTI_VIEW and math.isinf(largest_gain):
        return 0.5 * math.log1p(2.0 * ratio) - math.log1p(ratio)
    if loss is not ViewLoss.BOTTLENECK:
        return view_loss(loss, largest_gain, ratio)
    # I ≤ ν²/2 with ν = sκ/(1 + s), and s/(1 + s)² ≤ 1/4.
    if penalty >= ratio * ratio / 8.0:
        return 0.0
    enters = critical_penalty(ratio)
    if enters.penalty <= penalty:
        return 0.0
    # Beyond the gain at which it enters I' falls, to less than 1/(2 s²).
    high = enters.gain + 1.0 / math.sqrt(2.0 * penalty)
    gain = brentq(lambda s: information_slope(s, ratio) - penalty, enters.gain, high, xtol=_ROOT)
    return min(0.0, view_loss(loss, min(gain, largest_gain), ratio, penalty))


@cache
def _normal_pair() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes for |x| of each of two standard normals, and the masses of their pairs."""
    nodes = np.arange(0.0, _END + _STEP / 2, _STEP)
    mass = np.exp(-0.5 * nodes * nodes)
    mass[0] /= 2.0  # both halves have it
    return read_only(nodes), read_only(np.outer(mass, mass) / mass.sum() ** 2)
