"""Pictures as files: checked before any work is done for them, and written."""

import os
import warnings
from pathlib import Path
from typing import Any

from nlhf.errors import InvalidProblem


def check_picture(path: str | Path) -> None:
    """Check that a picture could be written, before any work is done for it.

    Raises:
        InvalidProblem: If the ending is neither .png nor .svg, the folder does not exist or cannot
            be written to, or the path is a folder itself.
    """
    target = Path(path)
    if target.suffix.lower() not in (".png", ".svg"):
        raise InvalidProblem(f"{target}: cannot draw {target.suffix!r}", "use .png or .svg")
    if not target.parent.is_dir():
        raise InvalidProblem(
            f"{target}: the folder {target.parent} does not exist", "choose a folder that exists"
        )
    if target.is_dir():
        raise InvalidProblem(f"{target}: is a folder", "give the path of a file")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise InvalidProblem(
            f"{target}: no permission to write", "choose a file that can be written to"
        )


def save(figure: Any, target: Path) -> None:
    """Write a figure.

    Raises:
        InvalidProblem: If the file cannot be written.
    """
    try:
        with warnings.catch_warnings():
            # Names may be in any script; what the font lacks is drawn as boxes.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
            figure.savefig(target, dpi=150)
    except OSError as error:
        raise InvalidProblem(
            f"{target}: {error.strerror}", "choose a folder that can be written to"
        ) from error
