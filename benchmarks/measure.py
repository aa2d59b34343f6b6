"""Measuring one case: what becomes of it are plain measurements, failures among them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.environments import toys
from benchmarks.instances import FAMILIES, REFERENCES
from benchmarks.maxmin import maxmin
from benchmarks.mdp import plans, sweeps
from benchmarks.methods import METHODS, Outcome, Run
from benchmarks.raters import raters, recovery
from benchmarks.steps import steps
from benchmarks.suites import (
    Candidates,
    Case,
    Comparison,
    Footprint,
    Groups,
    Planning,
    Raters,
    Recovery,
    Startup,
    Steps,
    Sweeps,
    Toy,
)
from nlhf import PreferenceGame, Stream, certify

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SUBPROCESS_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One method on one case.

    Attributes:
        method: Its name.
        status: ``ok``; ``failed`` or ``absent`` with a message; or what the method says of itself.
        message: Why it failed.
        numbers: Named quantities, units in the names.
        load: Load averages of the machine over the last minute, before and after.
    """

    method: str
    status: str
    message: str
    numbers: Mapping[str, Any]
    load: tuple[float, float]


def methods_of(case: Case) -> tuple[str, ...]:
    """Return the names of the measurements that a case leads to."""
    if isinstance(case, Comparison | Planning | Steps | Toy | Groups | Raters | Recovery):
        return case.methods
    return (type(case).__name__.lower(),)


def measure(case: Case) -> Iterator[Measurement]:
    """Yield the measurements of a case, one per name in `methods_of(case)`."""
    if isinstance(case, Comparison):
        with threadpool_limits(1):
            yield from _comparison(case)
    elif isinstance(case, Planning):
        with threadpool_limits(1):
            yield from _planning(case)
    elif isinstance(case, Sweeps):
        with threadpool_limits(1):
            yield _sweeps(case)
    elif isinstance(case, Steps):
        with threadpool_limits(1):
            yield from _steps(case)
    elif isinstance(case, Toy):
        with threadpool_limits(1):
            yield from _toys(case)
    elif isinstance(case, Groups):
        with threadpool_limits(1):
            yield from _groups(case)
    elif isinstance(case, Raters | Recovery):
        with threadpool_limits(1):
            yield from _mixtures(case)
    elif isinstance(case, Footprint):
        yield _footprint(case)
    elif isinstance(case, Candidates):
        yield _candidates(case)
    else:
        yield _startup(case)


def draw(case: Comparison, number: int) -> PreferenceGame:
    """Return the game of one repeat."""
    stream = Stream(case.seed).child(case.family, case.reference, case.responses, number)
    rng = stream.generator()
    p = FAMILIES[case.family](rng, case.contexts, case.responses)
    mu = REFERENCES[case.reference](rng, case.contexts, case.responses)
    if case.contexts == 1:
        p, mu = p[0], mu[0]
    return PreferenceGame(p, mu, case.temperature)


def _comparison(case: Comparison) -> Iterator[Measurement]:
    """Run every method on every game in turn; the first game of each method is not counted."""
    before = os.getloadavg()[0]
    runs: dict[str, Run] = {}
    failures: dict[str, tuple[str, str]] = {}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in case.methods}
    gaps: dict[str, list[float]] = {name: [] for name in case.methods}
    for name in case.methods:
        try:
            runs[name] = METHODS[name](case)
        except Exception as error:  # a failure is a row
            failures[name] = ("absent", _brief(error))
    for number in range(-1, case.repeats):
        game = draw(case, number)
        for name, run in runs.items():
            if name in failures:
                continue
            try:
                outcome = run(game)
            except Exception as error:
                failures[name] = ("failed", _brief(error))
                continue
            if number >= 0:
                outcomes[name].append(outcome)
                gaps[name].append(_largest_gap(game, outcome.policies))
    load = (before, os.getloadavg()[0])
    first = [_per_context(outcome) for outcome in outcomes[case.methods[0]]]
    for name in case.methods:
        status, message = failures.get(name, (_status(outcomes[name]), ""))
        numbers = _numbers(case, outcomes[name], gaps[name], first)
        yield Measurement(name, status, message, numbers, load)


def _numbers(
    case: Comparison, outcomes: list[Outcome], gaps: list[float], first: list[float]
) -> dict[str, Any]:
    if not outcomes:
        return {}
    each = [_per_context(outcome) for outcome in outcomes]
    measured = len(outcomes[0].policies)
    return {
        "contexts_measured": measured,
        "scaled": measured < case.contexts,
        "seconds": median(each) * case.contexts,
        "seconds_per_context": median(each),
        "seconds_per_context_each": each,
        "times_the_first": median(a / b for a, b in zip(each, first, strict=False)),
        "duality_gap_largest": max(gaps),
    }


