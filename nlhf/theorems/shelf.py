"""Records that outlast the run that made them: a folder with one file a theorem."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from nlhf.errors import HypothesisViolated, NotAllowed
from nlhf.files import replace_file
from nlhf.results import Provenance
from nlhf.theorems.ledger import announcing_packages, place_of
from nlhf.theorems.records import Record, plain, restored


@dataclass(frozen=True, slots=True)
class Search:
    """What decides, with the ledger and the versions of what runs, every number of a search.

    Attributes:
        budget: Instances per theorem; see `nlhf.theorems.check`.
        seed: Seed of the stream.
    """

    budget: int
    seed: int

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise HypothesisViolated(f"the budget is {self.budget} instances", "give at least 1")
        if self.seed < 0:
            raise HypothesisViolated(f"the seed is {self.seed}", "give an integer of at least 0")


class Shelf:
    """A folder of records, one file a theorem, of one search.

    Args:
        folder: The folder; it is made if there is none.
        search: What the records are of.

    Raises:
        NotAllowed: If the folder cannot be made.
    """

    def __init__(self, folder: Path, search: Search) -> None:
        self._folder = folder
        self._fingerprint = fingerprint(search)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotAllowed(
                f"the folder {folder} cannot be made: {error.strerror}",
                "give one that may be written to",
            ) from error

    def read(self, key: str) -> Record | None:
        """Return the record of a theorem; `None` if there is none, or not a whole one."""
        try:
            found = json.loads(self._path(key).read_text(encoding="utf-8"))
            if found["fingerprint"] != self._fingerprint or found["sha256"] != _digest(
                found["record"]
            ):
                return None
            return restored(found["record"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, found: Record) -> None:
        """Write the record of a theorem; whatever happens, a whole file is there or none.

        Raises:
            NotAllowed: If it cannot be written.
        """
        data, path = plain(found), self._path(found.key)
        content = {"fingerprint": self._fingerprint, "sha256": _digest(data), "record": data}
        replace_file(path, json.dumps(content, allow_nan=False))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def fingerprint(search: Search) -> str:
    """Return a digest of everything that decides the numbers of a search."""
    digest = hashlib.sha256(json.dumps([search.budget, search.seed, *versions()]).encode())
    for package in ("nlhf", *announcing_packages()):
        for name, path in sorted(_sources(place_of(package), package)):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def versions() -> tuple[tuple[str, str], ...]:
    """Return the names and versions of what a search runs on."""
    return (*Provenance(method="").versions, ("hypothesis", version("hypothesis")))


def _sources(place: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    if place.is_file():
        yield name, place
        return
    for child in place.iterdir():
        if child.is_dir() or child.name.endswith(".py"):
            yield from _sources(child, f"{name}/{child.name}")


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
