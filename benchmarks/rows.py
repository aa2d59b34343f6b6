"""Rows of results: one line of JSON a method and case, with where it comes from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nlhf.errors import InvalidData


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results.

    Attributes:
        key: Hash of the case, all fields included.
        suite: What was asked for when it was run.
        kind: The class of the case in `cases`.
        instance: The case in words.
        case: Its fields, the seed among them.
        method: What was run.
        status: ``ok``, ``failed``, ``absent``, or what the method says of itself.
        message: Why it failed.
        numbers: The measurements, units in the names.
        load: Load averages over the last minute, before and after.
        provenance: Revision, versions, machine, time.
    """

    key: str
    suite: str
    kind: str
    instance: str
    case: dict[str, Any]
    method: str
    status: str
    message: str
    numbers: dict[str, Any]
    load: tuple[float, float]
    provenance: dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Return all rows of a file, or of ``rows.jsonl`` in a folder, oldest first.

    Raises:
        InvalidData: If a line is no row.
    """
    file = path / "rows.jsonl" if path.is_dir() else path
    if not file.exists():
        return []
    rows = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        try:
            rows += [Row(**json.loads(line))] if line else []
        except (TypeError, ValueError) as error:
            raise InvalidData(
                f"line {number} of {file} is no row: {error}",
                "name results of nlhf bench; the end of a line that is missing was lost when a "
                "run was interrupted: delete the line, and it is measured again",
            ) from error
    return rows


def append_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Add rows in one write: an interrupted run leaves whole cases only."""
    with (folder / "rows.jsonl").open("a", encoding="utf-8") as lines:
        lines.write("".join(json.dumps(asdict(row)) + "\n" for row in rows))
