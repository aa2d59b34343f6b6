"""Votes in a file."""

from collections.abc import Sequence
from pathlib import Path

from nlhf.data.frames import votes_of_lists
from nlhf.data.parquet import read_columns
from nlhf.data.records import (
    ANNOTATOR,
    ANONYMOUS,
    REQUIRED,
    Columns,
    Origin,
    assemble,
    check_header,
)
from nlhf.data.text import container_of, quoted, read_csv, read_text
from nlhf.data.votes import Votes
from nlhf.errors import InvalidData

CONTAINERS = ("csv", "parquet")
"""How votes may be written."""


def read_votes(path: str | Path, *, container: str | None = None) -> Votes:
    """Read votes from a CSV file whose first line names the columns, or from a Parquet file.

    Columns, in any order: `prompt_id`, `response_a`, `response_b`, `label` and optionally
    `annotator`; others are ignored, and so are blank lines. A label is `a`, `b` or `tie`. The file
    is UTF-8 (a byte order mark is accepted), separated by commas and quoted by double quotes.

    A file cut within a record is refused; a cut exactly between two records leaves a file that is
    valid in this format.

    Args:
        path: The file.
        container: `csv` or `parquet`; by default Parquet if the file's ending is `.parquet`, and
            CSV if it is any other.

    Raises:
        InvalidData: The first thing that is wrong, with file, line or row, value and what is
            allowed.
        MissingExtra: A Parquet file, and pyarrow is not installed.

    Warns:
        Degenerate: Two ids differ by surrounding blanks only.
    """
    if container is None and Path(path).suffix.lower() != ".parquet":
        container = "csv"
    if container_of(path, CONTAINERS, container) == "parquet":
        columns = read_columns(path, (*REQUIRED, ANNOTATOR))
        check_header([*columns], str(path))
        return votes_of_lists(columns, str(path))
    return _read_csv_votes(path)


def _read_csv_votes(path: str | Path) -> Votes:
    rows, lines = read_csv(read_text(path), path)
    if not rows:
        raise InvalidData(f"{path}: holds only blank lines", "write a header line and votes below")
    header = rows.pop(0)
    check_header(header, f"{path}, header")
    if not rows:
        raise InvalidData(f"{path}: no votes below the header", "write one line per vote below it")
    origin = Origin(str(path), lambda index: f"line {lines[index + 1]}")
    _check_widths(rows, header, origin)
    columns = list(zip(*rows, strict=True))
    annotator: Sequence[str] = [ANONYMOUS] * len(rows)
    if ANNOTATOR in header:
        annotator = columns[header.index(ANNOTATOR)]
    required = {name: columns[header.index(name)] for name in REQUIRED}
    return assemble(Columns(**required, annotator=annotator), origin)


def _check_widths(rows: list[list[str]], header: list[str], origin: Origin) -> None:
    widths = list(map(len, rows))
    if set(widths) == {len(header)}:
        return
    first = next(i for i, width in enumerate(widths) if width != len(header))
    found = f"{widths[first]} fields instead of {len(header)}: {quoted(','.join(rows[first]))}"
    if first == len(rows) - 1 and widths[first] < len(header):
        raise InvalidData(
            f"{origin.at(first)}, the last: {found}; the file seems to be cut there",
            "fetch or write the file again; to do without this vote, delete the line",
        )
    raise InvalidData(
        f"{origin.at(first)}: {found}",
        f"give every line the {len(header)} fields of the header; quote a field that has a comma",
    )
