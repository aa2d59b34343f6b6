"""Every shipped algorithm on one preference game at three temperatures, for the paper's figure.

Written down before the first run, and not changed after. The game: one prompt, 16 responses, every
pair's preference uniform on [0, 1], from ``Stream(2026).child("rates")``; uniform reference. All
methods of `nlhf.compare` with their default steps from the reference, every iterate judged, until a
certified duality gap of 1e-10 or 5,000 iterations. Temperatures 0.1, 0.01 and 0. ``rates.csv`` has
the judged iterates at 1, 2, ... and about 12 iterations a decade from there; `bound` is what
theorems promise of the gap there, empty where they promise nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import nlhf
from benchmarks.sizes import Size
from benchmarks.solvers.instances import uniform
from benchmarks.tables import write_table
from nlhf.algorithms.loop import StopRule
from nlhf.analysis.comparison import Run, compare

RESPONSES = 16
TEMPERATURES = (0.1, 0.01, 0.0)
STOP = StopRule(gap=1e-10, max_iterations=5000, judge_every=1, patience=5000)
POINTS = 45


@dataclass(frozen=True, slots=True)
class Judged:
    """One judged iterate of a method.

    Attributes:
        temperature: Of the game, in win probability.
        method: Its name.
        published: Names that it is published under, between slashes.
        step_size: η, nan where there is not one.
        stop: Why the run ended.
        iteration: Steps taken.
        evaluations: Of the payoffs at a profile, so far.
        gap: The certified duality gap, in win probability.
        bound: The gap is proven to be at most this here; nan where nothing is proven.
    """

    temperature: float
    method: str
    published: str
    step_size: float
    stop: str
    iteration: int
    evaluations: int
    gap: float
    bound: float


def judged(temperature: float, responses: int, stop: StopRule) -> Iterator[Judged]:
    """Yield the iterates of all methods at a temperature."""
    stream = nlhf.Stream(2026).child("rates")
    preference = uniform(stream.generator(), 1, responses)[0]
    game = nlhf.PreferenceGame(preference, temperature=temperature)
    looks = np.unique(np.geomspace(1.0, stop.max_iterations, POINTS).round())
    for run in compare(game, stop=stop).runs:
        curve = run.curve
        kept = np.isin(curve.iterations, looks)
        kept[-1] = True
        for k in np.flatnonzero(kept):
            yield Judged(
                temperature,
                run.name,
                "/".join(run.published),
                float("nan") if run.step_size is None else run.step_size,
                str(run.stop),
                int(curve.iterations[k]),
                int(curve.evaluations[k]),
                float(curve.gaps[k]),
                _promised(run, int(curve.iterations[k])),
            )


def _promised(run: Run, iteration: int) -> float:
    """Return the proven bound of the gap at the last listed iteration that is no later."""
    if run.promise is None or not run.promise.gaps.size or iteration < run.promise.iterations[0]:
        return float("nan")
    place = np.searchsorted(run.promise.iterations, iteration, side="right") - 1
    return float(run.promise.gaps[place])


def record(folder: Path, size: Size) -> None:
    """Write ``rates.csv``."""
    stop = replace(STOP, max_iterations=size.pick(20, STOP.max_iterations))
    rows = [one for t in TEMPERATURES for one in judged(t, size.pick(4, RESPONSES), stop)]
    write_table(folder / "rates.csv", rows)
