"""Which functions of nlhf every test calls, and how long it takes.

As a pytest plugin, with NLHF_REACHED=FILE, it adds one line of JSON a test to FILE: its node, its
seconds, the functions as [file, first line].
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUIETLY = {
    "OPENBLAS_NUM_THREADS": "1",
    "HYPOTHESIS_PROFILE": "verdict",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
_called: set[CodeType] = set()


def _note(frame: FrameType, event: str, argument: Any) -> None:
    _called.add(frame.f_code)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _called.clear()
    begin = time.perf_counter()
    sys.settrace(_note)
    try:
        return (yield)
    finally:
        sys.settrace(None)
        seconds = round(time.perf_counter() - begin, 3)
        places = {(code.co_filename, code.co_firstlineno) for code in _called}
        own = sorted(
            (file.removeprefix(f"{ROOT}/"), line)
            for file, line in places
            if file.startswith(f"{ROOT}/nlhf/")
        )
        with open(os.environ["NLHF_REACHED"], "a") as out:
            out.write(json.dumps([item.nodeid, seconds, own]) + "\n")


@dataclass(frozen=True)
class Reach:
    """One test: its node, its seconds unchanged, and the functions that it calls."""

    node: str
    seconds: float
    functions: frozenset[tuple[str, int]]


def note(folder: Path, tests: Sequence[str]) -> None:
    """Note what each of the tests calls, beside what is noted already; all of them must pass."""
    file = {"NLHF_REACHED": str(folder.resolve() / "reached.jsonl"), "NLHF_UNCHECKED": "1"}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutations.reached", *tests],
        cwd=ROOT,
        env={**os.environ, **QUIETLY, **file},
        check=True,
    )


def read_reached(folder: Path) -> list[Reach]:
    """Return what was noted last of every test."""
    lines = map(json.loads, (folder / "reached.jsonl").read_text().splitlines())
    last = {node: (took, frozenset(map(tuple, called))) for node, took, called in lines}
    return [Reach(node, took, called) for node, (took, called) in last.items()]
