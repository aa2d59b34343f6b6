"""Log-log slopes of time and memory, from stored rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.rows import Row

LIFT = 8 * 2**20
"""Bytes above the smallest size's peak from which memory is the problem's, not the program's."""
TIME, MEMORY = "processor seconds", "peak memory"
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
            half of the sizes, at least three of them.
        first: Smallest size of the fit.
        last: Largest.
        sizes: How many.
        times_ours: The measure at the largest size, by that of the axis's first method there, or
            of ours that does the same; nan where that was not measured.
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
        own = {measure: _values(by_size, measure) for measure in (TIME, MEMORY)}
        for measure, values in own.items():
            sizes = list(values)[-max(3, (len(values) + 1) // 2) :]
            if len(sizes) < 3:
                continue
            logs = np.log([[size, values[size]] for size in sizes])
            beside = series.get((axis, _BESIDE.get(method, firsts[axis])), {})
            ours = _values(beside, measure).get(sizes[-1], float("nan"))
            slope = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
            found.append(
                Slope(
                    axis,
                    method,
                    measure,
                    slope,
                    sizes[0],
                    sizes[-1],
                    len(sizes),
                    values[sizes[-1]] / ours,
                )
            )
    return found


def _values(by_size: dict[int, Row], measure: str) -> dict[int, float]:
    if measure == TIME:
        return {size: float(row.numbers["processor_seconds"]) for size, row in by_size.items()}
    peaks = {size: float(row.numbers["peak_memory_bytes"]) for size, row in by_size.items()}
    least = min(peaks.values(), default=0.0)
    return {size: peak - least for size, peak in peaks.items() if peak - least > LIFT}


def of(found: Sequence[Slope], axis: str, method: str, measure: str) -> Any:
    """Return one of them, or nothing."""
    wanted = (axis, method, measure)
    return next((s for s in found if (s.axis, s.method, s.measure) == wanted), None)
