"""Draw how well groups of raters are found again, from stored rows; nothing is computed here."""

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.plot import newest, save
from benchmarks.run import RESULTS, Row, read_rows
from benchmarks.suites import RATERS, Recovery

_STYLES = {"soft": ("#0072b2", "o", "soft assignment"), "hard": ("#d55e00", "s", "hard assignment")}
CASES = tuple(case for case in RATERS if isinstance(case, Recovery))


def draw_recovery(axes: Axes, rows: list[Row]) -> None:
    """Draw the mean share of raters in their group, and the quartiles over the seeds."""
    share = "share_in_their_group"
    for method, (colour, marker, label) in _STYLES.items():
        mine = [row for row in rows if row.method == method]
        votes = [row.case["comparisons"] for row in mine]
        low, high = (
            [row.numbers[f"{share}_{end}_quartile"] for row in mine] for end in ("lower", "upper")
        )
        axes.fill_between(votes, low, high, color=colour, alpha=0.2, linewidth=0)
        mean = [row.numbers[share] for row in mine]
        axes.plot(votes, mean, color=colour, marker=marker, markersize=5, label=label)
    largest = rows[0].numbers["share_of_the_largest_group"]
    axes.axhline(largest, color="#777777", linestyle="--", linewidth=1)
    axes.text(20, largest - 0.012, "everybody in the majority", ha="right", va="top", fontsize=8.5)
    axes.set_xscale("log")
    ticks = sorted({row.case["comparisons"] for row in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("votes a rater")
    axes.set_ylabel("share of raters in their group")
    axes.set_ylim(0.5, 1.0)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.08))


def figure(rows: list[Row]) -> Figure:
    """Return the picture with its provenance underneath."""
    found = newest(rows, CASES, number="share_in_their_group")
    case, origin = found[0].case, found[0].provenance
    with mpl.rc_context({"font.size": 9.5, "svg.fonttype": "none"}):
        drawn = Figure(figsize=(6.4, 4.4))
        axes = drawn.subplots()
        draw_recovery(axes, found)
        drawn.subplots_adjust(left=0.11, right=0.97, bottom=0.24, top=0.96)
        drawn.text(
            0.11,
            0.02,
            f"{case['raters']} raters, groups of {case['proportions'][0]:g} and "
            f"{case['proportions'][1]:g}, one prompt of {case['responses']} responses, normal "
            f"rewards of scale {case['scale']:g}.\nMeans and quartiles over {case['seeds']} seeds. "
            f"Revision {str(origin['revision'])[:10]}.",
            fontsize=7.5,
            color="#555555",
        )
    return drawn


def main() -> None:
    """Run ``python -m benchmarks.plot_recovery [FOLDER]``: draw recovery.svg and recovery.png."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    save(figure(read_rows(folder)), folder / "recovery")


if __name__ == "__main__":
    main()
