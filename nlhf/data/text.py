"""From bytes on disk to text, with one clear error for everything that can be wrong on the way."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from nlhf.errors import InvalidData

LONGEST_FIELD = 2**31 - 1
"""Characters in a field of a CSV file; the csv module's own limit is 131,072."""

_SHOWN = 60
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def quoted(value: object) -> str:
    """Return `repr(value)`, cut to a length that fits an error message."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def listed(names: Sequence[object], most: int = 8) -> str:
    """Return the names separated by commas, the first `most` of them if they are many."""
    shown = ", ".join(quoted(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def container_of(path: str | Path, allowed: Sequence[str], given: str | None) -> str:
    """Return how a file is written: as the caller says, or else as its ending does.

    Raises:
        InvalidData: It is none of those that are allowed.
    """
    found = Path(path).suffix.lower().removeprefix(".") if given is None else given
    if found not in allowed:
        what = f"suffix {quoted(Path(path).suffix)}" if given is None else f"container {given!r}"
        raise InvalidData(
            f"{path}: {what} is not one of {', '.join(allowed)}",
            "say how the file is written by the keyword container: "
            + " or ".join(repr(name) for name in allowed),
        )
    return found


def read_csv(text: str, path: str | Path) -> tuple[list[list[str]], list[int]]:
    """Return the rows of a CSV text without blank lines, and the lines on which they start.

    Raises:
        InvalidData: A quote is not closed, or a field is longer than `LONGEST_FIELD`.
    """
    rows, lines, start = [], [], 1
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        for row in reader:
            if row:
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise InvalidData(
            f"{path}, record from line {start}: {error}",
            "the file is cut within a quoted field, or a double quote is not closed or not "
            'doubled; write a quote inside a field as "" and fetch a cut file again',
        ) from error
    finally:
        csv.field_size_limit(limit)
    return rows, lines


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file.

    Raises:
        InvalidData: The file is missing, a directory, not readable, or empty.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidData(
            f"{path}: cannot be read ({reason})", "give the path of a readable file"
        ) from error
    if not data:
        raise InvalidData(f"{path}: the file is empty (0 bytes)", "write the data to it again")
    return data


def read_text(path: str | Path) -> str:
    """Return the content of a UTF-8 file, without its byte order mark if it has one.

    Raises:
        InvalidData: The file cannot be read, is empty, is not UTF-8 or holds NUL bytes; the message
            names the byte offset and the line.
    """
    data = read_bytes(path)
    if data.startswith(_UTF16_MARKS):
        raise InvalidData(
            f"{path}: starts with the bytes {data[:2].hex(' ')}, a UTF-16 mark; UTF-8 is allowed",
            "save the file as UTF-8",
        )
    if b"\0" in data:
        offset = data.index(b"\0")
        raise InvalidData(
            f"{path}: a NUL byte at byte {offset} (line {_line_of(data, offset)}); text has none",
            "save the file as UTF-8 text; if it was copied or recovered, fetch it again",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start
        raise InvalidData(
            f"{path}: byte 0x{data[offset]:02x} at byte {offset} (line {_line_of(data, offset)}) "
            f"is not UTF-8 ({error.reason})",
            "convert the whole file to UTF-8, for example `iconv -f LATIN1 -t UTF-8`; "
            "one file must not mix encodings",
        ) from error
    return text.removeprefix("\ufeff")


def _line_of(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1
