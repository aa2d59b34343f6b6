"""`nlhf figure`: the paper's figures, from a checkout."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from nlhf.cli.checkout import checkout_module
from nlhf.cli.progress import stages
from nlhf.errors import NotAllowed


@dataclass(frozen=True)
class Figure:
    """Draw figures from results that are checked in; needs a checkout.

    Nothing is computed. A figure whose results are not those that paper_figs/manifest.toml names by
    their hashes is refused; python -m paper_figs --update accepts new ones. Prints the files.
    """

    label: tyro.conf.Positional[str] = "all"
    """Which figure, or all of them."""
    out: Path | None = None
    """Folder of the drawings; by default paper_figs/out of the checkout."""

    def run(self) -> int:
        """Draw, print the files, return 0."""
        drawing = checkout_module("paper_figs.drawing", "nlhf figure")
        labels = drawing.labels()
        if self.label not in (*labels, "all"):
            raise NotAllowed(
                f"there is no figure {self.label!r}", f"choose from: all, {', '.join(labels)}"
            )
        chosen = labels if self.label == "all" else (self.label,)
        folder = drawing.OUT if self.out is None else self.out
        with stages() as progress:
            for number, label in enumerate(chosen):
                progress("figures", number, len(chosen))
                try:
                    files = drawing.draw(label, folder)
                except drawing.StaleInput as error:
                    raise NotAllowed(error.found, error.fix) from error
                print(*files, sep="\n", flush=True)
        return 0
