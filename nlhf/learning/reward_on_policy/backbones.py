r"""What the multi-view losses do to a reward model: a linear backbone of rank one, or a bottleneck.

A linear backbone :math:`h = B\phi` of full rank feels nothing: the least auxiliary loss over the
heads does not depend on B (linear-backbone in the ledger). So the loss acts through limits of
capacity, and two are computed here. The features :math:`\phi` have independent directions with
variances between and within prompts; only the latter make differences of reward.

* `backbone_direction`: the backbone is one direction, which reward loss and auxiliary loss choose
  together, and the reward is read from it, as in the paper.
  MVI rewards a shared direction at least as much as MIB does, since :math:`\partial I/\partial
  \kappa = \kappa/[(1/s + 1 + \kappa)(1/s + 1 + 2\kappa)]` grows in the gain: at equal variances
  within prompts, MIB is the better loss only where that pull does harm.
* `bottleneck_error`: the reward is read from the code, which keeps or drops whole directions.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.learning.reward_on_policy.multiview import ViewLoss, least_loss
from nlhf.numerics import log_sigmoid
from nlhf.results import float_array, read_only

_STEP, _END = 0.01, 9.0
"""Of the trapezoidal rule for a standard normal, whose error is e^(-2π²/(c·step)) for margins of
standard deviation c, below rounding up to c = 50."""

_WIDEST = 50.0
_ANGLES = 91
_ANGLE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    r"""Independent directions of the features, and how they enter the labels and the truth.

    Attributes:
        between: Variances between prompts.
        within: Variances within prompts, positive.
        labels: w, the reward of which the labels tell: :math:`\sigma(w^\top(\phi_a - \phi_b))`.
        truth: The true reward; the same unless the labels are biased.
    """

    between: Float[np.ndarray, " direction"]
    within: Float[np.ndarray, " direction"]
    labels: Float[np.ndarray, " direction"]
    truth: Float[np.ndarray, " direction"]

    def __post_init__(self) -> None:
        for name in ("between", "within", "labels", "truth"):
            array = float_array(name, getattr(self, name))
            if array.ndim != 1 or array.shape != np.shape(self.between):
                raise InvalidProblem(
                    f"{name} has shape {array.shape}, between {np.shape(self.between)}",
                    "give one number a direction",
                )
            if not np.isfinite(array).all():
                raise InvalidProblem(f"{name} is not finite: {array}", "give finite numbers")
            object.__setattr__(self, name, read_only(array))
        if not ((self.between >= 0.0).all() and (self.within > 0.0).all()):
            raise InvalidProblem(
                f"variances between {self.between} and within {self.within}",
                "variances between prompts are at least 0, within them positive",
            )
        if not (self.labels.any() and self.truth.any()):
            raise InvalidProblem(
                "a reward is 0 everywhere", "give rewards that tell responses apart"
            )
        if self.margin > _WIDEST:
            raise InvalidProblem(
                f"the labels' margins have standard deviation {self.margin:.3g}, above {_WIDEST:g}",
                "scale the labels' reward down: it is in logits",
            )

    @property
    def margin(self) -> float:
        """ν, the standard deviation within prompts of the labels' log-odds."""
        return math.sqrt(2.0 * float(self.labels**2 @ self.within))

    @property
    def ratios(self) -> Float[np.ndarray, " direction"]:
        """κ, variance between prompts per variance within."""
        return np.asarray(self.between / self.within)

    def alignment(self, direction: Float[np.ndarray, " direction"]) -> float:
        r"""Return the correlation of a reward with the true one within prompts.

        With normal features of the reference, the policy of a reward gains
        :math:`\sqrt{2 KL}\,sd(r^*)` times this: its true reward at matched divergence.

        Raises:
            HypothesisViolated: The direction is 0 or not finite.
        """
        return _correlation(direction, self.truth, self.within)


