"""What the rows of random mutants say: figures with intervals, and the survivors with a reason."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PLACES = ("nlhf/exact", "nlhf/certificates.py", "nlhf/algorithms", "nlhf/estimation")
RESULTS = Path(__file__).resolve().parent / "results"
SUMMARY = RESULTS / "random_mutants.md"


@dataclass(frozen=True)
class Row:
    """What became of one mutant.

    Attributes:
        file: The file, relative to the checkout.
        line: The line of the change.
        operator: The name in cosmic-ray.
        occurrence: Which of the places in the file that the operator can change.
        before: The line as it stands.
        after: The line as changed.
        outcome: "caught", "timeout" or "survived".
        test: What caught it, "" for none.
        tests: How many tests call the changed function.
        new: Whether it was caught on a second try only, by the tests of a later commit.
        reason: Of a survivor: what it changes, and why no test objects.
    """

    file: str
    line: int
    operator: str
    occurrence: int
    before: str
    after: str
    outcome: str
    test: str
    tests: int
    new: bool = False
    reason: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what identifies the mutant."""
        return self.file, self.operator, self.occurrence


@dataclass(frozen=True)
class Sample:
    """One draw: where it comes from, and its rows."""

    origin: dict[str, Any]
    rows: tuple[Row, ...]


def read(path: Path) -> Sample:
    """Return the rows of a file that `write` wrote."""
    first, *lines = path.read_text().splitlines()
    return Sample(json.loads(first), tuple(Row(**json.loads(line)) for line in lines))


def write(path: Path, sample: Sample) -> None:
    """Write the origin, then one line a row."""
    documents = [sample.origin, *map(asdict, sample.rows)]
    path.write_text("".join(json.dumps(each) + "\n" for each in documents))


def _share(found: int, number: int) -> str:
    from scipy.stats import binomtest

    interval = binomtest(found, number).proportion_ci(0.95, "exact")
    low, high = 100 * interval.low, 100 * interval.high
    return f"{found} of {number} | {100 * found / number:.1f} % | {low:.1f} to {high:.1f} %"


def caught(rows: Iterable[Row], *, later: bool) -> int:
    """Return how many were caught by the tests of the draw's commit, or by later ones too."""
    return sum(row.outcome != "survived" and (later or not row.new) for row in rows)


def _table(rows: Sequence[Row], *, later: bool) -> list[str]:
    places = sorted({"/".join(row.file.split("/")[:2]) for row in rows})
    lines = ["| place | caught | share | 95 % interval |", "|---|---|---|---|"]
    for place in places:
        here = [row for row in rows if row.file.startswith(place)]
        lines.append(f"| {place} | {_share(caught(here, later=later), len(here))} |")
    return [*lines, f"| all | {_share(caught(rows, later=later), len(rows))} |"]


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _of_sample(sample: Sample) -> list[str]:
    rows, origin = sample.rows, sample.origin
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    late = sum(row.outcome == "timeout" for row in rows)
    lines = [
        f"## Seed {origin['seed']}: {len(rows)} mutants of {origin['commit'][:12]}",
        "",
        f"{versions}. {late} of the caught are timeouts.",
        "",
        "The tests as they were at the draw:",
        "",
        *_table(rows, later=False),
        "",
    ]
    if any(row.new for row in rows):
        lines += [
            "With the tests written against the survivors (a figure that favours us):",
            "",
            *_table(rows, later=True),
            "",
        ]
    missed = [row for row in rows if row.outcome == "survived"]
    kinds = Counter(row.reason.split(":")[0].lower() for row in missed)
    counted = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    lines += [f"{len(missed)} survivors: {counted}.", ""]
    lines += ["| survivor | changed to | why no test objects |", "|---|---|---|"]
    for row in missed:
        place = f"{row.file}:{row.line} {_code(row.before)}"
        lines.append(f"| {place} | {_code(row.after)} | {row.reason} |")
    return [*lines, ""]


def summary(samples: Iterable[Sample]) -> str:
    """Return the Markdown summary; intervals are those of Clopper and Pearson."""
    lines = [
        "# Random mutants",
        "",
        "Drawn uniformly, by `tests/mutations/random_mutants.py`, from all that cosmic-ray's",
        "operators make of `nlhf/exact`, `nlhf/certificates.py`, `nlhf/algorithms` and",
        "`nlhf/estimation`; what is left out beforehand stands in `tests/mutations/drawing.py`.",
        "A mutant is caught if a quick test fails that passes without it. Of the tests that call",
        "the changed function the quickest ran, as many as take 15 seconds unchanged; of 37",
        "survivors that met all the others too, those caught 3.",
        "",
        "Tests were then written against the survivors of the first draw, so its second table is",
        "better than the tests are. The draw after that is the fair figure: its first table.",
        "",
    ]
    for sample in samples:
        lines += _of_sample(sample)
    return "\n".join(lines)