def _per_context(outcome: Outcome) -> float:
    return outcome.seconds / len(outcome.policies)


def _status(outcomes: list[Outcome]) -> str:
    return next((each.status for each in outcomes if each.status != "ok"), "ok")


def _largest_gap(game: PreferenceGame, policies: np.ndarray) -> float:
    """Return the largest exact duality gap over the contexts that were measured."""
    measured = np.atleast_2d(game.reference.probabilities).copy()
    measured[: len(policies)] = policies / policies.sum(axis=-1, keepdims=True)
    found = certify(game, measured.reshape(game.reference.log_probabilities.shape))
    return float(found.per_context[: len(policies)].max())


def _planning(case: Planning) -> Iterator[Measurement]:
    before = os.getloadavg()[0]
    rows = list(plans(case))
    load = (before, os.getloadavg()[0])
    for name, numbers, error in rows:
        absent = isinstance(error, ImportError)
        status = "ok" if error is None else "absent" if absent else "failed"
        yield Measurement(name, status, "" if error is None else _brief(error), numbers, load)


def _sweeps(case: Sweeps) -> Measurement:
    before = os.getloadavg()[0]
    numbers = sweeps(case)
    return Measurement("sweeps", "ok", "", numbers, (before, os.getloadavg()[0]))


def _steps(case: Steps) -> Iterator[Measurement]:
    before = os.getloadavg()[0]
    rows = list(steps(case))
    load = (before, os.getloadavg()[0])
    for name, numbers in rows:
        yield Measurement(name, "ok", "", numbers, load)


def _groups(case: Groups) -> Iterator[Measurement]:
    before = os.getloadavg()[0]
    try:
        rows = list(maxmin(case))
    except Exception as error:  # a failure is a row
        for name in case.methods:
            yield Measurement(name, "failed", _brief(error), {}, (before, os.getloadavg()[0]))
        return
    load = (before, os.getloadavg()[0])
    for name, status, numbers in rows:
        yield Measurement(name, status, "", numbers, load)


def _mixtures(case: Raters | Recovery) -> Iterator[Measurement]:
    before = os.getloadavg()[0]
    rows = list(raters(case) if isinstance(case, Raters) else recovery(case))
    load = (before, os.getloadavg()[0])
    for name, numbers in rows:
        yield Measurement(name, "ok", "", numbers, load)


def _toys(case: Toy) -> Iterator[Measurement]:
    before = os.getloadavg()[0]
    try:
        rows = list(toys(case))
    except Exception as error:  # without Gymnasium, or with another version of the environment
        status = "absent" if isinstance(error, ImportError) else "failed"
        for name in case.methods:
            yield Measurement(name, status, _brief(error), {}, (before, os.getloadavg()[0]))
        return
    load = (before, os.getloadavg()[0])
    for name, stop, numbers in rows:
        status = "ok" if stop in ("solver", "certified") else stop
        yield Measurement(name, status, "", numbers, load)


def _footprint(case: Footprint) -> Measurement:
    return _in_a_fresh_process(
        "footprint", [sys.executable, "-m", "benchmarks.worker", json.dumps(asdict(case))]
    )


def _candidates(case: Candidates) -> Measurement:
    return _in_a_fresh_process(
        "candidates",
        [sys.executable, "-m", "benchmarks.planning_worker", json.dumps(asdict(case))],
    )


def _startup(case: Startup) -> Measurement:
    program = (
        "import json, sys, time; import numpy, scipy; start = time.perf_counter()\n"
        f"{case.statement}\n"
        "print(json.dumps({'seconds': time.perf_counter() - start, 'heavy': [name for name in "
        "('torch', 'cvxpy', 'matplotlib') if name in sys.modules]}))"
    )
    each = [
        _in_a_fresh_process("startup", [sys.executable, "-c", program]) for _ in range(case.repeats)
    ]
    failed = next((one for one in each if one.status != "ok"), None)
    if failed is not None:
        return failed
    seconds = [one.numbers["seconds"] for one in each]
    numbers = {
        "seconds": median(seconds),
        "seconds_each": seconds,
        "heavy_modules_loaded": each[0].numbers["heavy"],
    }
    return Measurement("startup", "ok", "", numbers, (each[0].load[0], each[-1].load[1]))


def _in_a_fresh_process(method: str, command: list[str]) -> Measurement:
    before = os.getloadavg()[0]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | ONE_THREAD,
            timeout=_SUBPROCESS_SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        message = f"{error}: {str(error.stderr)[-500:]}"
        numbers = {"seconds_of_the_process": time.perf_counter() - start}
        return Measurement(method, "failed", message, numbers, (before, os.getloadavg()[0]))
    numbers = json.loads(done.stdout)
    return Measurement(method, "ok", "", numbers, (before, os.getloadavg()[0]))


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
