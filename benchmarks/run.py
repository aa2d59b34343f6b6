"""Run a suite: append a row per method and case to a results file, skipping what is there."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, measure, methods_of
from benchmarks.provenance import provenance, revision
from benchmarks.suites import SUITES, Case, key

RESULTS = ROOT / "benchmarks" / "results"
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results.

    Attributes:
        key: Hash of the case, all fields included.
        suite: The suite that it was run for.
        kind: The class of the case in `suites`.
        instance: The case in words.
        case: Its fields, the seed among them.
        method: What was run.
        status: ``ok``, ``failed``, ``absent``, or what the method says of itself.
        message: Why it failed.
        numbers: The measurements, units in the names.
        load: Load averages over the last minute, before and after.
        provenance: Revision, versions, machine, time.
    """

    key: str
    suite: str
    kind: str
    instance: str
    case: dict[str, Any]
    method: str
    status: str
    message: str
    numbers: dict[str, Any]
    load: tuple[float, float]
    provenance: dict[str, Any]


def read_rows(folder: Path) -> list[Row]:
    """Return all rows of a results folder, oldest first."""
    path = folder / "rows.jsonl"
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text().splitlines() if line]


def run_suite(name: str, folder: Path, tell: Tell) -> Iterator[Row]:
    """Measure what is missing at the present revision; yield each row once it is on disk.

    A case is measured again as a whole if a method is missing: ratios are side by side.

    Args:
        name: A key of `suites.SUITES`.
        folder: Where ``rows.jsonl`` lies; made if it does not exist.
        tell: Called with the instance, the number of cases done and the number of all.
    """
    cases = SUITES[name]
    folder.mkdir(parents=True, exist_ok=True)
    here = revision(ROOT)
    have = {
        (row.key, row.method)
        for row in read_rows(folder)
        if row.provenance["revision"] == here and row.status != "absent"
    }
    for number, case in enumerate(cases):
        tell(case.instance, number, len(cases))
        if {(key(case), method) for method in methods_of(case)} <= have:
            continue
        yield from _append(name, case, folder)
    tell("done", len(cases), len(cases))


def _append(suite: str, case: Case, folder: Path) -> Iterator[Row]:
    origin = provenance(ROOT)
    rows = [
        Row(
            key=key(case),
            suite=suite,
            kind=type(case).__name__,
            instance=case.instance,
            case=asdict(case),
            method=found.method,
            status=found.status,
            message=found.message,
            numbers=dict(found.numbers),
            load=found.load,
            provenance=origin,
        )
        for found in measure(case)
    ]
    # One write for the whole case: an interrupted run leaves whole cases only.
    with (folder / "rows.jsonl").open("a") as lines:
        lines.write("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    yield from rows


def _first(row: Row) -> str:
    """Return the method that ratios are to: the first named, or the bare expression."""
    return str(row.case.get("methods", ("bare",))[0])


def describe(row: Row) -> str:
    """Return a row in one line of text."""
    numbers = row.numbers
    parts = [f"{row.instance}: {row.method}"]
    if "seconds" in numbers:
        parts.append(f"{numbers['seconds']:.3g} s")
    if numbers.get("scaled"):
        parts.append(f"(scaled from {numbers['contexts_measured']} contexts)")
    if "times_the_first" in numbers and row.method != (first := _first(row)):
        parts.append(f"= {numbers['times_the_first']:.3g} x {first}")
    if "run_times_the_run_of_the_first" in numbers:
        parts.append(
            f"({numbers['seconds_to_construct']:.3g} s to construct, "
            f"{numbers['seconds_to_run']:.3g} s to run)"
        )
    if "share_of_copy_bandwidth" in numbers:
        parts.append(
            f"a sweep, {numbers['share_of_copy_bandwidth']:.0%} of the bandwidth of a copy of as "
            f"many bytes, {numbers['share_of_large_copy_bandwidth']:.0%} of that of a large one"
        )
    if "share_in_their_group" in numbers:
        parts.append(f"{numbers['share_in_their_group']:.1%} of raters in their group")
    if "duality_gap_largest" in numbers:
        parts.append(f"gap {numbers['duality_gap_largest']:.1e}")
    if "peak_memory_bytes" in numbers:
        parts.append(f"peak {numbers['peak_memory_bytes'] / 2**30:.2f} GiB")
    if row.status != "ok":
        parts.append(f"[{row.status}] {row.message}".strip())
    return " ".join(parts)


def main(arguments: list[str]) -> int:
    """Run ``python -m benchmarks.run SUITE [FOLDER]``; `nlhf bench` does the same."""
    folder = Path(arguments[1]) if len(arguments) > 1 else RESULTS
    for row in run_suite(arguments[0], folder, lambda *_: None):
        print(describe(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
