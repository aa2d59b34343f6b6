"""The alignment gap of a single reward and its bounds, against ε, against η(u), against β."""

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paper_figs.inputs import table
from paper_figs.style import (
    BLACK,
    DASH_DOT,
    FULL,
    GREEN,
    LONG,
    PURPLE,
    SETTINGS,
    SHORT,
    SKY,
    SOLID,
    VERMILION,
    Dashes,
    new_figure,
    save,
    write_powers,
)

LABEL = "impossibility"
INPUTS = ("benchmarks/results/impossibility.csv",)


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
    dashes: Dashes
    width: float


EXPLICIT = "lower bound: explicit, repaired (exact pooled model)"
CURVES = (
    Curve("gap", "alignment gap, exact", BLACK, SOLID, 2.6),
    Curve("segment", "lower bound: segment (always holds)", SKY, LONG, 1.2),
    Curve("repaired", EXPLICIT, GREEN, SHORT, 1.4),
    Curve("transcribed", "bound as commonly transcribed: refuted", VERMILION, SOLID, 1.0),
    Curve(
        "squared",
        "the same with [ε(1 − η(u))]²: refuted as β → 0",
        PURPLE,
        DASH_DOT,
        1.1,
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
    rows = table(LABEL, INPUTS[0])
    names = [name for name in rows.rows[0] if name != "sweep"]
    return {
        panel.sweep: {name: rows.where("sweep", panel.sweep).numbers(name) for name in names}
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
    for axis in (axes.xaxis, axes.yaxis)[panel.scale == "linear" :]:
        write_powers(axis)
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(panel.label)


def draw(sweeps: dict[str, dict[str, Column]]) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 2.95)
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
        figure.subplots_adjust(left=0.085, right=0.985, top=0.925, bottom=0.335, wspace=0.3)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
