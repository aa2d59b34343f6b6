"""A ledger of toys in a distribution of its own, which other processes find as well."""

import textwrap
from pathlib import Path

STATEMENTS = """
import os
import time
from dataclasses import replace
from pathlib import Path

from nlhf.theorems import Citation, Counterexample, Expected
from tests.theorems.toys import FALSE, TRUE, product_margin

HERE = Path(__file__).parent


def seen(name):
    def margin(point):
        with (HERE / f"{name}.seen").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        return product_margin(point)

    return margin


def slow(point):
    with (HERE / "toy-slow.seen").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while not (HERE / "go").exists():
        time.sleep(0.02)
    return product_margin(point)


class Particular(Exception):
    def __init__(self, what, where):
        super().__init__(f"{what} at {where}")


def raising(point):
    raise Particular("nonsense", 7)


SOURCES = (Citation("toy2026", r"Lemma 3, $d(\\alpha)$"),)
ALL = (
    replace(TRUE, key="toy-product", sources=SOURCES, margin=seen("toy-product")),
    replace(FALSE, key="toy-false"),
    replace(TRUE, key="toy-slow", margin=slow),
    replace(TRUE, key="toy-raising", margin=raising),
    replace(TRUE, key="toy-costly", statement="it costs $5"),
    replace(
        FALSE,
        key="toy-refuted",
        expected=Expected.REFUTED,
        controls={},
        counterexample=Counterexample(
            r"x = \\tfrac3{10}, y = \\tfrac7{10}", lambda: True, "x = Fraction(3, 10)"
        ),
    ),
)
"""

BIBLIOGRAPHY = r"""
@article{toy2026,
  author = {G{\"o}del, Kurt and {van der Toy}, Jr., Ann},
  title = {On $\epsilon$-Toys \& Games},
  journal = {Toys},
  volume = {7},
  pages = {1--2},
  year = {2026},
}
"""


def announce_toys(folder: Path) -> None:
    """Write an installed distribution into a folder that is, or will be, on the path."""
    package, info = folder / "toy_ledger", folder / "toy_ledger-1.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text(textwrap.dedent(STATEMENTS))
    (package / "references.bib").write_text(BIBLIOGRAPHY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-ledger\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[nlhf.theorems]\ntoys = toy_ledger:ALL\n")
