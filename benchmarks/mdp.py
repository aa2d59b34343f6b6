"""Soft value iteration on sparse random processes: against a copy, and against pymdptoolbox."""

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from benchmarks.suites import Planning, Sweeps
from nlhf import Stream
from nlhf.exact.backward_induction import SoftValues, soft_value_iteration
from nlhf.spaces.importers import to_pymdptoolbox
from nlhf.spaces.mdp import MDP

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


def sweeps(case: Sweeps) -> dict[str, Any]:
    """Return the speed of a sweep as a share of that of a copy, repeated in turn.

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
    speeds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(-1, case.repeats):
        for name, call in timed.items():
            seconds = _seconds(call)[0]
            if number >= 0:
                speeds[name].append(moved[name] / seconds)
    best = {name: max(each) for name, each in speeds.items()}
    return {
        "seconds": counted / best["sweep"],
        "seconds_each": [counted / speed for speed in speeds["sweep"]],
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


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One finite-horizon solution.

    Attributes:
        construction: Seconds from sparse arrays in memory to a validated problem.
        run: Seconds of the backward induction alone.
        values: Shape ``(H+1, S)``.
    """

    construction: float
    run: float
    values: Float[np.ndarray, "step state"]


def _ours(temperature: float, case: Planning) -> Plan:
    matrix, rewards = sparse_process(case)
    uniform = np.full(case.states, 1.0 / case.states)
    construction, mdp = _seconds(lambda: MDP(matrix, uniform, actions=case.actions))

    def solve() -> SoftValues:
        return soft_value_iteration(mdp, rewards, temperature=temperature, horizon=case.horizon)

    run, found = _seconds(solve)
    return Plan(construction, run, found.values)


def _pymdptoolbox(case: Planning) -> Plan:
    """`FiniteHorizon` with discount 1 on a list of `csr_matrix`, as its documentation has it."""
    from mdptoolbox.mdp import FiniteHorizon

    matrix, rewards = sparse_process(case)
    uniform = np.full(case.states, 1.0 / case.states)
    listed = to_pymdptoolbox(MDP(matrix, uniform, actions=case.actions))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of SciPy: its check of the transitions is quadratic in S
        construction, solver = _seconds(lambda: FiniteHorizon(listed, rewards, 1.0, case.horizon))
        run, _ = _seconds(solver.run)
    return Plan(construction, run, solver.V.T)


PLANNERS: Mapping[str, Callable[[Planning], Plan]] = {
    "soft": lambda case: _ours(case.temperature, case),
    "hard": lambda case: _ours(0.0, case),
    "pymdptoolbox": _pymdptoolbox,
}
"""`soft` is `soft_value_iteration` at the temperature of the case, `hard` at temperature 0."""


def plans(case: Planning) -> Iterator[tuple[str, dict[str, Any], Exception | None]]:
    """Yield every planner's name, numbers, and what it failed with.

    Both construct a validated problem from sparse arrays in memory and then iterate; drawing the
    arrays and bringing them into each other's layout is not timed.
    """
    found: dict[str, list[Plan]] = {name: [] for name in case.methods}
    failures: dict[str, Exception] = {}
    for number in range(-1, case.repeats):
        for name in [each for each in case.methods if each not in failures]:
            try:
                plan = PLANNERS[name](case)
            except Exception as error:  # a failure is a row
                failures[name] = error
                continue
            if number >= 0:
                found[name].append(plan)
    for name in case.methods:
        numbers = {} if name in failures else _plan_numbers(case, name, found)
        yield name, numbers, failures.get(name)


def _plan_numbers(case: Planning, name: str, found: Mapping[str, list[Plan]]) -> dict[str, Any]:
    own, first, hard = found[name], found[case.methods[0]], found["hard"]
    mine, other = ([plan.construction + plan.run for plan in side] for side in (own, first))
    runs, other_runs = ([plan.run for plan in side] for side in (own, first))
    return {
        "seconds": median(mine),
        "seconds_each": mine,
        "seconds_to_construct": median(plan.construction for plan in own),
        "seconds_to_run": median(runs),
        "times_the_first": _ratio(mine, other),
        "run_times_the_run_of_the_first": _ratio(runs, other_runs),
        "largest_difference_from_hard": float(np.abs(own[-1].values - hard[-1].values).max()),
        "largest_that_the_temperature_allows": (
            case.horizon * case.temperature * float(np.log(case.actions)) if name == "soft" else 0.0
        ),
    }


def _seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _ratio(own: list[float], other: list[float]) -> float:
    return median(a / b for a, b in zip(own, other, strict=False))
