"""What a search found, as plain data that other processes, files and pages can hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from math import isfinite
from textwrap import wrap
from typing import Any, TypeVar

import numpy as np

from nlhf.theorems.checking import ControlReport, PartReport, Report, Verdict
from nlhf.theorems.statement import Citation, Expected

X = TypeVar("X")

_DIGITS = 6
"""Significant digits kept of the margins of a distribution, which is only drawn."""

_WIDTH = 88
"""Where a line of Python breaks."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A hypothesis without its test: its name and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """The outcome of checking one theorem, without anything that could be executed.

    Attributes:
        key: The theorem.
        statement: Its claim.
        sources: Where it comes from.
        hypotheses: What it needs.
        constants: The constants in the claim, by name.
        expected: What the ledger expects.
        counterexample: What certifies that it is false; empty for any other statement.
        counterexample_source: The same as Python source.
        verdict: What the search found.
        complaints: Everything that is not as expected, in words.
        instances: Instances that satisfied the hypotheses and were decisive.
        undecided: Instances that satisfied them but whose rounding hid the claim.
        rejected: Instances that did not satisfy them.
        violations: Instances that violate the claim.
        tightest: The scaled margin of the witness; infinite if there is none.
        witness: The instance nearest to a violation, in JSON types; `None` if there is none.
        witness_source: The same as Python source; empty if there is none.
        parts: What was seen of each part of the claim, margins to six digits.
        controls: What dropping each hypothesis did; the witnesses are Python source.
        certified: Whether the counterexample passed its exact check.
        seconds: Wall time.
    """

    key: str
    statement: str
    sources: tuple[Citation, ...]
    hypotheses: tuple[Clause, ...]
    constants: tuple[tuple[str, float], ...]
    expected: Expected
    counterexample: str
    counterexample_source: str
    verdict: Verdict
    complaints: tuple[str, ...]
    instances: int
    undecided: int
    rejected: int
    violations: int
    tightest: float
    witness: Any
    witness_source: str
    parts: tuple[PartReport, ...]
    controls: tuple[ControlReport[str], ...]
    certified: bool
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is as expected, every control bites, and every part is bitten."""
        return not self.complaints


def record(report: Report[X]) -> Record:
    """Return the plain data of a report."""
    theorem, counterexample = report.theorem, report.theorem.counterexample
    return Record(
        key=theorem.key,
        statement=theorem.statement,
        sources=theorem.sources,
        hypotheses=tuple(Clause(h.name, h.text) for h in theorem.hypotheses),
        constants=tuple(theorem.constants.items()),
        expected=theorem.expected,
        counterexample="" if counterexample is None else counterexample.text,
        counterexample_source="" if counterexample is None else counterexample.python,
        verdict=report.verdict,
        complaints=report.complaints,
        instances=report.instances,
        undecided=report.undecided,
        rejected=report.rejected,
        violations=report.violations,
        tightest=report.tightest,
        witness=plain(report.witness),
        witness_source=source(report.witness),
        parts=tuple(replace(part, margins=_rounded(part.margins)) for part in report.parts),
        controls=tuple(
            ControlReport[str](
                hypothesis=control.hypothesis,
                bites=control.bites,
                instances=control.instances,
                broken=control.broken,
                margins=_rounded(control.margins),
                deepest=control.deepest,
                deepest_part=control.deepest_part,
                witness=source(control.witness),
            )
            for control in report.controls
        ),
        certified=report.certified,
        seconds=report.seconds,
    )


def restored(data: Mapping[str, Any]) -> Record:
    """Return the record whose `plain` data these are.

    Raises:
        KeyError: If something is missing.
        TypeError: If something has the wrong kind.
        ValueError: If something is no number, verdict or expectation.
    """
    whole = dict(data)
    whole |= {
        "sources": tuple(Citation(**item) for item in data["sources"]),
        "hypotheses": tuple(Clause(**item) for item in data["hypotheses"]),
        "constants": tuple((str(name), float(value)) for name, value in data["constants"]),
        "expected": Expected(data["expected"]),
        "verdict": Verdict(data["verdict"]),
        "complaints": tuple(data["complaints"]),
        "tightest": float(data["tightest"]),
        "parts": tuple(
            PartReport(
                **item | {"tightest": float(item["tightest"]), "margins": _numbers(item["margins"])}
            )
            for item in data["parts"]
        ),
        "controls": tuple(
            ControlReport[str](
                **item
                | {
                    "broken": tuple(item["broken"]),
                    "deepest": float(item["deepest"]),
                    "margins": _numbers(item["margins"]),
                }
            )
            for item in data["controls"]
        ),
    }
    return Record(**whole)


def plain(value: Any) -> Any:
    """Return nested dataclasses, arrays and tuples as JSON types.

    Numbers that are not finite become strings, members of an enumeration their values; whatever
    JSON does not know becomes its `repr`.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def source(instance: Any) -> str:
    """Return Python source whose last line makes an instance from numbers alone.

    Dataclasses become dictionaries of their fields, arrays lists, and members of an enumeration
    their values: pasting it needs no package but those it imports. Numbers are written so that
    they are read back unchanged.
    """
    if instance is None:
        return ""
    text = _literal(instance, "")
    imports = ["from fractions import Fraction"] if "Fraction(" in text else []
    if re.search(r"\b(inf|nan)\b", text):
        imports.append("from math import inf, nan")
    return "\n".join([*imports, text])


def _literal(value: Any, indent: str) -> str:
    """Return a literal, on one line if it fits behind the indent."""
    deeper = indent + "    "
    if is_dataclass(value) and not isinstance(value, type):
        named = [(f"{field.name}=", getattr(value, field.name)) for field in fields(value)]
        opening, closing = "dict(", ")"
    elif isinstance(value, np.ndarray | np.generic) and np.ndim(value):
        return _literal(value.tolist(), indent)
    elif isinstance(value, Enum):
        return _literal(value.value, indent)
    elif isinstance(value, list | tuple):
        named = [("", item) for item in value]
        opening, closing = "[]" if isinstance(value, list) else "()"
        if isinstance(value, tuple) and len(value) == 1:
            closing = ",)"
    else:
        return repr(value.item() if isinstance(value, np.generic) else value)
    line = opening + ", ".join(name + _literal(item, "") for name, item in named) + closing
    if len(indent) + len(line) <= _WIDTH and "\n" not in line:
        return line
    items = [name + _literal(item, deeper) for name, item in named]
    if not any("(" in item or "[" in item or "'" in item for item in items):
        lines = [f"{line}\n" for line in _filled(items, deeper)]
    else:
        lines = [f"{deeper}{item},\n" for item in items]
    return f"{opening}\n{''.join(lines)}{indent}{closing.lstrip(',')}"


def _filled(items: list[str], indent: str) -> list[str]:
    """Return lines with as many numbers as fit."""
    return wrap(
        " ".join(f"{item}," for item in items),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _rounded(margins: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(f"{margin:.{_DIGITS}g}") for margin in margins)


def _numbers(items: list[Any]) -> tuple[float, ...]:
    return tuple(float(item) for item in items)
