"""Pictures of an analysis: policies, certificates, the null of cycles, majority graphs."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.analysis import Analysis, PromptSolution, VoteAnalysis
from nlhf.errors import InvalidProblem

_MOST_PROMPTS = 24
_CYCLES = 3
_BLUE, _ORANGE, _GREY, _GREEN = "#2f6db3", "#d9822b", "#b8bec7", "#3a8f5c"


def plot_analysis(analysis: Analysis | VoteAnalysis, path: str | Path) -> None:
    """Draw an analysis into a .png or .svg file.

    Above, one row a prompt: the Nash policy as a bar cut at its responses, the duality gap, and
    for votes the exploitability of the best Bradley-Terry policy. Below: for votes, the number of
    prompts without a Condorcet winner beside its law under Bradley-Terry; and the shortest
    majority cycles, with the share of votes on every arrow. Only the first 24 prompts are drawn.

    Raises:
        InvalidProblem: If the ending is neither .png nor .svg, or the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".png", ".svg"):
        raise InvalidProblem(f"{target}: cannot draw {target.suffix!r}", "use .png or .svg")
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    shown = analysis.prompts[:_MOST_PROMPTS]
    height = 0.30 * len(shown)
    figure = Figure(figsize=(12.5, 1.6 + height + 3.6), layout="constrained")
    figure.suptitle(
        f"Nash policies at temperature {analysis.temperature:g} "
        f"({len(shown)} of {len(analysis.prompts)} prompts)",
        x=0.01,
        ha="left",
    )
    halves: Any = figure.subfigures(2, 1, height_ratios=[0.9 + height, 3.6])
    above, below = halves
    policies, gaps = above.subplots(1, 2, sharey=True, width_ratios=[1.6, 1.0])
    _draw_policies(policies, shown)
    _draw_gaps(gaps, analysis, len(shown))
    panels = below.subplots(1, 1 + _CYCLES, width_ratios=[1.5] + [1.0] * _CYCLES)
    _draw_null(panels[0], analysis)
    cyclic = [solution for solution in shown if solution.majority.cycle]
    for axes, k in zip(panels[1:], range(_CYCLES), strict=True):
        axes.set_axis_off()
        if k < len(cyclic):
            _draw_cycle(axes, cyclic[k])
    try:
        figure.savefig(target, dpi=150)
    except OSError as error:
        raise InvalidProblem(
            f"{target}: {error.strerror}", "choose a folder that exists"
        ) from error


def _short(name: str, most: int = 34) -> str:
    """Cut the middle out: names of prompts often differ at their ends."""
    if len(name) <= most:
        return name
    tail = most // 3
    return name[: most - 1 - tail] + "…" + name[-tail:]


def _draw_policies(axes: Any, shown: tuple[PromptSolution, ...]) -> None:
    for row, solution in enumerate(shown):
        left = 0.0
        for rank, p in enumerate(np.sort(solution.policy)[::-1]):
            axes.barh(
                row,
                p,
                left=left,
                height=0.72,
                color=_BLUE,
                alpha=max(0.25, 1.0 - 0.16 * rank),
                edgecolor="white",
                linewidth=0.8 if p > 0.004 else 0.0,
            )
            left += float(p)
    axes.set_yticks(range(len(shown)), [_short(solution.prompt) for solution in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability, one piece per response, largest first")
    axes.set_title("Nash policy", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_gaps(axes: Any, analysis: Analysis | VoteAnalysis, count: int) -> None:
    rows = np.arange(count)
    gaps = np.array([solution.gap for solution in analysis.prompts[:count]])
    least = np.finfo(np.float64).tiny
    axes.scatter(np.maximum(gaps, least), rows, color=_BLUE, s=22, label="Nash policy: duality gap")
    if isinstance(analysis, VoteAnalysis):
        losses = [baseline.exploitability for baseline in analysis.baselines[:count]]
        axes.scatter(
            losses,
            rows,
            color=_ORANGE,
            s=26,
            marker="D",
            label="best Bradley-Terry: exploitability",
        )
    axes.set_xscale("log")
    axes.set_xlabel(f"payoff ({analysis.payoff})")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", labelleft=False)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)


def _draw_null(axes: Any, analysis: Analysis | VoteAnalysis) -> None:
    if not isinstance(analysis, VoteAnalysis):
        axes.set_axis_off()
        return
    law = analysis.null.distribution
    counts = np.arange(law.size)
    axes.bar(counts, law, color=_GREY, width=0.8, label="Bradley-Terry votes")
    axes.axvline(analysis.null.observed, color=_ORANGE, linewidth=2.5, label="these votes")
    axes.set_xlabel("prompts without a Condorcet winner")
    axes.set_ylabel("probability")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, float(law.max()) * 1.3)
    axes.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_cycle(axes: Any, solution: PromptSolution) -> None:
    """Draw one majority cycle as a wheel: an arrow leads from the winner to the beaten."""
    cycle = solution.majority.cycle
    places = _wheel(len(cycle))
    for k, (x, y) in enumerate(places):
        loser = (k + 1) % len(cycle)
        axes.annotate(
            "",
            xy=tuple(places[loser]),
            xytext=(x, y),
            arrowprops={
                "arrowstyle": "-|>",
                "color": _ORANGE,
                "lw": 1.6,
                "shrinkA": 24,
                "shrinkB": 24,
            },
        )
        middle = 0.5 * (places[k] + places[loser]) * 0.62
        axes.text(
            *middle,
            f"{solution.preference[cycle[k], cycle[loser]]:.0%}",
            fontsize=8,
            ha="center",
            va="center",
        )
        axes.text(
            x,
            y,
            _short(solution.responses[cycle[k]], 11),
            fontsize=8,
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.35", "fc": "white", "ec": _GREEN},
        )
    axes.set_xlim(-1.5, 1.5)
    axes.set_ylim(-1.3, 1.3)
    axes.set_aspect("equal")
    axes.set_title("majority cycle in\n" + _short(solution.prompt, 30), fontsize=8)


def _wheel(count: int) -> Float[np.ndarray, "response 2"]:
    angles = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)
