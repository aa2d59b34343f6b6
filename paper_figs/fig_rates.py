"""The certified duality gap of every shipped algorithm against evaluations of the payoffs."""

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
    GREY,
    LONG,
    ORANGE,
    PURPLE,
    SETTINGS,
    SHORT,
    SKY,
    SOLID,
    VERMILION,
    Look,
    draw_curve,
    new_figure,
    save,
    write_powers,
)

LABEL = "rates"
INPUTS = ("benchmarks/results/rates.csv",)

METHODS = {
    "mirror descent": Look(BLACK, SOLID, "o"),
    "extragradient": Look(BLUE, SOLID, "s"),
    "optimistic": Look(GREEN, LONG, "^"),
    "Nash-MD": Look(VERMILION, SHORT, "D"),
    "Nash-MD, constant step": Look(VERMILION, DOTS, "D", hollow=True),
    "Nash-EMA": Look(GREY, DASH_DOT, "v"),
    "COMAL": Look(PURPLE, SOLID, "P"),
    "MPO": Look(ORANGE, LONG, "X"),
    "mirror descent, short step": Look(BLACK, DOTS, "o", hollow=True),
    "its average (SPPO)": Look(SKY, SOLID, "h"),
    "average of optimistic (ONPO)": Look(GREEN, DOTS, "^", hollow=True),
}
NAMES = {
    "mirror descent": "mirror descent (OMD, MMD, INPO)",
    "extragradient": "extragradient (EGPO, Mirror Prox)",
    "optimistic": "optimistic (ONPO, OMWU)",
    "COMAL": "proximal point (COMAL)",
    "MPO": "the same, inner mirror descent (MPO)",
    "mirror descent, short step": "mirror descent, short step, last iterate",
    "its average (SPPO)": "average of its iterates (SPPO)",
    "average of optimistic (ONPO)": "average of optimistic iterates (ONPO)",
}
"""In the legend, where it says more than the results do."""

BOUND = "proven upper bounds, in the colours of their methods"
PANELS = {
    "0.1": ("(a) temperature 0.1", 3e-11),
    "0.01": ("(b) temperature 0.01", 3e-11),
    "0": ("(c) temperature 0", 3e-6),
}
"""By temperature, with the lower end of the axis."""


def data() -> Table:
    """Return all judged iterates as they are in the results."""
    return table(LABEL, INPUTS[0])


def draw_panel(axes: Axes, rows: Table) -> None:
    """Draw all methods at a temperature, and below them what is proven."""
    for number, (method, look) in enumerate(METHODS.items()):
        mine = rows.where("method", method)
        if not mine.rows:
            continue
        spent = mine.numbers("evaluations")
        axes.plot(spent, mine.numbers("bound"), color=look.colour, linewidth=0.6, alpha=0.75)
        draw_curve(axes, spent, mine.numbers("gap"), look, None)
        axes.lines[-1].set_markevery((number % 4, 7))
    axes.set(xscale="log", yscale="log", xlabel="evaluations of the payoffs")
    for axis in (axes.xaxis, axes.yaxis):
        write_powers(axis)


def draw(rows: Table) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 3.9)
        panels = figure.subplots(1, len(PANELS))
        for axes, (temperature, (title, least)) in zip(panels, PANELS.items(), strict=True):
            draw_panel(axes, rows.where("temperature", temperature))
            axes.set_title(title, loc="left")
            axes.set_ylim(least, 3.0)
        panels[0].set_ylabel("duality gap, win probability")
        for method, look in METHODS.items():
            draw_curve(panels[0], [], [], look, NAMES.get(method, method))
        panels[0].plot([], [], color=GREY, linewidth=0.6, label=BOUND)
        figure.legend(loc="lower center", ncols=2, columnspacing=2.0, labelspacing=0.35)
        figure.subplots_adjust(left=0.085, right=0.985, top=0.94, bottom=0.385, wspace=0.28)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
