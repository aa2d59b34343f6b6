"""How fast something falls with the sample size: slopes in the log-log plane, with intervals."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import InvalidProblem
from nlhf.streams import Stream

_ROUNDING = 1e-9
"""Of slopes: measures without noise have an interval of no width."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope in the log-log plane: −1 means that tenfold the data divide the measure by ten.

    Attributes:
        value: The slope.
        low: Lower end of its interval.
        high: Upper end.
        confidence: Share of such intervals that cover the slope, as replicates become many.
    """

    value: float
    low: float
    high: float
    confidence: float

    def covers(self, slope: float) -> bool:
        """Return whether the interval holds a given slope, to within rounding."""
        return self.low - _ROUNDING <= slope <= self.high + _ROUNDING


def log_log_slope(
    sizes: Float[np.ndarray, "size"] | Int[np.ndarray, "size"],
    measures: Float[np.ndarray, "size replicate"],
    stream: Stream,
    *,
    quantile: float | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Slope:
    r"""Return the slope of the log of a measure on the log of the sample size.

    With :math:`m_k` the mean over replicates at size :math:`n_k`, or a quantile, the slope is that
    of the least-squares line through :math:`(\log n_k, \log m_k)`. The interval is a bootstrap over
    replicates: bias-corrected and accelerated for the mean, percentiles for a quantile, and where
    replicates are too few or too much alike for a correction. A replicate is drawn with its
    measures at all sizes, so these may depend on each other (the same instance, or data that grow);
    replicates must not.

    Args:
        sizes: n, at least two different ones, positive.
        measures: Not negative, at least two replicates.
        stream: Where resamples are drawn from.
        quantile: The quantile to follow, 0.5 for the median; the mean by default.
        confidence: Of the interval.
        resamples: How often replicates are drawn again.

    Raises:
        InvalidProblem: A measure is negative or not finite, or so many are exactly 0 that the mean
            (quantile) of a resample is, which has no logarithm. Or there are too few sizes or
            replicates.

    Guarantee:
        The interval covers the slope of the true means (quantiles) with the confidence stated as
        replicates become many. If measures are no power of n there is no such slope, and the
        line's depends on the sizes.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    _check(sizes, measures, quantile, confidence)
    logs = np.log(sizes) - np.log(sizes).mean()
    weights = logs / (logs @ logs)

    def slopes(
        drawn: Int[np.ndarray, "*resample replicate"], axis: int = -1
    ) -> Float[np.ndarray, "*resample"]:
        among = measures[:, drawn]
        middle = (
            among.mean(axis=axis) if quantile is None else np.quantile(among, quantile, axis=axis)
        )
        _require_positive(middle, sizes, measures)
        return np.tensordot(weights, np.log(middle), axes=1)

    everybody = np.arange(measures.shape[1])
    value = float(slopes(everybody))
    if (measures == measures[:, :1]).all():
        return Slope(value, value, value, confidence)
    for method in ("BCa", "percentile") if quantile is None else ("percentile",):
        with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateDataWarning)
            found = bootstrap(
                (everybody,),
                slopes,
                n_resamples=resamples,
                batch=max(1, 10_000_000 // measures.size),
                vectorized=True,
                confidence_level=confidence,
                method=method,
                rng=stream.child("slope").generator(),
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return Slope(value, float(found.low), float(found.high), confidence)


def _check(
    sizes: np.ndarray, measures: np.ndarray, quantile: float | None, confidence: float
) -> None:
    if len(np.unique(sizes)) < 2 or measures.shape[1] < 2 or not (sizes > 0).all():
        raise InvalidProblem(
            f"{len(np.unique(sizes))} different sizes, {int((sizes <= 0).sum())} of them not "
            f"positive, and {measures.shape[1]} replicates",
            "a slope with an interval needs two positive sizes and two replicates, better five and "
            "thirty",
        )
    usable = (measures >= 0.0) & np.isfinite(measures)
    if not usable.all():
        size = int(np.argmin(usable.all(axis=1)))
        replicate = int(np.argmin(usable[size]))
        raise InvalidProblem(
            f"{int((~usable).sum())} of {measures.size} measures are negative or not finite, the "
            f"first that of replicate {replicate} at size {sizes[size]}: "
            f"{measures[size, replicate]}",
            "clip what is negative by rounding alone; leave out what has no number",
        )
    if not (0.0 < confidence < 1.0 and (quantile is None or 0.0 <= quantile <= 1.0)):
        raise InvalidProblem(
            f"confidence {confidence} and quantile {quantile}",
            "both are shares, the confidence strictly between 0 and 1",
        )


def _require_positive(
    middle: Float[np.ndarray, "size *resample"], sizes: np.ndarray, measures: np.ndarray
) -> None:
    vanishes = (middle <= 0.0).reshape(len(sizes), -1).any(axis=1)
    if vanishes.any():
        size = int(np.argmax(vanishes))
        raise InvalidProblem(
            f"at size {sizes[size]}, {int((measures[size] == 0.0).sum())} of {measures.shape[1]} "
            "measures are exactly 0, and so is their middle or that of a resample",
            "what is exactly 0 falls faster than any power: leave out the sizes at which that "
            "happens, or count how often it does",
        )
