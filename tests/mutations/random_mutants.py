"""Draw mutants at random, see which of them the tests catch, and report.

    python tests/mutations/random_mutants.py reach FOLDER [TESTS]     what each quick test calls
    python tests/mutations/random_mutants.py run FOLDER SEED NUMBER   resumes what was interrupted
    python tests/mutations/random_mutants.py retry FOLDER SEED        survivors, with today's tests
    python tests/mutations/random_mutants.py summary                  results/random_mutants.md

FOLDER is anywhere; `reached.jsonl` and a copy of the checkout stand there, rows in `results/`.
A mutant is put into the copy and the tests that call the changed function run there, quick ones
first, until one fails: as many as take `BUDGET` seconds without it, without run-time types. `retry`
goes on with all others, then with the first ones and run-time types. A test that takes ten seconds
of processor time and five times what it takes unchanged is ended: a timeout counts as caught.
"""

import ast
import importlib
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.mutations.drawing import Mutant, draw  # noqa: E402
from tests.mutations.reached import QUIETLY, Reach, note, read_reached  # noqa: E402
from tests.mutations.reporting import (  # noqa: E402
    RESULTS,
    SUMMARY,
    Row,
    Sample,
    read,
    summary,
    write,
)

BUDGET = 15.0
"""Seconds that the tests of the first stage take without a fault."""
_OF_RECORDS = "tests/architecture/test_records.py"
"""What of a file is run on import, decorators above all, these tests look at without a call."""
_LONGEST = 900.0
"""Seconds after which a stage is ended from outside, whatever it does."""
_MEMORY = 12 * 2**30
_HEAVY = ("numpy", "scipy.optimize", "scipy.special", "scipy.stats", "hypothesis", "cvxpy")
_VERSIONS = ("cosmic-ray", "hypothesis", "numpy", "pytest", "scipy")
_IGNORED = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build")


def _function_around(mutant: Mutant) -> tuple[int, int] | None:
    """Return the first and last line of the function around a place, None outside of functions."""
    found = None
    for node in ast.walk(ast.parse((ROOT / mutant.file).read_text())):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            end = node.end_lineno or first
            # A default or a decorator belongs to what is run on import.
            if node.body[0].lineno <= mutant.line <= end and (found is None or found[0] < first):
                found = (first, end)
    return found


def _tests_of(mutant: Mutant, reached: Sequence[Reach]) -> list[Reach]:
    around = _function_around(mutant)

    def calls(test: Reach) -> bool:
        if around is None and test.node.startswith(_OF_RECORDS):
            return True
        lines = (line for file, line in test.functions if file == mutant.file)
        return any(around is None or around[0] <= line <= around[1] for line in lines)

    return sorted(filter(calls, reached), key=lambda test: test.seconds)


def _split(tests: Sequence[Reach]) -> tuple[list[Reach], list[Reach]]:
    spent, number = 0.0, 0
    for test in tests:
        spent += test.seconds
        if spent > BUDGET:
            break
        number += 1
    number = max(number, min(len(tests), 1))
    return list(tests[:number]), list(tests[number:])


class _Limits:
    """Pytest plugin: the system ends a test that takes far more of the processor than it did."""

    def __init__(self, tests: Sequence[Reach]) -> None:
        self._seconds = {test.node: test.seconds for test in tests}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        limit = 10.0 + 5.0 * self._seconds.get(nodeid, 0.0)
        signal.setitimer(signal.ITIMER_PROF, limit)


def _stage(copy: Path, tests: Sequence[Reach], *, types: bool) -> tuple[str, str]:
    """Run tests in a fork of this process, which has loaded what is heavy; nlhf it has not."""
    log = copy / "run.log"
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(copy)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.update(QUIETLY, PYTHONPATH=str(copy))
        if not types:
            os.environ["NLHF_UNCHECKED"] = "1"
        sys.path[0] = str(copy)
        sys.dont_write_bytecode = True
        for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
            del sys.modules[name]
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        import pytest

        options = ["-x", "-v", "-p", "no:cacheprovider", "--tb=no", *(test.node for test in tests)]
        code = pytest.main(options, plugins=[_Limits(tests)])
        sys.stdout.flush()
        os._exit(int(code))
    status = _ended(child)
    return _verdict(status, log.read_text(errors="replace"))


def _ended(child: int) -> int:
    begin = time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if time.monotonic() - begin > _LONGEST:
            os.killpg(child, signal.SIGPROF)
            return os.waitpid(child, 0)[1]
        time.sleep(0.02)


