"""MaxMin over groups: the exact dual against the conic program, on the same games in turn."""

import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks.suites import Groups
from nlhf import Stream, certify, solve
from nlhf.exact.convex_maxmin import MaxMinProgram, solve_convex_maxmin
from nlhf.games.maxmin import MaxMinGame
from nlhf.spaces.policy import Policy

Run = Callable[[MaxMinGame], tuple[tuple[Policy, ...], str]]


def draw(case: Groups, number: int) -> MaxMinGame:
    """Return the game of one repeat: independent normal rewards, utilities 0 at the reference."""
    rng = Stream(case.seed).child("maxmin", case.groups, case.responses, number).generator()
    shape = (case.groups, case.contexts, case.responses)
    return MaxMinGame(rng.normal(size=shape), temperature=case.temperature, offsets="reference")


def _exact(case: Groups) -> Run:
    """`nlhf.solve(game)`, the certificate included."""

    def run(game: MaxMinGame) -> tuple[tuple[Policy, ...], str]:
        return solve(game).profile, "ok"

    return run


def _cvxpy(case: Groups) -> Run:
    """One parametrised cvxpy problem, compiled before the clock starts, solved by CLARABEL."""
    program = MaxMinProgram(draw(case, -1))

    def run(game: MaxMinGame) -> tuple[tuple[Policy, ...], str]:
        found = program.solve(game)
        return (found.policy, found.weights), found.status

    return run


def _cvxpy_compiled_each_time(case: Groups) -> Run:
    """The same problem written down anew for every game, as a script would."""

    def run(game: MaxMinGame) -> tuple[tuple[Policy, ...], str]:
        found = solve_convex_maxmin(game)
        return (found.policy, found.weights), found.status

    return run


METHODS: Mapping[str, Callable[[Groups], Run]] = {
    "exact": _exact,
    "cvxpy": _cvxpy,
    "cvxpy_compiled_each_time": _cvxpy_compiled_each_time,
}


def maxmin(case: Groups) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, status and numbers of every method; the first game is not counted."""
    runs = {name: METHODS[name](case) for name in case.methods}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    gaps: dict[str, list[float]] = {name: [] for name in runs}
    statuses: dict[str, list[str]] = {name: [] for name in runs}
    for number in range(-1, case.repeats):
        game = draw(case, number)
        for name, run in runs.items():
            start, busy = time.perf_counter(), time.process_time()
            profile, status = run(game)
            elapsed, used = time.perf_counter() - start, time.process_time() - busy
            if number >= 0:
                seconds[name].append(elapsed)
                processor[name].append(used)
                gaps[name].append(certify(game, profile).bound.value)
                statuses[name].append(status)
    first = case.methods[0]
    for name in runs:
        # Each game by both methods within a second or so: load on the machine hits both.
        ratios = _ratios(seconds[name], seconds[first])
        short = sum(status == "optimal_inaccurate" for status in statuses[name])
        yield (
            name,
            f"{short} inaccurate" if short else "ok",
            {
                "seconds": median(seconds[name]),
                "seconds_each": seconds[name],
                "times_the_first": median(ratios),
                "times_the_first_each": ratios,
                "processor_seconds": median(processor[name]),
                "times_the_first_in_processor_time": median(
                    _ratios(processor[name], processor[first])
                ),
                "duality_gap_largest": max(gaps[name]),
                "duality_gap_each": gaps[name],
            },
        )


def _ratios(theirs: list[float], ours: list[float]) -> list[float]:
    return [one / other for one, other in zip(theirs, ours, strict=True)]
