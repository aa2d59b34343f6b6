"""Verdicts: what a search for violations allows to be said of a theorem."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from math import inf
from typing import Any, Generic, TypeVar

from nlhf.errors import HypothesisViolated
from nlhf.streams import Stream
from nlhf.theorems.search import PartTally, Tally, descend, sample
from nlhf.theorems.statement import Expected, Theorem

X = TypeVar("X")

DEFAULT_BUDGET = 200
"""Instances per theorem: enough to see every control bite, in seconds."""

QUICK_BUDGET = 12
"""Instances per theorem that are still enough for that, in a tenth of the time."""

_CONTROL_SHARE = 8
"""A control gets the budget divided by this, but at least `_CONTROL_LEAST` instances."""

_CONTROL_LEAST = 20
"""A smaller budget is a control's whole share."""


@unique
class Verdict(StrEnum):
    """What a search found. No search proves anything, and no verdict says so."""

    NOT_FALSIFIED = "not falsified"
    """The claim was tested on instances satisfying its hypotheses, and held on all."""
    FALSIFIED = "falsified"
    """An instance satisfies the hypotheses and violates the claim beyond rounding."""
    VACUOUS = "vacuous"
    """Some part of the claim was never tested: no instance satisfied the hypotheses, or rounding
    hid that part on all that did."""


@dataclass(frozen=True)  # without slots, which would forbid ControlReport[X](...)
class ControlReport(Generic[X]):
    """What dropping one hypothesis did.

    Attributes:
        hypothesis: The hypothesis that the instances violate; they satisfy all others.
        bites: Instances on which the claim then fails beyond rounding. An undefined margin (NaN)
            is no bite: it may be the arithmetic that fails, not the claim.
        instances: Instances evaluated.
        broken: The parts of the claim that failed on some of them.
        margins: Of each instance, the scaled margin of the part nearest to failing.
        deepest: The scaled margin of the violation that goes furthest beyond rounding; infinite
            if there was none.
        deepest_part: The part that fails there; empty if there was none.
        witness: The instance of it; `None` if there was none.
    """

    hypothesis: str
    bites: int
    instances: int
    broken: tuple[str, ...]
    margins: tuple[float, ...]
    deepest: float
    deepest_part: str
    witness: X | None

    @property
    def share(self) -> float:
        """The share of its instances on which it bites; 0 if there are none."""
        return self.bites / max(1, self.instances)


