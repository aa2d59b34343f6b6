"""How many raters expectation-maximisation puts in their group, against votes per rater."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.inputs import Table, table
from paper_figs.style import (
    BLACK,
    BLUE,
    DOTS,
    FULL,
    GREY,
    LONG,
    SETTINGS,
    SOLID,
    VERMILION,
    Look,
    draw_band,
    draw_curve,
    new_figure,
    save,
)

LABEL = "em_recovery"
INPUTS = ("benchmarks/results/em_recovery.csv",)

METHODS = {
    "known": ("rewards known", Look(BLACK, DOTS, "D", hollow=True)),
    "soft": ("soft assignment", Look(BLUE, SOLID, "o")),
    "hard": ("hard assignment", Look(VERMILION, LONG, "s")),
}
PANELS = {"0.8": "(a) groups of 80 % and 20 %", "0.5": "(b) groups of 50 % and 50 %"}


def data() -> Table:
    """Return the results as they are."""
    return table(LABEL, INPUTS[0])


def draw_panel(axes: Axes, rows: Table) -> None:
    """Draw means and quartiles over electorates, at groups of one split."""
    for method, (name, look) in METHODS.items():
        mine = rows.where("method", method)
        votes = mine.numbers("votes")
        draw_band(axes, votes, mine.numbers("lower_quartile"), mine.numbers("upper_quartile"), look)
        draw_curve(axes, votes, mine.numbers("mean"), look, name)
    axes.axhline(rows.number("largest"), color=GREY, linewidth=0.8, label="all in the larger group")
    axes.set_xscale("log")
    ticks = sorted({int(votes) for votes in rows.numbers("votes")})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="votes per rater", ylim=(0.48, 1.01))


def draw(rows: Table) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 2.5)
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (largest, title) in zip(panels, PANELS.items(), strict=True):
            draw_panel(axes, rows.where("largest", largest))
            axes.set_title(title, loc="left")
        panels[0].set_ylabel("share of raters in their group")
        panels[1].legend(loc="lower right")
        figure.subplots_adjust(left=0.085, right=0.985, top=0.91, bottom=0.165, wspace=0.08)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
