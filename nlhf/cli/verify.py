"""`nlhf verify`: search for violations of every statement of the ledger."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.metadata import version
from math import isfinite
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import tyro

from nlhf.cli.progress import stages
from nlhf.cli.tables import plain_console
from nlhf.errors import InvalidProblem
from nlhf.labels import printable
from nlhf.results import Provenance
from nlhf.streams import Stream
from nlhf.theorems import DEFAULT_BUDGET, Report, installed_theorems, select, verify

EXIT_NOT_AS_EXPECTED = 1
"""A verdict is not the expected one, or a control does not bite."""


@dataclass(frozen=True)
class Verify:
    """Search for violations of the theorems, and see every control break its claim.

    Each theorem is sampled and searched for an instance that satisfies its hypotheses and violates
    its claim beyond rounding; for each hypothesis, instances that violate only that one must break
    the claim. The verdict is "not falsified", "falsified" or "vacuous", never "proved": the proofs
    are beside the statements, in theory/.

    Exit codes: 0 if every verdict is the expected one, every control bites and every
    counterexample passes its exact check; 1 if not; 2 on an unknown key or a bad number.

    Example: nlhf verify --only gap-identity --budget 200
    """

    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY [KEY ...]")] = ()
    """Check only the theorems with these keys."""
    budget: int = DEFAULT_BUDGET
    """Instances per theorem; each control gets an eighth of it, at least 20."""
    seed: int = 0
    """Seed of the search; the same seed gives the same report."""
    json: bool = False
    """Print one JSON document instead of a table."""

    def run(self) -> int:
        """Check, print, return the exit code."""
        if self.seed < 0:
            raise InvalidProblem(f"--seed is {self.seed}", "give an integer of at least 0")
        theorems = select(installed_theorems(), self.only)
        start = time.perf_counter()
        with _no_folder_left_behind(), stages() as progress:
            reports = verify(
                theorems,
                self.budget,
                Stream(self.seed),
                lambda key, share: progress(key, round(100 * share), 100),
            )
        seconds = time.perf_counter() - start
        if self.json:
            print(json.dumps(document(reports, asdict(self), seconds), allow_nan=False))
        else:
            _print(reports, self, seconds)
        return 0 if all(report.as_expected for report in reports) else EXIT_NOT_AS_EXPECTED


@contextmanager
def _no_folder_left_behind() -> Iterator[None]:
    """Keep Hypothesis, which caches the constants of local modules, out of the working folder."""
    from hypothesis.configuration import set_hypothesis_home_dir

    if "HYPOTHESIS_STORAGE_DIRECTORY" in os.environ:
        yield
        return
    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)


def document(
    reports: tuple[Report[Any], ...], config: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Return the reports as plain JSON types; numbers that are not finite become strings."""
    return {
        "as_expected": all(report.as_expected for report in reports),
        "config": config,
        "versions": {
            **dict(Provenance(method="").versions),
            "hypothesis": version("hypothesis"),
        },
        "seconds": seconds,
        "theorems": [_entry(report) for report in reports],
    }


def _entry(report: Report[Any]) -> dict[str, Any]:
    theorem = report.theorem
    return {
        "key": theorem.key,
        "statement": theorem.statement,
        "sources": [asdict(source) for source in theorem.sources],
        "hypotheses": {h.name: h.text for h in theorem.hypotheses},
        "constants": dict(theorem.constants),
        "expected": str(theorem.expected),
        "verdict": str(report.verdict),
        "as_expected": report.as_expected,
        "complaints": list(report.complaints),
        "instances": report.instances,
        "undecided": report.undecided,
        "rejected": report.rejected,
        "violations": report.violations,
        "tightest": _plain(report.tightest),
        "witness": _plain(report.witness),
        "parts": _plain(list(report.parts)),
        "controls": _plain(list(report.controls)),
        "counterexample": theorem.counterexample.text if theorem.counterexample else None,
        "counterexample_certified": report.certified,
        "seconds": report.seconds,
    }


def _plain(value: Any) -> Any:
    """Return nested dataclasses, arrays and tuples as JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def _print(reports: tuple[Report[Any], ...], command: Verify, seconds: float) -> None:
    from rich.table import Table

    console = plain_console(160)
    table = Table(row_styles=["", "dim"])
    table.add_column("theorem", no_wrap=True)
    table.add_column("expected")
    table.add_column("verdict")
    table.add_column("instances", justify="right")
    table.add_column("tightest margin", justify="right")
    table.add_column("controls that bite", overflow="fold")
    table.add_column("s", justify="right")
    for report in reports:
        table.add_row(*_row(report))
    console.print(table)
    for report in reports:
        for complaint in report.complaints:
            console.print(printable(f"{report.theorem.key}: {complaint}"), style="red")
    good = sum(report.as_expected for report in reports)
    console.print(
        f"{good} of {len(reports)} as expected (seed {command.seed}, budget {command.budget}, "
        f"{seconds:.1f} s). The margin is over its scale; 0 is tight. Not falsified is not proved."
    )


def _row(report: Report[Any]) -> list[Any]:
    from rich.text import Text

    colour = "green" if report.as_expected else "red"
    controls = [f"{c.hypothesis} {c.bites}/{c.instances}" for c in report.controls]
    if report.theorem.counterexample is not None:
        controls.append("counterexample " + ("certified" if report.certified else "NOT certified"))
    return [
        report.theorem.key,
        str(report.theorem.expected),
        Text(str(report.verdict), style=colour),
        str(report.instances),
        f"{report.tightest:.1e}",
        ", ".join(controls),
        f"{report.seconds:.1f}",
    ]
