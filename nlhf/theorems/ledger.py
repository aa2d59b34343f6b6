"""Where statements come from: installed packages announce theirs under one entry-point group."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nlhf.errors import InvalidProblem, MissingExtra
from nlhf.theorems.references import Reference, parse_references
from nlhf.theorems.statement import Difference, Theorem

GROUP = "nlhf.theorems"
"""The entry-point group; each entry is a tuple of theorems."""

BIBLIOGRAPHY = "references.bib"
"""The file beside the statements that says in full what their sources are."""


def installed_theorems() -> tuple[Theorem[Any], ...]:
    """Return the theorems of every installed package that announces some.

    Raises:
        MissingExtra: If no package does.
        InvalidProblem: If two theorems share a key.
    """
    found = [theorem for entry in _entries() for theorem in entry.load()]
    if not found:
        raise MissingExtra(
            f"no installed package announces theorems under the entry-point group {GROUP!r}",
            "install nlhf itself (pip install nlhf, or pip install -e . in a checkout): "
            "the ledger comes with it",
        )
    keys = [theorem.key for theorem in found]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise InvalidProblem(f"several theorems share the keys {twice}", "rename one of each")
    return tuple(found)


def installed_references() -> Mapping[str, Reference]:
    """Return the bibliographies of all packages that announce theorems, as one.

    Raises:
        InvalidData: If one of them cannot be read as BibTeX.
    """
    found: dict[str, Reference] = {}
    for package in announcing_packages():
        bibliography = place_of(package) / BIBLIOGRAPHY
        if bibliography.is_file():
            found |= parse_references(bibliography.read_text(encoding="utf-8"))
    return found


def installed_differences() -> tuple[Difference, ...]:
    """Return what the modules that announce theorems say, as `DIFFERENCES`, of their origin."""
    modules = dict.fromkeys(entry.module for entry in _entries())
    return tuple(
        item for module in modules for item in getattr(import_module(module), "DIFFERENCES", ())
    )


def announcing_packages() -> tuple[str, ...]:
    """Return the top-level packages that announce theorems, each once, sorted."""
    return tuple(sorted({entry.module.partition(".")[0] for entry in _entries()}))


def place_of(package: str) -> Traversable:
    """Return the folder of an installed package; for a module of a single file, the file."""
    found = find_spec(package)
    if found is not None and found.submodule_search_locations is None and found.origin:
        return Path(found.origin)
    return files(package)


def select(theorems: Sequence[Theorem[Any]], keys: Sequence[str]) -> tuple[Theorem[Any], ...]:
    """Return the theorems with these keys, in the order of the keys; all of them for no keys.

    Raises:
        InvalidProblem: If there is no theorem of a key; near matches are named.
    """
    if not keys:
        return tuple(theorems)
    known = {theorem.key: theorem for theorem in theorems}
    for key in keys:
        if key not in known:
            near = get_close_matches(key, known, n=3, cutoff=0.5)
            raise InvalidProblem(
                f"there is no theorem {key!r} among {len(known)}",
                f"did you mean {' or '.join(near)}?" if near else f"choose among {sorted(known)}",
            )
    return tuple(known[key] for key in dict.fromkeys(keys))


def _entries() -> list[Any]:  # of a class of its own where importlib_metadata is loaded
    return sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))
