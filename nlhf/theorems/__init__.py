"""Theorems as objects with a signed margin, and the search for violations of them.

Statements live outside the package, in modules found through the entry-point group
`nlhf.theorems`; here is what they are made of and what checks them.
"""

from nlhf.theorems.checking import (
    DEFAULT_BUDGET,
    QUICK_BUDGET,
    ControlReport,
    PartReport,
    Report,
    Verdict,
    check,
    verify,
)
from nlhf.theorems.ledger import (
    announcing_packages,
    installed_differences,
    installed_references,
    installed_theorems,
    place_of,
    select,
)
from nlhf.theorems.records import Clause, Record, plain, record
from nlhf.theorems.references import Reference
from nlhf.theorems.running import run
from nlhf.theorems.shelf import Search, versions
from nlhf.theorems.statement import (
    Citation,
    Coordinates,
    Counterexample,
    Difference,
    Expected,
    Hypothesis,
    Margin,
    Strategy,
    Theorem,
)

__all__ = [
    "DEFAULT_BUDGET",
    "QUICK_BUDGET",
    "Citation",
    "Clause",
    "ControlReport",
    "Coordinates",
    "Counterexample",
    "Difference",
    "Expected",
    "Hypothesis",
    "Margin",
    "PartReport",
    "Record",
    "Reference",
    "Report",
    "Search",
    "Strategy",
    "Theorem",
    "Verdict",
    "announcing_packages",
    "check",
    "installed_differences",
    "installed_references",
    "installed_theorems",
    "place_of",
    "plain",
    "record",
    "run",
    "select",
    "verify",
    "versions",
]
