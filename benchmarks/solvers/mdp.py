"""Soft value iteration on sparse random processes: against a copy, and against pymdptoolbox."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from benchmarks.cases import Planning, Sweeps
from benchmarks.clock import Laps
from benchmarks.found import Found
from benchmarks.turns import Answer, Run, in_turn
from nlhf import Stream
from nlhf.exact.backward_induction import SoftValues, soft_value_iteration
from nlhf.spaces.importers import to_pymdptoolbox
from nlhf.spaces.mdp import MDP

T = TypeVar("T")

LARGE_COPY = 50_000_000
"""Numbers in an array of 400 MB: the C library then writes past the caches, at nearly twice the
speed of a copy of the size of a sweep."""


def sparse_process(
    case: Sweeps | Planning,
) -> tuple[csr_array, Float[np.ndarray, "state action"]]:
    """Return transitions to distinct uniform successors, shape ``(S·A, S)``, and rewards."""
    rng = Stream(case.seed).child("sparse process", case.states, case.successors).generator()
    rows = case.states * case.actions
    targets = np.sort(rng.integers(case.states, size=(rows, case.successors)), axis=1)
    while (again := (np.diff(targets, axis=1) == 0).any(axis=1)).any():
        shape = (int(again.sum()), case.successors)
        targets[again] = np.sort(rng.integers(case.states, size=shape), axis=1)
    p = rng.exponential(size=targets.shape)
    p /= p.sum(axis=1, keepdims=True)
    starts = np.arange(0, targets.size + 1, case.successors)
    matrix = csr_array((p.ravel(), targets.ravel(), starts), shape=(rows, case.states))
    return matrix, rng.uniform(size=(case.states, case.actions))


def sweeps(case: Sweeps) -> Iterator[Found]:
    """Yield the speed of a sweep as a share of that of a copy, repeated in turn.

    Counted are the bytes that a sweep cannot do without: the transitions once (entries, column
    indices, row starts), r/τ + log μ once, the values once read and once written. The scores of
    states and actions, written and read in between, are not counted. A copy counts what it reads
    and what it writes. As in the STREAM benchmark, the best of the repeats counts for everything:
    a neighbour who slows the copies down more than the sweeps would flatter us in a median.
    """
    matrix, rewards = sparse_process(case)
    uniform = np.full(case.states, 1.0 / case.states)
    mdp = MDP(matrix, uniform, actions=case.actions)
    stored = mdp.transitions
    counted = sum(part.nbytes for part in (stored.data, stored.indices, stored.indptr))
    counted += rewards.nbytes + 2 * uniform.nbytes
    source = np.ones(max(LARGE_COPY, counted // 16))
    target = np.ones_like(source)
    same = counted // 16

    def sweep() -> object:
        return soft_value_iteration(
            mdp, rewards, temperature=case.temperature, horizon=case.horizon
        )

    values = uniform.copy()
    timed: dict[str, Callable[[], object]] = {
        "sweep": sweep,
        "product": lambda: stored @ values,
        "copy": lambda: np.copyto(target[:same], source[:same]),
        "large_copy": lambda: np.copyto(target, source),
    }
    moved = {
        "sweep": counted * case.horizon,
        "product": counted,
        "copy": 16 * same,
        "large_copy": 16 * len(source),
    }
    laps: dict[str, Laps] = {name: Laps() for name in timed}
    for number in range(-1, case.repeats):
        for name, call in timed.items():
            (laps[name] if number >= 0 else Laps()).time(call)
    best = {name: moved[name] / min(each.wall) for name, each in laps.items()}
    once = Laps(
        *(
            [each / case.horizon for each in half]
            for half in (laps["sweep"].wall, laps["sweep"].processor)
        )
    )
    numbers = once.numbers() | {
        "seconds": counted / best["sweep"],
        "yardstick_seconds_each": laps["copy"].wall,
        "yardstick_processor_seconds_each": laps["copy"].processor,
        "bytes_per_sweep": counted,
        "bytes_per_second": best["sweep"],
        "seconds_of_the_sparse_product_alone": counted / best["product"],
        "copy_bytes": 16 * same,
        "copy_bytes_per_second": best["copy"],
        "large_copy_bytes": 16 * len(source),
        "large_copy_bytes_per_second": best["large_copy"],
        "share_of_copy_bandwidth": best["sweep"] / best["copy"],
        "share_of_large_copy_bandwidth": best["sweep"] / best["large_copy"],
    }
    yield Found("sweeps", numbers)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One finite-horizon solution.

    Attributes:
        construction: One lap, from sparse arrays in memory to a validated problem.
        run: One lap, of the backward induction alone.
        values: Shape ``(H+1, S)``.
    """

    construction: Laps
    run: Laps
    values: Float[np.ndarray, "step state"]

    def spent(self) -> tuple[float, float]:
        """Return seconds by wall and processor of both together."""
        return (
            self.construction.wall[0] + self.run.wall[0],
            self.construction.processor[0] + self.run.processor[0],
        )


