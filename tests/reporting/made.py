"""Records and pages of toys."""

from dataclasses import replace

from nlhf.reporting import Origin, Texts
from nlhf.theorems import (
    Citation,
    Counterexample,
    Difference,
    Expected,
    Hypothesis,
    Search,
    check,
    record,
)
from nlhf.theorems.references import parse_references
from tests.theorems.announced import BIBLIOGRAPHY
from tests.theorems.toys import FALSE, TRUE

ORIGIN = Origin(
    Search(60, 5), (("python", "3.0"), ("nlhf", "9.9")), "2020-01-02 03:04 UTC", "abc1234", 7.0
)
TEXTS = Texts(
    parse_references(BIBLIOGRAPHY),
    (Difference("asked-row", "open", ("product",), "it holds & is <u>not</u> proved"),),
)

TRICKY = replace(
    TRUE,
    key="tricky",
    statement=r"xy < 1 & so on, <i>never</i> else",
    sources=(Citation("toy2026", "Lemma <3> & 4"), Citation("unheard-of", "as is")),
    hypotheses=(Hypothesis("square", r"x, y \in [0, 1] & <b>", TRUE.hypotheses[0].holds),),
    constants={"half": 0.5},
)
REFUTED = replace(
    FALSE,
    key="refuted",
    expected=Expected.REFUTED,
    controls={},
    counterexample=Counterexample(
        r"x = \tfrac3{10}, y = \tfrac7{10}",
        lambda: True,
        "from fractions import Fraction\nx = Fraction(3, 10)\nassert x < 1",
    ),
)


def toy_records():
    """A true theorem, a failing one, a refuted one, and one with markup in its texts."""
    theorems = (TRUE, FALSE, REFUTED, TRICKY)
    budgets = (60, 400, 400, 60)
    return tuple(record(check(t, n)) for t, n in zip(theorems, budgets, strict=True))
