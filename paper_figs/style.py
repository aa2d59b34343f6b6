"""What figures share: sizes of columns, fonts, a palette with dashes and markers, and files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from paper_figs.inputs import HERE

OUT = HERE / "out"

COLUMN, FULL = 3.3, 6.9
"""Widths of one column and of both in a two-column paper, in inches."""

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, GREY = (
    "#000000",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#0072b2",
    "#d55e00",
    "#9a4f87",
    "#777777",
)
"""Okabe and Ito's palette, which people with any colour vision tell apart; purple is darkened."""

SETTINGS: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.title_fontsize": 7.0,
    "legend.handlelength": 2.4,
    "legend.frameon": False,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.markersize": 3.6,
    "lines.linewidth": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "svg.hashsalt": "nlhf",
}
"""In points at the size of print; nothing is smaller than 7."""

Dashes = Literal["-"] | tuple[int, tuple[float, ...]]
SOLID: Dashes = "-"
LONG: Dashes = (0, (5, 1.6))
SHORT: Dashes = (0, (2.2, 1.3))
DOTS: Dashes = (0, (1, 1.2))
DASH_DOT: Dashes = (0, (5, 1.4, 1, 1.4))

_METADATA: Mapping[str, dict[str, str | None]] = {"svg": {"Date": None}, "png": {}}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Points = Float[np.ndarray, " point"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is told apart from the others, in colour and without.

    Attributes:
        colour: Of lines, markers and bands.
        dashes: Of lines.
        marker: Of points.
        hollow: Whether markers are white inside.
    """

    colour: str
    dashes: Dashes = SOLID
    marker: str = "o"
    hollow: bool = False

    @property
    def face(self) -> str:
        """The colour inside markers."""
        return "white" if self.hollow else self.colour


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches; made within `mpl.rc_context(SETTINGS)`."""
    return Figure(figsize=(width, height))


def draw_curve(
    axes: Axes, x: Points, y: Points, look: Look, label: str | None, *, markers: bool = True
) -> None:
    """Draw a line through points, which are marked if they are few."""
    axes.plot(
        x,
        y,
        linestyle=look.dashes,
        color=look.colour,
        marker=look.marker if markers else None,
        markerfacecolor=look.face,
        markeredgewidth=0.9,
        label=label,
    )


def draw_band(axes: Axes, x: Points, low: Points, high: Points, look: Look) -> None:
    """Shade what lies between two curves."""
    axes.fill_between(x, low, high, color=look.colour, alpha=0.16, linewidth=0)


def draw_range(axes: Axes, x: Points, low: Points, high: Points, look: Look) -> None:
    """Draw an upright interval at every point."""
    axes.vlines(x, low, high, color=look.colour, linewidth=0.9)


def write_powers(axis: Axis) -> None:
    """Label a logarithmic axis 10⁻², with raised digits that are as large as the font says."""

    def words(value: float, _: int) -> str:
        return "10" + str(round(float(np.log10(value)))).translate(_RAISED)

    axis.set_major_locator(LogLocator(base=10.0, numticks=8))
    axis.set_major_formatter(FuncFormatter(words))
    axis.set_minor_formatter(NullFormatter())


def save(figure: Figure, label: str, folder: Path = OUT) -> tuple[Path, ...]:
    """Write a figure as SVG and PNG, and return both; the same drawing gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{label}.{ending}": metadata for ending, metadata in _METADATA.items()}
    with mpl.rc_context(SETTINGS):
        for file, metadata in files.items():
            figure.savefig(file, dpi=250, metadata=metadata)
    return tuple(files)
