"""Draw the learning studies from their stored tables; nothing is computed here."""

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.learning_results import RESULTS, Estimate, Summary, read_table
from benchmarks.learning_unilateral import MARGIN
from paper_figs.style import BLACK, GREEN, PURPLE, SETTINGS, SKY, VERMILION, save

_METHODS = {
    "plug-in": (VERMILION, "s"),
    "version space": (GREEN, "o"),
    "bonus": (SKY, "^"),
}
_EXPLORERS = {
    "enhancer": (GREEN, "o"),
    "on-policy": (VERMILION, "s"),
    "reference": (SKY, "^"),
    "uniform": (PURPLE, "D"),
}
_FAMILIES = ("traps", "dense")


def _slope(estimates: Sequence[Estimate], family: str, method: str, measure: str) -> str:
    """Return the slope over all sizes in words."""
    one = next(
        one
        for one in estimates
        if (one.family, one.method, one.measure) == (family, method, measure)
    )
    return _interval(one)


def _interval(one: Estimate) -> str:
    return f"{one.value:.2f} ({one.low:.2f}, {one.high:.2f})".replace("-", "\N{MINUS SIGN}")


def draw_sizes(
    axes: Axes, rows: Sequence[Summary], estimates: Sequence[Estimate], family: str
) -> None:
    """Draw gaps and certificates of the study of sizes."""

    def line(method: str, measure: str) -> tuple[list[float], np.ndarray]:
        mine = [
            one
            for one in rows
            if (one.family, one.method, one.measure) == (family, method, measure)
        ]
        return [one.x for one in mine], np.array(
            [(one.mean, one.lower_quartile, one.upper_quartile) for one in mine]
        )

    for measure, style, word in (("certificate", "--", "certificate"), ("gap", "-", "true gap")):
        for method, (colour, marker) in _METHODS.items():
            sizes, values = line(method, measure)
            label = f"{method}, {word}: {_slope(estimates, family, method, measure)}"
            axes.plot(
                sizes,
                values[:, 0],
                style,
                color=colour,
                marker=marker,
                markersize=4,
                markerfacecolor=colour if measure == "gap" else "white",
                label=label,
            )
            if measure == "gap":
                axes.fill_between(sizes, *values[:, 1:].T, color=colour, alpha=0.15, linewidth=0)
    sizes, values = line("bound as cited", "bound")
    label = f"bound as cited: {_slope(estimates, family, 'bound as cited', 'bound')}"
    axes.plot(sizes, values[:, 0], ":", color=BLACK, label=label)
    axes.set(xscale="log", yscale="log", xlabel="comparisons n", ylabel="win probability")
    axes.legend(
        frameon=False,
        fontsize=7,
        loc="upper center",
        bbox_to_anchor=(0.45, -0.17),
        title="slopes over all n, 95 % intervals",
        title_fontsize=7.5,
    )


def draw_coverage(axes: Axes, rows: Sequence[Summary]) -> None:
    """Draw gaps against the share of comparisons between rivals."""
    shares = sorted({one.x for one in rows})
    for number, (method, (colour, marker)) in enumerate(_METHODS.items()):
        mine = [one for one in rows if (one.method, one.measure) == (method, "gap")]
        at = np.array([shares.index(one.x) for one in mine]) + 0.08 * (number - 1)
        axes.vlines(
            at, [r.lower_quartile for r in mine], [r.upper_quartile for r in mine], color=colour
        )
        axes.plot(at, [r.mean for r in mine], "-", color=colour, marker=marker, label=method)
    covered = [one.mean for one in rows if one.measure == "1/C"]
    names = [f"{share:g}\n{c:.2g}" for share, c in zip(shares, covered, strict=True)]
    axes.set_xticks(range(len(shares)), names)
    axes.set(
        xlabel="share of comparisons between rivals; below, mean of 1/C",
        ylabel="true gap, win probability",
    )
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False)


def draw_unilateral(axes: Axes, rows: Sequence[Summary]) -> None:
    """Draw the queries that data of the equilibrium need, against 1/τ."""
    mine = [one for one in rows if one.measure.startswith("queries")]
    inverse = np.array([1.0 / one.x for one in mine])
    needed = np.array([one.mean for one in mine])
    axes.plot(inverse, needed, color=BLACK, marker="o", markersize=4, label="queries needed")
    guide = needed[0] * np.exp(MARGIN * (inverse - inverse[0]))
    axes.plot(inverse, guide, ":", color=VERMILION, label=r"slope of $e^{0.3/\tau}$")
    axes.set(yscale="log", xlabel=r"1/$\tau$", ylabel="comparisons n")
    gap = {one.method: one.mean for one in rows if one.measure.startswith("worst gap")}
    axes.text(
        0.97,
        0.05,
        "at temperature 0, any n: worst gap\n"
        f"{gap['plug-in']:.2f} of the plug-in, {gap['version space']:.2f} of any method at least",
        transform=axes.transAxes,
        ha="right",
        fontsize=7.5,
    )
    axes.legend(frameon=False, loc="upper left")


