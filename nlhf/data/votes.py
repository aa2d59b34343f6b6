"""Votes on pairs of responses: who preferred which, exactly as it was said."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int8

from nlhf.errors import InvalidData
from nlhf.results import read_only


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """Pairwise votes, in the order in which they were given; identical votes are all kept.

    The same response id under two prompts means two responses.

    Attributes:
        prompts: The id of every prompt.
        responses: For every prompt, the ids of its responses.
        annotators: The id of every annotator; `("anonymous",)` where the votes name none.
        prompt: Index into `prompts`, one per vote.
        response_a: Index into `responses[prompt]`, one per vote.
        response_b: Likewise; never equal to `response_a`.
        annotator: Index into `annotators`, one per vote.
        label: +1 if a was preferred, -1 if b was, 0 for a tie.

    Raises:
        InvalidData: An index is out of range, a label is not one of the three, or a vote compares
            a response with itself.
    """

    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]
    annotators: tuple[str, ...]
    prompt: Int[np.ndarray, " vote"]
    response_a: Int[np.ndarray, " vote"]
    response_b: Int[np.ndarray, " vote"]
    annotator: Int[np.ndarray, " vote"]
    label: Int8[np.ndarray, " vote"]

    def __post_init__(self) -> None:
        for name in ("prompt", "response_a", "response_b", "annotator", "label"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        _check_lengths(self)
        _check_ranges(self)

    def __len__(self) -> int:
        return len(self.label)


def _check_lengths(votes: Votes) -> None:
    if len(votes.prompts) != len(votes.responses):
        raise InvalidData(
            f"{len(votes.prompts)} prompts, but responses of {len(votes.responses)}",
            "give one tuple of response ids a prompt",
        )
    columns = (votes.prompt, votes.response_a, votes.response_b, votes.annotator, votes.label)
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise InvalidData(
            f"prompt, response_a, response_b, annotator, label have lengths {lengths}",
            "give one entry a vote in each",
        )


def _check_ranges(votes: Votes) -> None:
    _check_below(votes.prompt, np.int64(len(votes.prompts)), "prompt")
    _check_below(votes.annotator, np.int64(len(votes.annotators)), "annotator")
    sizes = np.array([len(ids) for ids in votes.responses], dtype=np.int64)[votes.prompt]
    _check_below(votes.response_a, sizes, "response_a")
    _check_below(votes.response_b, sizes, "response_b")
    _check_none(votes.response_a == votes.response_b, "compares a response with itself")
    _check_none(np.abs(votes.label) > 1, "has a label that is not one of -1, 0, +1")


def _check_below(index: np.ndarray, size: np.ndarray | np.int64, name: str) -> None:
    _check_none((index < 0) | (index >= size), f"has an index of {name} out of range")


def _check_none(wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise InvalidData(
            f"vote {int(np.argmax(wrong))} {what} ({int(wrong.sum())} such of {len(wrong)})",
            "build votes with nlhf.data.votes_from_columns, which numbers the ids itself",
        )
