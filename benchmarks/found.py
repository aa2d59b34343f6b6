"""What was found of one method, whether it worked or not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.clock import Laps


class Absent(Exception):
    """Something that is not installed, or data that are not there; says what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """One method on one case.

    Attributes:
        method: Its name.
        numbers: Named quantities, units in the names.
        status: ``ok``; ``failed`` or ``absent`` with a message; or what the method says of itself.
        message: Why it failed.
    """

    method: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    status: str = "ok"
    message: str = ""

    @staticmethod
    def failure(method: str, error: Exception) -> "Found":
        """Return what is told of a method that raised an error."""
        absent = isinstance(error, Absent | ImportError)
        message = f"{type(error).__name__}: {error}"[:500]
        return Found(method, {}, "absent" if absent else "failed", message)


def ratios(own: Laps, first: Laps, name: str) -> dict[str, Any]:
    """Return how many times the named first method's laps the own ones are, in turn.

    Both ran on each game within a second or so: load on the machine hits both.
    """
    return {
        "first": name,
        "times_the_first": median(_divided(own.wall, first.wall)),
        "times_the_first_in_processor_time": median(_divided(own.processor, first.processor)),
    }


def _divided(own: Iterable[float], other: Iterable[float]) -> list[float]:
    return [a / b for a, b in zip(own, other, strict=False)]
