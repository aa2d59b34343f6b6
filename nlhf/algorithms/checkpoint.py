"""Checkpoints: long runs that survive an interruption, and go on as if there had been none.

A checkpoint holds a pickle, which can run code when it is read: resume only files that you trust.
"""

import json
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nlhf.algorithms.fingerprint import fingerprint
from nlhf.algorithms.sealed_file import SealedFile
from nlhf.errors import HypothesisViolated, InvalidData, NotAllowed, Unsupported
from nlhf.protocols import Algorithm, Game
from nlhf.results import Profile, TraceRow
from nlhf.streams import Stream

_MAGIC = b"nlhf checkpoint 1\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run is saved, and how often; if the file is there, the run is resumed from it.

    A resumed run continues bit by bit what the interrupted one would have done. The stop rule is
    free to change, so a finished run goes on with a smaller gap or a larger budget; the time
    spent before counts. The file is replaced in one go, never half written. It holds a pickle:
    **resume only files that you trust**.

    Attributes:
        path: The file.
        every_seconds: Seconds between two saves. It is also saved at the start and at the end,
            and when the run is interrupted or fails.

    Raises:
        HypothesisViolated: If `every_seconds` is negative.
    """

    path: Path | str
    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if not self.every_seconds >= 0.0:
            raise HypothesisViolated(
                f"every_seconds is {self.every_seconds}", "pass a number of seconds, at least 0"
            )


@dataclass(frozen=True, slots=True)
class Identity:
    """What a run is a run of; only that run may go on from its checkpoint.

    Attributes:
        game: Fingerprint of the game.
        start: Fingerprint of the profile it started from.
        algorithm: Fingerprint of the method with its configuration.
        stream: Its randomness.
        shown: The method as it prints itself, for messages only.
    """

    game: str
    start: str
    algorithm: str
    stream: str
    shown: str

    @classmethod
    def of(
        cls, game: Game[Any, Any], start: Profile[Any], algorithm: Algorithm[Any], stream: Stream
    ) -> "Identity":
        """Return the identity of a run."""
        return cls(
            game=fingerprint(game),
            start=fingerprint(start),
            algorithm=fingerprint(algorithm),
            stream=repr(stream),
            shown=repr(algorithm),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A run on arrival at an iteration, before it is judged there.

    Attributes:
        iteration: Steps taken.
        state: The state of the algorithm.
        seconds: Wall time so far.
        rows: The judged iterations before this one.
    """

    iteration: int
    state: Any
    seconds: float = 0.0
    rows: tuple[TraceRow, ...] = ()


class CheckpointFile:
    """The checkpoint of one run.

    Args:
        checkpoint: Where and how often.
        identity: What the run is a run of.
    """

    def __init__(self, checkpoint: Checkpoint, identity: Identity) -> None:
        self._path = Path(checkpoint.path)
        self._file = SealedFile(self._path, _MAGIC, "checkpoint")
        self._every = checkpoint.every_seconds
        self._identity = json.dumps(asdict(identity)).encode()
        self._saved = time.perf_counter()

    def due(self) -> bool:
        """Return whether it is time for the next save."""
        return time.perf_counter() - self._saved >= self._every

    def load(self) -> Point | None:
        """Return the saved point, or `None` if there is no file yet.

        Raises:
            InvalidData: If the file is no checkpoint or is damaged.
            NotAllowed: If it cannot be read, or is the checkpoint of another run.
        """
        content = self._file.read()
        if content is None:
            return None
        identity, _, body = content.partition(b"\n")
        self._check(json.loads(identity))
        return self._unpickled(body)

    def save(self, point: Point) -> None:
        """Replace the file by this point.

        Raises:
            NotAllowed: If it cannot be written.
            Unsupported: If the state cannot be pickled.
        """
        try:
            body = pickle.dumps(point, protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise Unsupported(
                f"the state of the algorithm cannot be saved: {error}",
                "make it picklable, or run without a checkpoint",
            ) from error
        self._file.write(self._identity + b"\n" + body)
        self._saved = time.perf_counter()

    def _check(self, theirs: dict[str, str]) -> None:
        ours = json.loads(self._identity)
        for part in ("algorithm", "stream", "game", "start"):
            if ours[part] != theirs[part]:
                told = {"algorithm": "shown", "stream": "stream"}.get(part)
                detail = "" if told is None else f": {theirs[told]}, not {ours[told]}"
                raise NotAllowed(
                    f"{self._path} is the checkpoint of a run with another {part}{detail}",
                    "give another path, or delete the file to start again",
                )

    def _unpickled(self, body: bytes) -> Point:
        try:
            point = pickle.loads(body)
        except Exception as error:  # whatever a class of another version may raise
            raise InvalidData(
                f"{self._path} cannot be understood: {error!r}",
                "resume with the version of nlhf that made it, or delete it to start again",
            ) from error
        if not isinstance(point, Point):
            raise InvalidData(f"{self._path} holds a {type(point).__name__}", "delete it")
        return point
