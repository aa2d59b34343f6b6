"""Named randomness: every consumer asks for its own child, so adding one shifts no other."""

import hashlib
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Stream:
    """A node in a tree of independent random streams.

    `Stream(seed).child("opponents", 3)` is the same stream in every run and on every machine,
    whatever else is drawn. A stream holds no state; `generator()` starts at its beginning.

    Attributes:
        seed: The root entropy, a non-negative integer.
        path: The names that lead from the root to this stream.
    """

    seed: int
    path: tuple[str, ...] = field(default=())

    def child(self, *names: str | int) -> "Stream":
        """Return the stream below this one under the given names."""
        return Stream(self.seed, self.path + tuple(str(name) for name in names))

    def generator(self) -> np.random.Generator:
        """Return a fresh generator at the start of this stream."""
        digest = hashlib.sha256("\x1f".join(self.path).encode()).digest()
        key = np.frombuffer(digest, dtype="<u4").tolist()
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=tuple(key)))
