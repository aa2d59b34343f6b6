"""Both groups' win rates under a single reward and under MaxMin, over the minority's share."""

from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figs.inputs import Table, table
from paper_figs.style import (
    BLUE,
    FULL,
    GREY,
    SETTINGS,
    SHORT,
    SOLID,
    VERMILION,
    Look,
    draw_band,
    draw_curve,
    draw_range,
    new_figure,
    save,
)

LABEL = "maxmin"
INPUTS = (
    "benchmarks/results/maxmin_shares.csv",
    "benchmarks/results/maxmin_shares_gpt2.csv",
)

SERIES = {
    ("single", "majority"): ("single reward: majority", Look(VERMILION, SOLID, "s")),
    ("single", "minority"): ("single reward: minority", Look(VERMILION, SHORT, "s", hollow=True)),
    ("maxmin", "majority"): ("MaxMin: majority", Look(BLUE, SOLID, "o")),
    ("maxmin", "minority"): ("MaxMin: minority", Look(BLUE, SHORT, "o", hollow=True)),
}
BANDS = {
    "all": "(a) exact, all 200 pairs of tastes",
    "-1 to -0.5": "(b) exact, the 50 opposed pairs",
}


@dataclass(frozen=True, slots=True)
class Rates:
    """What is drawn.

    Attributes:
        exact: Means and quartiles over pairs of tastes.
        trained: Means and extremes over GPT-2s, trained and exact.
    """

    exact: Table
    trained: Table


def data() -> Rates:
    """Return the results of all pairs and of the opposed ones, and of GPT-2."""
    return Rates(table(LABEL, INPUTS[0]).where("band", *BANDS), table(LABEL, INPUTS[1]))


def draw_exact(axes: Axes, rows: Table) -> None:
    """Draw means and quartiles of a band of correlations."""
    for (policy, group), (_, look) in SERIES.items():
        mine = rows.where("policy", policy).where("group", group)
        shares = mine.numbers("share")
        low, high = mine.numbers("lower_quartile"), mine.numbers("upper_quartile")
        draw_band(axes, shares, low, high, look)
        draw_curve(axes, shares, mine.numbers("mean"), look, None)


def draw_trained(axes: Axes, rows: Table) -> None:
    """Draw GPT-2s as markers with their range, exact solutions as lines."""
    for (policy, group), (_, look) in SERIES.items():
        mine = rows.where("policy", policy).where("group", group)
        exact, trained = (mine.where("realised", kind) for kind in ("exact", "GPT-2"))
        shares = exact.numbers("share")
        draw_curve(axes, shares, exact.numbers("mean"), look, None, markers=False)
        draw_range(axes, shares, trained.numbers("least"), trained.numbers("largest"), look)
        axes.plot(
            shares,
            trained.numbers("mean"),
            look.marker,
            color=look.colour,
            markerfacecolor=look.face,
        )


def draw(rates: Rates) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 2.8)
        panels = figure.subplots(1, 3, sharey=True)
        for axes, (band, title) in zip(panels, BANDS.items(), strict=False):
            draw_exact(axes, rates.exact.where("band", band))
            axes.set_title(title, loc="left")
        draw_trained(panels[2], rates.trained)
        panels[2].set_title("(c) five GPT-2s, trained; lines: exact", loc="left")
        for axes in panels:
            axes.axhline(0.5, color=GREY, linewidth=0.7)
            axes.set(xlabel="share of the minority", xlim=(0.0, 0.52))
        panels[0].set_ylabel("win rate against the reference")
        handles = [
            Line2D(
                [],
                [],
                color=look.colour,
                linestyle=look.dashes,
                marker=look.marker,
                markerfacecolor=look.face,
                label=name,
            )
            for name, look in SERIES.values()
        ]
        figure.legend(handles=handles, loc="lower center", ncols=4, columnspacing=1.6)
        figure.subplots_adjust(left=0.07, right=0.985, top=0.92, bottom=0.235, wspace=0.08)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
