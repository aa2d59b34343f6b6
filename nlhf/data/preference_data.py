"""Comparisons of outcomes in the form that preference classes are fitted to.

A table of payoffs has shape (stage, outcome, outcome). In a bandit the stages are the contexts and
the outcomes the responses, and a comparison looks at one cell (x, a, b). In a decision process the
stages are the steps and the outcomes pairs of a state and an action, and comparing two
trajectories looks at one cell per step. Fitting needs to know no more than that.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import InvalidData
from nlhf.results import read_only

_ENTRIES = 2**22
"""Payoffs that are looked up at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of outcomes, or of sequences of outcomes, to be compared; nobody has answered yet.

    Attributes:
        shape: (L, m), how many stages and outcomes there are.
        stage: Shape ``(N, c)``: the stages at which pair i is looked at.
        first: The outcomes of the first of the two there, likewise.
        second: The outcomes of the second.

    Raises:
        InvalidData: If the shapes differ, or an index is no integer or out of range.
    """

    shape: tuple[int, int]
    stage: Int[np.ndarray, "pair cell"]
    first: Int[np.ndarray, "pair cell"]
    second: Int[np.ndarray, "pair cell"]

    def __post_init__(self) -> None:
        for name in ("stage", "first", "second"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        shapes = [self.stage.shape, self.first.shape, self.second.shape]
        if len(set(shapes)) > 1 or self.stage.ndim != 2 or self.stage.shape[1] == 0:
            raise InvalidData(
                f"stages, first and second outcomes have shapes {shapes}",
                "give three arrays of one shape (pair, cell), with at least one cell",
            )
        stages, outcomes = self.shape
        for name, below in (("stage", stages), ("first", outcomes), ("second", outcomes)):
            index = getattr(self, name)
            if index.dtype.kind not in "iu":
                raise InvalidData(
                    f"{name} has entries of type {index.dtype}", "give integers, counted from 0"
                )
            wrong = (index < 0) | (index >= below)
            if wrong.any():
                row, cell = (int(i) for i in np.argwhere(wrong)[0])
                raise InvalidData(
                    f"pair {row}, cell {cell}: {name} is {index[row, cell]}, there are {below}",
                    f"count from 0 to {below - 1}",
                )

    def __len__(self) -> int:
        return len(self.stage)

    @classmethod
    def in_contexts(
        cls,
        shape: tuple[int, int],
        context: Int[np.ndarray, " pair"],
        first: Int[np.ndarray, " pair"],
        second: Int[np.ndarray, " pair"],
    ) -> "Pairs":
        """Return pairs of responses, each in one context; the shape is (X, n)."""
        return cls(shape, context[:, None], first[:, None], second[:, None])

    def chosen(self, rows: Int[np.ndarray, " row"]) -> "Pairs":
        """Return the given pairs, in the given order, as often as they are named."""
        return Pairs(self.shape, self.stage[rows], self.first[rows], self.second[rows])

    def payoffs(
        self, tables: Float[np.ndarray, "*model stage outcome outcome"]
    ) -> Float[np.ndarray, "*model pair"]:
        """Return the payoff of first against second under every table: the mean over its cells.

        Raises:
            InvalidData: If a table is of another shape than the pairs.
        """
        stages, outcomes = self.shape
        if tables.shape[-3:] != (stages, outcomes, outcomes):
            raise InvalidData(
                f"the pairs have (stages, outcomes) = {self.shape}, a table the shape "
                f"{tables.shape[-3:]}",
                "use pairs and payoffs of one problem",
            )
        flat = tables.reshape(-1, *tables.shape[-3:])
        found = np.empty((len(flat), len(self)))
        at_once = max(1, _ENTRIES // max(1, self.stage.size))
        for start in range(0, len(flat), at_once):
            part = flat[start : start + at_once, self.stage, self.first, self.second]
            found[start : start + at_once] = part.mean(axis=-1)
        return found.reshape(*tables.shape[:-3], len(self))


@dataclass(frozen=True, slots=True, eq=False)
class PreferenceData:
    """Pairs with answers; equal pairs may be counted together.

    Attributes:
        pairs: What was compared.
        counts: How often each was, shape ``(N,)``.
        wins: How often the first was preferred, ties half, shape ``(N,)``.

    Raises:
        InvalidData: If a pair has fewer wins than none or more than it was asked.
    """

    pairs: Pairs
    counts: Float[np.ndarray, " pair"]
    wins: Float[np.ndarray, " pair"]

    def __post_init__(self) -> None:
        for name in ("counts", "wins"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        shape = (len(self.pairs),)
        if self.counts.shape != shape or self.wins.shape != shape:
            raise InvalidData(
                f"{len(self.pairs)} pairs, counts of shape {self.counts.shape} and wins of shape "
                f"{self.wins.shape}",
                "give one count and one number of wins a pair",
            )
        wrong = ~((self.wins >= 0.0) & (self.wins <= self.counts) & np.isfinite(self.counts))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidData(
                f"pair {row}: {self.wins[row]:g} wins in {self.counts[row]:g} comparisons",
                "count every comparison once: 1 if the first is preferred, 1/2 for a tie, else 0",
            )

    @classmethod
    def of_labels(cls, pairs: Pairs, labels: Float[np.ndarray, " pair"]) -> "PreferenceData":
        """Return answers one by one: 1 if the first was preferred, 0 if the second, 1/2 tied."""
        return cls(pairs, np.ones(len(pairs)), labels)

    @classmethod
    def empty(cls, shape: tuple[int, int], cells: int = 1) -> "PreferenceData":
        """Return no data yet."""
        none = np.zeros((0, cells), dtype=np.int64)
        return cls(Pairs(shape, none, none, none), np.zeros(0), np.zeros(0))

    @property
    def size(self) -> float:
        """The number of comparisons."""
        return float(self.counts.sum())

    def joined(self, other: "PreferenceData") -> "PreferenceData":
        """Return this and the other's comparisons.

        Raises:
            InvalidData: If they compare outcomes of different shapes.
        """
        own, more = self.pairs, other.pairs
        if own.shape != more.shape or own.stage.shape[1] != more.stage.shape[1]:
            raise InvalidData(
                f"data of shape {own.shape} with {own.stage.shape[1]} cells a pair, and of "
                f"{more.shape} with {more.stage.shape[1]}",
                "join data of one problem",
            )
        parts = [
            np.concatenate([getattr(own, name), getattr(more, name)])
            for name in ("stage", "first", "second")
        ]
        return PreferenceData(
            Pairs(own.shape, *parts),
            np.concatenate([self.counts, other.counts]),
            np.concatenate([self.wins, other.wins]),
        )

    def condensed(self) -> "PreferenceData":
        """Return the same data with equal pairs counted together, either way round."""
        pairs = self.pairs
        differs = pairs.first != pairs.second
        at = np.argmax(differs, axis=1)[:, None]
        lead, other = (np.take_along_axis(a, at, axis=1)[:, 0] for a in (pairs.first, pairs.second))
        turned = (lead > other)[:, None]
        first = np.where(turned, pairs.second, pairs.first)
        second = np.where(turned, pairs.first, pairs.second)
        rows = np.concatenate([pairs.stage, first, second], axis=1)
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        inverse, count = inverse.reshape(-1), len(unique)
        stage, first, second = np.split(unique, 3, axis=1)
        won = np.where(turned[:, 0], self.counts - self.wins, self.wins)
        return PreferenceData(
            Pairs(pairs.shape, stage, first, second),
            np.bincount(inverse, self.counts, count).astype(np.float64),
            np.bincount(inverse, won, count).astype(np.float64),
        )

    def compared(self) -> Float[np.ndarray, "stage outcome outcome"]:
        """Return how often every cell was looked at, both ways round; symmetric."""
        stages, outcomes = self.pairs.shape
        counts = np.zeros((stages, outcomes, outcomes))
        each = np.broadcast_to(self.counts[:, None], self.pairs.stage.shape)
        np.add.at(counts, (self.pairs.stage, self.pairs.first, self.pairs.second), each)
        return counts + counts.swapaxes(1, 2)
