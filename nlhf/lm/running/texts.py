"""Text files of a run, which are never left half written."""

import os
from pathlib import Path

from nlhf.errors import NotAllowed


def replace_text(path: Path, text: str) -> None:
    """Write a file in one go: whoever is killed meanwhile leaves the old one.

    Raises:
        NotAllowed: If it cannot be written.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise _unwritten(path, error) from error


def append_text(path: Path, text: str) -> None:
    """Add to a file.

    Raises:
        NotAllowed: If it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> NotAllowed:
    return NotAllowed(
        f"{path} cannot be written: {error.strerror}",
        "free space or permission there, and resume the run",
    )
