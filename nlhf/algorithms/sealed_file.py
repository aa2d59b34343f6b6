"""Files that are replaced in one go, and known to be whole when they are read."""

import hashlib
from pathlib import Path

from nlhf.errors import InvalidData, NotAllowed
from nlhf.files import replace_file


class SealedFile:
    """A file with a magic line, a digest, and content.

    Args:
        path: The file.
        magic: Its first line, which says what it is and in which version.
        what: What the file is called in errors.
    """

    def __init__(self, path: Path, magic: bytes, what: str) -> None:
        self._path, self._magic, self._what = path, magic, what

    def read(self) -> bytes | None:
        """Return the content, or `None` if there is no file yet.

        Raises:
            InvalidData: If it is another kind of file, or damaged.
            NotAllowed: If it cannot be read.
        """
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotAllowed(
                f"the checkpoint {self._path} cannot be read: {error.strerror}",
                "give the path of a file that you may read and write",
            ) from error
        digest, _, content = raw.removeprefix(self._magic).partition(b"\n")
        if not raw.startswith(self._magic) or digest != _digest(content):
            raise InvalidData(
                f"{self._path} is no {self._what}, or is damaged ({len(raw)} bytes)",
                "delete it to start again, or give the path of an undamaged copy",
            )
        return content

    def write(self, content: bytes) -> None:
        """Replace the file; whatever happens, the old or the new content is there.

        Raises:
            NotAllowed: If it cannot be written.
        """
        replace_file(self._path, self._magic + _digest(content) + b"\n" + content)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
