"""Files that are never left half written."""

import os
from contextlib import suppress
from pathlib import Path

from nlhf.errors import NotAllowed


def replace_file(path: Path, text: str | bytes) -> None:
    """Write a file in one go: whoever is killed meanwhile leaves the old one.

    Text is written in UTF-8. Of several who write at once, one is last, and its file is whole.

    Raises:
        NotAllowed: If it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
    try:
        with part.open("wb") as file:
            file.write(_bytes(text))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


def append_to_file(path: Path, text: str | bytes) -> None:
    """Add to a file, which is made if there is none. Text is written in UTF-8.

    Raises:
        NotAllowed: If it cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(_bytes(text))
    except OSError as error:
        raise _unwritten(path, error) from error


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _unwritten(path: Path, error: OSError) -> NotAllowed:
    return NotAllowed(
        f"{path} cannot be written: {error.strerror}",
        "give a place in a folder that exists, may be written to and has space; what was written "
        "before is untouched",
    )
