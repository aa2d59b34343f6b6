"""What a theorem is made of: hypotheses that run, a signed margin, instances and controls."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from math import inf, isfinite, isnan
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated, InvalidProblem

X = TypeVar("X")
X_co = TypeVar("X_co", covariant=True)

_KEY = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)$)[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
"""What may name a file on any system, and an anchor in a page."""

DECISIVE = 1e-3
"""An instance decides only if its rounding is below this share of its scale."""


@runtime_checkable
class Strategy(Protocol[X_co]):
    """A Hypothesis search strategy; named here so that declaring theorems imports no engine."""

    def example(self) -> X_co:
        """Return one instance."""
        ...


@unique
class Expected(StrEnum):
    """What the ledger expects of a statement; expectation is not evidence."""

    HOLDS = "holds"
    REFUTED = "refuted"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a statement comes from.

    Attributes:
        key: Key in `references.bib`.
        item: The numbered item, or "as commonly stated" where the text was not at hand.
    """

    key: str
    item: str


@dataclass(frozen=True)  # without slots, which would forbid Hypothesis[X](...)
class Hypothesis(Generic[X]):
    """A hypothesis that is executed on every instance.

    Attributes:
        name: A short name, used by the control that violates it.
        text: What it says, prose and LaTeX like a statement.
        holds: Whether an instance satisfies it.
    """

    name: str
    text: str
    holds: Callable[[X], bool]


@dataclass(frozen=True, slots=True)
class Margin:
    """By how much a claim lhs <= rhs holds on one instance.

    Attributes:
        value: rhs - lhs; for an equality -|lhs - rhs|.
        scale: The size against which the value is to be seen, positive, in the same units.
        rounding: A bound on the error of `value`, from the arithmetic that computed it. Only a
            value below -rounding violates the claim.
        parts: For a claim of several parts, the margin of each by name; the search works on each.
    """

    value: float
    scale: float
    rounding: float
    parts: tuple[tuple[str, "Margin"], ...] = ()

    def __post_init__(self) -> None:
        if not (self.scale > 0.0 and isfinite(self.scale) and self.rounding >= 0.0):
            raise InvalidProblem(
                f"a margin has scale {self.scale!r} and rounding {self.rounding!r}",
                "give a positive finite scale and a rounding of at least 0",
            )

    @classmethod
    def at_most(cls, lhs: float, rhs: float, *, scale: float, rounding: float) -> "Margin":
        """Return the margin of lhs <= rhs."""
        return cls(float(rhs) - float(lhs), float(scale), float(rounding))

    @classmethod
    def equal(cls, lhs: float, rhs: float, *, scale: float, rounding: float) -> "Margin":
        """Return the margin of lhs = rhs, never positive."""
        return cls(-abs(float(lhs) - float(rhs)), float(scale), float(rounding))

    @classmethod
    def every(cls, parts: Mapping[str, "Margin"]) -> "Margin":
        """Return the margin of a claim of several parts: that of the part nearest to failing."""
        nearest = max(parts.values(), key=lambda part: part.excess)
        return cls(nearest.value, nearest.scale, nearest.rounding, tuple(parts.items()))

    @property
    def named(self) -> tuple[tuple[str, "Margin"], ...]:
        """The parts by name; a claim of one part is called "claim"."""
        return self.parts or (("claim", self),)

    @property
    def scaled(self) -> float:
        """Value over scale: 0 is tight, negative is a violation unless it is rounding."""
        return self.value / self.scale

    @property
    def excess(self) -> float:
        """How far beyond rounding the claim is violated, over scale; positive iff it is.

        It is what the search maximises. An undefined value (NaN) is a violation.
        """
        return inf if isnan(self.value) else -(self.value + self.rounding) / self.scale

    @property
    def violated(self) -> bool:
        """Whether the claim fails beyond rounding."""
        return self.excess > 0.0

    @property
    def broken(self) -> tuple[str, ...]:
        """The parts that a defined value violates. An undefined one shows no violation at work."""
        return tuple(name for name, part in self.named if part.violated and not isnan(part.value))

    @property
    def decisive(self) -> bool:
        """Whether rounding is small enough, or the violation large enough, to say anything."""
        return self.violated or self.rounding <= DECISIVE * self.scale


