"""The README's table of times beside other packages, from the rows that were measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.provenance import RESULTS
from benchmarks.report import latest
from benchmarks.rows import Row, read_rows

MARKS = ("<!-- peers -->\n", "<!-- /peers -->")

_GAME = {"contexts": 1, "family": "uniform", "reference": "uniform_reference"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Cases that are one line of the table for every peer.

    Attributes:
        title: What is solved.
        kind: The class of the cases.
        fields: What a case must have.
        size: The field by which ratios are listed; without it their range is given.
        symbol: What the size is called.
    """

    title: str
    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    size: str = ""
    symbol: str = ""

    def holds(self, row: Row) -> bool:
        """Return whether a row is about this problem."""
        fits = all(row.case.get(name) == value for name, value in self.fields.items())
        return row.kind == self.kind and fits


PROBLEMS = (
    Problem("one game, τ = 0.01", "Comparison", _GAME | {"temperature": 0.01}, "responses", "n"),
    Problem("one game, τ = 0.1", "Comparison", _GAME | {"temperature": 0.1}, "responses", "n"),
    Problem("one game, τ = 0", "Comparison", _GAME | {"temperature": 0.0}, "responses", "n"),
    Problem("1,000 games in one call, n = 32, τ = 0.1", "Comparison", {"contexts": 1000}),
    Problem("MaxMin, 5 groups, n = 200, 20 prompts", "Groups", {"groups": 5}, "temperature", "τ"),
    Problem("Bradley-Terry rewards", "Tally", {}, "votes", "votes"),
    Problem("soft values, horizon 50", "Planning", {"horizon": 50}, "states", "states"),
    Problem("outer step of a 12.6M GPT-2, CPU", "OuterStep", {"shape": "small"}),
)


def ratio(row: Row) -> float:
    """Return the peer's time over ours, in processor time where it was measured."""
    numbers = row.numbers
    return float(numbers.get("times_the_first_in_processor_time", numbers.get("times_the_first")))


def shown(number: float) -> str:
    """Return a ratio to two digits, or to the unit."""
    return f"{number:.2g}" if number < 100.0 else f"{number:,.0f}"


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """Return the table, a line for every problem and peer."""
    yield "| problem | sizes | peer | its time over ours |"
    yield "|---|---|---|--:|"
    newest = latest(rows)
    for problem in PROBLEMS:
        own = [row for row in newest if problem.holds(row) and row.method in PEERS]
        for method in dict.fromkeys(row.method for row in own):
            found = [row for row in own if row.method == method]
            versions = found[-1].provenance["versions"]
            known = [versions.get(name, "") for name in PEERS[method]]
            peer = " ".join([f"`{method}`", *(known[:1] if known[0] != "absent" else [])]).strip()
            if problem.size:
                by_size = {row.case[problem.size]: shown(ratio(row)) for row in found}
                sizes = ", ".join(f"{size:,}" for size in sorted(by_size))
                ratios = ", ".join(by_size[size] for size in sorted(by_size))
                yield f"| {problem.title} | {problem.symbol} = {sizes} | {peer} | {ratios} |"
            else:
                ends = dict.fromkeys(shown(end(map(ratio, found))) for end in (min, max))
                yield f"| {problem.title} | | {peer} | {' to '.join(ends)} |"


def render() -> str:
    """Return the table of the rows that are checked in."""
    return "\n".join(["", *lines(read_rows(RESULTS)), "", ""])


def placed(readme: str, table: str, marks: tuple[str, str] = MARKS) -> str:
    """Return the README with a table between its marks."""
    before, rest = readme.split(marks[0])
    _, after = rest.split(marks[1])
    return f"{before}{marks[0]}{table}{marks[1]}{after}"
