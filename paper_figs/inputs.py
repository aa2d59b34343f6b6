"""Results that are checked in, read only where they are the files that the manifest speaks of."""

import csv
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MANIFEST = HERE / "manifest.toml"
UPDATE = "python -m paper_figs --update"


class StaleInput(ValueError):
    """An input is not the file that the manifest speaks of.

    Attributes:
        found: What is there, with both hashes.
        fix: What to do.
    """

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}: {fix}")
        self.found, self.fix = found, fix


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of results, every one a value by the name of its column.

    Attributes:
        rows: In the order of the file.
    """

    rows: tuple[Mapping[str, str], ...]

    def where(self, column: str, *values: str) -> "Table":
        """Return the rows with one of the values in a column."""
        return Table(tuple(row for row in self.rows if row[column] in values))

    def numbers(self, column: str) -> Float[np.ndarray, " row"]:
        """Return a column as numbers."""
        return np.array([float(row[column]) for row in self.rows])

    def number(self, column: str) -> float:
        """Return the number in a column that has the same one in all rows."""
        (value,) = {row[column] for row in self.rows}
        return float(value)

    def words(self, column: str) -> tuple[str, ...]:
        """Return the different values of a column, in order of first appearance."""
        return tuple(dict.fromkeys(row[column] for row in self.rows))


def manifest() -> dict[str, dict[str, str]]:
    """Return the SHA-256 of every input, by figure and by path from the root of the checkout."""
    return tomllib.loads(MANIFEST.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def present_sha256(figure: str, name: str) -> str:
    """Return the SHA-256 of an input, named from the root of the checkout.

    Raises:
        StaleInput: If it is not there.
    """
    path = ROOT / name
    if not path.is_file():
        raise StaleInput(f"{name}, which figure {figure} reads, is not there", "restore it")
    return sha256(path)


def checked_input(figure: str, name: str) -> Path:
    """Return the path of an input if it is the file that the manifest speaks of.

    Raises:
        StaleInput: If it is another, is not there, or the manifest does not list it.
    """
    found = present_sha256(figure, name)
    listed = manifest().get(figure, {}).get(name)
    if found != listed:
        says = f"the manifest says {listed}" if listed else "the manifest does not list it"
        raise StaleInput(
            f"{name} has the SHA-256 {found}, {says} under [{figure}]",
            f"if the new results are meant, accept them with {UPDATE}",
        )
    return ROOT / name


def table(figure: str, name: str) -> Table:
    """Return the rows of a checked CSV file, without its comment lines."""
    lines = checked_input(figure, name).read_text(encoding="utf-8").splitlines()
    return Table(tuple(csv.DictReader(line for line in lines if not line.startswith("#"))))


def document(figure: str, name: str) -> Any:
    """Return a checked JSON file."""
    return json.loads(checked_input(figure, name).read_text(encoding="utf-8"))


def records(figure: str, name: str) -> tuple[Mapping[str, Any], ...]:
    """Return the lines of a checked file of JSON lines."""
    lines = checked_input(figure, name).read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines if line)
