"""Ratios within each run, and whether they changed from one run to the other."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.comparing.sides import Side, measured
from benchmarks.peers import PEERS
from benchmarks.rows import Row

CONFIDENCE = 0.95
FEWEST = 3
"""Repeats without which nothing is tested."""
YARDSTICK = "yardstick"
CLOCKS = {"processor": "processor_seconds_each", "wall": "seconds_each"}
"""What rows call the laps by a clock, the better one first."""


@dataclass(frozen=True, slots=True)
class Change:
    """One method on one case, before and after.

    Attributes:
        instance: The case in words.
        method: A method of this library.
        beside: What its time is divided by, game by game: another package in the same versions in
            both runs, or the fixed piece of work that was timed in turn with it.
        clock: ``processor`` or ``wall``.
        repeats: Before and after.
        before: The geometric mean of the ratios.
        after: The same.
        change: After over before: above 1 is slower.
        low: Lower end of the 95 % interval of the change, from the repeats.
        high: Upper end.
        p: Of the hypothesis that nothing changed.
        verdict: ``slower``, ``faster``, ``no difference``, or ``not tested``.
        seconds_before: Of the method itself by that clock, where both runs are of one machine.
        seconds_after: The same.
    """

    instance: str
    method: str
    beside: str
    clock: str
    repeats: tuple[int, int]
    before: float
    after: float
    change: float
    low: float
    high: float
    p: float
    verdict: str
    seconds_before: float | None
    seconds_after: float | None


def changes(before: Side, after: Side, *, same_machine: bool) -> Iterator[Change]:
    """Yield an untold change for every case and method of ours that both runs timed.

    Log-ratios of the same games are paired; the test is Student's, of their differences. No test
    of ranks can find anything here: of five to nine repeats, none gets below p = 0.002, and a few
    dozen rows are tested at a time.
    """
    for place, old in before.rows.items():
        new = after.rows.get(place)
        if new is None or old.method in PEERS or len(measured([old, new])) < 2:
            continue
        found = _ratios(old, new, before, after)
        if found is None:
            continue
        beside, clock, first, second = found
        change, low, high, p = _tested(first, second)
        yield Change(
            old.instance,
            old.method,
            beside,
            clock,
            (len(first), len(second)),
            float(np.exp(first.mean())),
            float(np.exp(second.mean())),
            change,
            low,
            high,
            p,
            "",
            float(np.median(old.numbers[CLOCKS[clock]])) if same_machine else None,
            float(np.median(new.numbers[CLOCKS[clock]])) if same_machine else None,
        )


def _ratios(
    old: Row, new: Row, before: Side, after: Side
) -> tuple[str, str, np.ndarray, np.ndarray] | None:
    """Return what both rows are divided by, the clock, and the logarithms of both ratios."""
    for clock, name in CLOCKS.items():
        for peer in _peers(old, new, before, after):
            sides = before.rows[old.key, peer], after.rows[old.key, peer]
            if all(_has(row, name) for row in (old, new, *sides)):
                logs = [
                    _logs(row.numbers[name], side.numbers[name])
                    for row, side in zip((old, new), sides, strict=True)
                ]
                return peer, clock, logs[0], logs[1]
        yard = f"{YARDSTICK}_{name}"
        if all(_has(row, name) and _has(row, yard) for row in (old, new)):
            logs = [_logs(row.numbers[name], row.numbers[yard]) for row in (old, new)]
            return YARDSTICK, clock, logs[0], logs[1]
    return None


def _has(row: Row, name: str) -> bool:
    """Return whether every lap took time; a clock too coarse for one says nothing of ratios."""
    laps = row.numbers.get(name, ())
    return len(laps) > 0 and all(lap > 0.0 for lap in laps)


def _peers(old: Row, new: Row, before: Side, after: Side) -> Iterator[str]:
    """Yield other packages that ran on the same games in both runs, in the same versions."""
    for key, method in before.rows:
        if key != old.key or method not in PEERS or (key, method) not in after.rows:
            continue
        rows = before.rows[key, method], after.rows[key, method]
        beside = {row.numbers.get("beside", old.method) for row in rows}
        versions = {
            tuple(row.provenance["versions"].get(name) for name in PEERS[method]) for row in rows
        }
        known = len(versions) == 1 and None not in next(iter(versions))
        if len(measured(rows)) == 2 and known and beside == {old.method}:
            yield method


def _logs(own: list[float], other: list[float]) -> np.ndarray:
    count = min(len(own), len(other))
    return np.log(np.array(own[:count])) - np.log(np.array(other[:count]))


def _tested(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float, float]:
    """Return the change, its interval, and p against no change.

    Student's test of paired differences; Welch's where the numbers of repeats differ.
    """
    from scipy.special import stdtr, stdtrit

    apart = float(second.mean() - first.mean())
    if min(len(first), len(second)) < FEWEST:
        return float(np.exp(apart)), 0.0, float("inf"), float("nan")
    if len(first) == len(second):
        freedom = len(first) - 1.0
        error = float((second - first).std(ddof=1)) / len(first) ** 0.5
    else:
        parts = np.array([side.var(ddof=1) / len(side) for side in (first, second)])
        shares = parts**2 / np.array([len(first) - 1, len(second) - 1])
        freedom = float(parts.sum() ** 2 / shares.sum()) if parts.any() else 1.0
        error = float(parts.sum() ** 0.5)
    reach = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2.0)) * error
    p = 2.0 * float(stdtr(freedom, -abs(apart) / error)) if error else float(apart == 0.0)
    return float(np.exp(apart)), float(np.exp(apart - reach)), float(np.exp(apart + reach)), p
