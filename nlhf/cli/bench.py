"""`nlhf bench`: measured comparisons, from a checkout."""

import importlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

import nlhf
from nlhf.cli.progress import stages
from nlhf.errors import NotAllowed, Unsupported

_MARKS = ("benchmarks/run.py", "benchmarks/suites.py", "nlhf/__init__.py")


@dataclass(frozen=True)
class Bench:
    """Measure the solvers against cvxpy, extragradient and pygambit; needs a checkout.

    Appends one row per method and case to rows.jsonl, with commit, versions and machine; what is
    there for the same commit is not measured again. Exit code 0, or 1 if a measurement failed.
    """

    suite: tyro.conf.Positional[str]
    """quick (a few seconds), targets, sizes, batches, memory, mdp, steps, maxmin, raters, or full:
    all but quick, a quarter of an hour. Set NLHF_PYGAMBIT_PYTHON to an interpreter that has
    pygambit to include it."""
    out: Path | None = None
    """Folder of the results; by default benchmarks/results of the checkout."""
    json: bool = False
    """Print every new row as one line of JSON instead of one line of text."""

    def run(self) -> int:
        """Run what is missing of the suite, print each new row, return the exit code."""
        benchmarks = _checkout_module("benchmarks.run")
        if self.suite not in benchmarks.SUITES:
            raise NotAllowed(
                f"there is no suite {self.suite!r}", f"choose from: {', '.join(benchmarks.SUITES)}"
            )
        folder = self.out if self.out is not None else benchmarks.RESULTS
        failed = measured = 0
        with stages() as progress:

            def tell(instance: str, done: int, total: int) -> None:
                progress("cases", done, total)

            for row in benchmarks.run_suite(self.suite, folder, tell):
                measured += 1
                failed += row.status == "failed"
                print(json.dumps(asdict(row)) if self.json else benchmarks.describe(row))
        print(f"{measured} new rows in {folder / 'rows.jsonl'}", file=sys.stderr)
        return 1 if failed else 0


def _checkout_module(name: str) -> Any:
    """Import a module of the checkout that the current directory lies in."""
    here = Path.cwd().resolve()
    for root in (here, *here.parents):
        if all((root / mark).is_file() for mark in _MARKS):
            break
    else:
        raise Unsupported(
            f"{here} is not inside a checkout: benchmarks/ is not part of the installed package",
            "git clone the repository, change into it, and run nlhf bench there",
        )
    sys.path.insert(0, str(root))
    module = importlib.import_module(name)
    for imported in (module, nlhf):
        if root not in Path(str(imported.__file__)).resolve().parents:
            raise NotAllowed(
                f"{imported.__name__} comes from {imported.__file__}, not from {root}: the rows "
                "would name the wrong sources",
                "install the checkout with pip install -e . and run nlhf bench in it",
            )
    return module
