"""True reward against divergence for learned rewards: over-optimisation, and what slows it."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.inputs import Table, table
from paper_figs.style import (
    BLUE,
    DOTS,
    FULL,
    GREEN,
    LONG,
    SETTINGS,
    SOLID,
    VERMILION,
    Look,
    draw_curve,
    draw_range,
    new_figure,
    save,
)

LABEL = "over_optimisation"
INPUTS = ("benchmarks/results/over_optimisation.csv",)

MODELS = {
    "human and oracle": ("human votes and an oracle's", Look(GREEN, DOTS, "^")),
    "human and consensus": ("human votes and consensus (SPG)", Look(BLUE, LONG, "o")),
    "human": ("human votes", Look(VERMILION, SOLID, "s")),
}
"""In the order of the curves, from above."""

SIGNS = {"^": "▲", "o": "●", "s": "■"}
"""Markers in words."""


def data() -> Table:
    """Return the results as they are."""
    return table(LABEL, INPUTS[0])


def draw_panel(axes: Axes, rows: Table) -> None:
    """Draw the three reward models at a number of comparisons."""
    for place, (model, (name, look)) in enumerate(MODELS.items()):
        mine = rows.where("model", model)
        nats = mine.numbers("divergence")
        draw_range(axes, nats, mine.numbers("gold_low"), mine.numbers("gold_high"), look)
        draw_curve(axes, nats, mine.numbers("gold"), look, name)
        turned, where = mine.number("turned"), mine.number("turning_point")
        words = f"{SIGNS[look.marker]} {turned:.0%} turn down, median at {where:.2g}"
        height = 0.985 - 0.085 * place
        axes.text(0.03, height, words, color=look.colour, transform=axes.transAxes, va="top")
    axes.set_xticks((0.0, 0.5, 1.0), ("0", "0.5", "1"))
    axes.set(xlabel="divergence from the reference, nats", xlim=(0.0, 1.25), ylim=(0.0, 1.2))


def draw(rows: Table) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 2.8)
        sizes = rows.words("pairs")
        panels = figure.subplots(1, len(sizes), sharey=True)
        for axes, pairs, letter in zip(panels, sizes, "abc", strict=True):
            draw_panel(axes, rows.where("pairs", pairs))
            axes.set_title(f"({letter}) {pairs} human comparisons", loc="left")
        panels[0].set_ylabel("gain in true reward, logits")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="lower center", ncols=3, columnspacing=2.0)
        figure.subplots_adjust(left=0.07, right=0.985, top=0.92, bottom=0.235, wspace=0.08)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
