"""Where and when a report was made."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nlhf.theorems import Search, announcing_packages, place_of, versions


@dataclass(frozen=True, slots=True)
class Origin:
    """What a reader needs to make a report again.

    Attributes:
        search: Budget and seed.
        versions: Names and versions of what computed it.
        date: When it was made, in UTC.
        commit: The commit of the sources of nlhf and of the ledger, with a note where they differ
            from it; empty where they are not in a checkout.
        seconds: Wall time of this run; theorems taken from an earlier one took none of it.
        only: The keys that were asked for; empty for the whole ledger.
    """

    search: Search
    versions: tuple[tuple[str, str], ...]
    date: str
    commit: str
    seconds: float
    only: tuple[str, ...] = ()


def origin(search: Search, seconds: float, only: tuple[str, ...] = ()) -> Origin:
    """Return the origin of a report that is made now."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    sources = [Path(str(place_of(name))) for name in ("nlhf", *announcing_packages())]
    return Origin(search, versions(), date, commit(sources), seconds, only)


def commit(sources: Iterable[Path]) -> str:
    """Return the commit of files and folders, of each checkout one; empty if git tracks none."""
    changed: dict[str, bool] = {}
    for place in sources:
        folder = place if place.is_dir() else place.parent
        head = _git(folder, "rev-parse", "HEAD")
        if head and _git(folder, "ls-files", "--", str(place)):
            differs = _git(folder, "status", "--porcelain", "--", str(place)) != ""
            changed[head] = changed.get(head, False) or differs
    return "; ".join(head + ", with changes" * differs for head, differs in changed.items())


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
