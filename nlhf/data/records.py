"""Raw records of votes, checked and numbered: the one way in which every reader makes votes."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int8

from nlhf.data.text import listed, quoted
from nlhf.data.votes import Votes
from nlhf.errors import Degenerate, InvalidData

LABELS = {"a": 1, "b": -1, "tie": 0}
"""What a vote may say, and the sign that stands for it."""

ANONYMOUS = "anonymous"
"""The annotator of votes that name none."""

REQUIRED = ("prompt_id", "response_a", "response_b", "label")
ANNOTATOR = "annotator"

_UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class Origin:
    """Where records came from, for error messages.

    Attributes:
        name: The file's or the table's name.
        record: Names a record, given its index: "line 17".
    """

    name: str
    record: Callable[[int], str]

    def at(self, index: int) -> str:
        """Name a record together with its source."""
        return f"{self.name}, {self.record(index)}"


@dataclass(frozen=True, slots=True)
class Columns:
    """The raw columns of a table of votes, equally long."""

    prompt_id: Sequence[str]
    response_a: Sequence[str]
    response_b: Sequence[str]
    label: Sequence[str]
    annotator: Sequence[str]


def check_header(header: Sequence[object], name: str) -> None:
    """Refuse a table that lacks a required column or has one of the columns twice."""
    missing = [column for column in REQUIRED if column not in header]
    if missing:
        raise InvalidData(
            f"{name}: no column {' and no '.join(missing)}; there are {listed(header, 12)}",
            f"the columns {', '.join(REQUIRED)} are needed, {ANNOTATOR} is optional, their order "
            "is free; in a file, the first line names them, separated by commas",
        )
    twice = [column for column in (*REQUIRED, ANNOTATOR) if list(header).count(column) > 1]
    if twice:
        raise InvalidData(
            f"{name}: more than one column {twice[0]!r}", "keep one of them, rename the others"
        )


def assemble(columns: Columns, origin: Origin) -> Votes:
    """Check every record and number prompts, responses and annotators by first appearance.

    Raises:
        InvalidData: An unknown label, a blank id, or a vote of a response against itself.

    Warns:
        Degenerate: Two ids differ by surrounding blanks only.
    """
    label = _signs(columns.label, origin)
    _check_ids({"prompt_id": columns.prompt_id}, origin)
    _check_ids({ANNOTATOR: columns.annotator}, origin)
    _check_ids({"response_a": columns.response_a, "response_b": columns.response_b}, origin)
    _warn_of_blanks(columns, origin)
    prompts, prompt = _numbered(columns.prompt_id)
    annotators, annotator = _numbered(columns.annotator)
    pairs, responses = _numbered_within(prompt, columns, len(prompts))
    own = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if own.size:
        first = int(own[0])
        raise InvalidData(
            f"{origin.at(first)}: a vote of response {quoted(columns.response_a[first])} against "
            f"itself ({own.size} such of {len(label)} votes)",
            "a vote compares two different responses: remove the row or correct an id",
        )
    return Votes(
        prompts=prompts,
        responses=responses,
        annotators=annotators,
        prompt=np.array(prompt),
        response_a=pairs[:, 0],
        response_b=pairs[:, 1],
        annotator=np.array(annotator),
        label=label,
    )


def _signs(labels: Sequence[str], origin: Origin) -> Int8[np.ndarray, " vote"]:
    signs = np.array([LABELS.get(label, _UNKNOWN) for label in labels], dtype=np.int8)
    unknown = np.flatnonzero(signs == _UNKNOWN)
    if unknown.size:
        first = int(unknown[0])
        raise InvalidData(
            f"{origin.at(first)}: label {quoted(labels[first])} is not one of "
            f"{', '.join(LABELS)} ({unknown.size} such of {len(labels)} votes)",
            "write a where response_a was preferred, b where response_b was, tie for neither; "
            "without capitals or blanks",
        )
    return signs


def _numbered(ids: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    index: dict[str, int] = {}
    numbers = [index.setdefault(name, len(index)) for name in ids]
    return tuple(index), numbers


def _numbered_within(
    prompt: Sequence[int], columns: Columns, prompts: int
) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """Number the responses of every prompt on its own; pairs of numbers have shape (vote, 2)."""
    index: list[dict[str, int]] = [{} for _ in range(prompts)]
    numbers = []
    for p, a, b in zip(prompt, columns.response_a, columns.response_b, strict=True):
        own = index[p]
        numbers.append(own.setdefault(a, len(own)))
        numbers.append(own.setdefault(b, len(own)))
    return np.array(numbers).reshape(-1, 2), tuple(tuple(own) for own in index)


def _check_ids(columns: Mapping[str, Sequence[str]], origin: Origin) -> None:
    distinct: set[str] = set().union(*columns.values())
    bad = {name for name in distinct if not name.strip()}
    what, fix = "is blank", "give every prompt, response and annotator an id"
    if not bad:
        bad = _unencodable(distinct)
        what, fix = "is not valid Unicode text", "remove the lone surrogate code points"
    for column, ids in columns.items():
        first = next((i for i, name in enumerate(ids) if name in bad), None) if bad else None
        if first is not None:
            raise InvalidData(f"{origin.at(first)}: {column} {quoted(ids[first])} {what}", fix)


def _warn_of_blanks(columns: Columns, origin: Origin) -> None:
    """Warn once if two ids of a kind differ by surrounding blanks only; they stay apart."""
    kinds = {
        "prompts": set(columns.prompt_id),
        "responses": {*columns.response_a, *columns.response_b},
        "annotators": set(columns.annotator),
    }
    for kind, names in kinds.items():
        blank = [name for name in names if name != (bare := name.strip()) and bare in names]
        if blank:
            name = min(blank)
            warnings.warn(
                f"{origin.name}: the {kind} {quoted(name.strip())} and {quoted(name)} differ by "
                f"surrounding blanks only ({len(blank)} such); they are taken as different",
                Degenerate,
                stacklevel=4,
            )
            return


def _unencodable(names: Iterable[str]) -> set[str]:
    def encodable(text: str) -> bool:
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
        return True

    return set() if encodable("".join(names)) else {name for name in names if not encodable(name)}
