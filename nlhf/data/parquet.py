"""Columns of a Parquet file; pyarrow is imported only when one is read."""

from collections.abc import Sequence
from pathlib import Path

from nlhf.data.text import read_bytes
from nlhf.errors import InvalidData, MissingExtra


def read_columns(path: str | Path, names: Sequence[str]) -> dict[str, list[object]]:
    """Return those of the named columns that a file has, in the order of the names.

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
        table = parquet.ParquetFile(pyarrow.BufferReader(content))
        present = [name for name in names if name in table.schema_arrow.names]
        columns: dict[str, list[object]] = table.read(columns=present).to_pydict()
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidData(
            f"{path}: not a readable Parquet file ({error})",
            "write it again with a Parquet writer; fetch a cut file again",
        ) from error
    return columns
