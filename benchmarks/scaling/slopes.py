"""Log-log slopes of time and memory, from stored rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from benchmarks.rows import Row

LIFT = 8 * 2**20
"""Bytes above the smallest size's peak from which memory is the problem's, not the program's."""
TIME, MEMORY = "processor seconds", "peak memory"
_NUMBERS = {TIME: "processor_seconds", MEMORY: "peak_memory_bytes"}
_BESIDE = {"outer step": "outer step", "trl outer step": "outer step"}
"""Methods that are compared with another than the first of their axis."""


@dataclass(frozen=True, slots=True)
class Slope:
    """How a quantity grows with a size.

    Attributes:
        axis: What grows.
        method: By which method.
        measure: ``processor seconds``, or ``peak memory``: bytes above the peak of the smallest
            size, where they are more than 8 MiB.
        slope: Of the logarithm of the measure on that of the size: least squares over the larger
            half of the sizes, at least three of them; nan if fewer can be fitted.
        first: Smallest size of the fit.
        last: Largest.
        sizes: How many.
        times_ours: Seconds, or bytes of the whole peak, at the largest size of all, by those of the
            axis's first method there, or of ours that does the same; nan where these are not known.
    """

    axis: str
    method: str
    measure: str
    slope: float
    first: int
    last: int
    sizes: int
    times_ours: float


def newest(rows: Iterable[Row]) -> dict[tuple[str, str], dict[int, Row]]:
    """Return the last good row of every size, by axis and method, sizes in order."""
    found: dict[tuple[str, str], dict[int, Row]] = {}
    for row in rows:
        if row.kind == "Scaling" and "processor_seconds" in row.numbers:
            place = row.case["axis"], row.method
            found.setdefault(place, {})[int(row.case["value"])] = row
    return {place: dict(sorted(sizes.items())) for place, sizes in found.items()}


def slopes(rows: Iterable[Row]) -> list[Slope]:
    """Return the slopes that can be fitted."""
    series = newest(rows)
    firsts: dict[str, str] = {}
    for axis, method in series:
        firsts.setdefault(axis, method)
    found = []
    for (axis, method), by_size in series.items():
        beside = series.get((axis, _BESIDE.get(method, firsts[axis])), {})
        for measure, name in _NUMBERS.items():
            every = {size: float(row.numbers[name]) for size, row in by_size.items()}
            last = max(every)
            ours = float(beside[last].numbers[name]) if last in beside else nan
            fitted = _fitted(every, measure)
            found.append(
                Slope(
                    axis,
                    method,
                    measure,
                    _slope(fitted),
                    min(fitted, default=last),
                    last,
                    len(fitted),
                    every[last] / ours,
                )
            )
    return found


def _fitted(every: dict[int, float], measure: str) -> dict[int, float]:
    """Return the larger half of the sizes; of memory, of those whose peaks are lifted."""
    if measure == MEMORY:
        least = min(every.values())
        every = {size: peak - least for size, peak in every.items() if peak - least > LIFT}
    return {size: every[size] for size in list(every)[-max(3, (len(every) + 1) // 2) :]}


def _slope(fitted: dict[int, float]) -> float:
    if len(fitted) < 3:
        return nan
    logs = np.log(np.array(list(fitted.items())))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def of(found: Sequence[Slope], axis: str, method: str, measure: str) -> Any:
    """Return one of them, or nothing."""
    wanted = (axis, method, measure)
    return next((s for s in found if (s.axis, s.method, s.measure) == wanted), None)
