"""Evaluate a function at many points, on every core or a cluster, and go on after interruptions.

A sweep is a function of a module and the points at which it is asked for; points and what comes
back are frozen dataclasses of plain fields. Workers come from joblib: processes of this machine,
or whatever the surrounding ``joblib.parallel_config`` names, such as a Dask cluster. A point
carries its own seed and draws from named streams (`nlhf.Stream`), so that its values are the same
to the last bit whoever computes them, and in whatever order.
"""

import hashlib
import inspect
import json
import pickle
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args, get_type_hints

from threadpoolctl import threadpool_limits

from nlhf.analysis.prompts import Progress
from nlhf.analysis.sweep_rows import (
    Line,
    SweepRow,
    Task,
    line_of,
    lines_of,
    plain_fields,
    row_of,
    tasks_of,
)
from nlhf.errors import InvalidProblem, MissingExtra, NotAllowed, Unsupported

P = TypeVar("P")
R = TypeVar("R")
_PACKAGE = Path(__file__).resolve().parents[1]
_TOP_LEVEL = "define it with def at the top level of a module"


@dataclass(frozen=True, slots=True, eq=False)
class Sweep(Generic[P, R]):
    """A function at many points.

    Attributes:
        rows: One per point that succeeded, in the order of the points.
        failures: One per point that did not, likewise.
    """

    rows: tuple[SweepRow[P, R], ...]
    failures: tuple[SweepRow[P, R], ...]

    @property
    def values(self) -> list[R]:
        """Everything the function returned, in the order of the points."""
        return [value for row in self.rows for value in row.values]

    def require(self) -> "Sweep[P, R]":
        """Return the sweep if no point failed.

        Raises:
            NotAllowed: Otherwise, with the first failure.
        """
        if not self.failures:
            return self
        first = self.failures[0]
        raise NotAllowed(
            f"{len(self.failures)} of {len(self.failures) + len(self.rows)} points failed, the "
            f"first at {first.point}: {first.error}",
            "mend it and run the sweep again: only what failed is evaluated",
        )


def run_sweep(
    function: Callable[[P], Sequence[R]],
    points: Sequence[P],
    out: Path,
    *,
    workers: int | None = None,
    revision: str | None = None,
    progress: Progress | None = None,
) -> Sweep[P, R]:
    """Evaluate a function at every point that the file does not have yet.

    A row is in the file as soon as it arrives, a failure too. Run again, finished points are read
    and failed ones retried; a line that a kill cut short is dropped. At another revision every
    point is evaluated again, and the old lines stay.

    Workers compute with one BLAS thread each, so that numbers do not depend on how many there are.
    A Dask cluster, whose workers have one thread and the function's module, runs the same sweep::

        with dask.distributed.Client(address), joblib.parallel_config("dask"):
            run_sweep(function, points, out)

    Args:
        function: Of a module; it returns a sequence of dataclasses, and is annotated with it.
        points: Frozen dataclasses, no two alike. Fields of points and values are numbers, text,
            truth values, None, and tuples of these.
        out: The lines, one per point and attempt, as JSON; made if it does not exist. No two
            sweeps at once may write to it.
        workers: Processes, -1 for one per core; 1 computes in this one. By default what the
            surrounding ``joblib.parallel_config`` says, and 1 without it.
        revision: What tells one version of the code from another; by default a hash of the sources
            of nlhf and of the function's module.
        progress: Called with the function, and how many points are done of how many.

    Raises:
        InvalidProblem: Two points are alike, or one is no frozen dataclass of plain fields.
        InvalidData: The file holds another sweep, or something else, and is left as it is.
        Unsupported: The function cannot be sent to workers, or does not say what it returns.
        MissingExtra: joblib is not installed.

    Guarantee:
        The values are those of ``function(point)`` for every point if the function draws
        from nothing but streams of the point's seed.
    """
    if workers == 0:
        raise InvalidProblem("0 workers would compute nothing", "1 computes in this process")
    name, kind = _name(function), _kind(function)
    tasks = tasks_of(points, name, revision or _revision(function))
    asked = {task.key: point for task, point in zip(tasks, points, strict=True)}
    rows: dict[str, SweepRow[P, R]] = {}
    tell = progress or (lambda *_: None)

    def keep(line: Line) -> None:
        if line["key"] in asked:
            rows[line["key"]] = row_of(line, asked[line["key"]], kind)

    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a+b") as file:
        for line in lines_of(file, out, name):
            keep(line)
        wanted = [task for task in tasks if task.key not in rows or rows[task.key].error]
        tell(name, len(tasks) - len(wanted), len(tasks))
        with closing(_evaluations(function, kind, wanted, asked, workers)) as arriving:
            for number, line in enumerate(arriving, len(tasks) - len(wanted) + 1):
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                keep(line)
                tell(name, number, len(tasks))
    found = [rows[task.key] for task in tasks]
    return Sweep(
        rows=tuple(row for row in found if not row.error),
        failures=tuple(row for row in found if row.error),
    )


