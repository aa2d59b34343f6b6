"""One outer step of this library beside TRL's trainers: same model, prompts, batch and tokens.

Every measurement is a fresh process, by turns; the first step of each is a warm-up. TRL 1.13, the
last with Nash-MD, runs under the interpreter that ``NLHF_TRL_PYTHON`` names, which has torch,
transformers, trl 1.13.0 and requests; then ours runs under the same, which needs this library's
dependencies too. Medians of all steps are compared; processor time is disturbed less by neighbours
on the machine than time by the wall.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cases import OuterStep
from benchmarks.clock import Laps
from benchmarks.found import Absent, Found, ratios
from benchmarks.processes import fresh, run, told

TRL = "NLHF_TRL_PYTHON"
THREADS, TOKENS = 1, 64
SECONDS = 1800.0
_OURS, _THEIRS = "benchmarks.language.outer_step_nlhf", "benchmarks.language.outer_step_trl"
WORKERS: Mapping[str, tuple[str, str, str]] = {
    "nash-md": (_OURS, "nash-md", "nash-md"),
    "online-dpo": (_OURS, "online-dpo", "online-dpo"),
    "trl-nash-md-default": (_THEIRS, "nash-md-default", "nash-md"),
    "trl-nash-md-cached": (_THEIRS, "nash-md-cached", "nash-md"),
    "trl-online-dpo-cached": (_THEIRS, "online-dpo-cached", "online-dpo"),
}
"""Module, what it calls the method, and which of ours it stands beside."""
_VERSIONS = (
    "import json, sys; from importlib.metadata import version;"
    "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
)


@dataclass(slots=True)
class Steps:
    """What the steps of one method cost.

    Attributes:
        laps: Of every step after the warm-up, of all processes.
        peaks: Bytes, of each process.
        error: What it failed with.
    """

    laps: Laps = field(default_factory=Laps)
    peaks: list[int] = field(default_factory=list)
    error: Exception | None = None

    def add(self, spoken: Mapping[str, Any]) -> None:
        """Add what a process told."""
        self.laps.wall += spoken["wall_seconds"][1:]
        self.laps.processor += spoken["processor_seconds"][1:]
        self.peaks.append(spoken["peak_bytes"])


def outer_step(case: OuterStep) -> Iterator[Found]:
    """Yield the seconds and the peak memory of every method, and ratios to ours beside it."""
    trl = os.environ.get(TRL)
    python = trl or sys.executable
    steps = {method: Steps() for method in case.methods}
    for method, one in steps.items():
        if WORKERS[method][0] == _THEIRS and not trl:
            one.error = Absent(f"{TRL} does not name an interpreter that has trl 1.13")
    for _ in range(case.rounds):
        for method, one in steps.items():
            if one.error is None:
                module, called, _ = WORKERS[method]
                try:
                    one.add(spoken(python, module, called, case.shape, case.steps, TOKENS))
                except Exception as error:
                    one.error = error
    some = any(one.error is None for one in steps.values())
    found_versions = versions(python, trl=bool(trl)) if some else {}
    for method, one in steps.items():
        if one.error is not None:
            yield Found.failure(method, one.error)
            continue
        beside = WORKERS[method][2]
        numbers = one.laps.numbers() | {
            "peak_memory_bytes": max(one.peaks),
            "versions": found_versions,
            "threads": THREADS,
            "beside": beside,
        }
        ours = steps.get(beside)
        if ours is not None and ours.error is None:
            numbers |= ratios(one.laps, ours.laps, beside)
            numbers["peak_memory_times_the_first"] = max(one.peaks) / max(ours.peaks)
        yield Found(method, numbers)


def spoken(
    python: str, module: str, method: str, shape: str, steps: int, tokens: int
) -> dict[str, Any]:
    """Return what a worker tells of one warm-up and so many steps."""
    numbers = (str(number) for number in (steps + 1, THREADS, tokens))
    return fresh(
        module, method, shape, *numbers, interpreter=python, seconds=SECONDS, threads=THREADS
    )


def versions(python: str, *, trl: bool) -> dict[str, Any]:
    """Return the versions of what matters under an interpreter."""
    packages = ("torch", "transformers", "accelerate", "peft", *(("trl",) if trl else ()))
    return told(run([python, "-c", _VERSIONS, *packages], SECONDS))


def trl_step(shape: str, steps: int, tokens: int) -> Found:
    """Return TRL's Nash-MD, cache on, at another length of responses."""
    python = os.environ.get(TRL)
    if not python:
        raise Absent(f"{TRL} does not name an interpreter that has trl 1.13")
    one = Steps()
    one.add(spoken(python, _THEIRS, "nash-md-cached", shape, steps, tokens))
    more = {"peak_memory_bytes": max(one.peaks), "versions": versions(python, trl=True)}
    return Found("trl outer step", one.laps.numbers() | more)
