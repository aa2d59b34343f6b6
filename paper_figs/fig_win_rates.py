"""Win rates of both groups of raters on movie reviews: GPT-2 by every method, with intervals."""

from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.inputs import document
from paper_figs.style import (
    BLUE,
    FULL,
    GREY,
    SETTINGS,
    VERMILION,
    Look,
    new_figure,
    save,
)

LABEL = "win_rates"
INPUTS = ("benchmarks/results/movie_reviews.json",)

METHODS = {
    "sft": "SFT (reference)",
    "single": "single reward",
    "maxmin": "MaxMin",
    "nash": "Nash",
    "rlp": "RLP (SPG)",
}
GROUPS = {
    "majority": ("majority, 80 %: positive", Look(BLUE, marker="o")),
    "minority": ("minority, 20 %: concise", Look(VERMILION, marker="s", hollow=True)),
}
COLUMNS = {
    "majority": "majority",
    "minority": "minority",
    "divergence": "KL, nats",
    "words": "words",
}


def data() -> Any:
    """Return the means with their intervals, and what every seed gave, as they are."""
    return document(LABEL, INPUTS[0])


def draw_rates(axes: Axes, results: Any) -> None:
    """Draw means with 95 % intervals, and small marks for the seeds."""
    for shift, (group, (name, look)) in zip((-0.17, 0.17), GROUPS.items(), strict=True):
        for place, method in enumerate(METHODS):
            mean = results["means"][f"{method} {group}"]
            at = place + shift
            axes.plot((mean["low"], mean["high"]), (at, at), color=look.colour, linewidth=1.6)
            axes.plot(
                mean["mean"],
                at,
                look.marker,
                color=look.colour,
                markerfacecolor=look.face,
                markersize=4.5,
                label=name if place == 0 else None,
            )
            seeds = [one[group] for one in results["outcomes"] if one["method"] == method]
            axes.plot(seeds, [at + 0.17] * len(seeds), "|", color=look.colour, markersize=4)
    axes.axvline(0.5, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(METHODS)), list(METHODS.values()))
    axes.set(xlabel="win rate against the reference", ylim=(len(METHODS) - 0.4, -0.5))
    axes.set_xticks((0.45, 0.5, 0.55, 0.6, 0.65), ("0.45", "0.5", "0.55", "0.6", "0.65"))
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.42, -0.2), ncols=2)


def draw_numbers(axes: Axes, results: Any) -> None:
    """Write the means beside the drawing, with their intervals below."""
    axes.set_axis_off()
    axes.set_xlim(0.0, len(COLUMNS))
    for column, (measure, name) in enumerate(COLUMNS.items()):
        digits = 3 if measure in GROUPS else 2 if measure == "divergence" else 1
        axes.text(column + 0.5, -0.62, name, ha="center", fontsize=7.5)
        for place, method in enumerate(METHODS):
            mean = results["means"][f"{method} {measure}"]
            written = [f"{mean[end]:.{digits}f}" for end in ("mean", "low", "high")]
            axes.text(column + 0.5, place, written[0], ha="center", fontsize=7.5)
            interval = f"({written[1]}, {written[2]})"
            axes.text(column + 0.5, place + 0.3, interval, ha="center", fontsize=7, color="#555555")


def draw(results: Any) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 2.7)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.0, 1.25))
        draw_rates(left, results)
        draw_numbers(right, results)
        figure.subplots_adjust(left=0.135, right=0.995, top=0.93, bottom=0.245, wspace=0.03)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