def pair_risk(views: Views, direction: Float[np.ndarray, " direction"]) -> float:
    r"""Return the least Bradley-Terry risk of rewards along a direction, for normal features.

    With :math:`\nu^2 = 2 w^\top\Sigma_w w` the variance of the labels' margin, r its correlation
    with the direction, and :math:`H(c) = c\,E\,\sigma'(c x)` for a standard normal x,

    .. math:: \min_c E[\log(1 + e^{c x})] - c\,r\,H(\nu), \qquad H(c) = r H(\nu) \text{ at the
        minimum},

    because :math:`E[\sigma(m) x] = Cov(m, x)\,E\,\sigma'(m)` for normal (m, x) (Stein).

    Raises:
        HypothesisViolated: The direction is 0 or not finite.
    """
    from scipy.optimize import brentq

    agreement = abs(_correlation(direction, views.labels, views.within))
    slope = agreement * _mean_slope(views.margin)
    # H rises to (2π)^(-1/2), so that the root is at most ν; beyond it only by rounding.
    scale = float(brentq(lambda c: _mean_slope(c) - slope, 0.0, 1.001 * views.margin))
    x, mass = _normal()
    # The mean of log(1 + e^t) and log(1 + e^-t) is that of the latter plus |t|/2.
    return float(mass @ (0.5 * scale * x - log_sigmoid(scale * x))) - scale * slope


def backbone_loss(
    views: Views,
    direction: Float[np.ndarray, " direction"],
    loss: ViewLoss,
    weight: float,
    *,
    penalty: float = 1.0,
    largest_gain: float = 10.0,
) -> float:
    r"""Return reward risk plus weighted auxiliary loss of a backbone :math:`h = u^\top\phi`.

    .. math:: \min_c L_R(c\,u) + \lambda \min_{0 \le a^2 \le \bar a} L_M(a\,u), \qquad \|u\| = 1

    Args:
        views: The features.
        direction: u, of any length but 0.
        loss: The auxiliary loss; not the Jensen-Shannon one.
        weight: λ ≥ 0; the paper's is 1/2.
        penalty: b, the weight of the symmetric divergence.
        largest_gain: ā, the largest squared weight of the head, per unit of feature variance.

    Raises:
        HypothesisViolated: The Jensen-Shannon loss, InfoMax without a finite limit, a direction
            that is 0 or not finite, or a number out of range.
    """
    if not 0.0 <= weight < math.inf:
        raise HypothesisViolated(f"weight {weight!r}", "give a finite number of at least 0")
    _check_direction(direction)
    u2 = direction**2 / float(direction @ direction)
    within, between = float(u2 @ views.within), float(u2 @ views.between)
    auxiliary = least_loss(loss, between / within, penalty, largest_gain * within)
    return pair_risk(views, direction) + weight * auxiliary


def backbone_direction(
    views: Views,
    loss: ViewLoss,
    weight: float,
    *,
    penalty: float = 1.0,
    largest_gain: float = 10.0,
) -> float:
    """Return the angle of the best rank-one backbone in two dimensions, in degrees.

    The angle is measured from the first direction, in [0, 180): the least loss on a grid of 2
    degrees, refined by Brent's method between its neighbours.

    Args:
        views: Features with two directions.
        loss: The auxiliary loss.
        weight: λ ≥ 0.
        penalty: b.
        largest_gain: ā.

    Raises:
        HypothesisViolated: There are not two directions, or as `backbone_loss`.
    """
    from scipy.optimize import minimize_scalar

    if len(views.between) != 2:
        raise HypothesisViolated(
            f"features with {len(views.between)} directions", "an angle needs exactly 2"
        )

    def value(degrees: float) -> float:
        radians = math.radians(degrees)
        direction = np.array([math.cos(radians), math.sin(radians)])
        return backbone_loss(
            views, direction, loss, weight, penalty=penalty, largest_gain=largest_gain
        )

    grid = np.linspace(0.0, 180.0, _ANGLES)
    best = float(grid[int(np.argmin([value(float(t)) for t in grid]))])
    step = float(grid[1])
    found = minimize_scalar(
        value,
        bounds=(best - step, best + step),
        method="bounded",
        options={"xatol": _ANGLE_TOLERANCE},
    )
    return float(found.x) % 180.0