def draw_rounds(axes: Axes, rows: Sequence[Summary], estimates: Sequence[Estimate]) -> None:
    """Draw gaps along runs of different numbers of questions."""
    styles = {"m = 10": ":", "m = 100": "--", "m = 1000": "-"}
    for explorer in ("enhancer", "on-policy"):
        colour, marker = _EXPLORERS[explorer]
        for questions, style in styles.items():
            method = f"{explorer}, {questions}"
            mine = [one for one in rows if (one.method, one.measure) == (method, "gap")]
            axes.plot(
                [one.x for one in mine],
                [one.mean for one in mine],
                style,
                color=colour,
                marker=marker,
                markersize=4,
                label=f"{method}: {_slope(estimates, 'bandit', method, 'gap')}",
            )
    axes.set(xscale="log", yscale="log", xlabel="answers", ylabel="true gap, win probability")
    axes.legend(
        frameon=False,
        fontsize=7,
        loc="upper center",
        bbox_to_anchor=(0.45, -0.17),
        title="slopes along a run, 95 % intervals",
        title_fontsize=7.5,
    )


def draw_queries(axes: Axes, rows: Sequence[Summary], estimates: Sequence[Estimate]) -> None:
    """Draw the answers until the gap stays at the goal, and the ratios to the enhancer."""
    names = []
    for family in _FAMILIES:
        for explorer, (colour, marker) in _EXPLORERS.items():
            at = len(names)
            mine = {
                one.measure: one for one in rows if (one.family, one.method) == (family, explorer)
            }
            one, unfinished = mine["queries"], mine["unfinished"]
            axes.hlines(at, one.lower_quartile, one.upper_quartile, color=colour, linewidth=2)
            axes.plot(one.mean, at, color=colour, marker=marker)
            words = [f"{unfinished.mean:.0%} unfinished"] if unfinished.mean else []
            words += [
                f"× {_interval(ratio)}"
                for ratio in estimates
                if (ratio.family, ratio.method) == (family, explorer) and ratio.study == "queries"
            ]
            axes.text(340, at, ", ".join(words), va="center", fontsize=7)
            names.append(f"{explorer}, {family}")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 720.0)
    axes.set_xticks(range(0, 321, 80))
    axes.set_xlabel("answers until the gap stays ≤ 0.01; × enhancer", loc="left")
    axes.grid(axis="y", visible=False)


def figure(folder: Path) -> Figure:
    """Return the picture of the tables in a folder."""
    offline = read_table(folder / "learning_offline.csv", Summary)
    online = read_table(folder / "learning_online.csv", Summary)
    of_sizes = [
        one
        for one in read_table(folder / "learning_offline_estimates.csv", Estimate)
        if one.study == "size"
    ]
    of_rounds = read_table(folder / "learning_online_estimates.csv", Estimate)

    def of(study: str, rows: Sequence[Summary]) -> list[Summary]:
        return [one for one in rows if one.study == study]

    with mpl.rc_context(SETTINGS):
        drawn = Figure(figsize=(13.0, 9.6))
        axes = drawn.subplots(2, 3)
        draw_sizes(axes[0, 0], of("size", offline), of_sizes, "bandit")
        draw_sizes(axes[0, 1], of("size", offline), of_sizes, "process")
        draw_rounds(axes[0, 2], of("rounds", online), of_rounds)
        draw_coverage(axes[1, 0], of("coverage", offline))
        draw_unilateral(axes[1, 1], of("unilateral", offline))
        draw_queries(axes[1, 2], of("queries", online), of_rounds)
        titles = (
            "Bandits: gap against n",
            "Decision processes: gap against n",
            "Bandits in rounds of m questions",
            "A safe response and 8 rivals, n = 1000",
            "Data of the equilibrium alone",
            "Answers needed by explorers",
        )
        for place, title in zip(axes.flat, titles, strict=True):
            place.set_title(title, loc="left", fontweight="bold")
        drawn.subplots_adjust(
            left=0.06, right=0.99, top=0.96, bottom=0.07, wspace=0.42, hspace=0.82
        )
    return drawn


def main(arguments: list[str]) -> int:
    """Run ``python -m benchmarks.plot_learning [FOLDER]``: draw learning.svg and learning.png."""
    folder = Path(arguments[0]) if arguments else RESULTS
    save(figure(folder), "learning", folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
