"""`nlhf bench`: measured comparisons, from a checkout."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from nlhf.cli.checkout import checkout_module
from nlhf.cli.progress import stages
from nlhf.errors import NotAllowed


@dataclass(frozen=True)
class Bench:
    """Measure time, memory and accuracy beside other packages, and run the studies.

    Needs a checkout. Appends one row per method and case to rows.jsonl, with commit, versions and
    machine; what is there for the same commit is not measured again, but for cases that failed or
    whose packages were missing, which rows say. Exit code 0, or 1 if a measurement failed or, with
    --compare, if something got slower.
    """

    suite: tyro.conf.Positional[str] = ""
    """A suite or a study, smoke for all of them at a size that takes minutes, or full for all.
    Without, they are listed. NLHF_PYGAMBIT_PYTHON, NLHF_PEERS_PYTHON and NLHF_TRL_PYTHON name
    interpreters that have pygambit, OpenSpiel, QuantEcon and Nashpy, and TRL 1.13."""
    smoke: bool = False
    """Measure the small cases of the suite: that it runs, not how fast."""
    out: Path | None = None
    """Folder of the results; by default benchmarks/results of the checkout, and build/bench-smoke
    for the small cases."""
    compare: tuple[str, str] | None = None
    """Two runs, each a folder, a file of rows, or a revision that rows of --out name: what got
    slower from the first to the second, by ratios to other methods within each run."""
    threshold: float = 0.1
    """By what part of its time something must be seen to be slower to be called slower."""
    false_alarms: float = 0.05
    """The share of what did not change among what is called slower or faster, at most."""
    json: bool = False
    """Print JSON: every new row as a line, or the whole comparison."""

    def run(self) -> int:
        """Measure what is missing, compare, or list; return the exit code."""
        if self.compare is not None:
            return self._compare(*self.compare)
        suites = checkout_module("benchmarks.suites", "nlhf bench")
        if not self.suite:
            for name, suite in suites.SUITES.items():
                print(f"{name:18}{suite.minutes:5.1f} min  {suite.about}")
            return 0
        known = (*suites.SUITES, "smoke", "full")
        if self.suite not in known:
            raise NotAllowed(
                f"there is no suite {self.suite!r}", f"choose from: {', '.join(known)}"
            )
        return self._measure(suites.minutes_of(self.suite, self.smoke))

    def _measure(self, minutes: float) -> int:
        benchmarks = checkout_module("benchmarks.run", "nlhf bench")
        small = self.smoke or self.suite == "smoke"
        folder = self.out or (benchmarks.FOLDERS[small])
        print(f"about {minutes:.1f} minutes on two quiet cores", file=sys.stderr)
        failed = measured = 0
        with stages() as progress:

            def tell(instance: str, done: int, total: int) -> None:
                progress("cases", done, total)

            for row in benchmarks.run_suite(self.suite, folder, tell, smoke=small):
                measured += 1
                failed += row.status == "failed"
                line = json.dumps(asdict(row)) if self.json else benchmarks.describe(row)
                print(line, flush=True)
        if self.suite == "full":
            checkout_module("benchmarks.report", "nlhf bench").write(folder)
        print(f"{measured} new rows in {folder / 'rows.jsonl'}", file=sys.stderr)
        return 1 if failed else 0

    def _compare(self, before: str, after: str) -> int:
        if self.suite:
            raise NotAllowed(
                f"{self.suite!r} and --compare are given",
                "measure first, then compare what was measured",
            )
        comparing = checkout_module("benchmarks.comparing.command", "nlhf bench")
        found = comparing.compare(before, after, self.out, self.threshold, self.false_alarms)
        print(json.dumps(asdict(found)) if self.json else comparing.table(found))
        return 1 if found.slower else 0
