"""Measuring one case: what becomes of it are plain measurements, failures among them."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks import processes
from benchmarks.cases import (
    Candidates,
    Case,
    Comparison,
    Footprint,
    Groups,
    OuterStep,
    Planning,
    Raters,
    Recovery,
    Scaling,
    Startup,
    Steps,
    Study,
    Sweeps,
    Tally,
    Toy,
    methods_of,
)
from benchmarks.found import Found
from benchmarks.language.outer_step import outer_step
from benchmarks.scaling.measure import scaling
from benchmarks.solvers.comparison import comparison
from benchmarks.solvers.environments import toys
from benchmarks.solvers.maxmin import maxmin
from benchmarks.solvers.mdp import plans, sweeps
from benchmarks.solvers.raters import raters, recovery
from benchmarks.solvers.steps import steps
from benchmarks.solvers.tally import tally


@dataclass(frozen=True, slots=True)
class Measurement:
    """One method on one case.

    Attributes:
        found: Method, status, numbers.
        load: Load averages of the machine over the last minute, before and after.
    """

    found: Found
    load: tuple[float, float]


IN_THIS_PROCESS: Mapping[type, Callable[[Any], Iterator[Found]]] = {
    Comparison: comparison,
    Planning: plans,
    Sweeps: sweeps,
    Steps: steps,
    Toy: toys,
    Groups: maxmin,
    Raters: raters,
    Recovery: recovery,
    Tally: tally,
}
IN_FRESH_PROCESSES: Mapping[type, Callable[[Any], Iterator[Found]]] = {
    Footprint: processes.footprint,
    Candidates: processes.candidates,
    Startup: processes.startup,
    Study: processes.study,
    Scaling: scaling,
    OuterStep: outer_step,
}
"""How each kind of case is measured; one row a method."""


def measure(case: Case) -> list[Measurement]:
    """Return the measurements of a case, one per name in `methods_of(case)`.

    Whatever goes wrong on the way is a measurement too: ``absent`` if something is not installed,
    ``failed`` else.
    """
    before = os.getloadavg()[0]
    try:
        with threadpool_limits(1):
            found = list((IN_THIS_PROCESS | IN_FRESH_PROCESSES)[type(case)](case))
    except Exception as error:
        found = [Found.failure(name, error) for name in methods_of(case)]
    load = (before, os.getloadavg()[0])
    return [Measurement(one, load) for one in found]
