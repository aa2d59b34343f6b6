"""Log-domain arithmetic on the last axis, divergences, and the named tolerances.

Distributions are stored as log-probabilities in float64. `-inf` is a probability of zero and
contributes nothing; no function here returns `nan` for finite or `-inf` input, but for the
normalisation of a vector without any mass, which has none.
"""

import numpy as np
from jaxtyping import Float, Int

EPSILON = float(np.finfo(np.float64).eps)
"""Spacing of float64 at 1."""

COMPLEMENT_TOLERANCE = 1e-9
"""How far P + Pᵀ may be from 1: data written with nine digits pass, a wrong matrix does not."""

PROBABILITY_TOLERANCE = 1e-9
"""How far a distribution's sum may be from 1 before it is refused rather than renormalised."""

_SERIES_BELOW = 1e-3


def log_sum_exp(values: Float[np.ndarray, "*batch action"]) -> Float[np.ndarray, "*batch"]:
    r"""Return :math:`\log \sum_a e^{v_a}` without overflow.

    Edge cases: all entries `-inf` give `-inf`; a `+inf` entry gives `+inf`.
    """
    top = values.max(axis=-1, keepdims=True)
    pivot = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(values - pivot).sum(axis=-1))
    return np.asarray(total + pivot[..., 0])


def log_normalise(values: Float[np.ndarray, "*batch action"]) -> Float[np.ndarray, "*batch action"]:
    """Subtract the log of the sum, so that the result is a log-distribution."""
    return normalise(values)[0]


def normalise(
    values: Float[np.ndarray, "*batch action"],
) -> tuple[Float[np.ndarray, "*batch action"], Float[np.ndarray, "*batch action"]]:
    """Return the log-distribution proportional to exp(values), and its probabilities.

    The largest value is taken off before anything is added up: what rounding then does to an
    entry is in proportion to its logarithm, and the probabilities sum to 1 within the rounding of
    their entropy, whatever the range of the input.
    """
    top = values.max(axis=-1, keepdims=True)
    logs = values - np.where(np.isfinite(top), top, 0.0)
    probabilities = np.exp(logs)
    total = (probabilities @ np.ones(values.shape[-1]))[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs -= np.log(total)
        probabilities /= total
    return logs, probabilities


def log_certain(
    choice: Int[np.ndarray, "*batch"], actions: int
) -> Float[np.ndarray, "*batch action"]:
    """Return the log-distributions that play the chosen one of so many actions for certain."""
    logs = np.full((*choice.shape, actions), -np.inf)
    np.put_along_axis(logs, choice[..., None], 0.0, axis=-1)
    return logs


def log_of(probabilities: Float[np.ndarray, "*batch action"]) -> Float[np.ndarray, "*batch action"]:
    """Return the logarithm, with zero mapped to `-inf` silently."""
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def expectation(
    log_probabilities: Float[np.ndarray, "*batch action"],
    values: Float[np.ndarray, "*batch action"],
) -> Float[np.ndarray, "*batch"]:
    """Return E[values]; actions of probability zero contribute nothing, whatever their value."""
    p = np.exp(log_probabilities)
    return np.asarray(np.where(p > 0, p * np.where(p > 0, values, 0.0), 0.0).sum(axis=-1))


def exp_remainder(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    r"""Return :math:`\varphi(x) = e^x - 1 - x \ge 0` to full relative accuracy.

    The direct formula cancels below about 1e-3, where the series is used. `-inf` gives `+inf`.
    """
    small = np.abs(x) < _SERIES_BELOW
    series = np.where(small, x, 0.0)
    near = series * series * (0.5 + series * (1 / 6 + series * (1 / 24 + series * (1 / 120))))
    far = np.where(small, 0.0, x)
    with np.errstate(over="ignore"):
        return np.where(small, near, np.expm1(far) - far)


def sigmoid(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return 1/(1 + e^-x), accurate relative to itself however small it is."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0.0, e, 1.0) / (1.0 + e))


def log_sigmoid(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return log(1/(1 + e^-x)) without overflow."""
    return np.asarray(np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x))))


def kl_divergence(
    p: Float[np.ndarray, "*batch action"], q: Float[np.ndarray, "*batch action"]
) -> Float[np.ndarray, "*batch"]:
    r"""Return :math:`KL(p\|q) = \sum_a p_a \log(p_a/q_a)` in nats, from log-probabilities.

    Both arguments must be normalised. Summed as :math:`\sum_a p_a \varphi(\log q_a - \log p_a)`
    with :math:`\varphi(x) = e^x - 1 - x`, plus the mass of q where p vanishes: every term is
    non-negative, so nothing cancels and a divergence of 1e-25 is as accurate as one of 1.

    Edge cases: `p_a = 0` contributes `q_a` (its share of the sum to one); `p_a > 0 = q_a` gives
    `+inf`.
    """
    mass = np.exp(p)
    live = mass > 0
    with np.errstate(invalid="ignore"):
        ratio = np.where(live, q - p, 0.0)
    # Below e^-700 the product mass * φ may overflow φ; mass·e^ratio = e^q is then the exact part.
    large = ratio > 1.0
    bulk = mass * exp_remainder(np.where(large, 0.0, ratio))
    heavy = np.exp(q) - mass - mass * np.where(large, ratio, 0.0)
    terms = np.where(live, np.where(large, heavy, bulk), np.exp(q))
    return np.asarray(terms.sum(axis=-1))
