"""True gaps, certificates and bounds of planners on fixed data, against the number of votes."""

from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.inputs import Table, table
from paper_figs.style import (
    BLACK,
    BLUE,
    DASH_DOT,
    DOTS,
    FULL,
    GREEN,
    LONG,
    SETTINGS,
    SOLID,
    VERMILION,
    Look,
    draw_band,
    draw_curve,
    new_figure,
    save,
    write_powers,
)

LABEL = "sample_complexity"
INPUTS = (
    "benchmarks/results/learning_offline.csv",
    "benchmarks/results/learning_offline_estimates.csv",
)

CURVES = {
    ("bound as cited", "bound"): ("bound as cited", Look(BLACK, DOTS, "")),
    ("bound as proved", "bound"): ("bound as proved", Look(BLACK, DASH_DOT, "")),
    ("plug-in", "bound"): ("plug-in, closed-form bound", Look(VERMILION, DOTS, "x")),
    ("bonus", "certificate"): ("bonus, certificate", Look(BLUE, LONG, "^", hollow=True)),
    ("plug-in", "certificate"): ("plug-in, certificate", Look(VERMILION, LONG, "s", hollow=True)),
    ("version space", "certificate"): (
        "version space, certificate",
        Look(GREEN, LONG, "o", hollow=True),
    ),
    ("bonus", "gap"): ("bonus, true gap", Look(BLUE, SOLID, "^")),
    ("plug-in", "gap"): ("plug-in, true gap", Look(VERMILION, SOLID, "s")),
    ("version space", "gap"): ("version space, true gap", Look(GREEN, SOLID, "o")),
}
"""By method and measure, from above."""

SLOPE = "slope of the log of the mean, from 125 on"
PANELS = {"bandit": "(a) bandits", "process": "(b) decision processes"}


@dataclass(frozen=True, slots=True)
class Learned:
    """What is drawn.

    Attributes:
        sizes: Means and quartiles over replicates at every number of comparisons.
        slopes: Of the means over all numbers of comparisons, with 95 % intervals.
    """

    sizes: Table
    slopes: Table


def data() -> Learned:
    """Return the study of sizes as it is in the results, without counts of broken certificates."""
    sizes = table(LABEL, INPUTS[0]).where("study", "size")
    slopes = table(LABEL, INPUTS[1]).where("study", "size").where("what", SLOPE)
    return Learned(sizes.where("measure", "gap", "certificate", "bound"), slopes)


def draw_panel(axes: Axes, learned: Learned, family: str) -> None:
    """Draw a family; the legend gives the slopes."""
    for (method, measure), (name, look) in CURVES.items():
        mine, slope = (
            rows.where("family", family).where("method", method).where("measure", measure)
            for rows in (learned.sizes, learned.slopes)
        )
        if not mine.rows:
            continue
        numbers = [slope.number(column) for column in ("value", "low", "high")]
        words = "{:.2f} ({:.2f}, {:.2f})".format(*numbers).replace("-", "−")
        sizes = mine.numbers("x")
        draw_band(axes, sizes, mine.numbers("lower_quartile"), mine.numbers("upper_quartile"), look)
        draw_curve(axes, sizes, mine.numbers("mean"), look, f"{name}: {words}")
    axes.set(xscale="log", yscale="log", xlabel="comparisons n")
    for axis in (axes.xaxis, axes.yaxis):
        write_powers(axis)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.45, -0.17),
        title="slope over all n, with its 95 % interval",
        labelspacing=0.3,
    )


def draw(learned: Learned) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 4.4)
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (family, title) in zip(panels, PANELS.items(), strict=True):
            draw_panel(axes, learned, family)
            axes.set_title(title, loc="left")
        panels[0].set_ylabel("exploitability, win probability")
        figure.subplots_adjust(left=0.085, right=0.985, top=0.95, bottom=0.425, wspace=0.08)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
