"""What a contract is made of: named clauses, what was measured for each, and what breaks one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from nlhf.errors import ContractBroken, HypothesisViolated

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Finding:
    """The most that a clause was strained.

    Attributes:
        clause: Its name.
        measured: How many numbers were held against it.
        deviation: The largest deviation, in the units of the clause; 0 if it has no number.
        allowed: What would still have passed there.
        where: The instance.
    """

    clause: str
    measured: int
    deviation: float
    allowed: float
    where: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a contract found in something that keeps it.

    Attributes:
        subject: What was checked.
        findings: One per clause, in the order of checking.
        notes: What was recorded without being judged: refusals, and claims that were not made.
    """

    subject: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.subject} keeps its contract"]
        for f in self.findings:
            strain = f"largest {f.deviation:.2g} of {f.allowed:.2g} at {f.where}"
            told = f"{f.measured:5} measured, {strain}" if f.measured else "not applicable"
            lines.append(f"  {f.clause:24} {told}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def finding(self, clause: str) -> Finding:
        """Return what was measured for one clause.

        Raises:
            KeyError: If the contract has no such clause.
        """
        for found in self.findings:
            if found.clause == clause:
                return found
        raise KeyError(clause)


@dataclass(slots=True)
class Probe:
    """Holds measurements against one clause of one subject."""

    subject: str
    clause: "Clause[Any]"
    measured: int = 0
    worst: tuple[float, float, str] = (0.0, 0.0, "")
    notes: list[str] = field(default_factory=list)

    def measure(self, where: str, deviation: float, allowed: float) -> None:
        """Record a deviation.

        Raises:
            ContractBroken: If it is not at most `allowed`; not a number is no excuse.
        """
        deviation = float(deviation)
        if not deviation <= allowed:
            raise self.broken(where, f"deviation {deviation:.6g}, allowed {allowed:.3g}")
        self._count(where)
        if self.worst[1] == 0.0 or deviation * self.worst[1] > self.worst[0] * allowed:
            self.worst = (deviation, allowed, where)

    def require(self, where: str, holds: bool, found: str) -> None:
        """Record that something holds.

        Raises:
            ContractBroken: If it does not.
        """
        if not holds:
            raise self.broken(where, found)
        self._count(where)

    def refuses(self, where: str, call: Callable[[], object]) -> None:
        """Record that a call raises `HypothesisViolated`.

        Raises:
            ContractBroken: If it returns.
        """
        try:
            answer = call()
        except HypothesisViolated:
            self._count(where)
        else:
            raise self.broken(where, f"no HypothesisViolated, but {type(answer).__name__}")

    def _count(self, where: str) -> None:
        self.measured += 1
        if not self.worst[2]:
            self.worst = (0.0, 0.0, where)

    def broken(self, where: str, found: str) -> ContractBroken:
        """Return the error that names the clause, the instance and the numbers."""
        return ContractBroken(
            f"{self.subject} breaks {self.clause.name!r} at {where}: {found}",
            self.clause.demand,
            clause=self.clause.name,
            instance=where,
        )


@dataclass(frozen=True, slots=True)
class Clause(Generic[K]):
    """One demand.

    Attributes:
        name: A short name.
        demand: What must hold, as a sentence.
        check: Holds a case against it, through a probe.
    """

    name: str
    demand: str
    check: Callable[[K, Probe], None]


def examine(subject: str, clauses: Sequence[Clause[K]], case: K) -> Report:
    """Return the report of a case that keeps every clause.

    Raises:
        ContractBroken: At the first clause that it breaks, or at which it raises anything.
    """
    findings, notes = [], []
    for clause in clauses:
        probe = Probe(subject, clause)
        try:
            clause.check(case, probe)
        except ContractBroken:
            raise
        except Exception as error:
            raise probe.broken(
                probe.worst[2] or "its first instance", f"{type(error).__name__}: {error}"
            ) from error
        deviation, allowed, where = probe.worst
        findings.append(Finding(clause.name, probe.measured, deviation, allowed, where))
        notes += probe.notes
    return Report(subject, tuple(findings), tuple(notes))
