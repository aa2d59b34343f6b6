"""Draw time against size and against batch from the stored rows; nothing is computed here."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.cases import Case, key
from benchmarks.rows import Row, read_rows
from benchmarks.suites import BATCHES, SIZES

_COLOURS = {
    "exact": "#0072b2",
    "cvxpy": "#d55e00",
    "extragradient": "#009e73",
    "pygambit": "#9a4f87",
}
"""Okabe and Ito's palette, purple darkened; lines differ in markers too."""
_MARKERS = {"exact": "o", "cvxpy": "^", "extragradient": "s", "pygambit": "D"}
_LABELS = {
    "exact": "nlhf exact",
    "cvxpy": "cvxpy + CLARABEL",
    "extragradient": "nlhf extragradient",
    "pygambit": "pygambit",
}
_APART = 2.0
"""Factor in seconds between two labels in the margin, so that they do not touch."""


def newest(
    rows: Iterable[Row], cases: tuple[Case, ...], *, number: str = "processor_seconds"
) -> list[Row]:
    """Return the last row of every case and method that has the number, cases in order."""
    order = {key(case): number for number, case in enumerate(cases)}
    last = {
        (order[row.key], row.method): row
        for row in rows
        if row.key in order and number in row.numbers
    }
    return [last[place] for place in sorted(last)]


def draw_times(axes: Axes, rows: list[Row], field: str) -> None:
    """Draw processor seconds against a field of the case: median, and the range of the repeats.

    Labels stand in the margin at the height where their lines end.
    """
    ends: dict[str, float] = {}
    for method, colour in _COLOURS.items():
        mine = [row for row in rows if row.method == method]
        if not mine:
            continue
        x = [row.case[field] for row in mine]
        seconds = [row.numbers["processor_seconds"] for row in mine]
        axes.plot(x, seconds, color=colour, linewidth=1.5, zorder=2)
        for row in mine:
            scaled = row.numbers["scaled"]
            each = row.numbers["processor_seconds_each"]
            axes.vlines(row.case[field], min(each), max(each), color=colour, linewidth=1, zorder=1)
            axes.plot(
                row.case[field],
                row.numbers["processor_seconds"],
                marker=_MARKERS[method],
                markersize=5,
                color=colour,
                markerfacecolor="white" if scaled else colour,
                zorder=3,
            )
        ends[method] = seconds[-1]
    height = 0.0
    for method in sorted(ends, key=ends.__getitem__):
        height = max(ends[method], _APART * height)
        axes.text(
            1.04,
            height,
            _LABELS[method],
            transform=axes.get_yaxis_transform(),
            color=_COLOURS[method],
            va="center",
            fontsize=8.5,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def figure(rows: list[Row]) -> Figure:
    """Return both panels with their provenance underneath."""
    sizes, batches = newest(rows, SIZES), newest(rows, BATCHES)
    with mpl.rc_context({"font.size": 9.5, "svg.fonttype": "none"}):
        drawn = Figure(figsize=(11.5, 4.6))
        left, right = drawn.subplots(1, 2)
        draw_times(left, sizes, "responses")
        left.set_title("One game, temperature 0.01", loc="left")
        left.set_xlabel("responses n")
        left.set_ylabel("processor seconds per solution")
        draw_times(right, batches, "contexts")
        right.set_title("A batch of games with 32 responses, temperature 0.1", loc="left")
        right.set_xlabel("contexts X")
        right.set_ylabel("processor seconds for the whole batch")
        drawn.subplots_adjust(left=0.065, right=0.87, bottom=0.23, top=0.92, wspace=0.62)
        drawn.text(0.065, 0.02, _caption([*sizes, *batches]), fontsize=7.5, color="#555555")
    return drawn


def _caption(rows: list[Row]) -> str:
    origins: list[Mapping[str, object]] = [row.provenance for row in rows]
    revisions = sorted({str(origin["revision"])[:10] for origin in origins})
    machines = sorted({f"{origin['cpu']}, {origin['cores']} cores" for origin in origins})
    load = max((max(row.load) for row in rows), default=0.0)
    return (
        "Points: medians over freshly drawn games, preferences uniform; bars: smallest and largest."
        " Hollow: scaled from the first 50 contexts.\n"
        "Side by side in one process with one BLAS thread (pygambit in its own); extragradient "
        "stops at a duality gap of 1e-12.\n"
        f"Revision {', '.join(revisions)}; {', '.join(machines)}; load average up to {load:.1f}."
    )


def picture(folder: Path) -> Figure:
    """Return the picture of the rows in a folder."""
    return figure(read_rows(folder))
