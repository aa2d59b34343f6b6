"""The counts of a multinomial sample, every one of them, sorted by their largest entry."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import HypothesisViolated
from nlhf.results import read_only

MOST = 200_000
"""The largest number of compositions that is enumerated."""


@dataclass(frozen=True, slots=True, eq=False)
class Compositions:
    """Every vector of k counts with sum n, in the order of the largest count.

    Attributes:
        counts: N, one row a composition.
        log_coefficient: The logarithm of n! / (N_1! ... N_k!).
        share: 1/t for each of the t clusters that tie for the largest count, 0 for the others.
        blocks: For every value of the largest count: the value, and the rows that have it.
    """

    counts: Int[np.ndarray, "composition cluster"]
    log_coefficient: Float[np.ndarray, " composition"]
    share: Float[np.ndarray, "composition cluster"]
    blocks: tuple[tuple[int, slice], ...]

    def law(
        self, masses: Float[np.ndarray, "context cluster"]
    ) -> Float[np.ndarray, "context composition"]:
        r"""Return :math:`P(N) = \binom{n}{N} \prod_g q_g^{N_g}` for each context's masses q."""
        with np.errstate(divide="ignore"):
            logs = np.log(masses)
        impossible = np.isneginf(logs)
        finite = np.where(impossible, 0.0, logs)
        probability = np.exp(self.log_coefficient + finite @ self.counts.T)
        if impossible.any():
            probability[(impossible.astype(np.float64) @ self.counts.T) > 0] = 0.0
        return probability


@lru_cache(maxsize=64)
def compositions(total: int, parts: int) -> Compositions:
    """Return the compositions of n into k counts; remembered.

    Raises:
        HypothesisViolated: n or k is below 1, or there are more than 200,000 of them.
    """
    if total < 1 or parts < 1:
        raise HypothesisViolated(f"{total} samples of {parts} clusters", "give at least 1 of each")
    number = math.comb(total + parts - 1, parts - 1)
    if number > MOST:
        raise HypothesisViolated(
            f"{total} samples fall into {parts} clusters in {number} ways; at most {MOST} are "
            "enumerated",
            "take fewer samples or clusters, or draw samples instead",
        )
    counts = _enumerated(total, parts)
    counts = counts[np.argsort(counts.max(axis=1), kind="stable")]
    most = counts.max(axis=1)
    tied = counts == most[:, None]
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    values, starts = np.unique(most, return_index=True)
    ends = [*starts[1:].tolist(), len(most)]
    return Compositions(
        counts=read_only(counts),
        log_coefficient=read_only(log_factorial[total] - log_factorial[counts].sum(axis=1)),
        share=read_only(tied / tied.sum(axis=1, keepdims=True)),
        blocks=tuple(
            (int(v), slice(int(a), int(b))) for v, a, b in zip(values, starts, ends, strict=True)
        ),
    )


def _enumerated(total: int, parts: int) -> Int[np.ndarray, "composition cluster"]:
    """Return the compositions by adding one count at a time: the last takes what is left."""
    rows = np.zeros((1, 0), dtype=np.int64)
    left = np.array([total])
    for _ in range(parts - 1):
        choices = left + 1
        parent = np.repeat(np.arange(len(rows)), choices)
        first = np.repeat(np.cumsum(choices) - choices, choices)
        count = np.arange(len(parent)) - first
        rows = np.column_stack([rows[parent], count])
        left = left[parent] - count
    return np.column_stack([rows, left])
