"""What figures share: inputs checked against the manifest, colours, and how files are written."""

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OUT = HERE / "out"

BLACK, SKY, GREEN, VERMILION, PURPLE = (
    "#000000",
    "#56b4e9",
    "#009e73",
    "#d55e00",
    "#9a4f87",
)
"""Okabe and Ito's palette, which people with any colour vision tell apart; purple is darkened."""

SETTINGS: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "svg.hashsalt": "nlhf",
}

_METADATA: Mapping[str, dict[str, str | None]] = {"svg": {"Date": None}, "png": {}}


def manifest() -> dict[str, dict[str, str]]:
    """Return the SHA-256 of every input, by figure and by path from the root of the checkout."""
    return tomllib.loads((HERE / "manifest.toml").read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checked_input(figure: str, name: str) -> Path:
    """Return the path of an input if it is the file that the manifest speaks of.

    Raises:
        ValueError: If it is another.
    """
    path = ROOT / name
    found, listed = sha256(path), manifest()[figure][name]
    if found != listed:
        raise ValueError(
            f"{name} has the SHA-256 {found}, the manifest says {listed}: if the new results are "
            f"meant, write the new one into paper_figs/manifest.toml under [{figure}]"
        )
    return path


def save(figure: Figure, label: str, folder: Path = OUT) -> None:
    """Write a figure as SVG and PNG; the same drawing gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(SETTINGS):
        for ending, metadata in _METADATA.items():
            figure.savefig(folder / f"{label}.{ending}", dpi=200, metadata=metadata)
