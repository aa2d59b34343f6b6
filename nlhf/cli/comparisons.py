"""Tables and JSON documents of comparisons."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from rich.console import JustifyMethod
from rich.measure import Measurement
from rich.table import Table

from nlhf.analysis.comparison import Comparison, Run
from nlhf.analysis.prompts import Problem
from nlhf.cli.tables import plain_console
from nlhf.labels import label
from nlhf.results import Provenance, Stop

_WIDTH = 240
_MOST = 30
"""Width beyond which words in a cell are put into further lines."""

_COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("algorithm", "left"),
    ("published as", "left"),
    ("step", "right"),
    ("iterations", "right"),
    ("proven\niterations", "right"),
    ("evaluations\nan iteration", "right"),
    ("seconds", "right"),
    ("duality gap", "right"),
    ("stopped", "left"),
    ("gap fell by", "right"),
    ("proven", "left"),
)
_WITH_ROOM = (
    "published as",
    "evaluations\nan iteration",
    "proven",
    "step",
    "proven\niterations",
    "gap fell by",
    "seconds",
)
"""Columns that are left out where there is no room for them, in this order."""


def print_comparison(comparison: Comparison, choice: str, seconds: float) -> None:
    """Print one row a method, and what did not run below."""
    console = plain_console(_WIDTH)
    temperatures = " and ".join(f"{t:g}" for t in dict.fromkeys(comparison.temperatures))
    title = f"Algorithms on {choice}; temperature {temperatures}"
    rows = [_row(run) for run in comparison.runs]
    unlimited = console.options.update(width=10_000)
    for count in range(len(_WITH_ROOM) + 1):
        table = _table(title, rows, _WITH_ROOM[:count])
        if Measurement.get(console, unlimited, table).maximum <= console.width:
            break
    console.print(table)
    for line in _summary(comparison, seconds):
        console.print(line)


def _table(title: str, rows: Sequence[Sequence[str]], without: Sequence[str]) -> Table:
    """Return the table without some of its columns."""
    table = Table(title=title, title_justify="left", row_styles=["", "dim"])
    shown = [k for k, (heading, _) in enumerate(_COLUMNS) if heading not in without]
    for k in shown:
        heading, justify = _COLUMNS[k]
        table.add_column(heading, justify=justify, overflow="fold", max_width=_MOST)
    for row in rows:
        table.add_row(*(row[k] for k in shown))
    return table


def _row(run: Run) -> list[str]:
    """Return the cells of `_COLUMNS`."""
    promised = run.promise
    return [
        label(run.name, 34),
        ", ".join(run.published),
        "" if run.step_size is None else f"{run.step_size:.3g}",
        f"{run.iterations:,}",
        f"{promised.until:,}" if promised is not None and promised.until is not None else "",
        f"{run.evaluations_per_iteration:.3g}",
        f"{run.seconds:.3f}",
        f"{run.bound.value:.1e}",
        f"{run.stop}, biased" if run.biased else str(run.stop),
        observed(run),
        promised.says if promised is not None else "",
    ]


def observed(run: Run) -> str:
    """Return how the gap fell: by a factor an iteration, or like a power of them."""
    if run.biased:
        return "rests"
    if run.decay is None:
        return ""
    linear = run.decay.linear
    if run.promise is not None:
        linear = run.promise.contraction is not None
    return f"x {run.decay.contraction:.4f}" if linear else f"k^{run.decay.exponent:.2f}"


def _summary(comparison: Comparison, seconds: float) -> list[str]:
    stop = comparison.stop
    lines = [
        f"Runs end at a duality gap of {stop.gap:g} ({comparison.units}), rounding included, or "
        f"after {stop.max_iterations:,} iterations; seconds are those of the steps, "
        "without judging them.",
    ]
    if comparison.certified:
        first = comparison.certified[0]
        fastest = min(comparison.certified, key=lambda run: run.seconds)
        lines.append(
            f"Fewest iterations: {label(first.name, 34)} ({first.iterations:,}); "
            f"least time: {label(fastest.name, 34)} ({fastest.seconds:.3f} s)."
        )
    lines += [
        f"Biased: {label(run.name, 34)} rests at {run.bound.value:.1e}, away from the equilibrium; "
        "more iterations change nothing."
        for run in comparison.runs
        if run.biased
    ]
    lines += [f"Not run: {label(no.name, 34)}: {no.reason}." for no in comparison.refused]
    lines.append(f"Time: {seconds:.3f} s in all.")
    return lines


def document(
    comparison: Comparison,
    chosen: Sequence[Problem],
    choice: str,
    config: Mapping[str, Any],
    seconds: float,
    exit_code: int,
) -> dict[str, Any]:
    """Return the whole comparison as plain JSON types; times are in seconds.

    Numbers that are not finite, such as the gap of a run that diverged, become null.
    """
    return {
        "certified": exit_code == 0,
        "exit_code": exit_code,
        "config": dict(config),
        "versions": dict(Provenance(method="").versions),
        "seconds": seconds,
        "choice": choice,
        "prompts": [
            {"prompt": problem.prompt, "responses": list(problem.responses)} for problem in chosen
        ],
        "temperatures": list(comparison.temperatures),
        "units": str(comparison.units),
        "runs": [_run(run) for run in comparison.runs],
        "refused": [{"name": no.name, "reason": no.reason} for no in comparison.refused],
    }


def _run(run: Run) -> dict[str, Any]:
    curve, promised, decay = run.curve, run.promise, run.decay
    return {
        "name": run.name,
        "published": list(run.published),
        "method": repr(run.algorithm),
        "step_size": run.step_size,
        "stop": str(run.stop),
        "reached": run.stop is Stop.CERTIFIED,
        "biased": run.biased,
        "iterations": run.iterations,
        "evaluations_per_iteration": run.evaluations_per_iteration,
        "seconds": run.seconds,
        "duality_gap": {
            "knows": str(run.bound.knows),
            "value": _number(run.bound.value),
            "low": _number(run.bound.low),
            "high": _number(run.bound.high),
        },
        "observed": None
        if decay is None
        else {"contraction": decay.contraction, "exponent": decay.exponent},
        "promised": None
        if promised is None
        else {
            "theorem": promised.theorem,
            "says": promised.says,
            "contraction": promised.contraction,
            "iterations": promised.until,
        },
        "curve": {
            "iteration": curve.iterations.tolist(),
            "evaluations": curve.evaluations.tolist(),
            "seconds": curve.seconds.tolist(),
            "gap": [_number(gap) for gap in curve.gaps.tolist()],
        },
    }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
