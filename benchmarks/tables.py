"""Tables of results: CSV after comment lines that say where the numbers come from."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.provenance import ROOT, write_origin

T = TypeVar("T")


def write_rows(
    path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *packages: str
) -> None:
    """Write rows, floats to six digits, after their origin and the versions of more packages."""
    with path.open("w", encoding="utf-8", newline="") as file:
        write_origin(file, ROOT, *packages)
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def write_table(path: Path, rows: Sequence[Any], *packages: str) -> None:
    """Write dataclasses of one kind."""
    write_rows(path, [field.name for field in fields(rows[0])], map(asdict, rows), *packages)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, without the comments on top."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def read_table(path: Path, kind: type[T]) -> list[T]:
    """Return the rows of a table that `write_table` wrote."""
    return [
        kind(**{field.name: field.type(row[field.name]) for field in fields(kind)})  # type: ignore
        for row in read_rows(path)
    ]


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
