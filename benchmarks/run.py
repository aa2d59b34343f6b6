"""Run suites: append a row per method and case to a results file, skipping what is there."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, Scaling, Study, key, methods_of
from benchmarks.found import Found
from benchmarks.measure import measure
from benchmarks.processes import FOLDER
from benchmarks.provenance import LANGUAGE_PACKAGES, RESULTS, ROOT, provenance, revision
from benchmarks.rows import Row, append_rows, read_rows
from benchmarks.suites import cases_of

FOLDERS = {False: RESULTS, True: ROOT / "build" / "bench-smoke"}
"""Where full and smoke runs write unless told otherwise: what the latter measure means nothing."""
Tell = Callable[[str, int, int], None]


def run_suite(name: str, folder: Path, tell: Tell, *, smoke: bool = False) -> Iterator[Row]:
    """Measure what is missing at the present revision; yield each row once it is on disk.

    A case is measured again as a whole if a method is missing: ratios are side by side.

    Args:
        name: A key of `suites.SUITES`, or ``smoke`` or ``full`` for all of them.
        folder: Where ``rows.jsonl`` lies, and the tables of studies; made if it does not exist.
        tell: Called with the instance, the number of cases done and the number of all.
        smoke: Measure the small cases.
    """
    yield from run_cases(name, cases_of(name, smoke), folder, tell)


def run_cases(name: str, cases: Sequence[Case], folder: Path, tell: Tell) -> Iterator[Row]:
    """Do what `run_suite` does for given cases; `name` is what rows say was asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[FOLDER] = str(folder.resolve())
    here = revision(ROOT)
    have = {
        (row.key, row.method)
        for row in read_rows(folder)
        if row.provenance["revision"] == here and row.status not in ("absent", "failed")
    }
    for number, case in enumerate(cases):
        tell(case.instance, number, len(cases))
        if {(key(case), method) for method in methods_of(case)} <= have:
            continue
        yield from _append(name, case, folder)
    tell("done", len(cases), len(cases))


def _append(suite: str, case: Case, folder: Path) -> Iterator[Row]:
    origin = provenance(ROOT, *(LANGUAGE_PACKAGES if _of_language(case) else ()))
    rows = [
        Row(
            key=key(case),
            suite=suite,
            kind=type(case).__name__,
            instance=case.instance,
            case=asdict(case),
            method=one.found.method,
            status=one.found.status,
            message=one.found.message,
            numbers=dict(one.found.numbers),
            load=one.load,
            provenance=_with_versions(origin, one.found),
        )
        for one in measure(case)
    ]
    append_rows(folder, rows)
    yield from rows


def _of_language(case: Case) -> bool:
    if isinstance(case, Scaling):
        return case.axis == "response tokens T"
    return isinstance(case, Study) and bool(case.needs)


def _with_versions(origin: Mapping[str, Any], found: Found) -> dict[str, Any]:
    """Return the origin with the versions of packages that ran under another interpreter."""
    there = found.numbers.get("versions", {})
    return {**origin, "versions": {**origin["versions"], **there}}


def describe(row: Row) -> str:
    """Return a row in one line of text."""
    numbers = row.numbers
    parts = [f"{row.instance}: {row.method}"]
    if "seconds" in numbers:
        parts.append(f"{numbers['seconds']:.3g} s")
    if "processor_seconds" in numbers:
        parts.append(f"({numbers['processor_seconds']:.3g} s of the processor)")
    if numbers.get("scaled"):
        parts.append(f"(scaled from {numbers['contexts_measured']} contexts)")
    if "times_the_first" in numbers and row.method != numbers["first"]:
        times = numbers["times_the_first_in_processor_time"]
        parts.append(f"= {times:.3g} x {numbers['first']} in processor time")
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
