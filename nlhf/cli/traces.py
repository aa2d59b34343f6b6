"""Traces: one JSON object per judged iteration, written as the run goes."""

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any

from nlhf.errors import InvalidProblem, NotAllowed
from nlhf.results import Knows, Provenance, TraceRow


class TraceFile:
    """A file of JSON lines: the configuration first, then every judged iteration, each flushed.

    It is made before any work is done, and is removed if the work fails before the first iteration.
    The trace of a run that is resumed is replaced at the first iteration, and not before.

    Args:
        path: The file; it must not exist, unless it is a trace and the run is resumed.
        config: The options of the command.
        resumed: Whether the run goes on from a checkpoint; it tells its earlier iterations again.

    Raises:
        NotAllowed: If the file exists otherwise.
        InvalidProblem: If it cannot be written.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], *, resumed: bool = False) -> None:
        self._path = path
        self._rows = 0
        self._header = {"config": dict(config), "versions": dict(Provenance(method="").versions)}
        self._replaces = resumed and _is_trace(path)
        try:
            self._file = path.open("r+" if self._replaces else "x", encoding="utf-8")
        except FileExistsError as error:
            raise NotAllowed(
                f"{path} exists already, and a trace is never written over another file",
                "give another name, or delete it first",
            ) from error
        except OSError as error:
            raise InvalidProblem(
                f"{path}: {error.strerror}", "choose a folder that exists and can be written to"
            ) from error
        if not self._replaces:
            self._write(self._header)

    def add(self, prompts: tuple[str, ...], row: TraceRow) -> None:
        """Write a judged iteration of a run over some prompts; its gap is the largest of theirs.

        A gap that is not finite becomes null.
        """
        if self._replaces and not self._rows:
            self._file.truncate(0)
            self._write(self._header)
        self._rows += 1
        self._write(
            {
                "prompts": list(prompts),
                "iteration": row.iteration,
                "seconds": row.seconds,
                "gap": row.gap if isfinite(row.gap) else None,
                "knows": str(Knows.EXACT),  # certificates of finite games are
            }
        )

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, allow_nan=False) + "\n")
        self._file.flush()

    def __enter__(self) -> "TraceFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._file.close()
        if error is not None and not self._rows and not self._replaces:
            self._path.unlink(missing_ok=True)


def _is_trace(path: Path) -> bool:
    """Whether a file starts as traces do."""
    try:
        with path.open(encoding="utf-8") as file:
            header = json.loads(file.readline())
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and header.keys() == {"config", "versions"}