def kept_directions(
    views: Views, loss: ViewLoss, capacity: int, penalty: float = 1.0
) -> Bool[np.ndarray, " direction"]:
    """Return which directions a code of so many dimensions keeps.

    InfoMax keeps those of the largest total variance, MVI those of the largest ratio κ, and MIB
    those among the latter that are above the threshold κ*.

    Args:
        views: The features.
        loss: INFO_MAX, MULTI_VIEW or BOTTLENECK.
        capacity: Dimensions of the code, at least 1.
        penalty: b.

    Raises:
        HypothesisViolated: The capacity is below 1, or the loss is the Jensen-Shannon one, which
            is not a sum over directions.
    """
    if capacity < 1 or loss is ViewLoss.JENSEN_SHANNON:
        raise HypothesisViolated(
            f"capacity {capacity} for {loss}",
            "give at least 1 dimension, and a loss that adds up over directions",
        )
    score = views.between + views.within if loss is ViewLoss.INFO_MAX else views.ratios
    kept = np.zeros(len(score), dtype=np.bool_)
    kept[np.argsort(-score, kind="stable")[:capacity]] = True
    if loss is ViewLoss.BOTTLENECK:
        for k in np.flatnonzero(kept):
            kept[k] = least_loss(loss, float(views.ratios[k]), penalty) < 0.0
    return kept


def bottleneck_error(
    views: Views, kept: Bool[np.ndarray, " direction"], pairs: int, flip_rate: float = 0.0
) -> float:
    r"""Return the centred error of a reward read from the kept directions, for weak rewards.

    .. math:: \sum_{i \notin S} w_i^2\,\Sigma_{w,i} + \frac{2|S|}{m (1 - 2\eta)^2}

    Bias of what was dropped, and variance of what was kept: the Fisher information of a comparison
    is :math:`(1-2\eta)^2 \Sigma_w/2` at zero margin. To first order in the rewards and in 1/m;
    labels and truth alike.

    Args:
        views: The features.
        kept: S.
        pairs: m, human comparisons.
        flip_rate: η in [0, 1/2).

    Raises:
        HypothesisViolated: There are no pairs, the flip rate is out of range, or the directions
            are not marked by one truth value each.
    """
    if kept.dtype != np.bool_ or kept.shape != views.within.shape:
        raise HypothesisViolated(
            f"kept directions of type {kept.dtype} and shape {kept.shape}",
            f"give {len(views.within)} truth values",
        )
    if pairs < 1 or not 0.0 <= flip_rate < 0.5:
        raise HypothesisViolated(
            f"{pairs} pairs with flip rate {flip_rate!r}",
            "take at least 1 pair, and a flip rate of at least 0 and below 1/2",
        )
    bias = float((views.truth**2 * views.within)[~kept].sum())
    return bias + 2.0 * int(kept.sum()) / (pairs * (1.0 - 2.0 * flip_rate) ** 2)


def _check_direction(direction: np.ndarray) -> None:
    if not (direction.any() and np.isfinite(direction).all()):
        raise HypothesisViolated(f"direction {direction}", "give a finite one that is not 0")


def _correlation(a: np.ndarray, b: np.ndarray, variances: np.ndarray) -> float:
    _check_direction(a)
    lengths = math.sqrt(float(a**2 @ variances) * float(b**2 @ variances))
    return min(1.0, max(-1.0, float((a * b) @ variances) / lengths))


@cache
def _normal() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes for |x| of a standard normal, and their masses."""
    nodes = np.arange(0.0, _END + _STEP / 2, _STEP)
    mass = np.exp(-0.5 * nodes * nodes)
    mass[0] /= 2.0  # both halves have it
    return read_only(nodes), read_only(mass / mass.sum())


def _mean_slope(scale: float) -> float:
    """Return H(c) = c E σ'(c x)."""
    x, mass = _normal()
    decay = np.exp(-scale * x)
    return scale * float(mass @ (decay / (1.0 + decay) ** 2))
