"""Votes counted once per rater and ordered pair, as sparse matrices."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from nlhf.data.votes import Votes
from nlhf.estimation.bradley_terry import Ties

GroupSides = Float[np.ndarray, "group side"]
RaterGroups = Float[np.ndarray, "annotator group"]


@dataclass(frozen=True, slots=True, eq=False)
class Ballots:
    """What every rater said, with memory linear in the votes.

    A *side* is an ordered pair of responses of one prompt of which the first won at least once, or
    half; an *item* is a response of a prompt, numbered through all prompts.

    Attributes:
        ties: How ties are counted.
        offsets: The items of prompt k are ``offsets[k]`` to ``offsets[k + 1] - 1``.
        winner: The first item of every side, in increasing order.
        loser: The second.
        cast: Sparse matrix (annotator, side): wins of the side, a tie as half, by rater.
        counted: Its transpose, stored by rows.
        votes: How many votes of every rater count.
    """

    ties: Ties
    offsets: Int[np.ndarray, " offset"]
    winner: Int[np.ndarray, " side"]
    loser: Int[np.ndarray, " side"]
    cast: Any
    counted: Any
    votes: Float[np.ndarray, " annotator"]

    @property
    def present(self) -> Bool[np.ndarray, " annotator"]:
        """The raters who gave any vote that counts."""
        return np.asarray(self.votes > 0)

    @property
    def items(self) -> int:
        """The number of responses of all prompts."""
        return int(self.offsets[-1])

    @property
    def prompt_of_side(self) -> Int[np.ndarray, " side"]:
        """The prompt of every side."""
        return np.searchsorted(self.offsets, self.winner, side="right") - 1

    def by_rater(self, values: GroupSides) -> RaterGroups:
        """Return the sum of values over every rater's sides, each as often as it won."""
        return np.asarray(self.cast @ np.ascontiguousarray(values.T))

    def by_side(self, responsibilities: RaterGroups) -> GroupSides:
        """Return how often every side won in every group."""
        return np.ascontiguousarray((self.counted @ responsibilities).T)

    def compared(self, wins: GroupSides) -> Float[np.ndarray, "group item"]:
        """Return how many votes every item took part in."""
        return np.stack(
            [
                np.bincount(self.winner, row, self.items) + np.bincount(self.loser, row, self.items)
                for row in wins
            ]
        )


def collect(votes: Votes, ties: Ties) -> Ballots:
    """Count votes by rater and side; ties are half a win for each side, or dropped."""
    from scipy.sparse import csr_array

    sizes = np.array([len(ids) for ids in votes.responses], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    a, b = (offsets[votes.prompt] + one for one in (votes.response_a, votes.response_b))
    won, lost, tied = votes.label > 0, votes.label < 0, votes.label == 0
    first, second = [a[won], b[lost]], [b[won], a[lost]]
    rater = [votes.annotator[won], votes.annotator[lost]]
    if ties is Ties.HALF:
        first, second = [*first, a[tied], b[tied]], [*second, b[tied], a[tied]]
        rater = [*rater, votes.annotator[tied], votes.annotator[tied]]
    winner, loser, who = (np.concatenate(part) for part in (first, second, rater))
    share = np.full(len(who), 0.5)
    share[: int(won.sum() + lost.sum())] = 1.0
    codes, side = np.unique(winner * offsets[-1] + loser, return_inverse=True)
    cast = csr_array((share, (who, side)), shape=(len(votes.annotators), len(codes)))
    each = np.asarray(cast.sum(axis=1), dtype=np.float64)
    every = max(int(offsets[-1]), 1)
    return Ballots(ties, offsets, codes // every, codes % every, cast, cast.T.tocsr(), each)
