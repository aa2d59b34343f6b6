"""Votes in a CSV file."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from nlhf.data.records import (
    ANNOTATOR,
    ANONYMOUS,
    REQUIRED,
    Columns,
    Origin,
    assemble,
    check_header,
)
from nlhf.data.text import quoted, read_text
from nlhf.data.votes import Votes
from nlhf.errors import InvalidData


def read_votes(path: str | Path) -> Votes:
    """Read votes from a CSV file whose first line names the columns.

    Columns, in any order: `prompt_id`, `response_a`, `response_b`, `label` and optionally
    `annotator`; others are ignored, and so are blank lines. A label is `a`, `b` or `tie`. The file
    is UTF-8 (a byte order mark is accepted), separated by commas and quoted by double quotes.

    A file cut within a record is refused; a cut exactly between two records leaves a file that is
    valid in this format.

    Raises:
        InvalidData: The first thing that is wrong, with file, line, value and what is allowed.
    """
    text = read_text(path)
    rows = [row for row in _parse(text, path) if row]
    if not rows:
        raise InvalidData(f"{path}: holds only blank lines", "write a header line and votes below")
    header = rows.pop(0)
    check_header(header, f"{path}, header")
    if not rows:
        raise InvalidData(f"{path}: no votes below the header", "write one line per vote below it")
    origin = Origin(str(path), lambda index: f"line {_line(text, index + 1)}")
    _check_widths(rows, header, origin)
    columns = list(zip(*rows, strict=True))
    annotator: Sequence[str] = [ANONYMOUS] * len(rows)
    if ANNOTATOR in header:
        annotator = columns[header.index(ANNOTATOR)]
    required = {name: columns[header.index(name)] for name in REQUIRED}
    return assemble(Columns(**required, annotator=annotator), origin)


def _parse(text: str, path: str | Path) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        for row in reader:
            start = reader.line_num + 1
            yield row
    except csv.Error as error:
        raise InvalidData(
            f"{path}, record from line {start}: {error}",
            "the file is cut within a quoted field, or a double quote is not closed or not "
            'doubled; write a quote inside a field as "" and fetch a cut file again',
        ) from error


def _line(text: str, record: int) -> int:
    """Return the line on which a record starts, the header being record 0."""
    reader = csv.reader(io.StringIO(text, newline=""))
    start = 1
    for row in reader:
        if row and record == 0:
            break
        record -= bool(row)
        start = reader.line_num + 1
    return start


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
