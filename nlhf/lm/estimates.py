"""Means over prompts and responses, with intervals that say how sure they are."""

import math

import torch
from jaxtyping import Float64

from nlhf.results import Bound, Knows, Units

CONFIDENCE = 0.95
QUANTILE = 1.959963984540054
"""Of the standard normal distribution at (1 + CONFIDENCE)/2."""


def mean_estimate(
    values: Float64[torch.Tensor, "prompt response"],
    weights: Float64[torch.Tensor, "prompt response"],
    units: Units,
    *,
    exhaustive: bool = False,
) -> Bound:
    """Return the mean over prompts of weighted means over responses.

    Of a sample, of equal weights up to rounding, the interval is the normal approximation over
    responses within prompts (the prompts are taken as they are).

    Args:
        values: What is averaged.
        weights: Of the responses; rows sum to 1.
        units: Of the values.
        exhaustive: Whether these are all responses with their probabilities: the mean is exact.
    """
    means = (weights * values).sum(dim=1)
    value = float(means.mean())
    if exhaustive:
        return Bound.exact(value, units)
    count = values.shape[1]
    if count == 1:
        return Bound(value, Knows.INTERVAL, units, -math.inf, math.inf, CONFIDENCE)
    variance = (weights * (values - means[:, None]) ** 2).sum(dim=1) / (count - 1)
    width = QUANTILE * float(variance.sum().sqrt()) / len(values)
    return Bound(value, Knows.INTERVAL, units, value - width, value + width, CONFIDENCE)


def kl_estimate(
    ratio: Float64[torch.Tensor, "prompt response"],
    weights: Float64[torch.Tensor, "prompt response"],
    *,
    exhaustive: bool = False,
) -> Bound:
    r"""Return KL(p‖q) from log p − log q at responses of p, in nats.

    A sample uses :math:`e^{-d} - 1 + d`, which is unbiased, never negative, and nearly exact where
    the two are close. Arguments are those of `mean_estimate`.
    """
    values = ratio if exhaustive else torch.expm1(-ratio) + ratio
    return mean_estimate(values, weights, Units.NATS, exhaustive=exhaustive)
