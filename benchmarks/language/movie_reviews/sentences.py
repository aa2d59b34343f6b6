"""The movie-review sentences: read, split, and cut into pieces that a small model can learn.

A sentence of the corpus is lower-cased and split into words by blanks already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nlhf
from benchmarks.language.movie_reviews.plan import Plan
from nlhf.errors import InvalidData

BOUNDARIES = frozenset({",", ";", ":", ".", "!", "?", "--", "-", "..."})
"""Words after which a piece may end."""

ENDINGS = frozenset({".", "!", "?", "..."})
"""Those that stay at the end of a piece; the others are dropped there."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Sentences with their sentiment.

    Attributes:
        texts: One sentence each.
        positive: Whether the reviewer was pleased.
    """

    texts: tuple[str, ...]
    positive: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> "Labelled":
        """Return the sentences with these numbers."""
        return Labelled(
            tuple(self.texts[i] for i in indices), tuple(self.positive[i] for i in indices)
        )


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint parts of the corpus.

    Attributes:
        scorer: Trains the scorer that the raters vote by, and the language model.
        judge: Trains the judge, and the language model.
        prompting: Held out from all of them; their beginnings are the prompts of training.
        held_out: Held out; their beginnings are the prompts of evaluation. The accuracies of
            scorer and judge are measured on these and on `prompting`.
    """

    scorer: Labelled
    judge: Labelled
    prompting: Labelled
    held_out: Labelled


def read(folder: Path) -> Labelled:
    """Read `rt-polarity.pos` and `.neg`.

    Raises:
        InvalidData: If a file is missing.
    """
    texts: list[str] = []
    positive: list[bool] = []
    for ending, label in (("pos", True), ("neg", False)):
        path = folder / f"rt-polarity.{ending}"
        if not path.is_file():
            raise InvalidData(
                f"there is no {path}",
                "point --data at the sentence polarity dataset v1.0 of Pang and Lee (2005).",
            )
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
        texts += [line for line in lines if line]
        positive += [label] * (len(texts) - len(positive))
    return Labelled(tuple(texts), tuple(positive))


def split(corpus: Labelled, plan: Plan) -> Split:
    """Split at random, the same for every seed of the experiment."""
    order = nlhf.Stream(plan.split_seed).child("split").generator().permutation(len(corpus))
    order = order[: plan.sentences]
    edges = np.cumsum([plan.prompts_training, plan.prompts_evaluation])
    rest = order[edges[1] :]
    return Split(
        scorer=corpus.take(rest[0::2].tolist()),
        judge=corpus.take(rest[1::2].tolist()),
        prompting=corpus.take(order[: edges[0]].tolist()),
        held_out=corpus.take(order[edges[0] : edges[1]].tolist()),
    )


def pieces(words: Sequence[str], costs: Sequence[int], limit: int) -> list[tuple[list[str], bool]]:
    """Cut a sentence at its clauses so that no piece costs more than the limit.

    Args:
        words: The sentence.
        costs: Tokens of every word.
        limit: The most tokens of a piece.

    Returns:
        The pieces with whether they end at a clause: the longest beginning that does and fits,
        then the same for what remains. A stretch without a boundary is cut at the limit.
    """
    found: list[tuple[list[str], bool]] = []
    start = 0
    while start < len(words):
        total, stop, boundary = 0, start, 0
        while stop < len(words) and total + costs[stop] <= limit:
            total += costs[stop]
            stop += 1
            if stop == len(words) or words[stop - 1] in BOUNDARIES:
                boundary = stop
        end = boundary or max(stop, start + 1)
        piece = list(words[start:end])
        while piece and boundary and piece[-1] in BOUNDARIES - ENDINGS:
            piece.pop()
        if piece:
            found.append((piece, bool(boundary)))
        start = end
    return found
