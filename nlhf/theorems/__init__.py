"""Theorems as objects with a signed margin, and the search for violations of them.

Statements live outside the package, in modules found through the entry-point group
`nlhf.theorems`; here is what they are made of and what checks them.
"""

from nlhf.theorems.checking import (
    DEFAULT_BUDGET,
    ControlReport,
    PartReport,
    Report,
    Verdict,
    check,
    verify,
)
from nlhf.theorems.ledger import installed_theorems, select
from nlhf.theorems.statement import (
    Citation,
    Coordinates,
    Counterexample,
    Expected,
    Hypothesis,
    Margin,
    Strategy,
    Theorem,
)

__all__ = [
    "DEFAULT_BUDGET",
    "Citation",
    "ControlReport",
    "Coordinates",
    "Counterexample",
    "Expected",
    "Hypothesis",
    "Margin",
    "PartReport",
    "Report",
    "Strategy",
    "Theorem",
    "Verdict",
    "check",
    "installed_theorems",
    "select",
    "verify",
]
