"""Votes in memory: columns, and pandas or polars data frames, neither of which is imported."""

from collections.abc import Iterable, Mapping
from typing import Any

from nlhf.data.records import (
    ANNOTATOR,
    ANONYMOUS,
    REQUIRED,
    Columns,
    Origin,
    assemble,
    check_header,
)
from nlhf.data.text import quoted
from nlhf.data.votes import Votes
from nlhf.errors import InvalidData


def votes_from_columns(
    prompt_id: Iterable[str | int],
    response_a: Iterable[str | int],
    response_b: Iterable[str | int],
    label: Iterable[str],
    annotator: Iterable[str | int] | None = None,
) -> Votes:
    """Make votes of columns, as `read_votes` does of a file.

    Args:
        prompt_id: Prompt of every vote; integers become their decimal text.
        response_a: First response of every vote.
        response_b: Second response of every vote.
        label: `a`, `b` or `tie`.
        annotator: Who voted; without it, one anonymous annotator.

    Raises:
        InvalidData: As `read_votes`, naming the row, counted from 0.
    """
    given: dict[str, Iterable[object]] = {
        "prompt_id": prompt_id,
        "response_a": response_a,
        "response_b": response_b,
        "label": label,
    }
    if annotator is not None:
        given[ANNOTATOR] = annotator
    return votes_of_lists(given, "columns")


def votes_from_frame(frame: Any) -> Votes:
    """Make votes of a pandas or polars data frame with the columns that `read_votes` names.

    Raises:
        InvalidData: As `read_votes`, naming the row, counted from 0.
    """
    name = type(frame).__name__
    if not hasattr(frame, "__len__") or not hasattr(frame, "columns"):
        raise InvalidData(
            f"{name} is not a data frame in memory",
            "give a pandas or polars DataFrame; collect() a lazy one",
        )
    header = list(frame.columns)
    check_header(header, name)
    present = [column for column in (*REQUIRED, ANNOTATOR) if column in header]
    return votes_of_lists({column: frame[column].to_list() for column in present}, name)


def votes_of_lists(given: Mapping[str, Iterable[object]], name: str) -> Votes:
    """Make votes of columns by name, which are all there; `name` says where they came from."""
    origin = Origin(name, lambda index: f"row {index} (counted from 0)")
    texts = {column: _texts(values, column, origin) for column, values in given.items()}
    lengths = {column: len(values) for column, values in texts.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidData(f"{name} of different lengths: {lengths}", "give one entry per vote")
    if not texts["label"]:
        raise InvalidData(f"{name}: no votes", "give at least one vote")
    texts.setdefault(ANNOTATOR, [ANONYMOUS] * len(texts["label"]))
    return assemble(Columns(**texts), origin)


def _texts(values: Iterable[object], column: str, origin: Origin) -> list[str]:
    values = list(values)
    if set(map(type, values)) <= {str}:
        return values  # type: ignore[return-value]  # the line above is the proof
    return [_text(value, column, index, origin) for index, value in enumerate(values)]


def _text(value: object, column: str, index: int, origin: Origin) -> str:
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "__index__") and not isinstance(value, bool):
        return str(int(value))
    raise InvalidData(
        f"{origin.at(index)}: {column} is {quoted(value)} ({type(value).__name__}), "
        "neither text nor an integer",
        "fill or drop missing values and convert the ids to text",
    )
