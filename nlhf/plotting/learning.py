"""Pictures of learned policies: what is certain of them, and how they do by held-out votes."""

from pathlib import Path
from typing import Any

import numpy as np

from nlhf.analysis.held_out import HeldOutWins
from nlhf.analysis.learning import REFERENCE, OfflineStudy
from nlhf.analysis.learning_online import OnlineStudy
from nlhf.analysis.learning_settings import Method
from nlhf.plotting.pictures import check_picture, save

_BLUE, _RED, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#888888"


def plot_offline(study: OfflineStudy, path: str | Path) -> None:
    """Draw policies learned from votes into a .png or .svg file.

    On the left the certified gap of every policy, hollow if its class is refuted by held-out votes,
    and below a bar if it says more than is certain without any votes; on the right win rates by
    held-out votes with 95 % intervals, against the reference and against the plug-in.

    Raises:
        InvalidProblem: If the ending is neither .png nor .svg, or the file cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    names = [policy.name for policy in study.policies]
    figure = Figure(figsize=(max(8.0, 2.0 * len(names) + 1.0), 4.6), layout="constrained")
    certain, judged = figure.subplots(1, 2)
    _certified(certain, study)
    places = np.arange(len(names))
    others = [k for k, policy in enumerate(study.policies) if policy.name != REFERENCE]
    rivals = [k for k in others if study.policies[k].name != Method.PLUG_IN]
    _rates(judged, study.wins, others, places[others] - 0.08, "o", _BLUE, "against the reference")
    if rivals:
        _rates(judged, study.duels, rivals, places[rivals] + 0.08, "s", _RED, "against the plug-in")
    judged.axhline(0.5, color=_GREY, linewidth=0.9, zorder=0)
    judged.set_ylabel("win rate")
    ends = ", 95 % intervals" if study.wins.resamples else ""
    judged.set_title(f"judged by held-out votes{ends}", loc="left", fontsize=10)
    judged.legend(frameon=False, fontsize=8.5)
    for axes in (certain, judged):
        axes.set_xticks(places, names, fontsize=8.5)
        axes.set_xlim(-0.6, len(names) - 0.4)
        _tidy(axes)
    votes, prompts = len(study.split.training), len(study.prompts)
    figure.suptitle(
        f"Class {study.fits[0].name}, {votes:,} votes on {prompts} prompts, temperature "
        f"{study.settings.temperature:g}",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    save(figure, Path(path))


def plot_online(study: OnlineStudy, path: str | Path) -> None:
    """Draw a main agent learned in rounds into a .png or .svg file.

    On the left its certified gap and its true gap against the answers so far, and what is certain
    of the reference without any; on the right its win rate by held-out votes, with 95 % intervals.

    Raises:
        InvalidProblem: If the ending is neither .png nor .svg, or the file cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    certain, judged = figure.subplots(1, 2)
    answers = np.array([standing.answers for standing in study.run.standings])
    certain.plot(answers, study.run.gaps, "o-", color=_GREEN, label="certified, at most")
    certain.plot(answers, study.true_gaps, "s-", color=_RED, label="true: shares of votes")
    certain.axhline(
        study.uninformed,
        color=_GREY,
        linestyle="--",
        label="certified of the reference, no answers",
    )
    certain.set_ylabel(f"exploitability, {study.settings.link.units}")
    certain.set_ylim(bottom=0.0)
    certain.legend(frameon=False, fontsize=8.5)
    every = list(range(len(answers)))
    _rates(judged, study.wins, every, answers, "o", _BLUE, "against the reference")
    judged.axhline(0.5, color=_GREY, linewidth=0.9, zorder=0)
    judged.set_ylabel("win rate against the reference")
    ends = ", 95 % intervals" if study.wins.resamples else ""
    judged.set_title(f"judged by held-out votes{ends}", loc="left", fontsize=10)
    for axes in (certain, judged):
        axes.set_xlabel("answers")
        _tidy(axes)
    asking, prompts = study.asking, len(study.prompts)
    figure.suptitle(
        f"Main agent, {asking.explorer} explorer, class {study.settings.preference_class}, "
        f"{prompts} prompts, temperature {study.settings.temperature:g}",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    save(figure, Path(path))


def _certified(axes: Any, study: OfflineStudy) -> None:
    for refuted, label in ((False, "class not refuted"), (True, "void: class refuted")):
        shown = [k for k, policy in enumerate(study.policies) if study.refuted(policy) == refuted]
        gaps = [study.policies[k].gap.high for k in shown]
        if shown:
            fill = "white" if refuted else _GREEN
            axes.plot(
                shown, gaps, "o", color=_GREEN, markerfacecolor=fill, markersize=7, label=label
            )
        for k, gap in zip(shown, gaps, strict=True):
            _written(axes, k, gap)
    bare = [study.fits[policy.fit].uninformed for policy in study.policies]
    places = np.arange(len(bare))
    label = "of the reference, without votes"
    axes.hlines(bare, places - 0.35, places + 0.35, color=_GREY, linewidth=1.4, label=label)
    highest = max([*bare, *(policy.gap.high for policy in study.policies)])
    axes.set_ylim(-0.1 * highest, 1.12 * highest)
    axes.set_ylabel(f"certified gap at most, {study.settings.link.units}")
    sure = f"{1.0 - study.settings.delta:.4g}"
    axes.set_title(f"certain with probability {sure} if the class holds", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8.5, loc="best")


def _written(axes: Any, at: int, value: float) -> None:
    axes.annotate(
        f"{value:.3f}",
        (at, value),
        xytext=(0, -14),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )


def _rates(
    axes: Any, found: HeldOutWins, rows: list[int], at: Any, mark: str, colour: str, label: str
) -> None:
    value, low, high = (
        np.asarray(getattr(found.rates, end))[rows, 0] for end in ("value", "low", "high")
    )
    axes.vlines(at, low, high, color=colour, linewidth=1.4)
    axes.plot(at, value, mark, color=colour, markersize=5.5, label=label)


def _tidy(axes: Any) -> None:
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
