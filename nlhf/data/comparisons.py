"""Chosen and rejected responses, as preference data sets for language models store them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlhf.data.json_lines import parse_json_lines
from nlhf.data.parquet import read_rows
from nlhf.data.records import ANONYMOUS, Columns, Origin, assemble
from nlhf.data.text import container_of, listed, quoted, read_text
from nlhf.data.votes import Votes
from nlhf.errors import InvalidData

FIELDS = ("prompt", "chosen", "rejected")
GROUP = "group"
CONTAINERS = ("jsonl", "parquet")
"""How the rows may be written."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a file as mappings, with what names them."""

    rows: Sequence[object]
    origin: Origin


def read_comparisons(path: str | Path, *, container: str | None = None) -> Votes:
    """Read `prompt, chosen, rejected` and optionally `group` from a `.jsonl` or `.parquet` file.

    Every row is one vote for `chosen`. The ids of prompts and responses are their texts, so equal
    texts are one response. A conversation (a list of messages, each with `role` and `content`) is
    written as compact JSON with sorted keys, so equal conversations have equal ids. `group` names
    the annotator; either every row has it or none. Other fields are ignored. There are no ties in
    this format.

    Args:
        path: The file.
        container: `jsonl` or `parquet`; by default what the file's ending says.

    Raises:
        InvalidData: The first thing that is wrong, with file, line or row, and field; also if
            chosen and rejected are equal.
        MissingExtra: A Parquet file, and pyarrow is not installed.
    """
    known = container_of(path, CONTAINERS, container)
    found = _read_jsonl(path) if known == "jsonl" else _read_parquet(path)
    if not found.rows:
        raise InvalidData(f"{path}: no comparisons", "write one row per comparison")
    return _votes(found)


def _votes(found: _Rows) -> Votes:
    rows = [_checked(row, index, found.origin) for index, row in enumerate(found.rows)]
    texts = {
        field: [_text(row[field], field, index, found.origin) for index, row in enumerate(rows)]
        for field in FIELDS
    }
    return assemble(
        Columns(
            prompt_id=texts["prompt"],
            response_a=texts["chosen"],
            response_b=texts["rejected"],
            label=["a"] * len(rows),
            annotator=_groups(rows, found.origin),
        ),
        found.origin,
    )


def _checked(row: object, index: int, origin: Origin) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InvalidData(
            f"{origin.at(index)}: {quoted(row)} is not an object with fields {', '.join(FIELDS)}",
            'write {"prompt": ..., "chosen": ..., "rejected": ...} on every line',
        )
    missing = [field for field in FIELDS if row.get(field) is None]
    if missing:
        raise InvalidData(
            f"{origin.at(index)}: no {' and no '.join(missing)}; the fields are {listed([*row])}",
            f"the fields {', '.join(FIELDS)} are needed, {GROUP} is optional; a prompt that is "
            "only implied by the beginning of both responses must be made a field",
        )
    return row


def _groups(rows: Sequence[dict[str, Any]], origin: Origin) -> list[str]:
    present = [row.get(GROUP) is not None for row in rows]
    if not any(present):
        return [ANONYMOUS] * len(rows)
    if not all(present):
        index = present.index(False)
        raise InvalidData(
            f"{origin.at(index)}: no {GROUP}, while {sum(present)} of {len(rows)} rows have one",
            "give every row a group, or none",
        )
    groups = [str(group) if type(group) is int else group for group in (r[GROUP] for r in rows)]
    for index, group in enumerate(groups):
        if not isinstance(group, str):
            raise InvalidData(
                f"{origin.at(index)}: {GROUP} is {quoted(group)}, neither text nor an integer",
                "name groups by text or integers",
            )
    return groups


def _text(value: object, field: str, index: int, origin: Origin) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(map(_is_message, value)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    raise InvalidData(
        f"{origin.at(index)}: {field} is {quoted(value)}, neither text nor a list of messages",
        'write a text, or a list like [{"role": "user", "content": "..."}]',
    )


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and "content" in value


def _read_jsonl(path: str | Path) -> _Rows:
    rows, lines = parse_json_lines(read_text(path), path)
    return _Rows(rows, Origin(str(path), lambda index: f"line {lines[index]}"))


def _read_parquet(path: str | Path) -> _Rows:
    rows = read_rows(path, (*FIELDS, GROUP))
    return _Rows(rows, Origin(str(path), lambda index: f"row {index} (counted from 0)"))
