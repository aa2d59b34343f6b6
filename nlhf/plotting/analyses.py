"""Pictures of an analysis: policies, certificates, the null of cycles, majority graphs."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.analysis.baselines import RewardBaseline
from nlhf.analysis.votes import Analysis, PromptSolution, VoteAnalysis
from nlhf.labels import label
from nlhf.plotting.pictures import check_picture, save

_MOST_PROMPTS = 24
_CYCLES = 3
_FLOOR = 1e-17
"""Exploitabilities below this, the rounding of a preference, are drawn here."""
_BLUE, _ORANGE, _GREY, _GREEN = "#2f6db3", "#d9822b", "#b8bec7", "#3a8f5c"
_AS_IT_IS: dict[str, Any] = {"parse_math": False}
"""Names are drawn as they are: a $ in one does not start a formula."""


def plot_analysis(analysis: Analysis | VoteAnalysis, path: str | Path) -> None:
    """Draw an analysis into a .png or .svg file.

    Above, one row a prompt: the Nash policy as a bar cut at its responses, and its exploitability
    (half the duality gap, rounding included), for votes beside that of the best Bradley-Terry
    policy. Below, if there is anything to show: for votes, the number of prompts without a
    Condorcet winner beside its law under Bradley-Terry; and the majority cycles of the first
    prompts that have one, with the preference on every arrow. Only the first 24 prompts have rows.

    Raises:
        InvalidProblem: If the ending is neither .png nor .svg, or the file cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    shown = analysis.prompts[:_MOST_PROMPTS]
    cyclic = [solution for solution in analysis.prompts if solution.majority.cycle][:_CYCLES]
    upper = 1.2 + 0.30 * max(len(shown), 3)
    lower = 3.6 if cyclic or isinstance(analysis, VoteAnalysis) else 0.0
    figure = Figure(figsize=(12.5, 0.7 + upper + lower), layout="constrained")
    figure.suptitle(
        f"Nash policies at temperature {analysis.temperature:g} "
        f"({len(shown)} of {len(analysis.prompts)} prompts)",
        x=0.01,
        ha="left",
    )
    if lower:
        halves: Any = figure.subfigures(2, 1, height_ratios=[upper, lower])
        above, below = halves
        panels = below.subplots(1, 1 + _CYCLES, width_ratios=[1.5] + [1.0] * _CYCLES)
        _draw_null(panels[0], analysis)
        for k, axes in enumerate(panels[1:]):
            axes.set_axis_off()
            if k < len(cyclic):
                _draw_cycle(axes, cyclic[k])
    else:
        above = figure
    policies, losses = above.subplots(1, 2, sharey=True, width_ratios=[1.6, 1.0])
    _draw_policies(policies, shown)
    _draw_exploitabilities(losses, analysis, len(shown))
    save(figure, Path(path))


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
    names = [label(solution.prompt, 34) for solution in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8, **_AS_IT_IS)
    axes.set_ylim(max(len(shown), 3) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability, one piece per response, largest first")
    axes.set_title("Nash policy", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_exploitabilities(axes: Any, analysis: Analysis | VoteAnalysis, count: int) -> None:
    rows = np.arange(count)
    nash = [solution.gap_high / 2 for solution in analysis.prompts[:count]]
    axes.scatter(np.maximum(nash, _FLOOR), rows, color=_BLUE, s=22, label="Nash policy")
    if isinstance(analysis, VoteAnalysis):
        found = [
            (row, max(baseline.exploitability, _FLOOR))
            for row, baseline in enumerate(analysis.baselines[:count])
            if isinstance(baseline, RewardBaseline)
        ]
        axes.scatter(
            [loss for _, loss in found],
            [row for row, _ in found],
            color=_ORANGE,
            s=26,
            marker="D",
            label="best Bradley-Terry",
        )
    axes.set_xscale("log")
    axes.set_xlabel(
        f"exploitability is at most (payoff: {analysis.payoff};\n"
        f"smaller than {_FLOOR:g} is drawn there)"
    )
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
    axes.set_ylim(0, float(law.max()) * 1.05)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
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
            label(solution.responses[cycle[k]], 11),
            **_AS_IT_IS,
            fontsize=8,
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.35", "fc": "white", "ec": _GREEN},
        )
    axes.set_xlim(-1.5, 1.5)
    axes.set_ylim(-1.3, 1.3)
    axes.set_aspect("equal")
    axes.set_title("majority cycle in\n" + label(solution.prompt, 30), fontsize=8, **_AS_IT_IS)


def _wheel(count: int) -> Float[np.ndarray, "response 2"]:
    angles = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)
