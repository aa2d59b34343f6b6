"""Pictures of a comparison: the duality gap of every method, against iterations and time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil, floor, isfinite, log10
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.nash_ema import NashEMA
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.optimistic import OptimisticMirrorDescent
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.analysis.comparison import Comparison, Run
from nlhf.labels import label
from nlhf.plotting.pictures import check_picture, save
from nlhf.results import Stop

_COLOURS: dict[type, str] = {
    MirrorDescent: "#0072B2",
    Extragradient: "#D55E00",
    OptimisticMirrorDescent: "#009E73",
    NashMD: "#CC79A7",
    NashEMA: "#E69F00",
    ProximalPoint: "#000000",
}
_FURTHER = ("#56B4E9", "#7F7F7F", "#882255", "#999933", "#332288")
"""Okabe and Ito's colours without the yellow, then some of Tol's: safe for colour-blind readers.
A method keeps its colour from picture to picture; its second form takes the next further one."""

_WIDTH, _HEIGHT = 12.0, 5.0
_LEFT, _BETWEEN, _RIGHT, _BELOW, _ABOVE = 0.85, 0.45, 0.4, 0.62, 0.62
"""Margins, in inches."""
_PANEL = (_WIDTH - _LEFT - _BETWEEN - _RIGHT) / 2.0
_TALL = _HEIGHT - _BELOW - _ABOVE
_ROW, _TWO_ROWS = 0.165, 0.31
"""Heights of labels, in inches."""
_SIZE = 8.5
_LINEAR = 0.4
"""Width between 0 and the first tick, where the axis is linear, as matplotlib has it: in 0.9 of a
decade."""
_AS_IT_IS: dict[str, Any] = {"parse_math": False}


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """What the gaps of a panel are drawn against.

    Attributes:
        values: Its value at every judged iteration of a run.
        words: Its value in words, for the label of a run.
        title: What is written below it.
        first: Below this it is linear, above logarithmic.
    """

    values: Callable[[Run], Float[np.ndarray, "judged"]]
    words: Callable[[float], str]
    title: str
    first: float

    def place(self, value: float) -> float:
        """Return where a value lies, in decades to the right of 0."""
        scaled = value / self.first
        adjusted = _LINEAR / 0.9
        return adjusted * scaled if scaled <= 1.0 else adjusted + log10(scaled)


def plot_comparison(comparison: Comparison, path: str | Path) -> None:
    """Draw a comparison into a .png or .svg file.

    The duality gap of every method on a logarithmic scale: on the left against iterations, with
    proven bounds as thin dashed lines, on the right against the time of the steps. Nothing is
    smoothed or left out; gaps below their own rounding are drawn at a floor that is said.

    Raises:
        InvalidProblem: If the ending is neither .png nor .svg, or the file cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    panels = []
    for k, axis in enumerate(_axes(comparison)):
        left = (_LEFT + k * (_PANEL + _BETWEEN)) / _WIDTH
        panel = figure.add_axes((left, _BELOW / _HEIGHT, _PANEL / _WIDTH, _TALL / _HEIGHT))
        _draw(panel, axis, comparison, promised=k == 0)
        panels.append(panel)
    panels[0].set_ylabel(_gap_in_words(comparison), fontsize=_SIZE + 0.5)
    panels[1].tick_params(axis="y", labelleft=False)
    figure.text(_LEFT / _WIDTH, 1.0 - 0.24 / _HEIGHT, _title(comparison), fontsize=11)
    figure.text(_LEFT / _WIDTH, 1.0 - 0.45 / _HEIGHT, _notes(comparison), fontsize=8, color="#555")
    save(figure, Path(path))


def _axes(comparison: Comparison) -> tuple[_Axis, _Axis]:
    after = [run.curve.seconds[run.curve.iterations > 0] for run in comparison.runs]
    shortest = min((float(t.min()) for t in after if t.size), default=1e-3)
    first = 10.0 ** round(log10(max(shortest, 1e-7)))
    return (
        _Axis(lambda run: run.curve.iterations * 1.0, lambda k: f"{k:,.0f}", "iterations", 1.0),
        _Axis(lambda run: run.curve.seconds, _time, "seconds (judging not counted)", first),
    )


