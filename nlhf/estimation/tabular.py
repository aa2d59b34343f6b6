"""Preference matrices estimated pair by pair."""

import math
import warnings
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from nlhf.data.counts import WinCounts
from nlhf.data.text import quoted
from nlhf.errors import Degenerate, HypothesisViolated, InvalidData
from nlhf.estimation.bradley_terry import fit_bradley_terry
from nlhf.estimation.graphs import components, describe

COMPLETION_RIDGE = 0.01
"""Penalty of the rewards that fill in unseen pairs, in votes per logit²: it makes them exist where
a response won or lost all its votes, and changes little elsewhere."""


class Completion(StrEnum):
    """What to put where two responses were never compared."""

    HALF = "half"
    """1/2: as if indifferent."""
    BRADLEY_TERRY = "bradley-terry"
    """The probability under the Bradley-Terry model fitted to all votes of the prompt, with the
    ridge `COMPLETION_RIDGE`. Between responses that no chain of votes connects it says little; of
    that `estimate_preferences` warns."""
    ERROR = "error"
    """Nothing: refuse."""


@dataclass(frozen=True, slots=True, eq=False)
class PreferenceEstimate:
    """An estimate of one prompt's preference matrix that shows what was never observed.

    Attributes:
        counts: The votes it was made of.
        smoothing: The votes added to each side of every compared pair.
        preference: P; NaN where a pair was never compared, 1/2 on the diagonal.
        components: Connected components of the graph of compared pairs. More than one means that
            the votes say nothing about how they compare.
    """

    counts: WinCounts
    smoothing: float
    preference: Float[np.ndarray, "response response"]
    components: tuple[tuple[int, ...], ...]

    @property
    def unseen(self) -> tuple[tuple[int, int], ...]:
        """The pairs (i, j), i < j, that were never compared."""
        pairs = np.argwhere(np.triu(np.isnan(self.preference)))
        return tuple((int(i), int(j)) for i, j in pairs)

    def complete(self, rule: Completion) -> Float[np.ndarray, "response response"]:
        """Return P with the unseen pairs filled in by a named rule; the seen ones are unchanged.

        Raises:
            InvalidData: The rule is `ERROR` and a pair is unseen.
        """
        rule, unseen = Completion(rule), self.unseen
        filled = self.preference.copy()
        if unseen and rule is Completion.ERROR:
            ids, (i, j) = self.counts.responses, unseen[0]
            pairs = math.comb(len(ids), 2)
            raise InvalidData(
                f"prompt {quoted(self.counts.prompt)}: {len(unseen)} of {pairs} pairs were never "
                f"compared, among them {quoted(ids[i])} and {quoted(ids[j])}",
                "collect votes on them, or choose how to fill them: half or bradley-terry",
            )
        if unseen:
            by = (
                fit_bradley_terry(self.counts, ridge=COMPLETION_RIDGE).preference
                if rule is Completion.BRADLEY_TERRY
                else 0.5
            )
            filled = np.where(np.isnan(filled), by, filled)
        return filled


def estimate_preferences(counts: WinCounts, smoothing: float = 0.0) -> PreferenceEstimate:
    r"""Estimate a preference matrix from the counts of one prompt.

    .. math:: P_{ij} = \frac{W_{ij} + T_{ij}/2 + a}{N_{ij} + 2a}, \qquad N = W + W^\top + T

    with smoothing a: the posterior mean under a Beta(a, a) prior when there are no ties, the plain
    frequency with ties counted half when a = 0. Pairs with N = 0 are NaN whatever a is: smoothing
    does not turn an unasked question into indifference; see `PreferenceEstimate.complete`.

    Args:
        counts: Votes of one prompt.
        smoothing: a, in votes; at least 0.

    Raises:
        HypothesisViolated: The smoothing is negative or not finite.

    Warns:
        Degenerate: The graph of compared pairs is disconnected; with its components.
    """
    if not (math.isfinite(smoothing) and smoothing >= 0):
        raise HypothesisViolated(
            f"smoothing {smoothing:g}: votes cannot be taken away", "give a number of at least 0"
        )
    compared = counts.compared
    parts = components(compared > 0)
    if len(parts) > 1:
        warnings.warn(
            f"prompt {quoted(counts.prompt)}: the votes do not connect its "
            f"{len(counts.responses)} responses; the graph of compared pairs has {len(parts)} "
            f"components: {describe(parts, counts.responses)}",
            Degenerate,
            stacklevel=2,
        )
    share = counts.wins + counts.ties / 2 + smoothing
    total = np.where(compared > 0, compared + 2 * smoothing, np.nan)
    preference = share / total
    np.fill_diagonal(preference, 0.5)
    preference.setflags(write=False)
    return PreferenceEstimate(counts, smoothing, preference, parts)
