"""Columns and rows of a Parquet file; pyarrow is imported only when one is read."""

from collections.abc import Sequence
from pathlib import Path

from nlhf.data.text import read_bytes
from nlhf.errors import InvalidData, MissingExtra


def read_columns(path: str | Path, names: Sequence[str] | None = None) -> dict[str, list[object]]:
    """Return the columns of a file by name.

    Args:
        path: The file.
        names: Those of them to return that are there, in this order; all by default.

    Raises:
        InvalidData: The file cannot be read, or is no Parquet file.
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra.of("pyarrow", "data") from error
    content = read_bytes(path)
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        there = file.schema_arrow.names
        chosen = there if names is None else [name for name in names if name in there]
        columns: dict[str, list[object]] = file.read(columns=chosen).to_pydict()
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidData(
            f"{path}: not a readable Parquet file ({error})",
            "write it again with a Parquet writer; fetch a cut file again",
        ) from error
    return columns


def read_rows(path: str | Path, names: Sequence[str] | None = None) -> list[dict[str, object]]:
    """Return the rows of a file as mappings from columns to cells; see `read_columns`."""
    columns = read_columns(path, names)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
