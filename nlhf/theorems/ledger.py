"""Where statements come from: installed packages announce theirs under one entry-point group."""

from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from nlhf.errors import InvalidProblem, MissingExtra
from nlhf.theorems.statement import Theorem

GROUP = "nlhf.theorems"
"""The entry-point group; each entry is a tuple of theorems."""


def installed_theorems() -> tuple[Theorem[Any], ...]:
    """Return the theorems of every installed package that announces some.

    Raises:
        MissingExtra: If no package does.
        InvalidProblem: If two theorems share a key.
    """
    found: list[Theorem[Any]] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        found.extend(entry.load())
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