def _ours(temperature: float, case: Planning) -> Plan:
    matrix, rewards = sparse_process(case)
    uniform = np.full(case.states, 1.0 / case.states)
    construction, mdp = _lap(lambda: MDP(matrix, uniform, actions=case.actions))

    def solve() -> SoftValues:
        return soft_value_iteration(mdp, rewards, temperature=temperature, horizon=case.horizon)

    run, found = _lap(solve)
    return Plan(construction, run, found.values)


def _pymdptoolbox(case: Planning) -> Plan:
    """`FiniteHorizon` with discount 1 on a list of `csr_matrix`, as its documentation has it."""
    from mdptoolbox.mdp import FiniteHorizon

    matrix, rewards = sparse_process(case)
    uniform = np.full(case.states, 1.0 / case.states)
    listed = to_pymdptoolbox(MDP(matrix, uniform, actions=case.actions))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of SciPy: its check of the transitions is quadratic in S
        construction, solver = _lap(lambda: FiniteHorizon(listed, rewards, 1.0, case.horizon))
        run, _ = _lap(solver.run)
    return Plan(construction, run, solver.V.T)


PLANNERS: Mapping[str, Callable[[Planning], Plan]] = {
    "soft": lambda case: _ours(case.temperature, case),
    "hard": lambda case: _ours(0.0, case),
    "pymdptoolbox": _pymdptoolbox,
}
"""`soft` is `soft_value_iteration` at the temperature of the case, `hard` at temperature 0."""


def plans(case: Planning) -> Iterator[Found]:
    """Yield every planner's time, and how far its values are from those of `hard`.

    Both construct a validated problem from sparse arrays in memory and then iterate; drawing the
    arrays and bringing them into each other's layout is not timed.
    """
    parts: dict[str, list[Plan]] = {name: [] for name in case.methods}
    hard = _ours(0.0, case).values

    def maker(name: str) -> Run[None, Plan]:
        def run(_: None) -> Answer[Plan]:
            plan = PLANNERS[name](case)
            parts[name].append(plan)
            return Answer(plan, spent=plan.spent())

        return run

    def judge(_: None, plan: Plan) -> dict[str, float]:
        return {"largest_difference_from_hard": float(np.abs(plan.values - hard).max())}

    makers = {name: partial(maker, name) for name in case.methods}
    for found in in_turn(makers, lambda _: None, judge, case.repeats):
        yield replace(found, numbers=dict(found.numbers) | _parts(case, found, parts))


def _parts(case: Planning, found: Found, parts: Mapping[str, list[Plan]]) -> dict[str, Any]:
    """Return medians of construction and iteration; the first plan of each is not counted."""
    if not found.numbers:
        return {}
    own, first = parts[found.method][1:], parts[case.methods[0]][1:]
    ratios = [a.run.wall[0] / b.run.wall[0] for a, b in zip(own, first, strict=True)]
    temperature = case.temperature if found.method == "soft" else 0.0
    return {
        "seconds_to_construct": median(plan.construction.wall[0] for plan in own),
        "seconds_to_run": median(plan.run.wall[0] for plan in own),
        "run_times_the_run_of_the_first": median(ratios),
        "largest_that_the_temperature_allows": (
            case.horizon * temperature * float(np.log(case.actions))
        ),
    }


def _lap(call: Callable[[], T]) -> tuple[Laps, T]:
    lap = Laps()
    result = lap.time(call)
    return lap, result
