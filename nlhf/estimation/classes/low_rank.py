"""General bilinear preferences with unknown factors: skew tables of low rank."""

from math import isfinite, sqrt

import numpy as np
from jaxtyping import Float

from nlhf.data.preference_data import PreferenceData
from nlhf.errors import InvalidProblem
from nlhf.estimation.classes.cells import (
    checked_bound,
    checked_data,
    checked_shape,
    counted,
    warn_of_silence,
)
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.models import Confidence, Model
from nlhf.estimation.classes.rows import MARGIN
from nlhf.estimation.classes.tabular import CellIntervals, cell_intervals
from nlhf.numerics import log_sigmoid, sigmoid
from nlhf.streams import Stream

_HALF_VOTE = 0.5
_FARTHEST = 0.9
"""Where the spectral start has rows, as a share of the longest that are allowed."""

_RELATIVE, _GRADIENT, _MOST_STEPS = 1e-10, 1e-8, 500


class LowRankClass:
    r"""Payoffs :math:`T_l = U_l J U_l^\top` of rank at most 2k, with unknown factors.

    :math:`U_l` has m rows of length at most :math:`\sqrt B`, and J is the 2k × 2k matrix that turns
    every plane by a quarter: T is skew, and :math:`|T| \le B`. Cycles are allowed; with k = 1 every
    outcome is a point in a plane, and :math:`T(a, b)` the signed area that two of them span.

    The likelihood is not concave in U. The fit is the best of several local maxima, found by
    L-BFGS from the spectrum of the tabular log-odds and from random factors; that no other is
    better is not proved. The confidence set therefore assumes nothing of the rank: it is that of
    `TabularClass` cut to :math:`|T| \le B`, seen from the fit, so that it holds if
    :math:`|T^*| \le B`, whatever the optimiser found. What low rank gains is the estimate, not
    the width. For known factors use `LinearClass` with `wedge_features`.

    Args:
        shape: (L, m), the numbers of stages and of outcomes.
        rank: 2k, even.
        bound: B > 0; below 1/2 - 0.001 with the probability link.
        link: What payoffs say of preferences.
        ridge: ρ ≥ 0, of the penalty :math:`\tfrac\rho2\|U\|^2` in nats; 0 is maximum likelihood.
            With fewer votes than parameters a positive one (1 to 10) is the better estimate.
        starts: How many random starts, at least 0.

    Attributes:
        shape: The shape.
        rank: 2k.
        bound: B.
        link: The link.
        ridge: ρ.
        starts: The number of random starts.

    Raises:
        InvalidProblem: If the rank is not a positive even number, the bound out of range, or
            another argument not a count.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rank: int,
        bound: float,
        link: Link = Link.LOG_ODDS,
        ridge: float = 0.0,
        starts: int = 3,
    ) -> None:
        self.shape = checked_shape(shape)
        self.link = Link(link)
        self.bound = checked_bound(bound)
        if self.link is Link.PROBABILITY and self.bound > 0.5 - MARGIN:
            raise InvalidProblem(
                f"the bound is {self.bound:g}, but |P - 1/2| must stay below {0.5 - MARGIN:g}",
                "lower the bound, or use the log-odds link",
            )
        if isinstance(rank, bool) or rank < 2 or rank % 2 != 0:
            raise InvalidProblem(
                f"the rank is {rank!r}", "skew matrices have even rank: give 2, 4, ..."
            )
        if isinstance(starts, bool) or starts < 0:
            raise InvalidProblem(f"{starts!r} random starts", "give an integer of at least 0")
        if not (isfinite(ridge) and ridge >= 0.0):
            raise InvalidProblem(f"the ridge is {ridge!r}", "give a number of at least 0")
        self.ridge = float(ridge)
        self.rank, self.starts = int(rank), int(starts)

    def without_ridge(self) -> "LowRankClass":
        """Return the same class, to be fitted by maximum likelihood."""
        return LowRankClass(self.shape, self.rank, self.bound, self.link, starts=self.starts)

    def fit(self, data: PreferenceData) -> Model:
        """Return the best model that was found; its parameters are U, ``(L, m, 2k)``.

        Raises:
            InvalidData: If the data are of another shape.
            Unsupported: If trajectories are compared.

        Warns:
            Degenerate: If a stage has no data.
        """
        wins = counted(checked_data(data, self.shape))
        warn_of_silence(data, stacklevel=2)
        return self._model(data, wins)

    def confidence(self, data: PreferenceData, delta: float) -> Confidence:
        """Return what is known of the truth; see `PreferenceClass`.

        Raises:
            HypothesisViolated: If δ is not between 0 and 1.
            InvalidData: If the data are of another shape.
            Unsupported: If trajectories are compared.

        Warns:
            Degenerate: If a stage has no data; the width there is the full range.
        """
        intervals = cell_intervals(data, self.shape, delta)
        warn_of_silence(data, stacklevel=2)
        model = self._model(data, intervals.wins)
        width = self._width(intervals, model.table)
        return Confidence(
            model=model,
            delta=float(delta),
            radius=self._radius(intervals, model.table, width),
            width=width,
            largest=np.full(width.shape, self.bound),
            statement=f"payoffs of at most {self.bound:g}, nothing assumed of their rank: the "
            "tabular intervals (Beta(1/2, 1/2) mixtures and Ville's inequality, any design, all "
            f"sample sizes at once) about the best of {self.starts + 1} local maxima",
        )

    def _width(
        self, intervals: CellIntervals, table: Float[np.ndarray, "stage outcome outcome"]
    ) -> Float[np.ndarray, "stage outcome outcome"]:
        highest = intervals.upper - 0.5
        if self.link is Link.LOG_ODDS:
            with np.errstate(divide="ignore"):
                highest = np.log(intervals.upper) - np.log1p(-intervals.upper)
        above = np.minimum(highest, self.bound) - table
        width = np.maximum(above, above.swapaxes(1, 2))
        every = np.arange(self.shape[1])
        width[:, every, every] = 0.0
        # Nowhere negative but off the event, if an interval lies beyond the bound.
        return np.maximum(width, 0.0)

    def _radius(
        self,
        intervals: CellIntervals,
        table: Float[np.ndarray, "stage outcome outcome"],
        width: Float[np.ndarray, "stage outcome outcome"],
    ) -> float:
        counts = np.triu(intervals.counts, 1)
        apart = self.link.probability(table) - intervals.frequencies
        distance = sqrt(intervals.radius) + sqrt(float((counts * apart**2).sum()))
        spread = sqrt(float((counts * width**2).sum()))
        slope = 1.0
        if self.link is Link.LOG_ODDS:
            ends = sigmoid(np.array([self.bound, -self.bound]))
            slope = float(ends.prod())
        return spread**2 if slope * spread <= distance else (distance / slope) ** 2

    def _model(
        self, data: PreferenceData, wins: Float[np.ndarray, "stage outcome outcome"]
    ) -> Model:
        factors = self._factors(wins)
        table = _skew(factors)
        likelihood = self.link.log_likelihood(data.pairs.payoffs(table), data.counts, data.wins)
        return Model(table, self.link, float(likelihood), factors)

    def _factors(
        self, wins: Float[np.ndarray, "stage outcome outcome"]
    ) -> Float[np.ndarray, "stage outcome rank"]:
        """Return the best factors found for every stage; 0 for outcomes never compared."""
        from scipy.optimize import minimize

        shape = (*wins.shape[:2], self.rank)
        generator = Stream(0).child("low-rank").generator()
        starts = [self._spectral(wins)]
        starts += [generator.normal(size=shape) for _ in range(self.starts)]
        scale = max(1.0, float(wins.sum()))

        def mean_loss(free: Float[np.ndarray, " parameter"]) -> tuple[float, np.ndarray]:
            losses, slopes = self._losses(free.reshape(shape), wins)
            return float(losses.sum()) / scale, slopes.ravel() / scale

        best = np.zeros(shape)
        least = np.full(len(wins), np.inf)
        options = {"ftol": _RELATIVE, "gtol": _GRADIENT, "maxiter": _MOST_STEPS}
        for start in starts:
            found = minimize(mean_loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
            free = found.x.reshape(shape)
            losses, _ = self._losses(free, wins)
            better = losses < least
            best[better], least[better] = self._inside(free)[0][better], losses[better]
        compared = (wins + wins.swapaxes(1, 2)).any(axis=2, keepdims=True)
        return np.where(compared, best, 0.0)

    def _losses(
        self,
        free: Float[np.ndarray, "stage outcome rank"],
        wins: Float[np.ndarray, "stage outcome outcome"],
    ) -> tuple[Float[np.ndarray, " stage"], Float[np.ndarray, "stage outcome rank"]]:
        """Return the penalised losses of all stages, and their gradients in free factors."""
        factors, lengths = self._inside(free)
        table = _skew(factors)
        if self.link is Link.LOG_ODDS:
            losses, slope = -log_sigmoid(table), -wins * sigmoid(-table)
        else:
            losses, slope = -np.log(0.5 + table), -wins / (0.5 + table)
        # T = U J Uᵀ: the derivative of Σ G T in U is (G - Gᵀ) U Jᵀ.
        steep = (slope - slope.swapaxes(1, 2)) @ _turned(factors) + self.ridge * factors
        inward = (steep * factors).sum(axis=2, keepdims=True) / self.bound
        total = (wins * losses).sum(axis=(1, 2)) + self.ridge / 2.0 * (factors**2).sum(axis=(1, 2))
        return total, sqrt(self.bound) * (steep - inward * factors) / lengths

    def _inside(
        self, free: Float[np.ndarray, "stage outcome rank"]
    ) -> tuple[Float[np.ndarray, "stage outcome rank"], Float[np.ndarray, "stage outcome 1"]]:
        r"""Return the rows :math:`\sqrt B v/\sqrt{1 + \|v\|^2}`, and the denominators."""
        lengths = np.sqrt(1.0 + (free**2).sum(axis=2, keepdims=True))
        return sqrt(self.bound) * free / lengths, lengths

    def _spectral(
        self, wins: Float[np.ndarray, "stage outcome outcome"]
    ) -> Float[np.ndarray, "stage outcome rank"]:
        """Return free factors of the nearest tables of the rank to half a vote more each way."""
        more = wins + _HALF_VOTE
        table = np.log(more) - np.log(more.swapaxes(1, 2))
        if self.link is Link.PROBABILITY:
            table = sigmoid(table) - 0.5
        values, vectors = np.linalg.eigh(1j * table)
        # iTv = sv with v = x + iy says Tx = sy and Ty = -sx: T is the sum of 2s(yxᵀ - xyᵀ).
        kept = slice(None, -self.rank // 2 - 1, -1)
        planes = vectors[..., kept] * np.sqrt(2.0 * np.maximum(values[:, None, kept], 0.0))
        factors = np.stack([planes.imag, planes.real], axis=-1).reshape(*wins.shape[:2], -1)
        factors = np.pad(factors, ((0, 0), (0, 0), (0, self.rank - factors.shape[2])))
        lengths = np.linalg.norm(factors, axis=2, keepdims=True) / sqrt(self.bound)
        lengths_inside = np.minimum(lengths, _FARTHEST)
        factors = factors * lengths_inside / np.maximum(lengths, 1e-300)
        return np.asarray(factors / np.sqrt(self.bound * (1.0 - lengths_inside**2)))


def _turned(factors: Float[np.ndarray, "*stage outcome rank"]) -> Float[np.ndarray, "..."]:
    """Return U Jᵀ: every plane turned, (x, y) to (y, -x)."""
    turned = np.empty_like(factors)
    turned[..., 0::2], turned[..., 1::2] = factors[..., 1::2], -factors[..., 0::2]
    return turned


def _skew(
    factors: Float[np.ndarray, "stage outcome rank"],
) -> Float[np.ndarray, "stage outcome outcome"]:
    """Return U J Uᵀ, exactly skew."""
    first, second = factors[..., 0::2], factors[..., 1::2]
    product = first @ second.swapaxes(1, 2)
    return np.asarray(product - product.swapaxes(1, 2))
