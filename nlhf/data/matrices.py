"""Pairwise matrices on disk: win counts, or preferences; which of the two is said by the caller."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nlhf.data.counts import WinCounts
from nlhf.data.text import container_of, quoted, read_bytes, read_csv, read_text
from nlhf.errors import InvalidData
from nlhf.numerics import COMPLEMENT_TOLERANCE

CONTAINERS = ("csv", "npy")
"""How a matrix may be written."""

_COUNTS_BELOW = 2**53


@dataclass(frozen=True, slots=True, eq=False)
class Preferences:
    """Preference matrices of several prompts with equally many responses each.

    Attributes:
        prompts: The id of every prompt.
        responses: The ids of the responses of every prompt.
        preference: `preference[x, i, j]` is the probability that response i is preferred to j
            under prompt x; P + Pᵀ = 1 within 1e-9.
    """

    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]
    preference: Float[np.ndarray, "context response response"]


@dataclass(frozen=True, slots=True)
class _Matrices:
    """What a file holds: numbers of shape (context, response, response) and the names of things."""

    path: str
    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    values: np.ndarray

    def entry(self, wrong: np.ndarray) -> tuple[int, int, int]:
        """Return the first entry that is marked as wrong."""
        x, i, j = (int(k) for k in np.argwhere(wrong)[0])
        return x, i, j

    def named(self, x: int, i: int, j: int) -> str:
        """Name an entry with its value."""
        matrix = f", matrix {x}" if len(self.values) > 1 else ""
        row, column = quoted(self.responses[i]), quoted(self.responses[j])
        return f"{self.path}{matrix}: row {row}, column {column} holds {self.values[x, i, j]:.15g}"


def read_win_counts(path: str | Path, *, container: str | None = None) -> tuple[WinCounts, ...]:
    """Read win counts from a `.csv` or `.npy` file: entry (i, j) counts the wins of i over j.

    A CSV file holds one square matrix of numbers. It may have labels: either a header line above
    the numbers, or a header line and, as first column, the same labels in the same order; the
    first cell is then not a number. A header of numbers is taken as labels only if it counts from
    0 or from 1. A `.npy` file holds an array of shape (n, n), or (X, n, n) for
    X prompts. Labels are otherwise the indices, from 0. Such files have no ties: all `ties` are 0.

    Args:
        path: The file.
        container: `csv` or `npy`; by default what the file's ending says.

    Raises:
        InvalidData: The file cannot be read, or an entry is not a non-negative integer, or the
            diagonal is not zero; with the entry's row, column and value.
    """
    found = _read(path, container)
    values = found.values
    _refuse(found, ~np.isfinite(values), "not a number", "write 0 where a pair has no votes")
    _refuse(found, values < 0, "negative", "an entry counts votes; write 0 for none")
    fractions = (values != np.floor(values)) | (values >= _COUNTS_BELOW)
    _refuse(
        found,
        fractions,
        "not an exact number of votes",
        "write integers below 2**53; ties have no place in a matrix of wins: use a votes file, or "
        "read_preferences if the entries are probabilities",
    )
    diagonal = np.eye(values.shape[-1], dtype=bool) & (values != 0)
    _refuse(found, diagonal, "a win against itself", "write zeros on the diagonal")
    wins = values.astype(np.int64)
    return tuple(
        WinCounts(prompt, found.responses, matrix, np.zeros_like(matrix))
        for prompt, matrix in zip(found.prompts, wins, strict=True)
    )


def read_preferences(path: str | Path, *, container: str | None = None) -> Preferences:
    """Read preference probabilities from a `.csv` or `.npy` file laid out as for win counts.

    Entry (i, j) is the probability that i is preferred to j. Nothing is repaired: the values
    returned are those of the file.

    Args:
        path: The file.
        container: `csv` or `npy`; by default what the file's ending says.

    Raises:
        InvalidData: The file cannot be read; an entry is not a probability; or P + Pᵀ differs from
            1 by more than 1e-9 somewhere (so the diagonal must be 1/2); with the pair and by how
            much.
    """
    found = _read(path, container)
    values = found.values
    _refuse(
        found,
        ~np.isfinite(values),
        "not a number",
        "every pair needs a probability; for pairs never compared, start from votes or win counts "
        "and complete the estimate by a named rule",
    )
    _refuse(
        found, (values < 0) | (values > 1), "not in [0, 1]", "write probabilities, not per cent"
    )
    diagonal = np.eye(values.shape[-1], dtype=bool) & (abs(values - 0.5) > COMPLEMENT_TOLERANCE / 2)
    _refuse(found, diagonal, "not 1/2", "write 0.5 on the diagonal: a response against itself")
    excess = values + values.swapaxes(1, 2) - 1.0
    wrong = abs(excess) > COMPLEMENT_TOLERANCE
    if wrong.any():
        x, i, j = found.entry(wrong)
        raise InvalidData(
            f"{found.named(x, i, j)}, and the transposed entry {values[x, j, i]:.15g}: they sum to "
            f"1 {excess[x, i, j]:+.3g}; allowed is ±{COMPLEMENT_TOLERANCE:g} "
            f"({int(wrong.sum()) // 2} such pairs)",
            "make P[j, i] = 1 - P[i, j]; if this is rounding, as from float32, convert to float64 "
            "and write (P + 1 - P.T) / 2",
        )
    values.setflags(write=False)
    return Preferences(found.prompts, (found.responses,) * len(values), values)


def _refuse(found: _Matrices, wrong: np.ndarray, what: str, fix: str) -> None:
    if wrong.any():
        entry = found.entry(wrong)
        raise InvalidData(f"{found.named(*entry)}: {what} ({int(wrong.sum())} such entries)", fix)


def _read(path: str | Path, container: str | None) -> _Matrices:
    known = container_of(path, CONTAINERS, container)
    return _read_csv(path) if known == "csv" else _read_npy(path)


def _read_csv(path: str | Path) -> _Matrices:
    cells, lines = read_csv(read_text(path), path)
    labels, cells, lines = _split_labels(cells, lines, str(path))
    try:
        values = np.array([[[float(cell) for cell in row] for row in cells]])
    except ValueError as error:
        i, j = next(
            (i, j) for i, j in np.ndindex(len(labels), len(labels)) if not _is_number(cells[i][j])
        )
        raise InvalidData(
            f"{path}, line {lines[i]}, column {quoted(labels[j])}: {quoted(cells[i][j])} is not a "
            "number",
            "write a number, with a point for the decimals",
        ) from error
    return _Matrices(str(path), (Path(path).stem,), labels, values)


def _split_labels(
    cells: list[list[str]], lines: list[int], path: str
) -> tuple[tuple[str, ...], list[list[str]], list[int]]:
    """Take labels off; the shape and the first cell say which there are."""
    rows, width = len(cells), len(cells[0]) if cells else 0
    uneven = [i for i, row in enumerate(cells) if len(row) != width]
    if uneven:
        i = uneven[0]
        raise InvalidData(
            f"{path}, line {lines[i]}: {len(cells[i])} fields, the first line has {width}",
            "give every line equally many; if the file was cut, fetch it again",
        )
    if rows == width + 1:
        labels = tuple(cells[0])
        body = cells[1:]
        _refuse_numbers_as_labels(labels, path, lines[0])
    elif rows == width > 0 and not _is_number(cells[0][0]):
        labels = tuple(cells[0][1:])
        body = [row[1:] for row in cells[1:]]
        _check_row_labels(labels, [row[0] for row in cells[1:]], lines[1:], path)
    else:
        labels = tuple(map(str, range(width)))
        body = cells
    if len(body) != len(labels) or not labels:
        raise InvalidData(
            f"{path}: {rows} lines of {width} fields are not a square matrix, with or without "
            "labels",
            "write n lines of n numbers, optionally below a header of n labels, optionally with "
            "the same labels in front of the lines",
        )
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InvalidData(
            f"{path}: the label {quoted(twice)} occurs twice", "label responses apart"
        )
    return labels, body, lines[len(lines) - len(body) :]


def _refuse_numbers_as_labels(labels: tuple[str, ...], path: str, line: int) -> None:
    counted = [tuple(str(k + first) for k in range(len(labels))) for first in (0, 1)]
    if all(map(_is_number, labels)) and tuple(map(str.strip, labels)) not in counted:
        raise InvalidData(
            f"{path}, line {line}: {len(labels) + 1} lines of {len(labels)} numbers; the first "
            f"would be labels, {quoted(','.join(labels))}, and looks like data",
            "remove the line that is too many, or name responses by 0, 1, ... or by words",
        )


def _check_row_labels(
    labels: Sequence[str], found: Sequence[str], lines: Sequence[int], path: str
) -> None:
    for line, expected, label in zip(lines, labels, found, strict=False):
        if label != expected:
            raise InvalidData(
                f"{path}, line {line}: labelled {quoted(label)}, but that row's column is labelled "
                f"{quoted(expected)}",
                "label rows and columns alike and in the same order",
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_npy(path: str | Path) -> _Matrices:
    values = _parse_npy(read_bytes(path), str(path))
    if values.ndim not in (2, 3) or values.shape[-1] != values.shape[-2] or not values.size:
        raise InvalidData(
            f"{path}: an array of shape {values.shape}",
            "save an array of shape (n, n), or (X, n, n) for X prompts, with n and X at least 1",
        )
    stem = Path(path).stem
    batch = values.reshape(-1, *values.shape[-2:])
    prompts = (stem,) if values.ndim == 2 else tuple(f"{stem}[{x}]" for x in range(len(batch)))
    return _Matrices(str(path), prompts, tuple(map(str, range(batch.shape[-1]))), batch)


def _parse_npy(data: bytes, path: str) -> np.ndarray:
    """Return the float64 array of a `.npy` file; nothing is unpickled."""
    stream = io.BytesIO(data)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = header[version](stream)
    except Exception as error:  # numpy's header parser lets errors of several modules through
        raise InvalidData(
            f"{path}: not a .npy file of version 1 or 2 ({error})", "write it with numpy.save"
        ) from error
    if dtype.kind not in "iuf":
        raise InvalidData(f"{path}: entries of type {dtype}", "save real numbers")
    expected, held = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if expected != held or min(shape, default=0) < 0:
        raise InvalidData(
            f"{path}: {held} bytes of entries where shape {shape} and type {dtype} need {expected}",
            "the file is cut or was changed; write it again with numpy.save",
        )
    flat = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as not finite
        return flat.reshape(shape, order="F" if fortran else "C").astype(np.float64)
