"""The alignment gap of a single reward and its bounds, against ε, against η(u), against β."""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paper_figs.style import (
    BLACK,
    GREEN,
    OUT,
    PURPLE,
    SETTINGS,
    SKY,
    VERMILION,
    checked_input,
    save,
)

LABEL = "impossibility"
INPUT = "benchmarks/results/impossibility.csv"


@dataclass(frozen=True, slots=True)
class Curve:
    """How a column is drawn, and what it is.

    Attributes:
        column: In the results.
        label: In the legend.
        colour: Of the line.
        dashes: The line style.
        width: In points.
    """

    column: str
    label: str
    colour: str
    dashes: Literal["-"] | tuple[int, tuple[float, ...]]
    width: float


EXPLICIT = "lower bound: explicit, repaired (exact pooled model)"
CURVES = (
    Curve("gap", "alignment gap, exact", BLACK, "-", 2.8),
    Curve("segment", "lower bound: segment (always holds)", SKY, (0, (4, 1.5)), 1.3),
    Curve("repaired", EXPLICIT, GREEN, (0, (2, 1.2)), 1.5),
    Curve("transcribed", "bound as commonly transcribed: refuted", VERMILION, "-", 1.2),
    Curve(
        "squared",
        "the same with [ε(1 − η(u))]²: refuted as β → 0",
        PURPLE,
        (0, (6, 1.5, 1, 1.5)),
        1.2,
    ),
)
"""In the order of drawing: the segment bound is dashed on top of the gap, which it nearly meets."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One sweep.

    Attributes:
        sweep: Its name in the results.
        column: What is on the horizontal axis.
        title: Above the panel.
        label: Of the horizontal axis.
        scale: Of the horizontal axis.
    """

    sweep: str
    column: str
    title: str
    label: str
    scale: str


PANELS = (
    Panel("epsilon", "epsilon", "(a) η(u) = 0.2, β = 1", "minimum diversity ε", "log"),
    Panel("share", "share", "(b) ‖φ(u) − φ(j)‖ = 0.01, β = 1", "proportion η(u)", "linear"),
    Panel("beta", "beta", "(c) η(u) = 0.2, fixed φ∕β", "temperature β", "log"),
)

Column = Float[np.ndarray, "point"]


def data() -> dict[str, dict[str, Column]]:
    """Return the columns of every sweep as they are in the results."""
    text = checked_input(LABEL, INPUT).read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in text if not line.startswith("#")))
    return {
        panel.sweep: {
            name: np.array([float(row[name]) for row in rows if row["sweep"] == panel.sweep])
            for name in rows[0]
            if name != "sweep"
        }
        for panel in PANELS
    }


def draw_panel(axes: Axes, panel: Panel, columns: dict[str, Column]) -> None:
    """Draw one sweep; the shade is where the transcribed bound is above the gap."""
    x, gap, claimed = columns[panel.column], columns["gap"], columns["transcribed"]
    axes.fill_between(
        x, gap, claimed, where=(claimed > gap).tolist(), color=VERMILION, alpha=0.18, linewidth=0
    )
    for curve in CURVES:
        axes.plot(
            x,
            columns[curve.column],
            color=curve.colour,
            linestyle=curve.dashes,
            linewidth=curve.width,
        )
    axes.set_xscale(panel.scale)
    axes.set_yscale("log")
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(panel.label)


def draw(sweeps: dict[str, dict[str, Column]]) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(7.8, 3.5))
        panels = figure.subplots(1, len(PANELS))
        for axes, panel in zip(panels, PANELS, strict=True):
            draw_panel(axes, panel, sweeps[panel.sweep])
        panels[0].set_ylabel("units of reward")
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=c.colour, linestyle=c.dashes, linewidth=c.width, label=c.label)
            for c in CURVES
        ]
        handles.append(
            Patch(color=VERMILION, alpha=0.18, linewidth=0, label="transcribed bound above the gap")
        )
        figure.legend(handles=handles, loc="lower center", ncols=2, frameon=False)
        figure.subplots_adjust(left=0.095, right=0.99, top=0.92, bottom=0.36, wspace=0.33)
    return figure


def main(arguments: list[str]) -> int:
    """Run ``python -m paper_figs.fig_impossibility [FOLDER]``."""
    save(draw(data()), LABEL, Path(arguments[0]) if arguments else OUT)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
