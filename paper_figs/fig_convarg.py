"""Majority cycles of real votes beside what noise makes of rewards, and the equilibria."""

from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.inputs import Table, table
from paper_figs.style import (
    BLACK,
    BLUE,
    FULL,
    GREY,
    PURPLE,
    SETTINGS,
    SKY,
    VERMILION,
    Look,
    new_figure,
    save,
)

LABEL = "convarg"
INPUTS = ("benchmarks/results/convarg.csv", "benchmarks/results/convarg_lotteries.csv")

NAMES = {
    "ban-plastic-water-bottles_no-bad-for-the-economy": "plastic bottles: keep",
    "ban-plastic-water-bottles_yes-emergencies-only": "plastic bottles: ban",
    "evolution-vs-creation_creation": "creation",
    "evolution-vs-creation_evolution": "evolution",
    "gay-marriage-right-or-wrong_allowing-gay-marriage-is-right": "gay marriage: right",
    "gay-marriage-right-or-wrong_allowing-gay-marriage-is-wrong": "gay marriage: wrong",
    "if-your-spouse-committed-murder-and-he-or-she-confided-in-you-would-you-turn-them-in-_no": (
        "turn spouse in: no"
    ),
    "if-your-spouse-committed-murder-and-he-or-she-confided-in-you-would-you-turn-them-in-_yes": (
        "turn spouse in: yes"
    ),
    "is-it-better-to-have-a-lousy-father-or-to-be-fatherless-_fatherless": "fatherless",
    "is-it-better-to-have-a-lousy-father-or-to-be-fatherless-_lousy-father": "lousy father",
    "is-the-school-uniform-a-good-or-bad-idea-_bad": "school uniform: bad",
    "is-the-school-uniform-a-good-or-bad-idea-_good": "school uniform: good",
    "pro-choice-vs-pro-life_pro-choice": "pro choice",
    "pro-choice-vs-pro-life_pro-life": "pro life",
    "tv-is-better-than-books_books": "books",
    "tv-is-better-than-books_tv": "television",
}
"""Prompts as the votes call them, and in the figure."""

KINDS = {
    "majority cycle": Look(VERMILION, marker="s"),
    "ties": Look(PURPLE, marker="^"),
    "winner": Look(BLUE, marker="o", hollow=True),
}


@dataclass(frozen=True, slots=True)
class Votes:
    """What is drawn.

    Attributes:
        prompts: A row a prompt.
        lotteries: A row for every response that a maximal lottery plays.
    """

    prompts: Table
    lotteries: Table


def data() -> Votes:
    """Return the results as they are, without the row of all prompts together."""
    prompts = table(LABEL, INPUTS[0])
    return Votes(prompts.where("prompt", *NAMES), table(LABEL, INPUTS[1]))


def draw_cycles(axes: Axes, prompts: Table) -> None:
    """Draw the 3-cycles of every prompt over the range that the null law gives them."""
    places = list(NAMES)
    at = [places.index(row["prompt"]) for row in prompts.rows]
    low, high = prompts.numbers("null_low"), prompts.numbers("null_high")
    axes.hlines(at, low, high, color=GREY, linewidth=3.2, alpha=0.35, label="null law, 95 %")
    mean = prompts.numbers("null_mean")
    axes.plot(mean, at, "|", color=BLACK, markersize=7, label="null law, mean")
    for kind, look in KINDS.items():
        mine = prompts.where("condorcet", kind)
        axes.plot(
            mine.numbers("three_cycles"),
            [places.index(row["prompt"]) for row in mine.rows],
            look.marker,
            color=look.colour,
            markerfacecolor=look.face,
            label="votes: Condorcet winner" if kind == "winner" else f"votes: none, {kind}",
        )
    axes.set(xlabel="majority 3-cycles", xlim=(0.0, 499.0))
    axes.set_title("(a) cycles", loc="left")


def draw_lotteries(axes: Axes, lotteries: Table) -> None:
    """Draw every maximal lottery as a bar that its responses share."""
    places = list(NAMES)
    for first in (True, False):
        mine = Table(tuple(row for row in lotteries.rows if (row["rank"] == "1") == first))
        axes.barh(
            [places.index(row["prompt"]) for row in mine.rows],
            mine.numbers("probability"),
            left=mine.numbers("start"),
            height=0.72,
            color=BLUE if first else SKY,
            edgecolor="white",
            linewidth=0.8,
        )
    axes.set(xlabel="probability", xlim=(0.0, 1.0))
    axes.set_xticks((0.0, 0.5, 1.0), ("0", "0.5", "1"))
    axes.set_title("(b) equilibria, τ = 0", loc="left")
    axes.grid(visible=False)


def draw_rewards(axes: Axes, prompts: Table) -> None:
    """Draw how far the best policy of a reward is from equilibrium."""
    at = [list(NAMES).index(row["prompt"]) for row in prompts.rows]
    gains = prompts.numbers("reward_exploitability")
    axes.hlines(at, 0.0, gains, color=GREY, linewidth=0.8)
    axes.plot(gains, at, "D", color=VERMILION)
    axes.set(xlabel="exploitability, win probability", xlim=(0.0, 0.062))
    axes.set_xticks((0.0, 0.02, 0.04, 0.06), ("0", "0.02", "0.04", "0.06"))
    axes.set_title("(c) the best reward, τ = 0.05", loc="left")


def draw(votes: Votes) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 3.6)
        panels = figure.subplots(1, 3, sharey=True, width_ratios=(1.15, 1.0, 1.0))
        draw_cycles(panels[0], votes.prompts)
        draw_lotteries(panels[1], votes.lotteries)
        draw_rewards(panels[2], votes.prompts)
        panels[0].set_yticks(range(len(NAMES)), list(NAMES.values()))
        panels[0].invert_yaxis()
        for axes in panels:
            axes.tick_params(axis="y", length=0)
        figure.legend(loc="lower center", ncols=5, columnspacing=1.4, handletextpad=0.5)
        figure.subplots_adjust(left=0.165, right=0.985, top=0.935, bottom=0.18, wspace=0.1)
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
