"""Where equilibrium methods end on language models whose games are known exactly."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figs.inputs import records
from paper_figs.style import (
    BLACK,
    BLUE,
    FULL,
    GREY,
    SETTINGS,
    VERMILION,
    Look,
    new_figure,
    save,
    write_powers,
)

LABEL = "language_models"
INPUTS = ("benchmarks/results/enumerable_games.jsonl",)

METHODS = {
    "mirror descent": "mirror\ndesc.",
    "extragradient": "extra-\ngrad.",
    "optimistic": "opti-\nmistic",
    "Nash-MD": "Nash-\nMD",
    "proximal point": "prox.\npoint",
}
MODELS = {"GPT-2": Look(BLUE, marker="o"), "Llama": Look(VERMILION, marker="s")}
REALISERS = {"regression": False, "policy gradient": True}
"""By name, whether the marker is hollow."""

PANELS = (
    ("exact", 0.1, "(a) all responses, τ = 0.1"),
    ("exact", 0.03, "(b) all responses, τ = 0.03"),
    ("sampled", 0.1, "(c) sampled, τ = 0.1"),
)

Runs = tuple[Mapping[str, Any], ...]


def data() -> Runs:
    """Return all runs as they are in the results."""
    return records(LABEL, INPUTS[0])


def draw_panel(axes: Axes, runs: Runs) -> None:
    """Draw where every run ended, above the method, games side by side."""
    for run in runs:
        at = list(METHODS).index(run["method"]) + 0.085 * (run["game"] % 5 - 2)
        look = MODELS[run["architecture"]]
        begin, end = run["reference_exploitability"], run["exploitability"]
        axes.plot((at, at), (begin, end), color=GREY, linewidth=0.5)
        axes.plot(at, begin, "_", color=BLACK, markersize=4)
        face = "white" if REALISERS[run["realiser"]] else look.colour
        axes.plot(at, end, look.marker, color=look.colour, markerfacecolor=face)
    axes.set_yscale("log")
    write_powers(axes.yaxis)
    axes.set_xticks(range(len(METHODS)), list(METHODS.values()))
    axes.set_xlim(-0.5, len(METHODS) - 0.5)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)


def draw(runs: Runs) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 2.8)
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (payoffs, temperature, title) in zip(panels, PANELS, strict=True):
            here = [r for r in runs if (r["payoffs"], r["temperature"]) == (payoffs, temperature)]
            draw_panel(axes, tuple(here))
            axes.set_title(title, loc="left")
        panels[0].set_ylabel("exploitability, win probability")
        handles = [Line2D([], [], color=BLACK, marker="_", linestyle="none", label="reference")]
        handles += [
            Line2D(
                [],
                [],
                color=look.colour,
                marker=look.marker,
                markerfacecolor="white" if hollow else look.colour,
                linestyle="none",
                label=f"{model}, {realiser}",
            )
            for model, look in MODELS.items()
            for realiser, hollow in REALISERS.items()
            if any((r["architecture"], r["realiser"]) == (model, realiser) for r in runs)
        ]
        figure.legend(handles=handles, loc="lower center", ncols=4, columnspacing=1.6)
        figure.subplots_adjust(left=0.08, right=0.985, top=0.92, bottom=0.225, wspace=0.06)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
