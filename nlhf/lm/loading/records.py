"""Records of a data set: from JSON, JSON lines or Parquet, from the hub, or from memory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from nlhf.data.json_lines import parse_json_lines
from nlhf.data.parquet import read_rows
from nlhf.data.records import Origin
from nlhf.data.text import listed, quoted, read_text
from nlhf.errors import InvalidData, MissingExtra
from nlhf.lm.loading.chat import Conversation, Message, Text

Record = Mapping[str, object]

SUFFIXES = (".jsonl", ".json", ".parquet")
"""How a file of records may be written."""

_UNREAD = ("images", "tools", "chat_template_kwargs")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Records, and where they came from.

    Attributes:
        records: One mapping from column names to cells per row.
        origin: Names the rows in errors.
    """

    records: Sequence[Record]
    origin: Origin

    def __len__(self) -> int:
        return len(self.records)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, in the order in which they first appear."""
        return tuple(dict.fromkeys(name for record in self.records for name in record))

    def require(self, *names: str) -> None:
        """Refuse a table without these columns, or with cells that change what a prompt means.

        Raises:
            InvalidData: A column is absent, or there are images, tools or template arguments.
        """
        columns = self.columns
        missing = [name for name in names if name not in columns]
        if missing:
            raise InvalidData(
                f"{self.origin.name}: no column {' and no '.join(missing)}; "
                f"there are {listed(columns, 12)}",
                f"the columns {', '.join(names)} are needed: rename those of the data set",
            )
        for name in _UNREAD:
            row = next((i for i, record in enumerate(self.records) if record.get(name)), None)
            if row is not None:
                raise InvalidData(
                    f"{self.origin.at(row)}: the column {name} is not supported",
                    "write what it says into the prompts, or remove it if it is not needed",
                )

    def text(self, row: int, column: str) -> Text:
        """Return a cell that holds text or a conversation.

        Raises:
            InvalidData: It is absent or holds something else.
        """
        place = f"{self.origin.at(row)}: {column}"
        cell = self.records[row].get(column)
        if isinstance(cell, str):
            return cell
        if isinstance(cell, list | tuple) and cell:
            return _conversation(cell, place)
        raise InvalidData(
            f"{place} is {quoted(cell)} ({type(cell).__name__})",
            "give text, or a list of messages with role and content",
        )

    def names(self, column: str) -> tuple[str, ...]:
        """Return a column of names; empty if there is none such.

        Raises:
            InvalidData: A cell is neither text nor a whole number, or is blank.
        """
        if column not in self.columns:
            return ()
        return tuple(self._name(row, column) for row in range(len(self)))

    def _name(self, row: int, column: str) -> str:
        cell = self.records[row].get(column)
        whole = isinstance(cell, int) and not isinstance(cell, bool)
        if not whole and not (isinstance(cell, str) and cell.strip()):
            raise InvalidData(
                f"{self.origin.at(row)}: {column} is {quoted(cell)} ({type(cell).__name__})",
                f"name the {column} of every row by text or a whole number, or remove the column",
            )
        return str(cell)

    def numbers(self, column: str) -> tuple[float, ...]:
        """Return a column of finite numbers; empty if there is none such.

        Raises:
            InvalidData: A cell is something else.
        """
        if column not in self.columns:
            return ()
        found = []
        for row, record in enumerate(self.records):
            cell = record.get(column)
            real = isinstance(cell, int | float) and not isinstance(cell, bool)
            if not real or not isfinite(cell):  # type: ignore[arg-type]  # `real` is the proof
                raise InvalidData(
                    f"{self.origin.at(row)}: {column} is {quoted(cell)} ({type(cell).__name__})",
                    "give a finite number in every row, or remove the column",
                )
            found.append(float(cell))  # type: ignore[arg-type]  # as above
        return tuple(found)


def _conversation(cell: Sequence[object], place: str) -> Conversation:
    turns = []
    for number, message in enumerate(cell):
        role = message.get("role") if isinstance(message, Mapping) else None
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise InvalidData(
                f"{place}, message {number} (counted from 0) is {quoted(message)}",
                "give every message a role and a content, both text; parts that are not text are "
                "not supported",
            )
        turns.append(Message(role, content))
    return tuple(turns)


def table_of(records: Iterable[Record], name: str = "records") -> Table:
    """Return records in memory as a table; errors count its rows from 0.

    A data set of the `datasets` library, or a data frame's ``to_dict("records")``, will do.

    Raises:
        InvalidData: There are none, or one is not a mapping.
    """
    return _checked(list(records), Origin(name, lambda row: f"row {row} (counted from 0)"))


def read_table(source: str | Path, *, subset: str | None = None, split: str = "train") -> Table:
    """Read records from a file, or from the hub by the `datasets` library.

    Args:
        source: A file in one of `SUFFIXES`, or a data set's id on the hub. A ``.json`` file holds
            one list of records, or one record a line.
        subset: Of a data set on the hub, where it has several.
        split: Of a data set on the hub.

    Raises:
        InvalidData: The file or the data set cannot be read, or holds no records.
        MissingExtra: A Parquet file without pyarrow, or an id on the hub without `datasets`.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        origin = Origin(str(path), lambda row: f"row {row} (counted from 0)")
        return _checked(read_rows(path), origin)
    if suffix in SUFFIXES:
        text = read_text(path)
        return _list(text, path) if text.lstrip().startswith("[") else _lines(text, path)
    if path.exists() or str(source).count("/") > 1:
        raise InvalidData(
            f"{source}: suffix {quoted(path.suffix)} is not one of {', '.join(SUFFIXES)}",
            "write the records as JSON lines, JSON or Parquet, or give a data set's id on the hub",
        )
    return _from_hub(str(source), subset, split)


def _list(text: str, path: Path) -> Table:
    try:
        records = json.loads(text)
    except ValueError as error:
        raise InvalidData(f"{path}: not JSON ({error})", "fetch or write the file again") from error
    return _checked(records, Origin(str(path), lambda row: f"record {row} (counted from 0)"))


def _lines(text: str, path: Path) -> Table:
    records, lines = parse_json_lines(text, path)
    return _checked(records, Origin(str(path), lambda row: f"line {lines[row]}"))


def _from_hub(name: str, subset: str | None, split: str) -> Table:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtra(
            f"{name} is no file here; to read it from the hub, the library datasets is needed",
            "pip install datasets; or fetch the files and give the path of one",
        ) from error
    try:
        found = load_dataset(name, subset, split=split)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InvalidData(
            f"{name}, split {split}: neither a file here nor to be had from the hub "
            f"({type(error).__name__}: {str(error).splitlines()[0]})",
            "check the id, the subset and the split; without a network, give the path of a file",
        ) from error
    return table_of(found, f"{name}, split {split}")


def _checked(records: object, origin: Origin) -> Table:
    if not isinstance(records, list) or not records:
        raise InvalidData(f"{origin.name}: no records", "give at least one record")
    wrong = next((i for i, record in enumerate(records) if not isinstance(record, Mapping)), None)
    if wrong is not None:
        raise InvalidData(
            f"{origin.at(wrong)}: {quoted(records[wrong])} is not a record",
            "write every record as an object with named columns",
        )
    return Table(records, origin)
