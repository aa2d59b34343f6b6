"""Draw time and peak memory against sizes from stored rows; slopes are stored too."""

from math import isnan
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.rows import Row, read_rows
from benchmarks.scaling.slopes import MEMORY, TIME, Slope, newest, of
from benchmarks.tables import read_table

SLOPES = "scaling_slopes.csv"
_LOOKS = {
    "exact": ("nlhf exact", "#0072b2", "o", "-"),
    "extragradient": ("nlhf extragradient", "#009e73", "s", (0, (5, 1.6))),
    "cvxpy": ("cvxpy + CLARABEL", "#d55e00", "^", (0, (2.2, 1.3))),
    "pygambit": ("pygambit", "#9a4f87", "D", (0, (5, 1.4, 1, 1.4))),
    "soft": ("nlhf soft", "#0072b2", "o", "-"),
    "hard": ("nlhf hard", "#56b4e9", "s", (0, (5, 1.6))),
    "pymdptoolbox": ("pymdptoolbox", "#d55e00", "^", (0, (2.2, 1.3))),
    "log-probabilities": ("nlhf log-probabilities", "#0072b2", "o", "-"),
    "transformers": ("transformers log_softmax", "#d55e00", "^", (0, (2.2, 1.3))),
    "trl outer step": ("TRL Nash-MD step, cache on", "#9a4f87", "D", (0, (5, 1.4, 1, 1.4))),
    "outer step": ("nlhf Nash-MD step", "#009e73", "s", (0, (5, 1.6))),
}
"""Name, colour of Okabe and Ito's palette, marker and dashes."""
_TITLES = {
    "responses n": "One game, τ = 0.01",
    "contexts X": "Games of 32 responses, τ = 0.1",
    "states S": "Sparse process, H = 20",
    "raters H": "EM, 20 votes a rater",
    "response tokens T": "Small GPT-2; the steps, a tiny one",
}
_SETTINGS = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "svg.fonttype": "none",
}


def picture(folder: Path) -> Figure:
    """Return the picture of the rows and the slopes in a folder."""
    rows, slopes = read_rows(folder), read_table(folder / SLOPES, Slope)
    series = newest(rows)
    axes_named = [axis for axis in _TITLES if any(axis == place[0] for place in series)]
    with mpl.rc_context(_SETTINGS):
        drawn = Figure(figsize=(3.3 * len(axes_named), 6.8))
        grid = drawn.subplots(2, len(axes_named), squeeze=False)
        for column, axis in enumerate(axes_named):
            mine = {method: found for (name, method), found in series.items() if name == axis}
            for row, measure in enumerate((TIME, MEMORY)):
                draw(grid[row, column], axis, measure, mine, slopes)
            grid[0, column].set_title(_TITLES[axis], loc="left")
            grid[1, column].set_xlabel(axis)
        grid[0, 0].set_ylabel("processor seconds a call")
        grid[1, 0].set_ylabel("peak memory of the process, MiB")
        margin = 0.75 / drawn.get_figwidth()
        drawn.subplots_adjust(
            left=margin, right=0.995, top=0.955, bottom=0.135, wspace=0.24, hspace=0.12
        )
        drawn.text(margin, 0.012, _caption(rows), fontsize=7.5, color="#555555")
    return drawn


def draw(
    axes: Axes, axis: str, measure: str, series: dict[str, dict[int, Row]], slopes: list[Slope]
) -> None:
    """Draw one measure against one size: a line a method, bars from least to most."""
    for method, by_size in series.items():
        name, colour, marker, dashes = _LOOKS[method]
        sizes = list(by_size)
        if measure == TIME:
            heights = [row.numbers["processor_seconds"] for row in by_size.values()]
            for size, row in by_size.items():
                each = row.numbers["processor_seconds_each"]
                axes.vlines(size, min(each), max(each), color=colour, linewidth=1)
        else:
            heights = [row.numbers["peak_memory_bytes"] / 2**20 for row in by_size.values()]
        slope = of(slopes, axis, method, measure)
        known = slope is not None and not isnan(slope.slope)
        label = f"{name}: slope {slope.slope:.2f}" if known else name
        axes.plot(
            sizes, heights, color=colour, marker=marker, markersize=4, linestyle=dashes, label=label
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    every = sorted({size for by_size in series.values() for size in by_size})
    if every[-1] < 100 * every[0]:
        axes.set_xticks(every)
        axes.xaxis.set_minor_locator(NullLocator())
    if measure == MEMORY:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    high = max(high, 4.0 * low)
    # Room for the legend above what is drawn.
    axes.set_ylim(low, high * (high / low) ** (0.1 + 0.09 * len(series)))
    axes.legend(loc="upper left", handlelength=2.6)


def _caption(rows: list[Row]) -> str:
    mine = [row for row in rows if row.kind == "Scaling"]
    revisions = sorted({str(row.provenance["revision"])[:10] for row in mine})
    machines = sorted({f"{r.provenance['cpu']}, {r.provenance['cores']} cores" for r in mine})
    load = max((max(row.load) for row in mine), default=0.0)
    return (
        "Every point is a process of its own, one thread; medians, bars from least to most; "
        "extragradient to a gap of 1e-12.\n"
        "Slopes are of the larger half of the sizes; of memory, of what lies above the smallest "
        "size's peak.\n"
        f"Revision {', '.join(revisions)}; {', '.join(machines)}; load average up to {load:.1f}."
    )
