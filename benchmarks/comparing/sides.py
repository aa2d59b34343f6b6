"""The two runs of a comparison: which rows a folder, a file or a revision means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.provenance import RESULTS, ROOT, commit_of
from benchmarks.rows import Row, read_rows
from nlhf.errors import InvalidData, NotAllowed

_MACHINE = ("cpu", "cores", "platform", "python")


@dataclass(frozen=True, slots=True)
class Side:
    """One run: the newest row of every case and method.

    Attributes:
        name: As it was asked for.
        revisions: Of the rows, shortened.
        machines: In words.
        load: The largest load average while it was measured.
        rows: By key of the case and method.
    """

    name: str
    revisions: tuple[str, ...]
    machines: tuple[str, ...]
    load: float
    rows: dict[tuple[str, str], Row]


def side(name: str, folder: Path | None) -> Side:
    """Return the run that a name means.

    Args:
        name: A folder that holds ``rows.jsonl``, such a file, or a revision: the beginning of a
            commit, or what git knows a commit by.
        folder: Where the rows of a revision are looked for; by default the checkout's results.

    Raises:
        InvalidData: If the folder or file has no rows.
        NotAllowed: If no row is of the revision, or the name means several.
    """
    path = Path(name)
    rows = read_rows(path) if path.exists() else _of_revision(name, folder or RESULTS)
    if not rows:
        raise InvalidData(f"{name} holds no rows", "give a folder that nlhf bench wrote to")
    newest = {(row.key, row.method): row for row in rows}
    origins = [row.provenance for row in newest.values()]
    return Side(
        name,
        tuple(sorted({_short(str(origin["revision"])) for origin in origins})),
        tuple(sorted({_machine(origin) for origin in origins})),
        max(max(row.load) for row in newest.values()),
        newest,
    )


def _of_revision(name: str, folder: Path) -> list[Row]:
    rows = read_rows(folder)
    there = list(dict.fromkeys(str(row.provenance["revision"]) for row in rows))
    wanted = commit_of(ROOT, name) or name
    meant = [one for one in there if one.startswith((wanted, name))]
    # A commit and the same with changes are two runs; the exact name means the former.
    meant = [one for one in meant if one in (wanted, name)] or meant
    if len(meant) != 1:
        found = "rows of several revisions" if meant else "no rows"
        raise NotAllowed(
            f"{name} is no file or folder, and {folder} holds {found} of such a revision"
            + (f": {', '.join(map(_short, meant))}" if meant else ""),
            f"name one of: {', '.join(map(_short, there)) or 'none'}, or a folder of results",
        )
    return [row for row in rows if row.provenance["revision"] == meant[0]]


def _short(revision: str) -> str:
    commit, _, changes = revision.partition("+")
    return commit[:10] + (f"+{changes[:6]}" if changes else "")


def _machine(origin: dict[str, Any]) -> str:
    return ", ".join(f"{name} {origin.get(name, 'unknown')}" for name in _MACHINE)


def measured(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that have times."""
    return [row for row in rows if "seconds_each" in row.numbers and row.status != "failed"]