def _evaluations(
    function: Callable[[P], Sequence[R]],
    kind: type[R],
    wanted: Sequence[Task],
    points: Mapping[str, P],
    workers: int | None,
) -> Generator[Line, None, None]:
    """Yield the lines of tasks as they arrive."""
    if not wanted:
        return
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise MissingExtra.of("joblib", "sweeps") from error
    yield from Parallel(n_jobs=workers, return_as="generator_unordered")(
        delayed(_evaluate)(function, kind, points[task.key], task) for task in wanted
    )


def _evaluate(function: Callable[[P], Sequence[R]], kind: type[R], point: P, task: Task) -> Line:
    """Return the line of a point; whatever goes wrong in the function is part of it."""
    import scipy.linalg  # noqa: F401  # its own BLAS can be limited only once it is there

    began, start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.perf_counter()
    values: list[dict[str, Any]] = []
    error = ""
    try:
        with threadpool_limits(1):
            found = function(point)
        values = [plain_fields(_of_kind(value, kind)) for value in found]
    except Exception as failure:  # one point that fails must not lose the others
        error = _told(failure)
    return line_of(task, point, values, error, began, time.perf_counter() - start)


def _of_kind(value: R, kind: type[R]) -> R:
    if type(value) is not kind:
        raise InvalidProblem(
            f"a value is of type {type(value).__name__}, not {kind.__name__}",
            "annotate the function with the dataclass of which it returns a sequence",
        )
    return value


def _told(failure: Exception) -> str:
    """Return an exception and the line of code that raised it."""
    last = failure.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = f" ({Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno})" if last else ""
    return f"{type(failure).__name__}: {failure}{place}"


def _name(function: Callable[..., object]) -> str:
    """Return module and name of a function, the same whether its module is run or imported."""
    name = getattr(function, "__qualname__", type(function).__name__)
    module = getattr(function, "__module__", None)
    if module is None or "<" in name or not inspect.isfunction(function):
        raise Unsupported(
            f"{name} is no function of a module: no worker could find it, no later run know it",
            _TOP_LEVEL,
        )
    try:
        pickle.dumps(function)
    except pickle.PicklingError as error:
        raise Unsupported(f"{module}.{name} cannot be sent to workers: {error}", _TOP_LEVEL) from (
            error
        )
    if module == "__main__":
        specification = sys.modules[module].__spec__
        module = specification.name if specification else module
    return f"{module}.{name}"


def _kind(function: Callable[[P], Sequence[R]]) -> type[R]:
    """Return the dataclass of which a function is annotated to return a sequence."""
    for candidate in get_args(get_type_hints(function).get("return")):
        if isinstance(candidate, type) and is_dataclass(candidate):
            return cast(type[R], candidate)
    raise Unsupported(
        f"{_name(function)} does not say of which dataclass it returns a sequence",
        "annotate it, as in def study(point: Point) -> list[Outcome]",
    )


def _revision(function: Callable[..., object]) -> str:
    digest = hashlib.sha256()
    for path in [*sorted(_PACKAGE.rglob("*.py")), Path(inspect.getfile(function))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
