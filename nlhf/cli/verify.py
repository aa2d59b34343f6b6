"""`nlhf verify`: search for violations of every statement of the ledger."""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from nlhf.cli.progress import stages
from nlhf.cli.tables import plain_console
from nlhf.errors import InvalidProblem
from nlhf.labels import printable
from nlhf.theorems import (
    DEFAULT_BUDGET,
    QUICK_BUDGET,
    Record,
    Search,
    installed_differences,
    installed_references,
    installed_theorems,
    plain,
    run,
    select,
    versions,
)

EXIT_NOT_AS_EXPECTED = 1
"""A verdict is not the expected one, or a control does not bite."""


_MOST_WORKERS = 8
"""Each loads the whole ledger first, which takes seconds and some 200 MB."""


@dataclass(frozen=True)
class Verify:
    """Search for violations of the theorems, and see every control break its claim.

    Each theorem is sampled and searched for an instance that satisfies its hypotheses and violates
    its claim beyond rounding; for each hypothesis, instances that violate only that one must break
    the claim. The verdict is "not falsified", "falsified" or "vacuous", never "proved": the proofs
    are beside the statements, in theory/.

    With --report, the whole of it becomes one page, DIR/index.html, that needs nothing else, and
    DIR/report.md; every theorem that is done stays in DIR/theorems, so that a run that was stopped
    goes on where it was. The numbers do not depend on the number of workers.

    Exit codes: 0 if every verdict is the expected one, every control bites and every
    counterexample passes its exact check; 1 if not; 2 on an unknown key or a bad number.

    Example: nlhf verify --report out
    """

    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY [KEY ...]")] = ()
    """Check only the theorems with these keys."""
    budget: int = DEFAULT_BUDGET
    """Instances per theorem; each control gets an eighth of it, at least 20 or, where that is
    less, all of it."""
    quick: bool = False
    """The smallest budget that shows all, 12: under 20 seconds on two cores."""
    seed: int = 0
    """Seed of the search; the same seed gives the same report."""
    workers: int = min(os.cpu_count() or 1, _MOST_WORKERS)
    """Processes; by default as many as there are cores, but at most 8."""
    report: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the report into this folder, and go on from what an earlier run left there."""
    json: bool = False
    """Print one JSON document instead of a table."""

    def run(self) -> int:
        """Check, print, return the exit code."""
        search = self._search()
        theorems = select(installed_theorems(), self.only)
        references = installed_references()
        kept = None if self.report is None else self.report / "theorems"
        if self.report is not None:
            from nlhf.reporting import require_typeset

            require_typeset(theorems)
        start = time.perf_counter()
        with stages() as progress:
            records = run(theorems, search, self.workers, kept, progress)
        seconds = time.perf_counter() - start
        if self.report is not None:
            from nlhf.reporting import Texts, origin, write_report

            texts = Texts(references, installed_differences())
            write_report(records, texts, origin(search, seconds, self.only), self.report)
        if self.json:
            print(json.dumps(document(records, self._config(search), seconds), allow_nan=False))
        else:
            _print(records, search, seconds)
            if self.report is not None:
                print(f"The report is {self.report / 'index.html'}, and beside it as Markdown.")
        return 0 if all(record.as_expected for record in records) else EXIT_NOT_AS_EXPECTED

    def _search(self) -> Search:
        if self.quick and self.budget != DEFAULT_BUDGET:
            raise InvalidProblem(
                f"--quick and --budget {self.budget} both say how much to search", "give one"
            )
        if self.seed < 0:
            raise InvalidProblem(f"--seed is {self.seed}", "give an integer of at least 0")
        if self.workers < 1:
            raise InvalidProblem(f"--workers is {self.workers}", "give an integer of at least 1")
        return Search(QUICK_BUDGET if self.quick else self.budget, self.seed)

    def _config(self, search: Search) -> dict[str, Any]:
        return {"only": list(self.only), **asdict(search), "json": self.json}


def document(records: tuple[Record, ...], config: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the records as plain JSON types; numbers that are not finite become strings."""
    return {
        "as_expected": all(record.as_expected for record in records),
        "config": config,
        "versions": dict(versions()),
        "seconds": seconds,
        "differences": plain(installed_differences()),
        "theorems": [_entry(record) for record in records],
    }


def _entry(record: Record) -> dict[str, Any]:
    return {
        "key": record.key,
        "statement": record.statement,
        "sources": plain(record.sources),
        "hypotheses": {clause.name: clause.text for clause in record.hypotheses},
        "constants": dict(record.constants),
        "expected": str(record.expected),
        "verdict": str(record.verdict),
        "as_expected": record.as_expected,
        "complaints": list(record.complaints),
        "instances": record.instances,
        "undecided": record.undecided,
        "rejected": record.rejected,
        "violations": record.violations,
        "tightest": plain(record.tightest),
        "witness": record.witness,
        "parts": [
            {
                "name": part.name,
                "instances": part.instances,
                "tightest": plain(part.tightest),
            }
            for part in record.parts
        ],
        "controls": [
            {
                "hypothesis": control.hypothesis,
                "bites": control.bites,
                "instances": control.instances,
                "broken": list(control.broken),
                "deepest": plain(control.deepest),
                "deepest_part": control.deepest_part,
            }
            for control in record.controls
        ],
        "counterexample": record.counterexample or None,
        "counterexample_source": record.counterexample_source or None,
        "counterexample_certified": record.certified,
        "seconds": record.seconds,
    }


def _print(records: tuple[Record, ...], search: Search, seconds: float) -> None:
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
    for record in records:
        table.add_row(*_row(record))
    console.print(table)
    for record in records:
        for complaint in record.complaints:
            console.print(printable(f"{record.key}: {complaint}"), style="red")
    good = sum(record.as_expected for record in records)
    console.print(
        f"{good} of {len(records)} as expected (seed {search.seed}, budget {search.budget}, "
        f"{seconds:.1f} s). The margin is over its scale; 0 is tight. Not falsified is not proved."
    )


def _row(record: Record) -> list[Any]:
    from rich.text import Text

    colour = "green" if record.as_expected else "red"
    controls = [f"{c.hypothesis} {c.bites}/{c.instances}" for c in record.controls]
    if record.counterexample:
        controls.append("counterexample " + ("certified" if record.certified else "NOT certified"))
    return [
        record.key,
        str(record.expected),
        Text(str(record.verdict), style=colour),
        str(record.instances),
        f"{record.tightest:.1e}",
        ", ".join(controls),
        f"{record.seconds:.1f}",
    ]
