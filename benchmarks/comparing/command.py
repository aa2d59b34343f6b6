"""`nlhf bench --compare A B`: the verdicts, and how they are told."""

from dataclasses import dataclass, replace
from math import isnan, log, log1p
from pathlib import Path

from benchmarks.comparing.changes import Change, changes
from benchmarks.comparing.sides import Side, measured, side
from nlhf.errors import InvalidProblem, NotAllowed


@dataclass(frozen=True, slots=True)
class Compared:
    """What got slower from one run to another.

    Attributes:
        before: Name, revisions and machines of the first run.
        after: Of the second.
        same_machine: Whether both are of one kind of machine with one Python.
        load: The largest load averages.
        threshold: The part of its time by which something must be seen to have changed.
        false_alarms: Of all verdicts, the share of those on what did not change at all is at most
            this on average; if nothing changed, so is the chance of any.
        slower: How many got slower.
        faster: How many got faster.
        tested: How many were tested.
        changes: All of them, slowest first.
        alone: Cases and methods that only one run timed.
    """

    before: str
    after: str
    same_machine: bool
    load: tuple[float, float]
    threshold: float
    false_alarms: float
    slower: int
    faster: int
    tested: int
    changes: tuple[Change, ...]
    alone: tuple[str, ...]


def compare(
    before: str, after: str, folder: Path | None, threshold: float, false_alarms: float
) -> Compared:
    """Return what changed; see `sides.side` for what the names may be.

    Raises:
        InvalidProblem: If the threshold is negative or the rate not between 0 and 1.
        NotAllowed: If the runs have nothing in common.
    """
    if threshold < 0.0 or not 0.0 < false_alarms < 1.0:
        raise InvalidProblem(
            f"threshold {threshold:g}, false alarms {false_alarms:g}",
            "give a threshold of at least 0, and a rate between 0 and 1",
        )
    first, second = side(before, folder), side(after, folder)
    same = first.machines == second.machines and len(first.machines) == 1
    found = list(changes(first, second, same_machine=same))
    if not found:
        raise NotAllowed(
            f"{_said(first)} has {len(first.rows)} rows, {_said(second)} has {len(second.rows)}, "
            "and no case was timed by the same method of this library in both, beside the same "
            "versions of another package or the yardstick",
            "measure the same suite in both runs, with the repeats that rows of today hold",
        )
    told = _verdicts(found, threshold, false_alarms)
    verdicts = [one.verdict for one in told]
    return Compared(
        _said(first),
        _said(second),
        same,
        (first.load, second.load),
        threshold,
        false_alarms,
        verdicts.count("slower"),
        verdicts.count("faster"),
        len(verdicts) - verdicts.count("not tested"),
        tuple(sorted(told, key=lambda one: -one.change)),
        _alone(first, second),
    )


def _verdicts(found: list[Change], threshold: float, false_alarms: float) -> list[Change]:
    """Return the changes with verdicts, their p-values adjusted by Benjamini and Hochberg.

    A test against changes within the threshold would hardly ever see one of twice the threshold:
    its rate of false alarms is far below what is asked for where nothing changed.
    """
    from scipy.stats import false_discovery_control

    tested = [place for place, one in enumerate(found) if not isnan(one.p)]
    told = [replace(one, verdict="not tested") for one in found]
    adjusted = false_discovery_control([found[place].p for place in tested]) if tested else []
    for place, p in zip(tested, adjusted, strict=True):
        verdict = "no difference"
        if p <= false_alarms and abs(log(found[place].change)) > log1p(threshold):
            verdict = "slower" if found[place].change > 1.0 else "faster"
        told[place] = replace(found[place], p=float(p), verdict=verdict)
    return told


def _alone(first: Side, second: Side) -> tuple[str, ...]:
    timed = [
        {(row.key, row.method): row for row in measured(list(one.rows.values()))}
        for one in (first, second)
    ]
    return tuple(
        f"{row.instance}: {row.method}"
        for one, other in (timed, timed[::-1])
        for place, row in one.items()
        if place not in other
    )


def _said(one: Side) -> str:
    return f"{one.name} ({', '.join(one.revisions)}; {' / '.join(one.machines)})"


def table(found: Compared) -> str:
    """Return the comparison as text."""
    lines = [
        f"before: {found.before}, load up to {found.load[0]:.1f}",
        f"after:  {found.after}, load up to {found.load[1]:.1f}",
        "",
        "the same kind of machine: seconds are shown"
        if found.same_machine
        else "different machines: only ratios within each run are compared, no seconds",
        "",
    ]
    head = ("change", "95 % interval", "p", "verdict", "seconds", "method", "beside", "case")
    rows = [head, *(_cells(one) for one in found.changes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [
        "",
        f"{found.slower} slower and {found.faster} faster of {found.tested} tested, by more than "
        f"{found.threshold:.0%} as seen. At most {found.false_alarms:.0%} of such verdicts on "
        "average are on what did not change",
        "(Benjamini-Hochberg); no difference means no more than that the interval allows it. That "
        "is about the repeats within each run: what differs",
        "between two runs as a whole, such as neighbours on the machine, shows only if both are "
        "repeated.",
    ]
    if found.alone:
        shown = "; ".join(found.alone[:3]) + (" ..." if len(found.alone) > 3 else "")
        lines.append(f"{len(found.alone)} timed in one run only: {shown}")
    return "\n".join(lines)


def _cells(one: Change) -> tuple[str, ...]:
    untested = one.verdict == "not tested"
    seconds = (
        ""
        if one.seconds_before is None or one.seconds_after is None
        else f"{one.seconds_before:.3g} -> {one.seconds_after:.3g}"
    )
    return (
        f"{one.change:.2f} x",
        "" if untested else f"{one.low:.2f} to {one.high:.2f}",
        "" if untested else f"{one.p:.2g}",
        f"{one.verdict} ({min(one.repeats)} repeats)" if untested else one.verdict,
        seconds,
        one.method,
        f"{one.beside} ({one.clock} time)",
        one.instance,
    )
