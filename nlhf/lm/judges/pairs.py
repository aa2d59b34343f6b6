"""Preference pairs: which of two responses to a prompt was chosen, how much it counts, by whom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.judges.base import require_same_prompts
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.results import read_only
from nlhf.streams import Stream

Encode = Callable[[str], Sequence[int]]
"""From a text to its tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class PreferencePairs:
    """Pairs of responses with labels; a prompt that was asked about twice is there twice.

    Attributes:
        chosen: One response a pair: the preferred one.
        rejected: Likewise the other one, to the same prompts.
        weights: What every pair counts for, in votes; a tie is both orders with 1/2 each.
        annotators: The rater of every pair, numbered from 0; all 0 where nobody is named.

    Raises:
        InvalidData: Prompts, shapes or numbers disagree; a weight is negative or not finite, or
            all are 0.
    """

    chosen: Responses
    rejected: Responses
    weights: Float[np.ndarray, " pair"]
    annotators: Int[np.ndarray, " pair"]
    rows: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("weights", "annotators"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        object.__setattr__(self, "rows", self.chosen.prompts.rows)
        _check(self)

    @classmethod
    def of(
        cls,
        chosen: Responses,
        rejected: Responses,
        *,
        weights: Float[np.ndarray, " pair"] | None = None,
        annotators: Int[np.ndarray, " pair"] | None = None,
    ) -> "PreferencePairs":
        """Return pairs that count one vote each, and of one rater, unless told otherwise."""
        count = len(chosen.prompts)
        return cls(
            chosen,
            rejected,
            np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64),
            np.zeros(count, dtype=np.int64) if annotators is None else np.asarray(annotators),
        )

    @classmethod
    def of_texts(
        cls,
        prompts: Sequence[str],
        chosen: Sequence[str],
        rejected: Sequence[str],
        encode: Encode,
        *,
        pad: int,
    ) -> "PreferencePairs":
        """Return pairs of texts as tokens, each counting one vote; rows are numbered from 0.

        Raises:
            InvalidData: The columns have different lengths, or a text has no tokens; names the row.
        """
        if not len(prompts) == len(chosen) == len(rejected):
            raise InvalidData(
                f"{len(prompts)} prompts, {len(chosen)} chosen and {len(rejected)} rejected texts",
                "give one of each a row",
            )
        asked = Prompts.of([tuple(encode(text)) for text in prompts], prompts)
        return cls.of(
            single_responses(asked, [encode(text) for text in chosen], pad=pad),
            single_responses(asked, [encode(text) for text in rejected], pad=pad),
        )

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def total(self) -> float:
        """The sum of the weights, in votes."""
        return float(self.weights.sum())

    def take(self, indices: Sequence[int]) -> "PreferencePairs":
        """Return the pairs at the given places."""
        at = np.asarray(indices, dtype=np.int64)
        return PreferencePairs(
            self.chosen.take(at.tolist()),
            self.rejected.take(at.tolist()),
            self.weights[at],
            self.annotators[at],
        )

    def weighted(self, weights: Float[np.ndarray, " pair"]) -> "PreferencePairs":
        """Return the same pairs with other weights."""
        return PreferencePairs(self.chosen, self.rejected, weights, self.annotators)

    def held_out(self, share: float, stream: Stream) -> tuple["PreferencePairs", "PreferencePairs"]:
        """Return what is left for training and what is held out: whole rows, never half of one.

        Raises:
            HypothesisViolated: The share leaves one side without rows.
        """
        rows = np.unique(self.rows)
        count = round(share * len(rows))
        if not 0 < count < len(rows):
            raise HypothesisViolated(
                f"a share of {share:g} of {len(rows)} rows is {count} rows",
                "hold out at least one row, and leave at least one",
            )
        away = stream.generator().permutation(rows)[:count]
        out = np.isin(self.rows, away)
        return self.take(np.flatnonzero(~out).tolist()), self.take(np.flatnonzero(out).tolist())

    def bootstrapped(self, stream: Stream) -> "PreferencePairs":
        """Return a bootstrap replicate: rows drawn with replacement, as weights of their pairs."""
        rows, place = np.unique(self.rows, return_inverse=True)
        counts = stream.generator().multinomial(len(rows), np.full(len(rows), 1.0 / len(rows)))
        weights = self.weights * counts[place.reshape(-1)]
        kept = np.flatnonzero(weights > 0).tolist()
        return self.take(kept).weighted(weights[kept])


def single_responses(prompts: Prompts, tokens: Sequence[Sequence[int]], *, pad: int) -> Responses:
    """Return one response to every prompt.

    Raises:
        InvalidData: A response has no tokens; names the row.
    """
    longest = max(1, *(len(row) for row in tokens))
    return Responses(
        prompts,
        torch.tensor([[(*row, *[pad] * (longest - len(row)))] for row in tokens]),
        torch.tensor([[len(row)] for row in tokens]),
        uniform_weights(len(prompts), 1),
    )


def joined_pairs(first: PreferencePairs, second: PreferencePairs) -> PreferencePairs:
    """Return the pairs of both, the first ones first: D ∪ D̂, rows as they are in each."""
    return PreferencePairs(
        _stacked(first.chosen, second.chosen),
        _stacked(first.rejected, second.rejected),
        np.concatenate([first.weights, second.weights]),
        np.concatenate([first.annotators, second.annotators]),
    )


def _stacked(first: Responses, second: Responses) -> Responses:
    longest = max(first.tokens.shape[2], second.tokens.shape[2])
    parts = [
        torch.nn.functional.pad(part.tokens.cpu(), (0, longest - part.tokens.shape[2]))
        for part in (first, second)
    ]
    a, b = first.prompts, second.prompts
    return Responses(
        Prompts(a.tokens + b.tokens, a.texts + b.texts, a.rows + b.rows),
        torch.cat(parts),
        torch.cat([first.lengths.cpu(), second.lengths.cpu()]),
        torch.cat([first.weights.cpu(), second.weights.cpu()]),
    )


def _check(pairs: PreferencePairs) -> None:
    require_same_prompts(pairs.chosen, pairs.rejected)
    shapes = (pairs.chosen.shape, pairs.rejected.shape)
    count = len(pairs.chosen.prompts)
    if {shape[1] for shape in shapes} != {1}:
        raise InvalidData(
            f"chosen and rejected have {shapes[0][1]} and {shapes[1][1]} responses a prompt",
            "give one of each a pair, and repeat the prompt for further pairs",
        )
    if pairs.weights.shape != (count,) or pairs.annotators.shape != (count,):
        raise InvalidData(
            f"{count} pairs, weights of shape {pairs.weights.shape} and annotators of shape "
            f"{pairs.annotators.shape}",
            "give one of each a pair",
        )
    wrong = ~(np.isfinite(pairs.weights) & (pairs.weights >= 0)) | (pairs.annotators < 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InvalidData(
            f"pair {at} (row {pairs.rows[at]}) has weight {pairs.weights[at]} and annotator "
            f"{pairs.annotators[at]} ({int(wrong.sum())} such of {count})",
            "weights are finite and at least 0, annotators are numbered from 0",
        )
    if not pairs.weights.any():
        raise InvalidData(f"all {count} pairs have weight 0", "give at least one a positive weight")
