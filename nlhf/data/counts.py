"""Votes counted per pair of responses."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from nlhf.data.text import quoted
from nlhf.data.votes import Votes
from nlhf.errors import InvalidData
from nlhf.results import read_only


@dataclass(frozen=True, slots=True, eq=False)
class WinCounts:
    """How often each response of one prompt won against each other one, and how often they tied.

    Attributes:
        prompt: The prompt's id.
        responses: The ids of its responses.
        wins: `wins[i, j]` votes preferred response i to response j; the diagonal is zero.
        ties: `ties[i, j]` votes called the pair a tie; symmetric, the diagonal is zero.

    Raises:
        InvalidData: A shape does not fit, or an entry breaks the rules above.
    """

    prompt: str
    responses: tuple[str, ...]
    wins: Int[np.ndarray, "response response"]
    ties: Int[np.ndarray, "response response"]

    def __post_init__(self) -> None:
        for name in ("wins", "ties"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        shape = (len(self.responses),) * 2
        if self.wins.shape != shape or self.ties.shape != shape or not self.responses:
            raise InvalidData(
                f"prompt {quoted(self.prompt)}: {len(self.responses)} responses, wins of shape "
                f"{self.wins.shape}, ties of shape {self.ties.shape}",
                "give at least one response and two square matrices of that size",
            )
        diagonal = np.eye(*shape, dtype=bool)
        self._check("wins", self.wins, self.wins < 0, "negative")
        self._check("wins", self.wins, diagonal & (self.wins != 0), "a win against itself")
        self._check("ties", self.ties, self.ties < 0, "negative")
        self._check("ties", self.ties, diagonal & (self.ties != 0), "a tie with itself")
        self._check("ties", self.ties, self.ties != self.ties.T, "not symmetric")

    @property
    def compared(self) -> Int[np.ndarray, "response response"]:
        """N = W + Wᵀ + T, the votes on every pair; zero where a pair was never compared."""
        compared: np.ndarray = self.wins + self.wins.T + self.ties
        return compared

    def _check(self, name: str, counts: np.ndarray, wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            i, j = (int(k) for k in np.argwhere(wrong)[0])
            raise InvalidData(
                f"prompt {quoted(self.prompt)}: {name}[{i}, {j}] = {counts[i, j]} "
                f"({quoted(self.responses[i])} and {quoted(self.responses[j])}): {what}",
                "count votes: non-negative, zero diagonal, ties entered on both sides",
            )


def win_counts(votes: Votes) -> tuple[WinCounts, ...]:
    """Count the votes on every pair, one `WinCounts` per prompt, in the order of `votes.prompts`.

    Every vote is counted once, whoever gave it.
    """
    sizes = np.array([len(ids) for ids in votes.responses], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes**2)])
    base, size = starts[votes.prompt], sizes[votes.prompt]
    forward = base + votes.response_a * size + votes.response_b
    backward = base + votes.response_b * size + votes.response_a
    tied = votes.label == 0
    won = np.where(votes.label > 0, forward, backward)[~tied]
    both = np.concatenate([forward[tied], backward[tied]])
    wins = np.bincount(won, minlength=starts[-1])
    ties = np.bincount(both, minlength=starts[-1])
    counts = []
    for k, (prompt, ids) in enumerate(zip(votes.prompts, votes.responses, strict=True)):
        part, shape = slice(starts[k], starts[k + 1]), (len(ids), len(ids))
        counts.append(WinCounts(prompt, ids, wins[part].reshape(shape), ties[part].reshape(shape)))
    return tuple(counts)
