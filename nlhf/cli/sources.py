"""Files of preferences, read by what their ending or the user says they hold."""

from enum import StrEnum
from pathlib import Path

from nlhf.data.counts import WinCounts, win_counts
from nlhf.data.matrices import Preferences
from nlhf.errors import InvalidData


class Format(StrEnum):
    """What a file holds."""

    AUTO = "auto"
    VOTES = "votes"
    WINS = "wins"
    PREFERENCES = "preferences"
    PREFLIB = "preflib"
    COMPARISONS = "comparisons"


_BY_SUFFIX = {
    ".csv": Format.VOTES,
    ".npy": Format.PREFERENCES,
    ".jsonl": Format.COMPARISONS,
    ".parquet": Format.COMPARISONS,
    **dict.fromkeys((".soc", ".soi", ".toc", ".toi"), Format.PREFLIB),
}


def read(path: Path, format_: Format) -> tuple[WinCounts, ...] | Preferences:
    """Return the votes or the preferences that a file holds.

    Raises:
        InvalidData: If the file cannot be read, or its ending does not say what it holds.
    """
    if format_ is Format.AUTO:
        suffix = path.suffix.lower()
        if suffix not in _BY_SUFFIX:
            raise InvalidData(
                f"{path}: the ending {suffix!r} says nothing of what the file holds",
                "give --format votes, wins, preferences, preflib or comparisons",
            )
        format_ = _BY_SUFFIX[suffix]
    if format_ is Format.VOTES:
        from nlhf.data.votes_csv import read_votes

        return win_counts(read_votes(path))
    if format_ is Format.COMPARISONS:
        from nlhf.data.comparisons import read_comparisons

        return win_counts(read_comparisons(path, container=_container(path, "parquet", "jsonl")))
    if format_ is Format.PREFLIB:
        from nlhf.data.preflib import read_preflib

        return read_preflib(path)
    from nlhf.data.matrices import read_preferences, read_win_counts

    container = _container(path, "npy", "csv")
    if format_ is Format.WINS:
        return read_win_counts(path, container=container)
    return read_preferences(path, container=container)


def _container(path: Path, binary: str, text: str) -> str:
    """Return the binary container if the ending says so; --format says that it is text if not."""
    return binary if path.suffix.lower() == f".{binary}" else text
