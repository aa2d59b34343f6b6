"""The rows of a sweep, and the file of lines that they are kept in."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar, cast

import numpy as np

from nlhf.errors import InvalidData, InvalidProblem
from nlhf.results import Provenance

P = TypeVar("P")
R = TypeVar("R")
Line = Mapping[str, Any]
"""A row as JSON has it."""

_OPENING = b'{"key": "'
"""What every line begins with."""

_PARTS = {"key", "function", "revision", "point", "values", "error", "time", "seed", "provenance"}


@dataclass(frozen=True, slots=True, eq=False)
class SweepRow(Generic[P, R]):
    """What a function said of one point.

    Attributes:
        key: Hash of the function's name, the revision and the point.
        function: Module and name of the function.
        point: Where it was evaluated.
        values: What it returned; none if it failed.
        error: Why it failed, with the line of code; empty if it did not.
        revision: Which code it was.
        time: When it began, UTC.
        seed: The point's `seed`, the entropy of its streams; None if it has none.
        provenance: Versions on the worker, and the seconds it took there.
    """

    key: str
    function: str
    point: P
    values: tuple[R, ...]
    error: str
    revision: str
    time: str
    seed: int | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Task:
    """What a row says before the point is evaluated.

    Attributes:
        key: As in `SweepRow`.
        function: Likewise.
        revision: Likewise.
    """

    key: str
    function: str
    revision: str


def tasks_of(points: Sequence[object], function: str, revision: str) -> list[Task]:
    """Return a task for every point.

    Raises:
        InvalidProblem: Two points are alike, or one is no frozen dataclass of plain fields.
    """
    found: dict[str, int] = {}
    for index, point in enumerate(points):
        parameters = getattr(point, "__dataclass_params__", None)
        if parameters is None or not parameters.frozen:
            raise InvalidProblem(
                f"point {index} is of type {type(point).__name__}, which is no frozen dataclass",
                "declare it with @dataclass(frozen=True)",
            )
        text = json.dumps([function, revision, plain_fields(point)], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        if key in found:
            raise InvalidProblem(
                f"points {found[key]} and {index} are alike: {point}",
                "leave one out, or let them differ in their seed",
            )
        found[key] = index
    return [Task(key, function, revision) for key in found]


def line_of(
    task: Task,
    point: object,
    values: list[dict[str, Any]],
    error: str,
    began: str,
    seconds: float,
) -> Line:
    """Return the row of an evaluated point as JSON has it."""
    return {
        **asdict(task),
        "point": plain_fields(point),
        "values": values,
        "error": error,
        "time": began,
        "seed": getattr(point, "seed", None),
        "provenance": asdict(Provenance(task.function, seconds=seconds)),
    }


def row_of(line: Line, point: P, kind: type[R]) -> SweepRow[P, R]:
    """Return the row that a line stands for, its values of the given kind.

    Raises:
        InvalidData: Its values are of another kind.
    """
    origin = line["provenance"]
    names = {field.name for field in fields(cast(Any, kind)) if field.init}
    for value in line["values"]:
        if value.keys() != names:
            raise InvalidData(
                f"the values at {point} have the fields {sorted(value)}, {kind.__name__} has "
                f"{sorted(names)}",
                "give the code that has changed another revision, or delete the file",
            )
    return SweepRow(
        key=line["key"],
        function=line["function"],
        point=point,
        values=tuple(
            kind(**{name: _tuples(entry) for name, entry in value.items()})
            for value in line["values"]
        ),
        error=line["error"],
        revision=line["revision"],
        time=line["time"],
        seed=line["seed"],
        provenance=Provenance(
            method=origin["method"],
            seconds=origin["seconds"],
            versions=tuple((name, number) for name, number in origin["versions"]),
        ),
    )


def lines_of(file: IO[bytes], path: Path, function: str) -> Iterator[Line]:
    """Yield the lines of a file, and leave it without what a kill cut short at its end.

    Raises:
        InvalidData: It holds rows of another function, or a line is no row.
    """
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    number = 0
    for number, text in enumerate(whole.splitlines(), 1):
        try:
            line = json.loads(text)
            other = line["function"]
            missing = _PARTS - line.keys()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _no_row(number, path) from error
        if missing:
            raise _no_row(number, path)
        if other != function:
            raise InvalidData(
                f"line {number} of {path} is a row of {other}, not of {function}",
                "give every sweep a file of its own",
            )
        yield line
    cut = content[len(whole) :]
    if cut[: len(_OPENING)] != _OPENING[: len(cut)]:
        raise _no_row(number + 1, path)
    if cut:
        file.truncate(len(whole))


def _no_row(number: int, path: Path) -> InvalidData:
    return InvalidData(
        f"line {number} of {path} is no row of a sweep",
        "give the sweep a file of its own, or delete the line",
    )


def plain_fields(value: object) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON has them.

    Raises:
        InvalidProblem: It is no dataclass, or JSON would not give a field back as it was.
    """
    if not is_dataclass(value) or isinstance(value, type):
        raise InvalidProblem(
            f"{type(value).__name__} is no dataclass",
            "use frozen dataclasses, and return a list of them",
        )
    return {
        field.name: _plain(getattr(value, field.name), f"{type(value).__name__}.{field.name}")
        for field in fields(value)
        if field.init
    }


def _plain(value: object, name: str) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        return [_plain(entry, name) for entry in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise InvalidProblem(
        f"{name} is of type {type(value).__name__}, which no file gives back as it was",
        "use numbers, text, truth values, None, and tuples of these",
    )


def _tuples(value: object) -> object:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
