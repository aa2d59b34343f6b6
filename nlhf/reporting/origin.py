"""Where and when a report was made."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import nlhf
from nlhf.theorems import Search, versions


@dataclass(frozen=True, slots=True)
class Origin:
    """What a reader needs to make a report again.

    Attributes:
        search: Budget and seed.
        versions: Names and versions of what computed it.
        date: When it was made, in UTC.
        commit: The commit of the sources, with a note where they differ from it; empty where they
            are not in a checkout.
        seconds: Wall time of this run; theorems taken from an earlier one took none of it.
    """

    search: Search
    versions: tuple[tuple[str, str], ...]
    date: str
    commit: str
    seconds: float


def origin(search: Search, seconds: float) -> Origin:
    """Return the origin of a report that is made now."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Origin(search, versions(), date, commit(Path(nlhf.__file__).parent), seconds)


def commit(folder: Path) -> str:
    """Return the commit of a folder of sources; empty unless git tracks them."""
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return ""
    head = _git(folder, "rev-parse", "HEAD") or ""
    changed = _git(folder, "status", "--porcelain", "--", ".")
    return f"{head}, with changes" if head and changed else head


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
