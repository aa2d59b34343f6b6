"""Seconds by the wall and by the processor, and a yardstick to compare machines and moments by."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

_YARDS = 300
"""Rounds of the yardstick: about 10 ms."""


@dataclass(slots=True)
class Laps:
    """What repetitions of one thing took; processor seconds are those of all threads."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def time(self, call: Callable[[], T]) -> T:
        """Call, add what it took, return what it returned."""
        wall, processor = time.perf_counter(), time.process_time()
        result = call()
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)
        return result

    def numbers(self) -> dict[str, Any]:
        """Return medians and all laps under the names that rows have."""
        return {
            "seconds": median(self.wall),
            "seconds_each": self.wall,
            "processor_seconds": median(self.processor),
            "processor_seconds_each": self.processor,
        }


def yardstick() -> float:
    """Do a fixed piece of work in NumPy and Python; numbers that fit a cache, one thread."""
    a = np.linspace(0.0, 1.0, 4096).reshape(64, 64)
    total = 0.0
    for k in range(_YARDS):
        total += float(np.exp(a @ a.T * 1e-3)[k % 64].sum())
        total += sum(i * 0.5 for i in range(60))
    return total


def repeat(call: Callable[[], object], repeats: int, *, warm: bool = True) -> dict[str, Any]:
    """Return the laps of a call and of the yardstick, in turn; the first call is not counted.

    Args:
        call: What is timed.
        repeats: How often.
        warm: Whether to call once before; without, the first call counts.
    """
    laps, yards = Laps(), Laps()
    if warm:
        call()
    yardstick()
    for _ in range(repeats):
        laps.time(call)
        yards.time(yardstick)
    return laps.numbers() | yardstick_numbers(yards)


def yardstick_numbers(yards: Laps) -> dict[str, Any]:
    """Return the laps of the yardstick under the names that rows have."""
    return {
        "yardstick_seconds_each": yards.wall,
        "yardstick_processor_seconds_each": yards.processor,
    }


def peak_bytes() -> int:
    """Return the largest resident size of this process so far.

    On Linux from VmHWM, which starts at zero when a program does; ``ru_maxrss`` would start at the
    size of the process that launched this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
