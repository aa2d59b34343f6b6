"""What plain callables answer, and the errors for answers that cannot be used."""

from collections.abc import Sequence
from typing import Any

from nlhf.data.text import quoted
from nlhf.errors import InvalidData


def listed(said: object, count: int, who: str, fix: str) -> list[Any]:
    """Return the answers as a list of the expected length.

    Raises:
        InvalidData: It is no list, or of another length.
    """
    try:
        values: list[Any] = list(said)  # type: ignore[call-overload]
    except TypeError as error:
        raise InvalidData(f"{who}: the answer is {quoted(said)}, no list", fix) from error
    if len(values) != count:
        raise InvalidData(f"{who}: {len(values)} answers to {count} questions", fix)
    return values


def number(value: object) -> float | None:
    """Return an answer as a number, or nothing if it is none; texts are none."""
    if isinstance(value, str | bytes):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def raised(what: str, where: str, error: Exception) -> InvalidData:
    """Return the error for a callable that raised; raise it from the original."""
    return InvalidData(
        f"{where}: the {what} raised {type(error).__name__}: {error}",
        f"look at this row, or mend the {what}; its exception is the cause of this one",
    )


def rows_named(rows: Sequence[int]) -> str:
    """Name rows, given in increasing order."""
    return f"row {rows[0]}" if len(rows) == 1 else f"rows {rows[0]} to {rows[-1]}"