@dataclass(frozen=True, slots=True)
class PartReport:
    """What was seen of one part of a claim.

    Attributes:
        name: The part; a claim of a single part calls it "claim".
        instances: Instances on which it was decisive.
        tightest: The scaled margin nearest to a violation; infinite if there was none.
        margins: The scaled margins of these instances.
    """

    name: str
    instances: int
    tightest: float
    margins: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Report(Generic[X]):
    """The outcome of checking one theorem.

    Attributes:
        theorem: The theorem.
        verdict: What the search found.
        instances: Instances that satisfied the hypotheses and were decisive.
        undecided: Instances that satisfied them but whose rounding hid the claim.
        rejected: Instances that did not satisfy them.
        violations: Instances that violate the claim.
        tightest: The scaled margin of the witness; infinite if there is none.
        witness: The instance nearest to a violation, or beyond; `None` if there was none.
        parts: What was seen of each part of the claim.
        controls: What dropping each hypothesis did.
        certified: Whether the statement's counterexample passed its exact check.
        seconds: Wall time.
    """

    theorem: Theorem[X]
    verdict: Verdict
    instances: int
    undecided: int
    rejected: int
    violations: int
    tightest: float
    witness: X | None
    parts: tuple[PartReport, ...]
    controls: tuple[ControlReport[X], ...]
    certified: bool
    seconds: float

    @property
    def complaints(self) -> tuple[str, ...]:
        """Everything that is not as expected, in words; empty iff all is."""
        found = []
        refuted = self.theorem.expected == Expected.REFUTED
        wanted = Verdict.FALSIFIED if refuted else Verdict.NOT_FALSIFIED
        if self.verdict != wanted:
            found.append(f"expected {wanted}, found {self.verdict}")
        if refuted and not self.certified:
            found.append("its counterexample failed the exact check")
        found.extend(
            f"the control of {control.hypothesis!r} never breaks the claim "
            f"({control.instances} instances): the hypothesis is not needed, "
            "or the control is weak"
            for control in self.controls
            if control.bites == 0
        )
        if not refuted:
            seen = {name for control in self.controls for name in control.broken}
            found.extend(
                f"no control ever breaks the part {part.name!r}: it needs none of the hypotheses, "
                "or its margin cannot fail, or the controls are weak"
                for part in self.parts
                if part.name not in seen
            )
        return tuple(found)

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is as expected, every control bites, and every part is bitten."""
        return not self.complaints


def check(
    theorem: Theorem[X],
    budget: int = DEFAULT_BUDGET,
    stream: Stream | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Report[X]:
    """Search for a violation of a theorem, and see each of its controls break the claim.

    Three quarters of the budget go to sampling that climbs towards a violation, one quarter to
    local searches from the worst instances; the sharp cases come on top. A theorem without
    coordinates is only sampled.

    Args:
        theorem: The theorem.
        budget: Instances to evaluate, at least 1; each control gets an eighth of it, at least 20
            or, where it is smaller, the budget.
        stream: Randomness; `Stream(0)` by default. The same stream gives the same report.
        progress: Called with the share of the work that is done.

    Returns:
        The report. Its verdict is `VACUOUS` if nothing was tested.

    Raises:
        HypothesisViolated: If the budget is not positive.
    """
    if budget < 1:
        raise HypothesisViolated(f"the budget is {budget} instances", "give at least 1")
    start = time.perf_counter()
    stream = (stream if stream is not None else Stream(0)).child(theorem.key)
    each = max(min(budget, _CONTROL_LEAST), budget // _CONTROL_SHARE)
    total = len(theorem.sharp) + budget + each * len(theorem.controls)
    done = 0

    def notify() -> None:
        nonlocal done
        done += 1
        progress(min(1.0, done / total))

    tally = Tally(theorem.satisfied, theorem.margin, notify)
    for instance in theorem.sharp:
        tally.see(instance)
    local = budget // 4 if theorem.coordinates is not None else 0
    sample(theorem.instances, tally, budget - local, _seed(stream.child("instances")))
    if theorem.coordinates is not None:
        # The engine may end early; what it leaves goes to the local searches.
        left = len(theorem.sharp) + budget - tally.evaluated
        descend(theorem.coordinates, tally, min(left, budget))
    controls = tuple(
        _control(theorem, name, each, stream.child("control", name), notify)
        for name in theorem.controls
    )
    progress(1.0)
    nearest = [seen.worst[0] for seen in tally.parts.values() if seen.worst]
    margin, witness = max(nearest, key=lambda pair: pair[0].excess, default=(None, None))
    return Report(
        theorem=theorem,
        verdict=_verdict(tally),
        instances=tally.evaluated - tally.undecided,
        undecided=tally.undecided,
        rejected=tally.rejected,
        violations=tally.violations,
        tightest=inf if margin is None else margin.scaled + 0.0,  # no negative zeros
        witness=witness,
        parts=tuple(_part(name, seen) for name, seen in tally.parts.items()),
        controls=controls,
        certified=theorem.counterexample is not None and theorem.counterexample.check(),
        seconds=time.perf_counter() - start,
    )


def verify(
    theorems: Sequence[Theorem[Any]],
    budget: int = DEFAULT_BUDGET,
    stream: Stream | None = None,
    progress: Callable[[str, float], None] = lambda _key, _share: None,
) -> tuple[Report[Any], ...]:
    """Check several theorems; the report of each does not depend on the others.

    Args:
        theorems: The theorems.
        budget: Instances per theorem.
        stream: Randomness; `Stream(0)` by default.
        progress: Called with the key of the theorem under way and the share of its work done.

    Returns:
        One report per theorem, in order.

    Raises:
        HypothesisViolated: If the budget is not positive.
    """
    return tuple(
        check(theorem, budget, stream, lambda share, key=theorem.key: progress(key, share))  # type: ignore[misc]
        for theorem in theorems
    )


def _part(name: str, seen: PartTally[X]) -> PartReport:
    tightest = seen.worst[0][0].scaled + 0.0 if seen.worst else inf
    return PartReport(name, seen.decided, tightest, tuple(seen.margins))


def _control(
    theorem: Theorem[X], name: str, count: int, stream: Stream, notify: Callable[[], None]
) -> ControlReport[X]:
    tally = Tally(lambda x: theorem.violates_only(name, x), theorem.margin, notify)
    sample(theorem.controls[name], tally, count, _seed(stream))
    deepest = tally.deepest
    return ControlReport(
        hypothesis=name,
        bites=tally.broken,
        instances=tally.evaluated,
        broken=tuple(part for part, seen in tally.parts.items() if seen.broken),
        margins=tuple(tally.margins),
        deepest=inf if deepest is None else deepest.margin.scaled,
        deepest_part="" if deepest is None else deepest.part,
        witness=None if deepest is None else deepest.instance,
    )


def _verdict(tally: Tally[X]) -> Verdict:
    if tally.violations:
        return Verdict.FALSIFIED
    tested = bool(tally.parts) and all(seen.decided for seen in tally.parts.values())
    return Verdict.NOT_FALSIFIED if tested else Verdict.VACUOUS


def _seed(stream: Stream) -> int:
    return int(stream.generator().integers(2**63))
