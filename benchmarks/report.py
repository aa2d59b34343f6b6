"""Write what follows from the rows: tables in Markdown, slopes, pictures.

``python -m benchmarks.report [FOLDER]``; `nlhf bench full` ends with it.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from math import isnan
from pathlib import Path

from benchmarks import pictures
from benchmarks.peers import PEERS
from benchmarks.provenance import RESULTS
from benchmarks.rows import Row, read_rows
from benchmarks.scaling.plot import SLOPES
from benchmarks.scaling.slopes import Slope, slopes
from benchmarks.tables import write_table

_HEAD = ("case", "method", "processor time", "wall time", "times the first", "how good")
_GOOD = (
    ("duality_gap_largest", "gap {:.0e}"),
    ("largest_difference_from_hard", "values {:.0e} from those at τ = 0"),
    ("score_in_votes", "score {:.0e} votes"),
    ("largest_difference_of_probabilities", "apart by {:.0e}"),
    ("share_of_copy_bandwidth", "{:.0%} of a copy's bandwidth"),
    ("share_in_their_group", "{:.1%} of raters in their group"),
    ("raters_in_their_group", "{:.1%} of raters in their group"),
)
_LEFT_OUT = ("Scaling", "Study")


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return the newest good row of every case and method, in order of the newest measurement."""
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.status not in ("absent", "failed"):
            last.pop((row.key, row.method), None)
            last[row.key, row.method] = row
    return list(last.values())


def solvers(rows: Sequence[Row]) -> str:
    """Return every method on every case beside each other, with versions and machine."""
    mine = [row for row in latest(rows) if row.kind not in _LEFT_OUT]
    lines = [
        "# Side by side",
        "",
        "Each row of a case ran in turn with the others of it, in one run, on the same freshly",
        "drawn instances, with one thread. Times are medians, of all contexts; *times the first*",
        "is the median of ratios on the same instance, in processor time, to the first method of",
        "the case. How good is the worst over all instances: the certified duality gap of what the",
        "method returned, or what is named. Methods of other packages are in italics. Written by",
        "`nlhf bench full` from `rows.jsonl`.",
        "",
        *_provenance(mine),
    ]
    for kind in dict.fromkeys(row.kind for row in mine):
        lines += ["", f"## {_TITLES.get(kind, kind)}", "", *_grid(_HEAD, _cells(mine, kind))]
    return "\n".join(lines) + "\n"


_TITLES = {
    "Comparison": "Preference games",
    "Startup": "Import",
    "Sweeps": "Soft value iteration, a sweep",
    "Planning": "Planning in decision processes",
    "Toy": "Games in Gymnasium's environments",
    "Steps": "A step of an algorithm",
    "Groups": "MaxMin over groups",
    "Tally": "Bradley-Terry rewards",
    "Raters": "Mixtures of raters",
    "Recovery": "Raters told apart",
    "Footprint": "Large problems, each in a fresh process",
    "Candidates": "Pessimistic planning over candidates",
    "OuterStep": "An outer step of a language model",
}


def _provenance(rows: Sequence[Row]) -> Iterator[str]:
    versions: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.provenance["versions"].items():
            if version != "absent":
                versions.setdefault(name, set()).add(version)
    revisions = dict.fromkeys(str(row.provenance["revision"])[:10] for row in rows)
    machines = dict.fromkeys(f"{r.provenance['cpu']}, {r.provenance['cores']} cores" for r in rows)
    loads = [max(row.load) for row in rows] or [0.0]
    named = ", ".join(f"{name} {' / '.join(sorted(of))}" for name, of in sorted(versions.items()))
    yield f"* Revision {', '.join(revisions)}; {' / '.join(machines)}."
    yield f"* {named}."
    yield f"* Load averages from {min(loads):.1f} to {max(loads):.1f}."


def _cells(rows: Sequence[Row], kind: str) -> Iterator[tuple[str, ...]]:
    before = ""
    for row in (r for r in rows if r.kind == kind):
        numbers = row.numbers
        good = [text.format(numbers[name]) for name, text in _GOOD if name in numbers]
        if "peak_memory_bytes" in numbers:
            good.append(f"peak {numbers['peak_memory_bytes'] / 2**20:,.0f} MiB")
        if row.status != "ok":
            good.append(row.status)
        ratio = numbers.get("times_the_first_in_processor_time", numbers.get("times_the_first"))
        first = row.method == numbers.get("first")
        yield (
            row.instance if row.key != before else "",
            f"*{row.method}*" if row.method in PEERS else row.method,
            _seconds(numbers.get("processor_seconds")),
            _seconds(numbers.get("seconds")),
            "" if ratio is None or first else f"{ratio:.3g}",
            "; ".join(good),
        )
        before = row.key


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    units = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"))
    factor, unit = next((each for each in units if seconds * each[0] >= 1.0), units[-1])
    return f"{seconds * factor:.3g} {unit}"


def growth(found: Sequence[Slope]) -> str:
    """Return the slopes as a table."""
    head = ("what grows", "method", "measure", "slope", "from", "to", "times ours at the end")
    body = (
        (
            one.axis,
            f"*{one.method}*" if one.method in PEERS else one.method,
            one.measure,
            "" if isnan(one.slope) else f"{one.slope:.2f}",
            "" if isnan(one.slope) else f"{one.first:,}",
            f"{one.last:,}",
            "" if isnan(one.times_ours) or one.times_ours == 1.0 else f"{one.times_ours:.3g}",
        )
        for one in found
    )
    return "\n".join(
        [
            "# How time and memory grow",
            "",
            "Slopes of the logarithm of processor time, and of peak memory above the smallest",
            "size's, over the larger half of the sizes (`benchmarks/scaling/slopes.py`); drawn in",
            "`scaling.png`.",
            "",
            *_grid(head, body),
        ]
    )


def _grid(head: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    for line in (head, ["---"] * len(head), *body):
        yield "| " + " | ".join(line) + " |"


def write(folder: Path) -> None:
    """Write tables, slopes and pictures of the rows in a folder, where there are any."""
    rows = read_rows(folder)
    found = slopes(rows)
    (folder / "solvers.md").write_text(solvers(rows), "utf-8")
    if found:
        write_table(folder / SLOPES, found)
        (folder / "scaling.md").write_text(growth(found) + "\n", "utf-8")
        pictures.draw(folder)


def main(arguments: list[str]) -> int:
    """Write them for the folder that is named, or for the results of the checkout."""
    write(Path(arguments[0]) if arguments else RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
