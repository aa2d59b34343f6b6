"""Who answers comparisons: a model, real votes, or any function."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from nlhf.algorithms.fingerprint import fingerprint
from nlhf.data.counts import WinCounts
from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.errors import InvalidData, InvalidProblem, Unsupported
from nlhf.estimation.classes.links import Link, checked_tables
from nlhf.results import chosen, float_array, read_only
from nlhf.streams import Stream

Answer = Callable[[Pairs, Stream], ArrayLike]
"""What `CallableOracle` asks for."""


@runtime_checkable
class Oracle(Protocol):
    """Somebody who can be asked which of two outcomes is better."""

    @property
    def identity(self) -> str:
        """What tells this oracle from others: an interrupted run goes on with the same only."""
        ...

    def answer(self, pairs: Pairs, stream: Stream) -> Float[np.ndarray, " pair"]:
        """Return 1 if the first is preferred, 0 if the second, 1/2 for a tie, NaN for no answer.

        Args:
            pairs: What is asked.
            stream: Randomness; the same stream gives the same answers.
        """
        ...


class ModelOracle:
    """Answers drawn from the preferences that a table of payoffs gives: a simulated truth.

    Args:
        table: T*, shape ``(L, m, m)``, skew.
        link: What it says of preferences.

    Attributes:
        table: T*.
        link: The link.

    Raises:
        InvalidProblem: If the table is not skew, or too large for its link.
    """

    def __init__(self, table: ArrayLike, link: Link = Link.PROBABILITY) -> None:
        self.link = chosen(Link, link, "the link")
        self.table = read_only(checked_tables(table, self.link, axes=3))

    @property
    def identity(self) -> str:
        """The preferences."""
        return f"model {fingerprint((self.table, str(self.link)))}"

    def answer(self, pairs: Pairs, stream: Stream) -> Float[np.ndarray, " pair"]:
        """Return independent answers, 1 with the probability that the first is preferred.

        Raises:
            InvalidData: If the pairs are of another shape than the table.
        """
        _check_shape(pairs, self.table.shape)
        likely = self.link.probability(pairs.payoffs(self.table))
        return (stream.generator().random(len(pairs)) < likely).astype(np.float64)


class Unseen(StrEnum):
    """What to say of a pair that nobody has voted on."""

    ERROR = "error"
    """Nothing: it is an error to ask."""
    REFUSE = "refuse"
    """No answer (NaN); the question is asked in vain and gives no data."""


class VotesOracle:
    """Answers drawn from the votes that real people cast on the pair, with replacement.

    The truth that can be learned from it is the share of votes, ties half; a response against
    itself is a tie.

    Args:
        wins: How many votes preferred response i to j of context x, shape ``(X, n, n)``.
        ties: How many called them equal, counted on both sides; none by default.
        unseen: What to say of pairs without votes.

    Attributes:
        wins: As given.
        ties: As given.
        unseen: As given.

    Raises:
        InvalidData: If shapes differ, a count is negative or not finite, a response was compared
            with itself, or ties are not symmetric.
    """

    def __init__(
        self, wins: ArrayLike, ties: ArrayLike | None = None, unseen: Unseen = Unseen.ERROR
    ) -> None:
        self.wins = read_only(float_array("the wins", wins))
        none = np.zeros(self.wins.shape)
        self.ties = read_only(none if ties is None else float_array("the ties", ties))
        self.unseen = chosen(Unseen, unseen, "unseen")
        shape = self.wins.shape
        if len(shape) != 3 or shape[1] != shape[2] or 0 in shape or self.ties.shape != shape:
            raise InvalidData(
                f"wins of shape {shape}, ties of shape {self.ties.shape}",
                "give counts (context, response, response); a single prompt is one context",
            )
        same = np.broadcast_to(np.eye(shape[1], dtype=bool), shape)
        for name, counts in (("wins", self.wins), ("ties", self.ties)):
            _refuse(name, counts, ~((counts >= 0.0) & np.isfinite(counts)), "count from 0 upwards")
            _refuse(name, counts, same & (counts != 0.0), "leave a response's own cell at 0")
        uneven = self.ties != self.ties.swapaxes(1, 2)
        _refuse("ties", self.ties, uneven, "enter ties on both sides")

    @classmethod
    def of_counts(cls, counts: Sequence[WinCounts], unseen: Unseen = Unseen.ERROR) -> "VotesOracle":
        """Return an oracle with the votes on several prompts, one context each.

        Raises:
            InvalidData: If there is no prompt, or they have different numbers of responses.
        """
        sizes = [len(prompt.responses) for prompt in counts]
        if len(set(sizes)) != 1:
            raise InvalidData(
                f"{len(sizes)} prompts with {min(sizes, default=0)} to {max(sizes, default=0)} "
                "responses",
                "give at least one prompt, all with equally many responses",
            )
        wins, ties = (np.stack([getattr(c, name) for c in counts]) for name in ("wins", "ties"))
        return cls(wins, ties, unseen)

    @property
    def identity(self) -> str:
        """The votes, and what is said where there are none."""
        return f"votes {fingerprint((self.wins, self.ties, str(self.unseen)))}"

    def answer(self, pairs: Pairs, stream: Stream) -> Float[np.ndarray, " pair"]:
        """Return one vote for every pair, drawn with replacement from those on it.

        Raises:
            InvalidData: If the pairs are of another shape than the votes, or one of them has no
                votes and that is an error.
            Unsupported: If trajectories are asked for: people voted on responses.
        """
        _check_shape(pairs, self.wins.shape)
        if pairs.stage.shape[1] != 1:
            raise Unsupported(
                f"pairs of {pairs.stage.shape[1]} cells: votes are on single responses",
                "use votes in a bandit; for trajectories pass ModelOracle or CallableOracle",
            )
        x, i, j = pairs.stage[:, 0], pairs.first[:, 0], pairs.second[:, 0]
        won, tied, lost = self.wins[x, i, j], self.ties[x, i, j], self.wins[x, j, i]
        votes = won + tied + lost
        unknown = (votes == 0.0) & (i != j)
        if unknown.any() and self.unseen is Unseen.ERROR:
            row = int(np.argmax(unknown))
            raise InvalidData(
                f"nobody voted on responses {i[row]} and {j[row]} of context {x[row]} "
                f"(pair {row}; {int(unknown.sum())} such of {len(pairs)})",
                "add votes, or let such questions go unanswered with Unseen.REFUSE",
            )
        drawn = stream.generator().random(len(pairs)) * votes
        labels = np.where(drawn < won, 1.0, np.where(drawn < won + tied, 0.5, 0.0))
        return np.where(unknown, np.nan, np.where(i == j, 0.5, labels))


class CallableOracle:
    """Answers from any function of the pairs and a stream: a person, a program, a simulator.

    Args:
        function: Takes `Pairs` and a `Stream`; returns a label for each pair, between 0 and 1, or
            NaN for no answer.
        name: What tells it from other oracles. A run is resumed only with an oracle of the same
            name: what is behind the name is up to the caller.

    Attributes:
        identity: The name.
    """

    def __init__(self, function: Answer, name: str = "callable") -> None:
        self._function = function
        self.identity = f"callable {name}"

    def answer(self, pairs: Pairs, stream: Stream) -> Float[np.ndarray, " pair"]:
        """Return what the function says.

        Raises:
            InvalidData: If it is not one label a pair, or a label is not between 0 and 1.
        """
        return _labels("the function", pairs, self._function(pairs, stream))


def asked(oracle: Oracle, pairs: Pairs, stream: Stream) -> PreferenceData:
    """Ask an oracle, check what it says, and return what was answered.

    Raises:
        InvalidData: If it is not one label a pair, or a label is not between 0 and 1.
    """
    labels = _labels(type(oracle).__name__, pairs, oracle.answer(pairs, stream))
    given = np.flatnonzero(~np.isnan(labels))
    return PreferenceData.of_labels(pairs.chosen(given), labels[given])


def _labels(name: str, pairs: Pairs, answers: object) -> Float[np.ndarray, " pair"]:
    """Return answers as labels after checking them; NaN is no answer."""
    fix = "answer 1 if the first is preferred, 0 if the second, 1/2 for a tie, NaN for none"
    try:
        labels = float_array(f"the answers of {name}", answers)
    except InvalidProblem as error:
        raise InvalidData(error.found, fix) from error
    if labels.shape != (len(pairs),):
        raise InvalidData(
            f"{name} answered {len(pairs)} pairs with labels of shape {labels.shape}",
            "return one label a pair, in their order",
        )
    wrong = (labels < 0.0) | (labels > 1.0)
    if wrong.any():
        row = int(np.argmax(wrong))
        cells = zip(pairs.stage[row], pairs.first[row], pairs.second[row], strict=True)
        shown = ", ".join(f"{i} against {j} at stage {x}" for x, i, j in cells)
        raise InvalidData(f"{name} answered pair {row} ({shown}) with {labels[row]:g}", fix)
    return labels


def _check_shape(pairs: Pairs, shape: tuple[int, ...]) -> None:
    if pairs.shape != shape[:2]:
        raise InvalidData(
            f"pairs of shape {pairs.shape} (stages, outcomes), answers for {shape[:2]}",
            "ask about the stages and outcomes that the oracle knows",
        )


def _refuse(
    name: str,
    counts: Float[np.ndarray, "context response response"],
    wrong: Bool[np.ndarray, "context response response"],
    fix: str,
) -> None:
    if wrong.any():
        x, i, j = (int(k) for k in np.argwhere(wrong)[0])
        raise InvalidData(f"{name}[{x}, {i}, {j}] is {counts[x, i, j]:g}", fix)
