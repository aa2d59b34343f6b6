r"""Sets that hold the parameters of a linear model with high probability, whatever the design.

Likelihood ratios (Lee, Yun and Jun 2024, arXiv 2407.13977, mix over a ball; a Gaussian mixture
pays for the directions that were explored alone). For a fixed prior π over parameters,
:math:`M_n = \int L_n(\theta)/L_n(\theta^*)\, d\pi(\theta)` is a non-negative martingale of mean 1,
however the pairs are chosen, so by Ville's inequality :math:`\log M_n \le \log(1/\delta)` for all n
at once with probability at least 1 - δ. By the variational formula of Gibbs, every q has
:math:`\log M_n \ge E_q \log L_n(\theta) - KL(q\|\pi) - \log L_n(\theta^*)`. With the log-odds link,
:math:`V = \sum_i n_i\phi_i\phi_i^\top`, :math:`\pi = N(0, s^2 I)` and
:math:`q = N(\hat\theta, (V/4 + I/s^2)^{-1})` the first-order term of :math:`E_q \log L_n`
vanishes, its curvature is at most V/4, and

.. math:: \log L_n(\hat\theta) - \log L_n(\theta^*) \le \log\tfrac1\delta
          + \tfrac12\log\det(I + \tfrac{s^2}{4} V) + \tfrac{\|\hat\theta\|^2}{2 s^2}.

A label in [0, 1] with mean p, a tie as half a win, changes nothing: a likelihood ratio is convex in
the label, so its mean is at most that of a Bernoulli label.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.estimation.classes.rows import Rows
from nlhf.numerics import EPSILON, log_sigmoid, sigmoid
from nlhf.results import read_only

_REFINEMENTS = 6
_SMALL = 1e-2
_MULTIPLIERS = np.append(10.0 ** np.arange(-5.0, 3.0), np.inf)
"""Of the ball's constraint, relative to the ellipsoid's."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    r"""An ellipsoid cut by a ball: :math:`\Delta^\top F \Delta \le b` and :math:`\|\Delta\| \le r`.

    Here :math:`\Delta = \theta^* - c` is the distance of the truth from the centre c.

    Attributes:
        offset: c less the fitted parameters.
        eigenvalues: Of F, all at least 0.
        basis: Its eigenvectors, as columns.
        budget: b.
        reach: r.
        radius: A bound on :math:`\sum_i n_i \langle\phi_i, \theta^* - \hat\theta\rangle^2`.
    """

    offset: Float[np.ndarray, " feature"]
    eigenvalues: Float[np.ndarray, " eigenvalue"]
    basis: Float[np.ndarray, "feature eigenvalue"]
    budget: float
    reach: float
    radius: float

    def __post_init__(self) -> None:
        for name in ("offset", "eigenvalues", "basis"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def width(self, features: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, " row"]:
        r"""Return a bound on :math:`|\langle\phi, \theta^* - \hat\theta\rangle|` for every φ.

        It is :math:`\min_\lambda \sqrt{b + \lambda r^2}\, \|\phi\|_{(F + \lambda I)^{-1}}` over a
        grid of multipliers, each of which is valid, plus the offset.
        """
        ball = self.reach * np.linalg.norm(features, axis=1)
        squares = (features @ self.basis) ** 2
        best = ball
        for multiplier in _MULTIPLIERS[:-1] * self.budget / self.reach**2:
            within = squares @ (1.0 / (self.eigenvalues + multiplier))
            best = np.minimum(best, np.sqrt((self.budget + multiplier * self.reach**2) * within))
        return np.asarray(best + np.abs(features @ self.offset))


def mixture_cost(rows: Rows, theta: Float[np.ndarray, " feature"], scale: float) -> float:
    r"""Return :math:`\tfrac12\log\det(I + \tfrac{s^2}4 V) + \tfrac{\|\theta\|^2}{2s^2}`, in nats.

    Args:
        rows: Comparisons with the log-odds link.
        theta: The parameters that the likelihood ratio is for; any.
        scale: s, chosen before the data are seen.
    """
    volume = _log_volume(rows, scale**2 / 4.0)
    return volume + float(theta @ theta) / (2.0 * scale**2)


def log_odds_region(
    rows: Rows,
    theta: Float[np.ndarray, " feature"],
    nats: float,
    reach: float,
    largest: Float[np.ndarray, " pair"],
) -> Region:
    r"""Return the region of a likelihood ratio with the log-odds link, about the maximum.

    At the maximum over a convex set the gradient has no positive inner product with
    :math:`\Delta = \theta^* - \hat\theta`, so the log-likelihood ratio is at least
    :math:`\sum_i n_i KL(\hat p_i\|p_i^*)`. A bound D on every :math:`d_i =
    \langle\phi_i, \Delta\rangle` gives weights with :math:`KL \ge w_i d_i^2/2` (`_curvature`), so
    that :math:`\sum_i n_i w_i d_i^2 \le 2 \cdot` nats, an ellipsoid. It bounds every d, which may
    lower D and raise w: that is repeated, each time a consequence of the same event.

    Args:
        rows: The comparisons.
        theta: The maximum.
        nats: On the event, the log-likelihood ratio is at most this; the gap of the maximum
            included.
        reach: A bound on the length of Δ.
        largest: A bound on the size of every pair's log-odds that the class implies.
    """
    payoffs = np.abs(rows.features @ theta)
    farthest = largest + payoffs
    for _ in range(_REFINEMENTS):
        away = _curvature(payoffs, np.minimum(farthest, np.maximum(largest - payoffs, 0.0)))
        weights = np.minimum(away, _curvature(-payoffs, farthest))
        eigenvalues, basis = _spectrum(rows.second_moment(rows.counts * weights))
        lightest = float(weights.min(initial=0.25))
        spread = float(rows.counts @ farthest**2)
        region = Region(
            np.zeros(len(theta)),
            eigenvalues,
            basis,
            2.0 * nats,
            reach,
            spread if lightest * spread <= 2.0 * nats else 2.0 * nats / lightest,
        )
        farthest = np.minimum(farthest, region.width(rows.features))
    return region


def least_squares_region(
    rows: Rows, theta: Float[np.ndarray, " feature"], nats: float, bound: float
) -> Region:
    r"""Return a region for the probability link, by least squares (Abbasi-Yadkori et al. 2011).

    With :math:`Q(\theta) = -2\sum_i (y_i - \tfrac12 - \langle\phi_i, \theta\rangle)^2`, the
    ratio :math:`e^{Q(\theta) - Q(\theta^*)}` is a supermartingale of mean at most 1, because labels
    in [0, 1] are sub-Gaussian (Hoeffding's lemma). Its mixture over :math:`N(0, s^2 I)` is
    Gaussian, and by Ville's inequality, for all n at once, with
    :math:`W = V + I/(4s^2)` and :math:`c = W^{-1}\sum_i \phi_i(y_i - \tfrac12)`,

    .. math:: 2\|\theta^* - c\|_W^2 \le \log\tfrac1\delta + \tfrac12\log\det(I + 4s^2V)
              + \tfrac{\|\theta^*\|^2}{2s^2}.

    The prior has s = B. The region is one for θ* whatever the fit; its distance from the fit is
    added to the widths.

    Args:
        rows: The comparisons.
        theta: The fitted parameters.
        nats: log(1/δ).
        bound: B.
    """
    matrix = rows.second_moment(rows.counts)
    ridge = 1.0 / (4.0 * bound**2)
    eigenvalues, basis = _spectrum(matrix)
    target = (rows.wins - rows.counts / 2.0) @ rows.features
    centre = basis @ ((basis.T @ target) / (eigenvalues + ridge))
    budget = 0.5 * (nats + _log_volume(rows, 4.0 * bound**2) + 0.5)
    apart = float(np.sqrt(max(0.0, (centre - theta) @ matrix @ (centre - theta))))
    return Region(
        centre - theta,
        eigenvalues + ridge,
        basis,
        budget,
        bound + float(np.linalg.norm(centre)),
        (np.sqrt(budget) + apart) ** 2,
    )


def _log_volume(rows: Rows, variance: float) -> float:
    eigenvalues, _ = _spectrum(rows.second_moment(rows.counts))
    return 0.5 * float(np.log1p(variance * eigenvalues).sum())


def _spectrum(
    matrix: Float[np.ndarray, "feature feature"],
) -> tuple[Float[np.ndarray, " feature"], Float[np.ndarray, "feature feature"]]:
    eigenvalues, basis = np.linalg.eigh(matrix)
    # Rounding must not make a direction look explored that was not.
    floor = len(matrix) * np.finfo(np.float64).eps * max(0.0, float(eigenvalues[-1]))
    return np.maximum(eigenvalues - floor, 0.0), basis


def _curvature(
    payoffs: Float[np.ndarray, " pair"], farthest: Float[np.ndarray, " pair"]
) -> Float[np.ndarray, " pair"]:
    r"""Return the least of 2 KL(σ(t)‖σ(t + d))/d² over 0 ≤ d ≤ D.

    It is :math:`2\int_0^1 (1-u)\sigma'(t + ud)du`. Its derivative in d has the sign of
    :math:`G(d) = \int_0^d (d-v)v\,\sigma''(t+v)dv`. As σ'' changes its sign at most once, from
    positive to negative, so does :math:`G'(d) = \int_0^d v\sigma''(t+v)dv`, and so does G: the
    least is at d = 0 or at d = D. Where D is small, the least σ' in its range stands in.
    """
    at, end = log_sigmoid(payoffs), log_sigmoid(payoffs + farthest)
    far = np.maximum(farthest, _SMALL)
    slope = far * sigmoid(-payoffs)
    rounding = 8.0 * EPSILON * (np.abs(at) + np.abs(end) + slope)
    whole = 2.0 * (at - end + slope - rounding) / far**2
    near = sigmoid(payoffs) * sigmoid(-payoffs)
    least = np.minimum(near, sigmoid(payoffs + farthest) * sigmoid(-payoffs - farthest))
    return np.where(farthest > _SMALL, np.minimum(near, np.maximum(whole, least)), least)
