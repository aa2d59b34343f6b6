"""Cases that need a process of their own: for peak memory, for start-up, for studies."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.cases import Candidates, Footprint, Startup, Study
from benchmarks.clock import Laps
from benchmarks.found import Absent, Found
from benchmarks.provenance import RESULTS, ROOT

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SECONDS = 600.0
FOLDER = "NLHF_BENCH_FOLDER"
"""Environment variable: where studies write."""


def footprint(case: Footprint) -> Iterator[Found]:
    """Yield seconds and peak memory of exact solutions."""
    yield Found("footprint", fresh("benchmarks.solvers.worker", json.dumps(asdict(case))))


def candidates(case: Candidates) -> Iterator[Found]:
    """Yield seconds and peak memory of pessimistic planning."""
    yield Found("candidates", fresh("benchmarks.solvers.planning_worker", json.dumps(asdict(case))))


def startup(case: Startup) -> Iterator[Found]:
    """Yield the seconds of a statement in fresh interpreters."""
    program = (
        "import json, sys, time; import numpy, scipy; from benchmarks.clock import repeat\n"
        f"def call():\n    {case.statement}\n"
        "found = repeat(call, 1, warm=False)\n"
        "print(json.dumps(found | {'heavy': [name for name in ('torch', 'cvxpy', 'matplotlib') "
        "if name in sys.modules]}))"
    )
    each = [told(run([sys.executable, "-c", program], SECONDS)) for _ in range(case.repeats)]
    laps = Laps([one["seconds"] for one in each], [one["processor_seconds"] for one in each])
    yards = {
        name: [value for one in each for value in one[name]]
        for name in ("yardstick_seconds_each", "yardstick_processor_seconds_each")
    }
    yield Found("startup", laps.numbers() | yards | {"heavy_modules_loaded": each[0]["heavy"]})


def study(case: Study) -> Iterator[Found]:
    """Yield what a study took; its tables lie in the folder of the results."""
    missing = [name for name in case.needs if find_spec(name) is None]
    if missing:
        raise Absent(f"{', '.join(missing)} not installed: pip install 'nlhf[lm]'")
    if case.data and not os.environ.get(case.data):
        raise Absent(f"{case.data} does not name the folder of the data")
    folder = os.environ.get(FOLDER, str(RESULTS))
    command = [sys.executable, "-m", "benchmarks.study", case.module, case.size, folder]
    yield Found("study", told(run(command, None)))


def fresh(
    module: str,
    *arguments: str,
    interpreter: str = sys.executable,
    seconds: float = SECONDS,
    threads: int = 1,
) -> dict[str, Any]:
    """Return what a module prints as JSON, run in a process of its own.

    Raises:
        Absent: If it imports what its interpreter does not have.
    """
    try:
        return told(run([interpreter, "-m", module, *arguments], seconds, threads))
    except RuntimeError as error:
        if missing := re.search("ModuleNotFoundError: (No module named .*)", str(error)):
            raise Absent(f"{missing[1]} in {interpreter}") from error
        raise


def told(printed: str) -> dict[str, Any]:
    """Return the last line of what a process printed, which is JSON."""
    numbers: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return numbers


def run(command: list[str], seconds: float | None, threads: int = 1) -> str:
    """Return what a command prints in the checkout.

    Raises:
        RuntimeError: If it fails, with the end of what it says.
    """
    environment = dict.fromkeys(ONE_THREAD, str(threads)) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} {command[2][:80]}: {done.stderr[-350:]}")
    return done.stdout