def _draw(panel: Any, axis: _Axis, comparison: Comparison, *, promised: bool) -> None:
    least, most = _range(comparison)
    floor_ = _floor(comparison)
    runs = comparison.runs
    for k, (run, colour) in enumerate(zip(runs, _colours(runs), strict=True)):
        x = axis.values(run)
        gaps = np.maximum(np.where(np.isfinite(run.curve.gaps), run.curve.gaps, most), floor_)
        width = 2.8 - 1.6 * k / max(len(runs) - 1, 1)  # a curve below another one still shows
        panel.plot(x, gaps, color=colour, linewidth=width, solid_capstyle="round")
        panel.plot(x[-1:], gaps[-1:], "o", color=colour, markersize=4.5, zorder=4)
        if promised and run.promise is not None and run.promise.gaps.size:
            shown = run.promise.gaps >= least
            points = run.promise.iterations[shown], run.promise.gaps[shown]
            panel.plot(*points, "--", color=colour, linewidth=0.8, alpha=0.8)
    panel.set_xscale("symlog", linthresh=axis.first, linscale=_LINEAR)
    panel.set_yscale("log")
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_xlabel(axis.title, fontsize=_SIZE + 1)
    panel.tick_params(labelsize=_SIZE)
    panel.axhline(comparison.stop.gap or floor_, color="#bbb", linewidth=0.8, zorder=0)
    _write(panel, axis, comparison, least, most)


def _write(panel: Any, axis: _Axis, comparison: Comparison, least: float, most: float) -> None:
    """Set limits and ticks with room for the labels, and label every run where it ends."""
    colours = _colours(comparison.runs)
    reached = [k for k, run in enumerate(comparison.runs) if run.stop is Stop.CERTIFIED]
    others = [k for k in range(len(comparison.runs)) if k not in reached]
    ends = [axis.place(float(axis.values(run)[-1])) for run in comparison.runs]
    texts = [_text(run, axis) for run in comparison.runs]
    column = max((ends[k] for k in others), default=0.0)
    room = [(column if k in others else ends[k], text) for k, text in enumerate(texts)]
    right = max(p * _PANEL / max(_PANEL - _inches(text), 1.0) for p, text in room)
    right = max(right, axis.place(axis.first) + 0.5)
    panel.set_xlim(0.0, axis.first * 10.0 ** (right - _LINEAR / 0.9))
    zone = _ROW * len(reached) + 0.14
    decade = (_TALL - zone) / log10(most / least)
    bottom = least * 10.0 ** (-zone / decade)
    panel.set_ylim(bottom, most)
    _tick(panel, axis, max(ends), least, most)
    floor_ = _floor(comparison)
    points = [(float(axis.values(run)[-1]), _end(run, most, floor_)) for run in comparison.runs]
    for row, k in enumerate(sorted(reached, key=lambda k: -ends[k])):
        height = least * 10.0 ** (-(0.14 + _ROW * row) / decade)
        _label(panel, texts[k], colours[k], points[k], (points[k][0], height))
    inches = [decade * log10(points[k][1] / bottom) for k in others]
    x = max((points[k][0] for k in others), default=0.0)
    for k, height in zip(others, _apart(inches, zone + 0.02, _TALL), strict=True):
        _label(panel, texts[k], colours[k], points[k], (x, bottom * 10.0 ** (height / decade)))


def _label(
    panel: Any, text: str, colour: str, end: tuple[float, float], place: tuple[float, float]
) -> None:
    """Write a label at a place, with a thin line to it from where the run ends."""
    from matplotlib.patheffects import withStroke

    x, y = zip(end, place, strict=True)
    panel.plot(x, y, color=colour, linewidth=0.7, zorder=2)
    panel.annotate(
        text,
        place,
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        linespacing=1.1,
        fontsize=_SIZE,
        color=colour,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        annotation_clip=False,
        **_AS_IT_IS,
    )


