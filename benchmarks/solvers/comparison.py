"""Preference games by several methods, each used the way its users would use it at its best."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Comparison
from benchmarks.found import Absent, Found
from benchmarks.processes import ONE_THREAD
from benchmarks.solvers import peer_worker
from benchmarks.solvers.instances import FAMILIES, REFERENCES
from benchmarks.turns import Answer, Run, in_turn
from nlhf import Extragradient, PreferenceGame, StopRule, Stream, certify, solve
from nlhf.exact.convex import ConvexProgram
from nlhf.games.payoffs import DensePayoff

EXTRAGRADIENT_GAP = 1e-12
EXTRAGRADIENT_SECONDS = 60.0
PEER_SECONDS = 300.0
INTERPRETERS = {"pygambit": "NLHF_PYGAMBIT_PYTHON", "pygambit_lp": "NLHF_PYGAMBIT_PYTHON"}
OTHER_INTERPRETERS = "NLHF_PEERS_PYTHON"
_WORKER = Path(peer_worker.__file__)

Policies = np.ndarray
"""Of the first contexts, shape ``(measured, n)``."""
Method = Run[PreferenceGame, Policies]


def draw(case: Comparison, number: int) -> PreferenceGame:
    """Return the game of one repeat."""
    stream = Stream(case.seed).child(case.family, case.reference, case.responses, number)
    rng = stream.generator()
    p = FAMILIES[case.family](rng, case.contexts, case.responses)
    mu = REFERENCES[case.reference](rng, case.contexts, case.responses)
    if case.contexts == 1:
        p, mu = p[0], mu[0]
    return PreferenceGame(p, mu, case.temperature)


def comparison(case: Comparison) -> Iterator[Found]:
    """Run every method on every game in turn; times of samples are scaled to all contexts."""
    makers = {name: partial(_maker(name), case) for name in case.methods}
    for found in in_turn(makers, partial(draw, case), _gap, case.repeats):
        yield _scaled(case, found)


def _scaled(case: Comparison, found: Found) -> Found:
    """Return seconds of all contexts, and ratios by context."""
    if not found.numbers:
        return found
    numbers = dict(found.numbers)
    measured = numbers["contexts_measured"]
    numbers["scaled"] = measured < case.contexts
    for name in ("seconds", "processor_seconds"):
        numbers[name] *= case.contexts / measured
        numbers[f"{name}_each"] = [
            each * case.contexts / measured for each in numbers[f"{name}_each"]
        ]
    for name in ("times_the_first", "times_the_first_in_processor_time"):
        numbers[name] *= case.contexts / measured
    return replace(found, numbers=numbers)


def _contexts(game: PreferenceGame) -> tuple[np.ndarray, np.ndarray]:
    """Return matrices (X, n, n) and log-references (X, n)."""
    assert isinstance(game.payoff, DensePayoff)
    n = game.spaces[0].responses
    return game.payoff.matrix.reshape(-1, n, n), game.reference.log_probabilities.reshape(-1, n)


def _gap(game: PreferenceGame, policies: Policies) -> dict[str, float]:
    """Return the largest exact duality gap over the contexts that were measured."""
    measured = np.atleast_2d(game.reference.probabilities).copy()
    clipped = np.maximum(policies, 0.0)
    measured[: len(policies)] = clipped / clipped.sum(axis=-1, keepdims=True)
    found = certify(game, measured.reshape(game.reference.log_probabilities.shape))
    return {"duality_gap_largest": float(found.per_context[: len(policies)].max())}


def answer(
    policies: Policies,
    status: str = "ok",
    spent: tuple[float, float] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Answer[Policies]:
    """Return the answer for the contexts that were measured."""
    notes: dict[str, Any] = {"contexts_measured": len(policies)}
    if versions is not None:
        notes["versions"] = versions
    return Answer(policies, status, spent, notes)


def exact(case: Comparison) -> Method:
    """`nlhf.solve(game)`: all contexts in one call, the certificate included."""
    return lambda game: answer(np.atleast_2d(solve(game).policy))


def convex(case: Comparison) -> Method:
    """One parametrised cvxpy problem, compiled once, solved by CLARABEL context by context."""
    n = case.responses
    program = ConvexProgram(n, n, (case.temperature, case.temperature))

    def run(game: PreferenceGame) -> Answer[Policies]:
        matrices, logs = (each[: case.sample] for each in _contexts(game))
        found = [program.solve(p, (mu, mu)) for p, mu in zip(matrices, logs, strict=True)]
        short = sum(each.status != "optimal" for each in found)
        policies = np.stack([each.column.probabilities for each in found])
        return answer(policies, f"{short} inaccurate" if short else "ok")

    return run


def extragradient(case: Comparison) -> Method:
    """`nlhf.Extragradient` with the step of its theorem, to a duality gap of 1e-12."""
    rule = StopRule(gap=EXTRAGRADIENT_GAP, max_iterations=10**7, max_seconds=EXTRAGRADIENT_SECONDS)

    def run(game: PreferenceGame) -> Answer[Policies]:
        solution = solve(game, Extragradient(step_size=2.0), stop=rule)
        stop = str(solution.stop)
        return answer(np.atleast_2d(solution.policy), "ok" if stop == "certified" else stop)

    return run


def peer(name: str, case: Comparison) -> Method:
    """A method of `peer_worker`, timed inside an interpreter that has its package."""
    interpreter = interpreter_of(name)

    def run(game: PreferenceGame) -> Answer[Policies]:
        matrices, logs = (each[: case.sample] for each in _contexts(game))
        told = ask(interpreter, name, matrices, logs, case.temperature)
        spent = sum(told["seconds"]), sum(told["processor"])
        return answer(np.array(told["policies"]), spent=spent, versions=told["version"])

    return run


def interpreter_of(name: str) -> str:
    """Return an interpreter that has a peer's package.

    Raises:
        Absent: If the one that the environment names, or else this one, does not.
    """
    variable = INTERPRETERS.get(name, OTHER_INTERPRETERS)
    interpreter = os.environ.get(variable) or sys.executable
    done = subprocess.run(
        [interpreter, str(_WORKER), name], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Absent(
            f"{name} is not in {interpreter}: name an interpreter that has it in {variable} "
            f"({done.stderr.strip().splitlines()[-1][:200]})"
        )
    return interpreter


def ask(
    interpreter: str, name: str, matrices: np.ndarray, logs: np.ndarray, temperature: float
) -> dict[str, Any]:
    """Return what a peer says of games, in a process of its own with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task.npz"
        np.savez(task, matrices=matrices, log_references=logs, temperature=temperature)
        done = subprocess.run(
            [interpreter, str(_WORKER), name, str(task)],
            capture_output=True,
            text=True,
            timeout=PEER_SECONDS,
            env=os.environ | ONE_THREAD,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.stderr.strip()[-300:]!r}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


METHODS: Mapping[str, Callable[[Comparison], Method]] = {
    "exact": exact,
    "cvxpy": convex,
    "extragradient": extragradient,
    **{name: partial(peer, name) for name in peer_worker.PEERS},
}


def _maker(name: str) -> Callable[[Comparison], Method]:
    return METHODS[name]
