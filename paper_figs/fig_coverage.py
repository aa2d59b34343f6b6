"""What data must cover: planners when rivals are rarely compared, and data of the equilibrium."""

from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.inputs import Table, table
from paper_figs.style import (
    BLACK,
    BLUE,
    DOTS,
    FULL,
    GREEN,
    LONG,
    PURPLE,
    SETTINGS,
    SHORT,
    SOLID,
    VERMILION,
    Look,
    draw_curve,
    draw_range,
    new_figure,
    save,
    write_powers,
)

LABEL = "coverage"
INPUTS = (
    "benchmarks/results/learning_offline.csv",
    "benchmarks/results/learning_offline_estimates.csv",
)

METHODS = {
    "plug-in": Look(VERMILION, SOLID, "s"),
    "version space": Look(GREEN, LONG, "o"),
    "bonus": Look(BLUE, SHORT, "^"),
    "restricted": Look(PURPLE, DOTS, "D", hollow=True),
}
NEEDED = "queries, data of the equilibrium"
WORST = "worst gap, temperature 0"


@dataclass(frozen=True, slots=True)
class Covered:
    """What is drawn.

    Attributes:
        gaps: True gaps by the share of comparisons between rivals.
        covered: 1/C of the sample there.
        needed: Comparisons that data of the equilibrium need, by temperature.
        worst: Worst gaps at temperature 0.
        exponent: c of the e^(c/τ) that they grow like.
    """

    gaps: Table
    covered: Table
    needed: Table
    worst: Table
    exponent: Table


def data() -> Covered:
    """Return the studies of coverage as they are, without certificates."""
    rows, estimates = (table(LABEL, name) for name in INPUTS)
    shares, alone = rows.where("study", "coverage"), rows.where("study", "unilateral")
    return Covered(
        shares.where("measure", "gap"),
        shares.where("measure", "1/C"),
        alone.where("measure", NEEDED),
        alone.where("measure", WORST),
        estimates.where("study", "unilateral"),
    )


def draw_shares(axes: Axes, covered: Covered) -> None:
    """Draw gaps, and below the shares what they cover."""
    shares = covered.gaps.words("x")
    for number, (method, look) in enumerate(METHODS.items()):
        mine = covered.gaps.where("method", method)
        at = mine.numbers("x") * 0.0 + [shares.index(row["x"]) for row in mine.rows]
        at += 0.07 * (number - 1.5)
        draw_range(axes, at, mine.numbers("lower_quartile"), mine.numbers("upper_quartile"), look)
        draw_curve(axes, at, mine.numbers("mean"), look, method)
    cover = covered.covered.numbers("mean")
    names = [f"{share}\n{c:.2g}" for share, c in zip(shares, cover, strict=True)]
    axes.set_xticks(range(len(shares)), names)
    axes.set(xlabel="share of comparisons between rivals; below it 1/C")
    axes.set(ylabel="true gap, win probability", ylim=(-0.01, None))
    axes.set_title("(a) a safe response and 8 rivals, n = 1000", loc="left")
    axes.legend(loc="upper right")


def draw_needed(axes: Axes, covered: Covered) -> None:
    """Draw the comparisons needed against the temperature, and what happens at 0 in words."""
    needed, worst = covered.needed, covered.worst
    exponent = covered.exponent.number("value")
    draw_curve(axes, needed.numbers("x"), needed.numbers("mean"), Look(BLACK), None)
    axes.set(xscale="log", yscale="log", xlabel="temperature τ", ylabel="comparisons needed")
    axes.set_xticks(needed.numbers("x"), needed.words("x"))
    axes.minorticks_off()
    write_powers(axes.yaxis)
    plug_in, pessimist = (
        worst.where("method", method).number("mean") for method in ("plug-in", "version space")
    )
    axes.text(
        0.98,
        0.97,
        f"grows like exp({exponent:.2f}/τ)\n\nat τ = 0, whatever n, the worst gap is\n"
        f"{plug_in:.2f} of the plug-in,\n≥ {pessimist:.2f} of any method",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=7,
    )
    axes.set_title("(b) data of the equilibrium alone", loc="left")


def draw(covered: Covered) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 2.7)
        left, right = figure.subplots(1, 2)
        draw_shares(left, covered)
        draw_needed(right, covered)
        figure.subplots_adjust(left=0.085, right=0.985, top=0.92, bottom=0.205, wspace=0.25)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
