"""Every exception and warning that `nlhf` raises on purpose.

A message has two parts: what was found, with numbers, and what to do about it. Each class also
derives from the closest standard exception, so `except ValueError` keeps working, and
`except NlhfError` catches everything of ours.
"""

from typing import Any

__all__ = [
    "Approximate",
    "ContractBroken",
    "Damaged",
    "Degenerate",
    "HypothesisViolated",
    "InvalidData",
    "InvalidProblem",
    "MissingExtra",
    "NlhfError",
    "NlhfWarning",
    "NotAllowed",
    "NotCertified",
    "SolverFailed",
    "Unnormalised",
    "Unsupported",
]


class NlhfError(Exception):
    """Base class of all errors raised by `nlhf`.

    Attributes:
        found: What was wrong, with the offending numbers.
        fix: What the caller can do about it.
    """

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(found, fix)
        self.found = found
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.found}\n  Fix: {self.fix}"


class InvalidProblem(NlhfError, ValueError):
    """The arrays do not define a game, a policy or a distribution."""


class InvalidData(NlhfError, ValueError):
    """A file or a table of comparisons cannot be read as what it claims to be."""


class HypothesisViolated(NlhfError, ValueError):
    """A method or a theorem was asked for outside its hypotheses."""


class Unsupported(NlhfError, TypeError):
    """Something that this kind of object can never do."""


class NotAllowed(NlhfError, RuntimeError):
    """Something possible in general, but not in the present state."""


class SolverFailed(NlhfError, RuntimeError):
    """A solver ended without an answer that can be certified.

    Attributes:
        solver: The solver's name.
        status: The status it returned.
    """

    def __init__(self, found: str, fix: str, *, solver: str, status: str) -> None:
        super().__init__(found, fix)
        self.solver = solver
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return (_solver_failed, (self.found, self.fix, self.solver, self.status))


class NotCertified(NlhfError, RuntimeError):
    """A solution does not meet the accuracy that was required of it.

    Attributes:
        solution: The solution as far as it got; nothing is lost.
    """

    def __init__(self, found: str, fix: str, *, solution: Any) -> None:
        super().__init__(found, fix)
        self.solution = solution

    def __reduce__(self) -> tuple[Any, ...]:
        return (_not_certified, (self.found, self.fix, self.solution))


class ContractBroken(NlhfError, AssertionError):
    """A space, game, algorithm or realiser does not do what its protocol demands.

    Attributes:
        clause: The short name of the demand.
        instance: Where it was broken.
    """

    def __init__(self, found: str, fix: str, *, clause: str, instance: str) -> None:
        super().__init__(found, fix)
        self.clause = clause
        self.instance = instance

    def __reduce__(self) -> tuple[Any, ...]:
        return (_contract_broken, (self.found, self.fix, self.clause, self.instance))


class MissingExtra(NlhfError, ImportError):
    """An optional dependency is absent."""

    @classmethod
    def of(cls, package: str, extra: str) -> "MissingExtra":
        """Name the absent package and the extra of `nlhf` that brings it."""
        return cls(f"{package} is not installed", f"pip install 'nlhf[{extra}]'")


class NlhfWarning(UserWarning):
    """Base class of all warnings issued by `nlhf`."""


class Approximate(NlhfWarning):
    """A result is an approximation where an exact one could be expected."""


class Degenerate(NlhfWarning):
    """The data leave something undetermined, and a named choice was made."""


class Damaged(NlhfWarning):
    """A file is not whole, and an older one is used in its place."""


class Unnormalised(NlhfWarning):
    """Rewards of groups are compared as they are, though their preferences fix no offsets."""


def _solver_failed(found: str, fix: str, solver: str, status: str) -> SolverFailed:
    return SolverFailed(found, fix, solver=solver, status=status)


def _not_certified(found: str, fix: str, solution: Any) -> NotCertified:
    return NotCertified(found, fix, solution=solution)


def _contract_broken(found: str, fix: str, clause: str, instance: str) -> ContractBroken:
    return ContractBroken(found, fix, clause=clause, instance=instance)
