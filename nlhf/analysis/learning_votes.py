"""Votes as what learning works on: one table of all prompts, and votes held out from it."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from nlhf.analysis.held_out import Split
from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.data.records import ANONYMOUS
from nlhf.data.text import listed, quoted
from nlhf.data.votes import Votes
from nlhf.errors import Degenerate, InvalidData, InvalidProblem
from nlhf.learning.bandits import BanditSetting
from nlhf.results import read_only
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream


class Layout:
    """Prompts with different numbers of responses as one table, exactly.

    A prompt with fewer responses than others repeats its first one. The copies share its reference
    probability, are paid what it is paid and tie with it: games, KL, equilibria and certificates
    are those of the prompt as it is, with the probability of a response spread over its copies.

    Args:
        sizes: How many responses every prompt has.

    Attributes:
        sizes: As given.
        columns: The response that every column of the table stands for, shape ``(X, n)``.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        every = np.arange(max(self.sizes))
        own = np.array(self.sizes)[:, None]
        self.columns = read_only(np.where(every < own, every, 0))

    @property
    def shape(self) -> tuple[int, int]:
        """(X, n), the numbers of prompts and of columns."""
        prompts, most = self.columns.shape
        return prompts, most

    @cached_property
    def reference(self) -> Float[np.ndarray, "context response"]:
        """The uniform reference of every prompt, over its columns."""
        most = self.shape[1]
        share = np.repeat(1.0 / np.array(self.sizes)[:, None], most, axis=1)
        copies = most - np.array(self.sizes) + 1
        share[self.columns == 0] /= np.repeat(copies, (self.columns == 0).sum(axis=1))
        return read_only(share)

    def setting(self, temperature: float) -> BanditSetting:
        """Return the bandit of these prompts, which weigh alike, with the uniform reference."""
        return BanditSetting(self.reference, temperature)

    def spread(
        self, tables: Float[np.ndarray, "*model context response response"]
    ) -> Float[np.ndarray, "*model context response response"]:
        """Return tables in which copies have what the response has that they are copies of."""
        rows = np.arange(len(self.columns))[:, None, None]
        found = tables[..., rows, self.columns[:, :, None], self.columns[:, None, :]]
        return np.asarray(found)

    def own(self, policy: Policy) -> tuple[Float[np.ndarray, "_"], ...]:
        """Return what a policy plays on every prompt, copies counted together."""
        return tuple(
            read_only(np.bincount(columns, row, size)[:size])
            for columns, row, size in zip(
                self.columns, policy.probabilities, self.sizes, strict=True
            )
        )

    def data(self, votes: Votes) -> PreferenceData:
        """Return votes as comparisons, ties half; equal pairs are counted together."""
        pairs = Pairs.in_contexts(self.shape, votes.prompt, votes.response_a, votes.response_b)
        labels = (1.0 + votes.label.astype(np.float64)) / 2.0
        return PreferenceData.of_labels(pairs, labels).condensed()

    def undone(self, data: PreferenceData) -> PreferenceData:
        """Return comparisons of columns as comparisons of responses; those with itself are left."""
        pairs = data.pairs
        first, second = (self.columns[pairs.stage, at] for at in (pairs.first, pairs.second))
        kept = np.flatnonzero((first != second).any(axis=1))
        return PreferenceData(
            Pairs(self.shape, pairs.stage[kept], first[kept], second[kept]),
            data.counts[kept],
            data.wins[kept],
        )


def hold_out(votes: Votes, share: float, stream: Stream) -> Split:
    """Hold out a random share of the questions, a question being a rater and a pair of responses.

    What a rater said of a pair stays together. Votes that name no rater are held out one by one.

    Args:
        votes: All votes.
        share: Of the questions, between 0 and 1.
        stream: Randomness of the choice.

    Raises:
        InvalidProblem: If the share is not between 0 and 1.
        InvalidData: If one part would be empty.
    """
    if not 0.0 < share < 1.0:
        raise InvalidProblem(
            f"the share of votes held out is {share:g}", "give a share between 0 and 1, such as 0.2"
        )
    question = _questions(votes)
    count = int(question.max(initial=-1)) + 1
    out = stream.generator().random(count) < share
    if not 0 < out.sum() < count:
        raise InvalidData(
            f"{len(votes)} votes answer {count} questions (a rater and a pair each), of which "
            f"{int(out.sum())} would be held out at a share of {share:g}",
            "collect more votes, or hold out another share",
        )
    chosen = out[question]
    return Split(rows_of(votes, ~chosen), rows_of(votes, chosen))


