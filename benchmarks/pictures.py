"""Draw all pictures of stored results; they compute nothing."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

PICTURES: Mapping[str, str] = {
    "times": "benchmarks.solvers.plot",
    "scaling": "benchmarks.scaling.plot",
}
"""Name of the files, and the module whose `picture(folder)` draws what is in a folder."""

_METADATA: Mapping[str, dict[str, str | None]] = {"svg": {"Date": None}, "png": {}}
"""No date inside the files: the same rows give the same bytes."""


def save(drawn: Figure, stem: Path) -> None:
    """Write a picture as SVG and PNG."""
    for ending, metadata in _METADATA.items():
        with mpl.rc_context({"svg.hashsalt": "nlhf"}):
            drawn.savefig(stem.with_suffix(f".{ending}"), dpi=150, metadata=metadata)


def draw(folder: Path) -> None:
    """Draw every picture into the folder that its results are in."""
    for name, module in PICTURES.items():
        save(importlib.import_module(module).picture(folder), folder / name)
