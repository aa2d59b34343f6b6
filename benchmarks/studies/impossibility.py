"""Sweeps of the alignment gap and its bounds against ε, η(u) and β, for the paper's figure."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from benchmarks.provenance import ROOT, write_origin
from benchmarks.sizes import Size
from nlhf.analysis.impossibility import Impossibility, impossibility
from nlhf.analysis.population import Population

_BASE = (0.5, 0.0)
"""What both groups have in common, in logits per feature; u has more of the first."""

_SHARE = 0.2
_NEAR, _FAR = 0.01, 1.0
"""‖φ_u − φ_j‖ in the sweeps of η(u) and of β."""

_BETA = 1.0
_POINTS = 49

COLUMNS = (
    "sweep",
    "distance",
    "share",
    "beta",
    "epsilon",
    "mismatch",
    "misspecification",
    "gap",
    "segment",
    "repaired",
    "transcribed",
    "squared",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One instance of a sweep.

    Attributes:
        sweep: What varies: ``epsilon``, ``share`` or ``beta``.
        distance: ‖φ_u − φ_j‖, in logits per feature at β = 1.
        share: η_u.
        beta: β.
    """

    sweep: str
    distance: float
    share: float
    beta: float


def points() -> Iterator[Point]:
    """Yield the instances of all sweeps, in order."""
    for distance in np.geomspace(1e-4, 2.0, _POINTS):
        yield Point("epsilon", float(distance), _SHARE, _BETA)
    for share in np.linspace(0.01, 0.99, _POINTS):
        yield Point("share", _NEAR, float(share), _BETA)
    for beta in np.geomspace(1e-4, 10.0, _POINTS):
        yield Point("beta", _FAR, _SHARE, float(beta))


def solve(point: Point) -> Impossibility:
    """Return what the theorem says of the second group of the instance.

    Two groups over ±e_1, ±e_2, of which opposites are compared, so that the pooled model is exact.
    In the sweep of β the policies of the groups are held fixed: φ_u = β θ_u.
    """
    scale = point.beta if point.sweep == "beta" else 1.0
    base = np.array(_BASE)
    distant = base + np.array([point.distance, 0.0])
    population = Population.cross_polytope(
        scale * np.stack([base, distant]),
        temperature=point.beta,
        proportions=[1.0 - point.share, point.share],
    )
    return impossibility(population, group=1)


def row(point: Point) -> list[str]:
    """Return a line of the table."""
    found = solve(point)
    bounds = found.gap_bounds
    numbers = (
        point.distance,
        point.share,
        point.beta,
        found.epsilon,
        float(found.mismatch[found.minority]),
        found.misspecification,
        found.gap,
        bounds.segment,
        bounds.repaired,
        bounds.transcribed,
        bounds.squared,
    )
    return [point.sweep, *(repr(float(number)) for number in numbers)]


def write(table: TextIO) -> None:
    """Write the table, after its origin in comment lines."""
    write_origin(table, ROOT)
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(row(point) for point in points())


def record(folder: Path, size: Size) -> None:
    """Write ``impossibility.csv``; a second's work, the same at every size."""
    with (folder / "impossibility.csv").open("w", encoding="utf-8") as table:
        write(table)
