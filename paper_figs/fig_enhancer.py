"""Learning in rounds: what an enhancer that explores is worth, and where it is worth nothing."""

from dataclasses import dataclass

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
    PURPLE,
    SETTINGS,
    SOLID,
    VERMILION,
    Look,
    draw_curve,
    draw_range,
    new_figure,
    save,
    write_powers,
)

LABEL = "enhancer"
INPUTS = (
    "benchmarks/results/learning_online.csv",
    "benchmarks/results/learning_online_estimates.csv",
)

EXPLORERS = {
    "enhancer": Look(GREEN, marker="o"),
    "on-policy": Look(VERMILION, marker="s"),
    "reference": Look(BLUE, marker="^"),
    "uniform": Look(PURPLE, marker="D"),
}
QUESTIONS = {"m = 10": DOTS, "m = 100": LONG, "m = 1000": SOLID}
FAMILIES = ("traps", "dense")


@dataclass(frozen=True, slots=True)
class Explored:
    """What is drawn.

    Attributes:
        rounds: True gaps along runs with different numbers of questions a round.
        queries: Answers needed by explorers, and the share of runs that did not get there.
        ratios: Of means to that of the enhancer, with 95 % intervals.
    """

    rounds: Table
    queries: Table
    ratios: Table


def data() -> Explored:
    """Return the results as they are, without certificates and counts of broken ones."""
    rows, estimates = (table(LABEL, name) for name in INPUTS)
    return Explored(
        rows.where("study", "rounds").where("measure", "gap"),
        rows.where("study", "queries").where("measure", "queries", "unfinished"),
        estimates.where("study", "queries"),
    )


def draw_rounds(axes: Axes, rounds: Table) -> None:
    """Draw gaps along runs, with quartiles."""
    for explorer in ("enhancer", "on-policy"):
        kind = EXPLORERS[explorer]
        for questions, dashes in QUESTIONS.items():
            mine = rounds.where("method", f"{explorer}, {questions}")
            look = Look(kind.colour, dashes, kind.marker)
            answers = mine.numbers("x")
            draw_range(
                axes, answers, mine.numbers("lower_quartile"), mine.numbers("upper_quartile"), look
            )
            draw_curve(axes, answers, mine.numbers("mean"), look, f"{explorer}, {questions}")
    axes.set(xscale="log", yscale="log", xlabel="answers", ylabel="true gap, win probability")
    for axis in (axes.xaxis, axes.yaxis):
        write_powers(axis)
    axes.set_title("(a) bandits, 16 rounds of m questions", loc="left")
    axes.legend(loc="lower left", labelspacing=0.3)


def draw_queries(axes: Axes, explored: Explored) -> None:
    """Draw the answers needed, and the ratios to the enhancer in words."""
    names = []
    for family in FAMILIES:
        for explorer, look in EXPLORERS.items():
            at = len(names)
            mine, ratio = (
                rows.where("family", family).where("method", explorer)
                for rows in (explored.queries, explored.ratios)
            )
            needed, unfinished = (mine.where("measure", m) for m in ("queries", "unfinished"))
            ends = needed.number("lower_quartile"), needed.number("upper_quartile")
            axes.plot(ends, (at, at), "|-", color=look.colour, linewidth=2.0, markersize=5)
            axes.plot(needed.number("mean"), at, color=look.colour, marker=look.marker)
            if ratio.rows:
                numbers = [ratio.number(column) for column in ("value", "low", "high")]
                words = "× {:.2f} ({:.2f}, {:.2f})".format(*numbers)
                axes.text(345, at, words, va="center", fontsize=7)
            axes.text(
                700, at, f"{unfinished.number('mean'):.0%}", ha="right", va="center", fontsize=7
            )
            names.append(f"{explorer}, {family}")
    axes.axhline(len(EXPLORERS) - 0.5, color="#aaaaaa", linewidth=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.text(345, -0.85, "× mean of the enhancer", fontsize=7)
    axes.text(700, -0.85, "late", ha="right", fontsize=7)
    axes.set_xlim(0.0, 705.0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xticks(range(0, 321, 80))
    axes.set_xlabel("answers until the gap stays ≤ 0.01", loc="left")
    axes.set_title("(b) answers needed", loc="left")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def draw(explored: Explored) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 2.9)
        left, right = figure.subplots(1, 2, width_ratios=(0.8, 1.2))
        draw_rounds(left, explored.rounds)
        draw_queries(right, explored)
        figure.subplots_adjust(left=0.085, right=0.99, top=0.925, bottom=0.145, wspace=0.4)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