@dataclass(frozen=True)
class Coordinates(Generic[X]):
    """A parametrisation of instances by real vectors, for the local search.

    Attributes:
        to_vector: The coordinates of an instance, finite.
        from_vector: The instance at a vector; the first argument is the instance searched from,
            which fixes sizes and whatever has no coordinate.
    """

    to_vector: Callable[[X], Float[np.ndarray, "coordinate"]]
    from_vector: Callable[[X, Float[np.ndarray, "coordinate"]], X]


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A counterexample with a certificate.

    Attributes:
        text: What it is, prose and LaTeX like a statement.
        check: Verifies it in exact or interval arithmetic.
        python: The same in exact numbers, to be pasted into Python: source that runs by itself,
            needs the standard library only, and defines what the text names as integers,
            fractions and tuples of them.
    """

    text: str
    check: Callable[[], bool]
    python: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of the list that a ledger was written from, where the ledger is not simply that row.

    Attributes:
        key: The row.
        asked: What the list expects of it.
        ours: The keys of the theorems that stand for it.
        reason: Why they are others, or why another verdict is expected; plain text.
    """

    key: str
    asked: str
    ours: tuple[str, ...]
    reason: str


@dataclass(frozen=True, eq=False)
class Theorem(Generic[X]):
    """A statement that can be tested, and how.

    Attributes:
        key: Its name in the ledger and the heading of its proof: words of lower-case letters and
            digits, joined by hyphens.
        statement: The claim, prose and LaTeX; where it holds `$`, maths is what they enclose.
        sources: Where it comes from.
        hypotheses: What the claim needs; executed on every instance.
        margin: By how much the claim holds on an instance.
        instances: A Hypothesis strategy for instances.
        controls: For each hypothesis a strategy for instances that violate it and no other. The
            claim must be seen to fail on them, every part of it on some control's. A refuted
            statement needs none.
        expected: What the ledger expects.
        sharp: Instances on which the claim is tight, or nearly; always evaluated.
        constants: The constants in the claim, by name; the proof states the same.
        coordinates: Real coordinates for the local search; without them it is left out.
        counterexample: What certifies that the statement is false; refuted statements only.

    Raises:
        InvalidProblem: At construction, if the key is of another form, a control names no
            hypothesis, a hypothesis has no control, or a statement is refuted without a
            counterexample or the reverse.
    """

    key: str
    statement: str
    sources: tuple[Citation, ...]
    hypotheses: tuple[Hypothesis[X], ...]
    margin: Callable[[X], Margin]
    instances: Strategy[X]
    controls: Mapping[str, Strategy[X]]
    expected: Expected = Expected.HOLDS
    sharp: tuple[X, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    coordinates: Coordinates[X] | None = None
    counterexample: Counterexample | None = None

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise InvalidProblem(
                f"a theorem has the key {self.key!r}, which cannot name a file everywhere",
                "use lower-case words and digits joined by hyphens, such as 'gap-identity'",
            )
        names = [hypothesis.name for hypothesis in self.hypotheses]
        unknown = sorted(set(self.controls) - set(names))
        if unknown:
            raise InvalidProblem(
                f"{self.key} has controls for {unknown}, which are not among its hypotheses",
                f"use the hypotheses' names: {names}",
            )
        refuted = self.expected == Expected.REFUTED
        bare = [name for name in names if name not in self.controls]
        if not refuted and (bare or not names):
            raise InvalidProblem(
                f"{self.key} has no control for {bare or 'anything'}",
                "give each hypothesis instances that violate only it and break the claim",
            )
        if refuted != (self.counterexample is not None):
            raise InvalidProblem(
                f"{self.key} is expected to be {self.expected}, counterexample given: "
                f"{self.counterexample is not None}",
                "a certified counterexample belongs to a refuted statement, and only there",
            )

    def satisfied(self, instance: X) -> bool:
        """Return whether the instance satisfies every hypothesis."""
        return all(hypothesis.holds(instance) for hypothesis in self.hypotheses)

    def violates_only(self, name: str, instance: X) -> bool:
        """Return whether the instance violates the named hypothesis and satisfies the others.

        Raises:
            HypothesisViolated: If there is no hypothesis of this name.
        """
        if name not in {hypothesis.name for hypothesis in self.hypotheses}:
            raise HypothesisViolated(
                f"{self.key} has no hypothesis {name!r}",
                f"choose among {[hypothesis.name for hypothesis in self.hypotheses]}",
            )
        return all(h.holds(instance) != (h.name == name) for h in self.hypotheses)