def _verdict(status: int, log: str) -> tuple[str, str]:
    lines = log.splitlines()
    if os.WIFSIGNALED(status):
        started = [line for line in lines if line.startswith("tests/") and "::" in line]
        last = started[-1].rsplit(" ", 1)[0] if started else "on import"
        return ("timeout" if os.WTERMSIG(status) == signal.SIGPROF else "caught"), last
    code = os.WEXITSTATUS(status)
    if code == 0:
        return "survived", ""
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    if code in (1, 2, 4) and failed:
        return "caught", failed[0].split(" ", 1)[1].split(" - ")[0]
    if "ImportError while loading conftest" in log:
        return "caught", "on import"
    raise RuntimeError(f"pytest ended with {code}:\n{log[-2000:]}")


def _try(mutant: Mutant, copy: Path, reached: Sequence[Reach], *, all_stages: bool) -> Row:
    target = copy / mutant.file
    original, stamp = target.read_text(), target.stat().st_mtime
    changed = mutant.source() or original
    pairs = zip(original.splitlines(), changed.splitlines(), strict=False)
    before, after = next((a.strip(), b.strip()) for a, b in pairs if a != b)
    tests = _tests_of(mutant, reached)
    quick, rest = _split(tests)
    outcome, test = "survived", ""
    try:
        target.write_text(changed)
        # Not the time that the compiled file of the original bears.
        os.utime(target, (stamp + 100, stamp + 100))
        stages = ((quick, False), (rest, False), (quick, True))
        for chosen, types in stages if all_stages else stages[:1]:
            if chosen and outcome == "survived":
                outcome, test = _stage(copy, chosen, types=types)
    finally:
        target.write_text(original)
        os.utime(target, (stamp, stamp))
    return Row(
        mutant.file,
        mutant.line,
        mutant.operator,
        mutant.occurrence,
        before,
        after,
        outcome,
        test,
        len(tests),
    )


def _sample(path: Path, seed: int) -> Sample:
    if path.exists():
        return read(path)
    versions = {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}}
    return Sample({"seed": seed, "commit": _commit(), "versions": versions}, ())


def _commit() -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()


def _prepared(folder: Path, reached: Sequence[Reach]) -> Path:
    for name in _HEAVY:
        importlib.import_module(name)
    copy = folder / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT, copy, ignore=_IGNORED)
    (copy / "nlhf_theory").symlink_to("theory")
    # Without a change all tests are found: what is not says nothing of a mutant.
    files = sorted({test.node.split("::")[0] for test in reached})
    collected = [sys.executable, "-m", "pytest", "-q", "--collect-only", *files]
    environment = {**os.environ, **QUIETLY, "PYTHONPATH": str(copy)}
    subprocess.run(collected, cwd=copy, env=environment, stdout=subprocess.DEVNULL, check=True)
    return copy


def run(folder: Path, seed: int, number: int) -> None:
    """Try every mutant of the draw that has no row yet."""
    path = RESULTS / f"random_mutants_{seed}.jsonl"
    sample, reached = _sample(path, seed), read_reached(folder)
    copy = _prepared(folder, reached)
    done = {row.key for row in sample.rows}
    for mutant in draw(number, seed):
        if mutant.key not in done:
            row = _try(mutant, copy, reached, all_stages=False)
            sample = replace(sample, rows=(*sample.rows, row))
            write(path, sample)
            print(row.outcome, *row.key, row.test, flush=True)


def retry(folder: Path, seed: int) -> None:
    """Try the survivors of a draw once more, with all tests of `reached.jsonl`."""
    path = RESULTS / f"random_mutants_{seed}.jsonl"
    sample, reached = read(path), read_reached(folder)
    copy = _prepared(folder, reached)
    for place, row in enumerate(sample.rows):
        if row.outcome == "survived":
            mutant = Mutant(row.file, row.operator, row.occurrence, row.line)
            again = _try(mutant, copy, reached, all_stages=True)
            if again.before != row.before:
                raise LookupError(
                    f"{row.file} has changed: line {row.line} is no more {row.before!r}"
                )
            later = again.test != "" and _commit() != sample.origin["commit"]
            again = replace(again, new=later, reason="" if again.test else row.reason)
            sample = replace(sample, rows=(*sample.rows[:place], again, *sample.rows[place + 1 :]))
            write(path, sample)
            print(again.outcome, *again.key, again.test, flush=True)


def main(words: Sequence[str]) -> int:
    """Run one of the commands of the module."""
    match words:
        case ["reach", folder, *tests]:
            note(Path(folder), tests or ["tests"])
        case ["run", folder, seed, number]:
            run(Path(folder), int(seed), int(number))
        case ["retry", folder, seed]:
            retry(Path(folder), int(seed))
        case ["summary"]:
            SUMMARY.write_text(summary(map(read, sorted(RESULTS.glob("*.jsonl")))))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