def _tick(panel: Any, axis: _Axis, end: float, least: float, most: float) -> None:
    count = ceil(end - _LINEAR / 0.9 - 1e-9) + 1
    places = [0.0, *(axis.first * 10.0**k for k in range(max(count, 1)))]
    panel.set_xticks(places, [axis.words(value) for value in places])
    panel.set_xticks([], minor=True)
    low, high = ceil(log10(least) - 1e-9), floor(log10(most) + 1e-9)
    every = max(1, ceil((high - low) / 7))
    decades = range(high, low - 1, -every)
    panel.set_yticks([10.0**k for k in decades])
    panel.set_yticks([], minor=True)
    panel.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines["left"].set_bounds(least, most)


def _apart(heights: Sequence[float], least: float, most: float) -> list[float]:
    """Return the heights moved as little as needs be for labels there not to overlap."""
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    found = list(heights)
    low = least + _TWO_ROWS / 2
    for k in order:
        found[k] = low = max(found[k], low)
        low += _TWO_ROWS
    high = most - _TWO_ROWS / 2
    for k in reversed(order):
        found[k] = high = min(found[k], high)
        high -= _TWO_ROWS
    return found


def _text(run: Run, axis: _Axis) -> str:
    name = label(run.name, 34)
    if run.stop is Stop.CERTIFIED:
        return f"{name}  {axis.words(float(axis.values(run)[-1]))}"
    gap = float(run.curve.gaps[-1])
    if run.biased:
        return f"{name}\nbiased: stays at {gap:.1e}"
    return f"{name}\n" + (f"ends at {gap:.1e}" if isfinite(gap) else "diverged")


def _inches(text: str) -> float:
    """Return roughly how wide a label is, its distance from the curve included."""
    return 0.2 + 0.0078 * _SIZE * max(len(line) for line in text.split("\n"))


def _range(comparison: Comparison) -> tuple[float, float]:
    """Return the least and the largest gap that are drawn."""
    gaps = np.concatenate([run.curve.gaps for run in comparison.runs])
    gaps = np.maximum(gaps[np.isfinite(gaps)], _floor(comparison))
    least = min(float(gaps.min()), comparison.stop.gap or 1.0)
    return least, max(1.3 * float(gaps.max()), 10.0 * least)


def _floor(comparison: Comparison) -> float:
    """Return the rounding of a gap at the equilibrium: smaller gaps are drawn there."""
    finite = [run.bound for run in comparison.runs if isfinite(run.bound.value)]
    return max((bound.high - bound.value for bound in finite), default=0.0) or 1e-17


def _end(run: Run, most: float, floor_: float) -> float:
    gap = float(run.curve.gaps[-1])
    return min(max(gap, floor_), most) if isfinite(gap) else most


def _colours(runs: Sequence[Run]) -> list[str]:
    own, further = dict(_COLOURS), cycle(_FURTHER)
    kinds = [type(run.algorithm) for run in runs]
    return [own.pop(kind) if kind in own else next(further) for kind in kinds]


def _time(seconds: float) -> str:
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0g}"


def _title(comparison: Comparison) -> str:
    temperatures = " and ".join(f"{t:g}" for t in dict.fromkeys(comparison.temperatures))
    return f"{len(comparison.runs)} algorithms on one game, temperature {temperatures}"


def _gap_in_words(comparison: Comparison) -> str:
    floor_ = _floor(comparison)
    words = f"duality gap ({comparison.units})"
    if any((run.curve.gaps < floor_).any() for run in comparison.runs):
        words += f";\ndrawn at its rounding, {floor_:.0e}, if below"
    return words


def _notes(comparison: Comparison) -> str:
    notes = [f"run until a gap of {comparison.stop.gap:g}"]
    if any(run.promise is not None and run.promise.gaps.size for run in comparison.runs):
        notes.append("thin dashed: proven bounds")
    if comparison.refused:
        names = ", ".join(label(refusal.name, 24) for refusal in comparison.refused)
        notes.append(f"not run, hypotheses not met: {names}")
    return "; ".join(notes)
