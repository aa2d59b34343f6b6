"""How near to failing every instance came, drawn as SVG to be put into a page."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import copysign, isfinite, isnan, log10
from typing import Any

import numpy as np

from nlhf.labels import label
from nlhf.theorems import Record

_WIDTH, _RIGHT = 420.0, 10.0
_ROW, _TOP, _BOTTOM = 16.0, 4.0, 34.0
_LETTER, _MARKER = 5.3, 3.6
"""Points: the picture and its edges, a row, a letter of its name, half a marker."""

_LONGEST = 36
"""Letters of the name of a row."""

_AXIS = "margin over its scale: violated below 0, tight at 0"

_LINEAR = 1e-14
"""Margins below this share of their scale are rounding; the axis is linear there."""

_FARTHEST = 1e9
"""Margins beyond this are drawn at it."""

_LEAST_REACH = 1e-9
"""The axis reaches at least this far to both sides."""

_TICKS = (1e-10, 1e-5, 1.0, 1e5)

_GOLDEN = 0.618034
"""Multiples of it leave the most even gaps, after their whole parts are gone."""

_INK, _HELD, _BROKE, _FORBIDDEN = "#010101", "#020202", "#030303", "#040404"
_STYLES = {
    _INK: "var(--ink)",
    _HELD: "var(--held)",
    _BROKE: "var(--broke)",
    _FORBIDDEN: "var(--forbidden)",
}
"""The page says which colours these are, in light and in dark."""

_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: smaller, and read aloud
    "font.size": 8.5,
    "path.simplify": False,
}


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    margins: tuple[float, ...]
    nearest: float
    control: bool


def tightness(record: Record) -> str:
    """Return the distribution of scaled margins of one theorem as an SVG element.

    One row for each part of the claim, over the instances that satisfy the hypotheses, the
    tightest marked; one for each control, over the instances that violate its hypothesis only, the
    worst violation marked. The axis is logarithmic on both sides of 0.

    Args:
        record: What was found.

    Returns:
        The element; its identifiers hold the key of the theorem. Its colours are the custom
        properties ``--ink``, ``--held``, ``--broke`` and ``--forbidden`` of the page.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = list(_rows(record))
    height = _TOP + _ROW * max(1, len(rows)) + _BOTTOM
    with mpl.rc_context(_SETTINGS | {"svg.hashsalt": record.key}), io.StringIO() as file:
        figure = Figure(figsize=(_WIDTH / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        _draw(_Canvas(figure, height), rows)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        return _embedded(file.getvalue(), record.key, _said(record))


def _rows(record: Record) -> Iterator[_Row]:
    for part in record.parts:
        yield _Row(_short(part.name), part.margins, part.tightest, control=False)
    for control in record.controls:
        name = _short(f"not {control.hypothesis}")
        yield _Row(name, control.margins, control.deepest, control=True)


def _short(name: str) -> str:
    return label(name, _LONGEST)


class _Canvas:
    """A figure in points from its upper left corner; axes would take ten times as long to draw."""

    def __init__(self, figure: Any, height: float) -> None:
        from matplotlib.transforms import Affine2D

        self._figure = figure
        self._points = Affine2D().scale(1 / _WIDTH, -1 / height).translate(0, 1)

    def lines(self, ends: Sequence[tuple[float, float]], **style: Any) -> None:
        """Draw lines between every second point and its next, as one path."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        codes = np.tile([Path.MOVETO, Path.LINETO], len(ends) // 2)
        whole = self._points + self._figure.transFigure
        self._figure.add_artist(
            PathPatch(Path(np.array(ends), codes), facecolor="none", transform=whole, **style)
        )

    def polygon(self, corners: Sequence[tuple[float, float]], colour: str, edge: float) -> None:
        """Fill a polygon, with an edge of some points around it."""
        from matplotlib.patches import Polygon

        whole = self._points + self._figure.transFigure
        self._figure.add_artist(
            Polygon(corners, facecolor=colour, edgecolor=_INK, linewidth=edge, transform=whole)
        )

    def write(self, x: float, y: float, text: str, side: str) -> None:
        """Write a text at the side of a point."""
        whole = self._points + self._figure.transFigure
        self._figure.text(
            x, y, text, ha=side, va="center", color=_INK, transform=whole, parse_math=False
        )


_DIAMOND = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))
_CROSS = (
    *((-1.0, -0.5), (-0.5, -1.0), (0.0, -0.5), (0.5, -1.0), (1.0, -0.5), (0.5, 0.0)),
    *((1.0, 0.5), (0.5, 1.0), (0.0, 0.5), (-0.5, 1.0), (-1.0, 0.5), (-0.5, 0.0)),
)


def _draw(canvas: _Canvas, rows: Sequence[_Row]) -> None:
    reach, floor = _reach(rows), _TOP + _ROW * max(1, len(rows))
    left, right = _LETTER * max([0, *(len(row.name) for row in rows)]) + 8, _WIDTH - _RIGHT
    low, high = (_place(end) for end in reach)

    def x(margin: float) -> float:
        return left + (_place(margin) - low) / (high - low) * (right - left)

    canvas.polygon([(left, _TOP), (x(0), _TOP), (x(0), floor), (left, floor)], _FORBIDDEN, 0.0)
    for position, row in enumerate(rows):
        y, colour = _TOP + _ROW * (position + 0.5), _BROKE if row.control else _HELD
        canvas.write(left - 6, y, row.name, "right")
        dots = [
            (x(margin), y + 0.64 * _ROW * ((k * _GOLDEN) % 1.0 - 0.5))
            for k, margin in enumerate(row.margins)
            if not isnan(margin)
        ]
        if dots:  # lines without length, with round ends: a tenth of the size of markers
            ends = [point for point in dots for _ in range(2)]
            canvas.lines(ends, edgecolor=colour, capstyle="round", linewidth=2.6, alpha=0.55)
        if isfinite(row.nearest):
            shape, at = _CROSS if row.control else _DIAMOND, x(row.nearest)
            corners = [(at + _MARKER * across, y + _MARKER * down) for across, down in shape]
            canvas.polygon(corners, colour, 0.8)
    ends = [(left, floor), (right, floor), (x(0), _TOP), (x(0), floor)]
    ticks = [t for tick in _TICKS for t in (-tick, tick) if reach[0] < t < reach[1]]
    for tick in (0.0, *ticks):
        ends += [(x(tick), floor), (x(tick), floor + 3)]
        canvas.write(x(tick), floor + 10, _power(tick), "center")
    canvas.lines(ends, edgecolor=_INK, linewidth=0.8)
    canvas.write((left + right) / 2, floor + 25, _AXIS, "center")


def _place(margin: float) -> float:
    """Return the place of a margin on an axis that is logarithmic on both sides of 0."""
    within = max(-_FARTHEST, min(_FARTHEST, margin))
    return copysign(log10(1.0 + abs(within) / _LINEAR), within)


def _reach(rows: Sequence[_Row]) -> tuple[float, float]:
    shown = [m for row in rows for m in (*row.margins, row.nearest) if not isnan(m)]
    return (
        max(-_FARTHEST, min(-_LEAST_REACH, *(4 * m for m in shown), 0.0)),
        min(_FARTHEST, max(_LEAST_REACH, *(4 * m for m in shown), 0.0)),
    )


def _power(value: float) -> str:
    if value in (0.0, 1.0, -1.0):
        return f"{value:.0f}".replace("-", "−")
    exponent = f"{log10(abs(value)):.0f}".replace("-", "⁻")
    return ("−" if value < 0 else "") + "10" + exponent.translate(_RAISED)


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _said(record: Record) -> str:
    bites = ", ".join(f"{c.bites} of {c.instances} without {c.hypothesis}" for c in record.controls)
    return f"Scaled margins of {record.instances} instances, the tightest {record.tightest:.2g}" + (
        f"; the claim breaks on {bites}" if bites else ""
    )


def _embedded(svg: str, key: str, said: str) -> str:
    """Return the bare element, with identifiers and colours of the page."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r"<!--.*?-->", "", element, flags=re.DOTALL)
    element = re.sub(r'\s(xmlns|xmlns:xlink|version)="[^"]*"', "", element)
    element = re.sub(r'\bid="', f'id="{key}--', element)
    element = re.sub(r'(href="|url\()#', rf"\1#{key}--", element)
    for colour, style in _STYLES.items():
        element = element.replace(colour, style)
    # A hundredth of a point is enough; what is said in words stays.
    element = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), element)
    element = re.sub(r"\s+", " ", element)
    element = re.sub(r"M (\S+ \S+) L \1(?= )", r"M\1h0", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(said)}"', 1)
