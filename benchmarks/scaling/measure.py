"""Measure one size by one method, in the interpreter that has it."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from benchmarks.cases import Scaling
from benchmarks.clock import Laps
from benchmarks.found import Found
from benchmarks.language.outer_step import trl_step
from benchmarks.processes import fresh
from benchmarks.scaling.games import draw
from benchmarks.solvers import peer_worker
from benchmarks.solvers.comparison import ask, interpreter_of


def scaling(case: Scaling) -> Iterator[Found]:
    """Yield seconds, each call's, and peak memory of the process."""
    if case.method in peer_worker.PEERS:
        yield _peer(case)
    elif case.method == "trl outer step":
        yield trl_step("tiny", case.repeats, case.value)
    else:
        yield Found(case.method, fresh("benchmarks.scaling.worker", json.dumps(asdict(case))))


def _peer(case: Scaling) -> Found:
    """Solve the same game, with the same neighbours in time, as often as the others do."""
    matrices, temperature = draw(case.axis, case.value)
    repeated = np.repeat(matrices[:1], case.repeats + 1, axis=0)
    logs = np.full(repeated.shape[:2], -np.log(repeated.shape[-1]))
    spoken = ask(interpreter_of(case.method), case.method, repeated, logs, temperature)
    laps = Laps(spoken["seconds"][1:], spoken["processor"][1:])
    more = {
        "versions": spoken["version"],
        "peak_memory_bytes": spoken["peak_memory_bytes"],
        "peak_memory_bytes_after_imports": spoken["peak_memory_bytes_after_imports"],
    }
    return Found(case.method, laps.numbers() | more)
