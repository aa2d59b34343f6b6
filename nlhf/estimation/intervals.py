"""Confidence intervals for the preference on every pair."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from nlhf.data.counts import WinCounts
from nlhf.errors import HypothesisViolated


@dataclass(frozen=True, slots=True, eq=False)
class PairIntervals:
    """An interval for every entry of a preference matrix, each pair on its own.

    Attributes:
        low: Lower ends; 0 where a pair was never compared, 1/2 on the diagonal.
        high: Upper ends, `high = 1 - low.T`; 1 where a pair was never compared.
        confidence: The probability with which one interval covers, nominally; for all pairs at
            once it is smaller.
        method: How they were made.
    """

    low: Float[np.ndarray, "response response"]
    high: Float[np.ndarray, "response response"]
    confidence: float
    method: str


def wilson_intervals(counts: WinCounts, confidence: float = 0.95) -> PairIntervals:
    r"""Return Wilson's score intervals, ties counted half.

    With z the normal quantile, n the votes on a pair and p the share of i, the interval is the set
    of q with :math:`|p - q| \le z \sqrt{q (1 - q) / n}` (Wilson, JASA 22, 1927). A vote worth 0,
    1/2 or 1 with mean q has a variance of at most q (1 - q), so ties make it wider than needed,
    never narrower, in the same normal approximation.

    Raises:
        HypothesisViolated: The confidence is not in (0, 1).
    """
    _check_confidence(confidence)
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    n = counts.compared
    # Written so that n = 0 gives [0, 1] and symmetric counts a symmetric result.
    centre = counts.wins + (counts.ties + z2) / 2
    opposed = (counts.wins + counts.ties / 2) * (counts.wins.T + counts.ties / 2)
    half = np.sqrt(z2 * (opposed / np.maximum(n, 1) + z2 / 4))
    low = np.clip((centre - half) / (n + z2), 0.0, 1.0)
    return _intervals(low, confidence, "Wilson score, ties half")


def bootstrap_intervals(
    counts: WinCounts,
    seed: np.random.Generator | int,
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
) -> PairIntervals:
    """Return percentile intervals from votes drawn again, with replacement, within every pair.

    A replicate of a pair with n votes is n draws from those votes; its preference is the share of
    wins plus half that of ties. Pairs with equal counts share their replicates, which changes no
    pair's interval. Where all votes on a pair agree the interval is a point: with few votes,
    prefer Wilson's.

    Args:
        counts: Votes of one prompt.
        seed: A generator, or an integer to start one.
        replicates: Number of replicates; at least 1.
        confidence: In (0, 1).

    Raises:
        HypothesisViolated: An argument is out of its range.
    """
    _check_confidence(confidence)
    if replicates < 1:
        raise HypothesisViolated(f"{replicates} replicates", "ask for at least 1")
    generator = np.random.default_rng(seed)
    upper = np.triu_indices(len(counts.responses), 1)
    votes = np.stack([counts.wins[upper], counts.ties[upper], counts.wins.T[upper]], axis=1)
    kinds, kind = np.unique(votes, axis=0, return_inverse=True)
    ends = np.empty((len(kinds), 2))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    for row, outcome in zip(ends, kinds, strict=True):
        total = int(outcome.sum())
        if total == 0:
            row[:] = 0.0, 1.0
            continue
        drawn = generator.multinomial(total, outcome / total, size=replicates)
        row[:] = np.quantile((drawn[:, 0] + drawn[:, 1] / 2) / total, tails)
    low = np.full(counts.wins.shape, 0.5)
    low[upper] = ends[kind, 0]
    low.T[upper] = 1.0 - ends[kind, 1]
    return _intervals(low, confidence, f"percentile bootstrap, {replicates} replicates")


def _intervals(low: np.ndarray, confidence: float, method: str) -> PairIntervals:
    np.fill_diagonal(low, 0.5)
    high = 1.0 - low.T
    low.setflags(write=False)
    high.setflags(write=False)
    return PairIntervals(low, high, confidence, method)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise HypothesisViolated(f"confidence {confidence:g}", "give a number between 0 and 1")
