"""The headline study as tables: run it, and write what it shows for and against the claim."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.provenance import ROOT, provenance
from benchmarks.sizes import Size
from benchmarks.studies.headline import (
    BANDS,
    EXPLORED,
    MINORITIES,
    PAIRS,
    TEMPERATURES,
    Outcome,
    exploration,
    outcomes,
)
from benchmarks.tables import write_table

MINORITY_GAIN, AVERAGE_GAIN = 0.33, 0.16
"""What the claim says, relative to the single reward."""


def _quartiles(values: Sequence[float]) -> str:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:+.0%} ({low:+.0%}, {high:+.0%})"


def _share(flags: Iterable[bool]) -> str:
    return f"{np.mean(list(flags)):.0%}"


def _gains(one: Outcome) -> tuple[bool, bool]:
    return one.minority_change >= MINORITY_GAIN, one.average_change >= AVERAGE_GAIN


def _possible(one: Outcome) -> tuple[bool, bool]:
    return one.minority_room >= MINORITY_GAIN, one.average_room >= AVERAGE_GAIN


def _row(name: str, some: Sequence[Outcome]) -> str:
    cells = [
        name,
        str(len(some)),
        _quartiles([one.minority_change for one in some]),
        _quartiles([one.average_change for one in some]),
        _quartiles([one.majority_change for one in some]),
        *(_share(_gains(one)[part] for one in some) for part in (0, 1)),
        _share(all(_gains(one)) for one in some),
        *(_share(_possible(one)[part] for one in some) for part in (0, 1)),
    ]
    return "| " + " | ".join(cells) + " |"


_HEADER = (
    "| {} | n | minority | average | majority | minority ≥ +33 % | average ≥ +16 % | both "
    "| possible: minority | possible: average |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def _table(
    by: str, found: Sequence[Outcome], cells: Iterable[tuple[str, Callable[[Outcome], bool]]]
) -> str:
    rows = [_row(name, [one for one in found if is_in(one)]) for name, is_in in cells]
    return "\n".join([_HEADER.format(by), *rows])


def _split(share: float) -> str:
    return f"{1 - share:.0%}".replace("%", "/") + f"{share:.0%}".replace("%", "")


def _tables(found: Sequence[Outcome]) -> list[str]:
    """Return the tables: split by band, then temperature, then reference."""
    bands = [f"[{low:g}, {high:g})" for low, high in BANDS]
    crossed: list[tuple[str, Callable[[Outcome], bool]]] = [("all", lambda one: True)]
    for share in MINORITIES:
        crossed.append((f"**{_split(share)}**, all", lambda one, s=share: one.minority_share == s))
        crossed += [
            (
                f"{_split(share)}, ρ in {bands[band]}",
                lambda one, s=share, b=band: one.minority_share == s and one.band == b,
            )
            for band in range(len(BANDS))
        ]
    return [
        _table("split and correlation", found, crossed),
        _table(
            "temperature",
            found,
            [(f"τ = {t:g}", lambda one, t=t: one.temperature == t) for t in TEMPERATURES],
        ),
        _table(
            "reference",
            found,
            [
                (name, lambda one, u=u: one.uniform_reference is u)
                for name, u in (("uniform", True), ("Dirichlet(1, ..., 1)", False))
            ],
        ),
    ]


def _rates(found: Sequence[Outcome]) -> str:
    """Return the table of mean win rates: what the relative changes are relative to."""
    lines = [
        "| split | single: majority | single: minority | single: average | MaxMin: majority "
        "| MaxMin: minority | MaxMin: average | minority's own policy | minority's ceiling |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for share in MINORITIES:
        some = [one for one in found if one.minority_share == share]
        columns = (
            [one.single_majority for one in some],
            [one.single_minority for one in some],
            [one.single_average for one in some],
            [one.maxmin_majority for one in some],
            [one.maxmin_minority for one in some],
            [(one.maxmin_majority + one.maxmin_minority) / 2 for one in some],
            [one.own_minority for one in some],
            [one.ceiling_minority for one in some],
        )
        means = " | ".join(f"{np.mean(column):.3f}" for column in columns)
        lines.append(f"| {_split(share)} | {means} |")
    return "\n".join(lines)


def _verdict(found: Sequence[Outcome]) -> list[str]:
    """Say in sentences what the sweep shows against the claim."""
    count = len(found)
    gains = np.array([_gains(one) for one in found])
    possible = np.array([_possible(one) for one in found])
    minority = np.array([one.minority_change for one in found])
    average = np.array([one.average_change for one in found])

    def of(flags: np.ndarray) -> str:
        return f"{int(flags.sum())} of {count} ({flags.mean():.0%})"

    return [
        f"* {count} instances: {PAIRS} pairs of tastes at four splits. The median change of the "
        f"minority's win rate is {np.median(minority):+.1%} (largest {minority.max():+.0%}), of "
        f"the average {np.median(average):+.1%} (largest {average.max():+.1%}).",
        f"* The minority gains at least 33 % in {of(gains[:, 0])}; any policy at all could bring "
        f"it that in {of(possible[:, 0])}.",
        f"* The average gains at least 16 % in {of(gains[:, 1])}; any policy at all could bring "
        f"it that in {of(possible[:, 1])}.",
        f"* Both together hold in {of(gains.all(axis=1))}; some policy for each could bring them "
        f"in {of(possible.all(axis=1))}.",
        f"* The average falls in {of(average < 0.0)}, the minority's win rate in "
        f"{of(minority < 0.0)}.",
    ]


def _explored(found: Sequence[Outcome]) -> str:
    cells: list[tuple[str, Callable[[Outcome], bool]]] = []
    for majority, minority in dict.fromkeys(
        (one.majority_strength, one.minority_strength) for one in found
    ):
        cells += [
            (
                f"{_split(share)}, {majority:g} against {minority:g}",
                lambda one, s=share, a=majority, b=minority: (
                    (one.minority_share, one.majority_strength, one.minority_strength) == (s, a, b)
                ),
            )
            for share in EXPLORED
        ]
    return _table("split, strength of the majority against the minority", found, cells)


def report(found: Sequence[Outcome], explored: Sequence[Outcome], origin: dict[str, Any]) -> str:
    """Return the whole study as Markdown."""
    tables = _tables(found)
    gap = max(one.maxmin_gap for one in (*found, *explored))
    versions = ", ".join(f"{name} {v}" for name, v in origin["versions"].items() if v != "absent")
    return "\n\n".join(
        [
            "# The headline in its exact form",
            "Relative change of win rates against the reference policy, from the single reward to "
            "MaxMin: median (lower quartile, upper quartile). *Possible*: the share of instances "
            "in which some policy reaches the gain, whatever it does to the other group. Family, "
            "policies and measure: `benchmarks/studies/headline.py`, written before the first run.",
            "## What the sweep shows",
            "\n".join(_verdict(found)),
            "## Relative changes",
            *tables,
            "## Mean win rates",
            _rates(found),
            "## After the first run: what it takes",
            "Opposed tastes (ρ in [-1, -0.5)) of unequal strength, an exploration chosen with the "
            "results above in sight; the minority cares more than the majority in all of them. "
            "Both gains together then occur, but remain the exception.",
            _explored(explored),
            f"Largest duality gap of a MaxMin policy, rounding included: {gap:.1e} logits. "
            f"Revision {origin['revision'][:20]}, {origin['time']}; Python {origin['python']}, "
            f"{versions}. All rows: `headline.csv`.",
        ]
    )


def record(folder: Path, size: Size) -> None:
    """Write ``headline.csv`` and ``headline.md``."""
    pairs = size.pick(16, PAIRS)
    found = [one for k in range(pairs) for one in outcomes(k)]
    explored = exploration(pairs)
    write_table(folder / "headline.csv", (*found, *explored))
    (folder / "headline.md").write_text(report(found, explored, provenance(ROOT)) + "\n")
