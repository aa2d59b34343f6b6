"""All figures by their labels: which inputs changed, and drawing them."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_figs import inputs
from paper_figs.inputs import StaleInput
from paper_figs.style import OUT, save

__all__ = ["OUT", "Change", "StaleInput", "changes", "draw", "labels", "script", "write_manifest"]


@dataclass(frozen=True, slots=True)
class Change:
    """An input that is not as the manifest says.

    Attributes:
        figure: The label of the figure that reads it.
        name: Its path from the root of the checkout.
        listed: Its SHA-256 in the manifest; `None` if it is not there.
        found: Its SHA-256 now; `None` if the figure no longer reads it.
    """

    figure: str
    name: str
    listed: str | None
    found: str | None

    def __str__(self) -> str:
        """Say what changed in a line."""
        return f"{self.figure}: {self.name}: {self.listed or 'new'} -> {self.found or 'dropped'}"


def labels() -> tuple[str, ...]:
    """Return the labels of all figures: one for every script ``fig_<label>.py``."""
    return tuple(sorted(path.stem.removeprefix("fig_") for path in inputs.HERE.glob("fig_*.py")))


def script(label: str) -> Any:
    """Return the module of a figure.

    Raises:
        ValueError: If there is no such figure.
    """
    if label not in labels():
        raise ValueError(f"there is no figure {label!r}; choose from: {', '.join(labels())}")
    return importlib.import_module(f"paper_figs.fig_{label}")


def draw(label: str, folder: Path = OUT) -> tuple[Path, ...]:
    """Draw a figure into a folder, and return its files.

    Raises:
        StaleInput: If an input is not the file that the manifest speaks of.
    """
    figure = script(label)
    return save(figure.draw(figure.data()), label, folder)


def changes() -> list[Change]:
    """Return what the manifest does not say as it is, over all figures.

    Raises:
        StaleInput: If an input is not there.
    """
    found = []
    listed = inputs.manifest()
    for label in labels():
        names = script(label).INPUTS
        before = listed.get(label, {})
        for name in sorted({*names, *before}):
            now = inputs.present_sha256(label, name) if name in names else None
            if before.get(name) != now:
                found.append(Change(label, name, before.get(name), now))
    for label in sorted({*listed} - {*labels()}):
        found += [Change(label, name, was, None) for name, was in sorted(listed[label].items())]
    return found


def write_manifest() -> None:
    """Write the hashes of the inputs as they are now, of all figures, in order of labels."""
    parts = []
    for label in labels():
        names = sorted(script(label).INPUTS)
        lines = [f'"{name}" = "{inputs.present_sha256(label, name)}"' for name in names]
        parts.append("\n".join([f"[{label}]", *lines]) + "\n")
    inputs.MANIFEST.write_text("\n".join(parts), encoding="utf-8")
