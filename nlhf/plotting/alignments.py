"""Pictures of an alignment: what every group has of every policy, by held-out votes."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.analysis.alignment import Alignment
from nlhf.plotting.pictures import check_picture, save

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
"""Okabe and Ito's colours without the yellow, then two of Tol's: safe for colour-blind readers."""
_MARKS = ("o", "s", "D", "^", "v", "P", "X", "h")
_SPREAD = 0.56
"""Width over which the groups' dots of one policy are spread; policies are 1 apart."""
_WORST = "#111111"


def plot_alignment(alignment: Alignment, path: str | Path) -> None:
    """Draw an alignment into a .png or .svg file.

    One column a policy, one dot a group: the win rate against the reference, on the left by
    held-out votes with 95 % intervals, on the right under the fitted rewards. The group that a
    policy serves worst has a black ring and its number written below; a bar is the unweighted mean.

    Raises:
        InvalidProblem: If the ending is neither .png nor .svg, or the file cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    names = [policy.name.replace(" ", "\n", 1) for policy in alignment.policies]
    figure = Figure(figsize=(max(8.0, 1.6 * len(names) + 2.0), 4.9), layout="constrained")
    held, model = figure.subplots(1, 2, sharey=True)
    rates = alignment.held_out.rates
    _draw(held, np.asarray(rates.value), np.asarray(rates.low), np.asarray(rates.high))
    under_model = np.stack([policy.rates for policy in alignment.policies])
    _draw(model, under_model, None, None)
    for axes in (held, model):
        axes.set_xticks(range(len(names)), names, fontsize=8.5)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.axhline(0.5, color="#888888", linewidth=0.9, zorder=0)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    held.set_ylabel("win rate against the reference")
    ends = ", 95 % intervals" if alignment.held_out.resamples else ""
    held.set_title(f"judged by held-out votes{ends}", loc="left", fontsize=10)
    model.set_title("under the fitted rewards", loc="left", fontsize=10)
    _legend(figure, alignment)
    figure.suptitle(_title(alignment), x=0.01, ha="left", fontsize=11)
    save(figure, Path(path))


def _draw(
    axes: Any,
    rates: Float[np.ndarray, "policy group"],
    low: Float[np.ndarray, "policy group"] | None,
    high: Float[np.ndarray, "policy group"] | None,
) -> None:
    count = rates.shape[1]
    places = _SPREAD * (np.arange(count) - (count - 1) / 2.0) / max(count - 1, 1)
    for j, row in enumerate(rates):
        axes.hlines(row.mean(), j - 0.38, j + 0.38, color="#bbbbbb", linewidth=5, zorder=1)
        for u, rate in enumerate(row):
            colour, mark = _COLOURS[u % len(_COLOURS)], _MARKS[u % len(_MARKS)]
            at = j + places[u]
            if low is not None and high is not None:
                axes.vlines(at, low[j, u], high[j, u], color=colour, linewidth=1.4, zorder=2)
            axes.plot(at, rate, mark, color=colour, markersize=5.5, zorder=3)
        if count > 1 and np.isfinite(row).all() and np.ptp(row) > 0.0:
            _ring(axes, j + places[row.argmin()], float(row.min()))


def _ring(axes: Any, at: float, rate: float) -> None:
    """Mark the group that is served worst, and write its win rate."""
    from matplotlib.patheffects import withStroke

    axes.plot(at, rate, "o", markersize=11, markerfacecolor="none", color=_WORST, zorder=4)
    axes.annotate(
        f"{rate:.2f}",
        (at, rate),
        xytext=(0, -14),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=_WORST,
        zorder=5,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def _legend(figure: Any, alignment: Alignment) -> None:
    from matplotlib.lines import Line2D

    shares = alignment.mixture.proportions
    entries = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=_MARKS[u % len(_MARKS)],
            color=_COLOURS[u % len(_COLOURS)],
            markersize=5.5,
            label=f"group {u} ({share:.1%} of raters)",
        )
        for u, share in enumerate(shares)
    ]
    entries.append(Line2D([], [], color="#bbbbbb", linewidth=5, label="mean of the groups"))
    if len(shares) > 1:
        entries.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                markersize=9,
                markerfacecolor="none",
                color=_WORST,
                label="served worst",
            )
        )
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=min(len(entries), 5),
        frameon=False,
        fontsize=8.5,
    )


def _title(alignment: Alignment) -> str:
    count = alignment.groups
    raters = f"{alignment.mixture.diagnostics.raters:,} raters"
    groups = "1 group" if count == 1 else f"{count} groups"
    return f"{groups} of {raters}, policies at temperature {alignment.settings.temperature:g}"