def rows_of(votes: Votes, rows: Bool[np.ndarray, " vote"] | Int[np.ndarray, " row"]) -> Votes:
    """Return some of the votes; prompts, responses and raters stay."""
    columns = ("prompt", "response_a", "response_b", "annotator", "label")
    return replace(votes, **{name: getattr(votes, name)[rows] for name in columns})


def judging(votes: Votes) -> Votes:
    """Return votes whose raters can be resampled: where none is named, every vote has its own."""
    if votes.annotators != (ANONYMOUS,):
        return votes
    return replace(
        votes,
        annotators=tuple(f"vote {row}" for row in range(len(votes))),
        annotator=np.arange(len(votes)),
    )


def check_votes(votes: Votes) -> None:
    """Check that there is something to learn from, and say what is odd.

    Raises:
        InvalidData: If there are no votes.

    Warns:
        Degenerate: Of prompts with one response, of prompts without votes, and of raters who
            preferred either response of one pair; these votes all count.
    """
    if not len(votes):
        raise InvalidData("there are no votes", "give at least a few votes a prompt")
    single = [p for p, ids in zip(votes.prompts, votes.responses, strict=True) if len(ids) == 1]
    if single:
        warnings.warn(
            f"{_prompts(single)} only one response: the policy is trivial there",
            Degenerate,
            stacklevel=3,
        )
    _warn_of_contradictions(votes)


def warn_of_bare_prompts(training: Votes) -> None:
    """Warn of prompts with several responses and no votes to learn from.

    Warns:
        Degenerate: With their names.
    """
    seen = np.bincount(training.prompt, minlength=len(training.prompts))
    bare = [
        prompt
        for prompt, ids, count in zip(training.prompts, training.responses, seen, strict=True)
        if len(ids) > 1 and not count
    ]
    if bare:
        warnings.warn(
            f"{_prompts(bare)} no votes to learn from: nothing is known there, certified gaps "
            "allow for the worst, and whatever is played there rests on no data",
            Degenerate,
            stacklevel=3,
        )


def _warn_of_contradictions(votes: Votes) -> None:
    if votes.annotators == (ANONYMOUS,):
        return
    question = _questions(votes)
    first_won = np.where(votes.response_a < votes.response_b, votes.label, -votes.label)
    count = int(question.max(initial=-1)) + 1
    both = np.bincount(question, first_won > 0, count) * np.bincount(question, first_won < 0, count)
    torn = np.flatnonzero(both > 0)
    if not torn.size:
        return
    vote = int(np.argmax(question == torn[0]))
    ids = votes.responses[votes.prompt[vote]]
    a, b = quoted(ids[votes.response_a[vote]]), quoted(ids[votes.response_b[vote]])
    warnings.warn(
        f"raters answered {torn.size} of {count} questions both ways, the first of them "
        f"{quoted(votes.annotators[votes.annotator[vote]])} on {a} and {b} of prompt "
        f"{quoted(votes.prompts[votes.prompt[vote]])}; all their votes count, as if independent",
        Degenerate,
        stacklevel=4,
    )


def _questions(votes: Votes) -> Int[np.ndarray, " vote"]:
    """Return a number of the rater and pair of every vote, or of the vote if nobody is named."""
    if votes.annotators == (ANONYMOUS,):
        return np.arange(len(votes))
    low = np.minimum(votes.response_a, votes.response_b)
    high = np.maximum(votes.response_a, votes.response_b)
    rows = np.stack([votes.annotator, votes.prompt, low, high], axis=1)
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1]).reshape(-1)


def _prompts(names: Sequence[str]) -> str:
    return f"prompt {quoted(names[0])} has" if len(names) == 1 else f"prompts {listed(names)} have"
