"""What retraining on labels of reward learning on policy does, by labeller, noise and setting."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.inputs import Table, table
from paper_figs.style import (
    BLACK,
    BLUE,
    DASH_DOT,
    DOTS,
    FULL,
    GREEN,
    GREY,
    LONG,
    ORANGE,
    PURPLE,
    SETTINGS,
    SHORT,
    SKY,
    SOLID,
    VERMILION,
    Dashes,
    Look,
    draw_curve,
    draw_range,
    new_figure,
    save,
)

LABEL = "rlp_ablations"
INPUTS = ("benchmarks/results/reward_on_policy.csv",)

LABELLERS = {
    "gold": ("oracle", Look(GREEN, marker="^")),
    "consensus, 0.7": ("consensus, γ = 0.7", Look(SKY, marker="D")),
    "consensus, 0.5": ("consensus, γ = 0.5 (SPG)", Look(BLUE, marker="o")),
    "consensus, all": ("consensus, all", Look(PURPLE, marker="v", hollow=True)),
    "policy": ("the policy itself", Look(ORANGE, marker="X")),
    "reward, hard": ("the reward, hard labels", Look(VERMILION, marker="s")),
    "reward, soft": ("the reward, soft labels", Look(BLACK, marker="P", hollow=True)),
}
NOISE: dict[str, tuple[Dashes, str, str]] = {
    "0": (SOLID, BLACK, "s"),
    "0.5": (LONG, VERMILION, "D"),
    "1": (SHORT, BLUE, "o"),
    "2": (DASH_DOT, GREEN, "^"),
    "3": (DOTS, PURPLE, "v"),
}
"""Dashes, colour and marker of every ω."""

OTHERS = {
    "ridge 0.01": "ridge 0.01",
    "ridge 1": "ridge 1",
    "no opinions": "no opinions",
    "no flips": "no flips",
}
CHANGE = "change of true reward, logits"


def data() -> Table:
    """Return all cells as they are in the results."""
    return table(LABEL, INPUTS[0])


def draw_cells(axes: Axes, cells: list[Table], names: list[str], what: str) -> None:
    """Draw a change with its interval in every cell, labellers side by side."""
    for number, (labeller, (_, look)) in enumerate(LABELLERS.items()):
        for place, cell in enumerate(cells):
            mine = cell.where("labeller", labeller)
            at = mine.numbers(what) * 0.0 + place + 0.105 * (number - 3)
            draw_range(axes, at, mine.numbers(f"{what}_low"), mine.numbers(f"{what}_high"), look)
            axes.plot(
                at,
                mine.numbers(what),
                look.marker,
                color=look.colour,
                markerfacecolor=look.face,
                markersize=3.2,
            )
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)


def draw_noise(axes: Axes, rows: Table) -> None:
    """Draw the change by consensus labels over the share of flipped votes."""
    mine = rows.where("part", "map").where("labeller", "consensus, 0.5")
    for omega, (dashes, colour, marker) in NOISE.items():
        some, look = mine.where("informativeness", omega), Look(colour, dashes, marker)
        flips, change = some.numbers("flip_rate"), some.numbers("reward_change")
        ends = some.numbers("reward_change_low"), some.numbers("reward_change_high")
        draw_range(axes, flips, *ends, look)
        draw_curve(axes, flips, change, look, f"ω = {omega}")
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.set(xlabel="share of flipped human votes", ylabel=CHANGE)
    axes.legend(loc="upper left", ncols=2, columnspacing=1.2, handlelength=3.0)
    axes.set_ylim(-0.07, 0.2)


def cells_of(rows: Table, weight: str) -> tuple[list[Table], list[str]]:
    """Return the cells of the table at a synthetic weight, and their names."""
    mine = rows.where("part", "table").where("weight", weight)
    pairs = [(m, w) for m in mine.words("pairs") for w in mine.words("informativeness")]
    cells = [mine.where("pairs", m).where("informativeness", w) for m, w in pairs]
    found = [(cell, f"{m}, {w}") for cell, (m, w) in zip(cells, pairs, strict=True) if cell.rows]
    return [cell for cell, _ in found], [name for _, name in found]


def draw_others(axes: Axes, rows: Table) -> None:
    """Draw the other settings, at ω = 0 and ω = 1."""
    cells, names = [], []
    for place, (part, name) in enumerate(OTHERS.items()):
        for omega in ("0", "1"):
            cells.append(
                rows.where("part", part).where("informativeness", omega).where("weight", "2")
            )
            names.append(omega)
        axes.text(2 * place + 0.5, 0.81, name, ha="center", va="center", fontsize=7)
    draw_cells(axes, cells, names, "reward_change")
    for place in range(1, len(OTHERS)):
        axes.axvline(2 * place - 0.5, color="#aaaaaa", linewidth=0.6)
    axes.set(xlabel="informativeness ω", ylabel=CHANGE, ylim=(-0.14, 0.86))
    axes.set_title("(d) other settings, at matched divergence", loc="left")


def draw(rows: Table) -> Figure:
    """Return the figure."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(FULL, 5.2)
        (table_axes, noise), (fixed, others) = figure.subplots(2, 2, width_ratios=(1.15, 1.0))
        cells, names = cells_of(rows, "2")
        draw_cells(table_axes, cells, names, "reward_change")
        table_axes.set(xlabel="human comparisons m, informativeness ω", ylabel=CHANGE)
        table_axes.set_title("(a) at matched divergence", loc="left")
        draw_noise(noise, rows)
        noise.set_title("(b) consensus, γ = 0.5, m = 100", loc="left")
        noise.set_xticks((0.0, 0.1, 0.2, 0.3, 0.4), ("0", "0.1", "0.2", "0.3", "0.4"))
        draw_cells(fixed, cells, names, "value_change")
        fixed.set(xlabel="human comparisons m, informativeness ω", ylabel="change of J, logits")
        fixed.set_title("(c) at the same β", loc="left")
        draw_others(others, rows)
        for name, look in LABELLERS.values():
            draw_curve(table_axes, [], [], look, name)
            table_axes.lines[-1].set_linestyle("none")
        handles, labellers = table_axes.get_legend_handles_labels()
        figure.legend(handles, labellers, loc="lower center", ncols=4, columnspacing=1.6)
        figure.subplots_adjust(
            left=0.088, right=0.985, top=0.955, bottom=0.15, wspace=0.23, hspace=0.33
        )
    return figure


if __name__ == "__main__":
    save(draw(data()), LABEL)
