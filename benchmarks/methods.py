"""The methods that are compared, each used the way its users would use it at its best."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from benchmarks.suites import Comparison
from nlhf import Extragradient, PreferenceGame, StopRule, solve
from nlhf.errors import NlhfError
from nlhf.exact.convex import ConvexProgram
from nlhf.games.payoffs import DensePayoff

EXTRAGRADIENT_GAP = 1e-12
EXTRAGRADIENT_SECONDS = 60.0
GAMBIT_ENVIRONMENT = "NLHF_PYGAMBIT_PYTHON"
GAMBIT_SECONDS = 300.0
_WORKER = Path(__file__).with_name("gambit_worker.py")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One run of one method on one drawn game.

    Attributes:
        seconds: Wall time of the solution, without building the game or compiling a program.
        policies: What it returned, for the first contexts, shape ``(measured, n)``.
        status: ``ok``, or what the method says of itself.
    """

    seconds: float
    policies: Float[np.ndarray, "context response"]
    status: str = "ok"


Run = Callable[[PreferenceGame], Outcome]


class MethodFailed(NlhfError):
    """A method raised an error or is not installed; it becomes a row all the same."""


def _contexts(game: PreferenceGame) -> tuple[np.ndarray, np.ndarray]:
    """Return matrices (X, n, n) and log-references (X, n)."""
    assert isinstance(game.payoff, DensePayoff)
    n = game.spaces[0].responses
    return game.payoff.matrix.reshape(-1, n, n), game.reference.log_probabilities.reshape(-1, n)


def exact(case: Comparison) -> Run:
    """`nlhf.solve(game)`: all contexts in one call, the certificate included."""

    def run(game: PreferenceGame) -> Outcome:
        start = time.perf_counter()
        solution = solve(game)
        seconds = time.perf_counter() - start
        return Outcome(seconds, np.atleast_2d(solution.policy))

    return run


def convex(case: Comparison) -> Run:
    """One parametrised cvxpy problem, compiled once, solved by CLARABEL context by context."""
    n = case.responses
    program = ConvexProgram(n, n, (case.temperature, case.temperature))

    def run(game: PreferenceGame) -> Outcome:
        matrices, logs = (each[: case.sample] for each in _contexts(game))
        start = time.perf_counter()
        found = [program.solve(p, (mu, mu)) for p, mu in zip(matrices, logs, strict=True)]
        seconds = time.perf_counter() - start
        short = sum(each.status != "optimal" for each in found)
        policies = np.stack([each.column.probabilities for each in found])
        return Outcome(seconds, policies, f"{short} inaccurate" if short else "ok")

    return run


def extragradient(case: Comparison) -> Run:
    """`nlhf.Extragradient` with the step of its theorem, to a duality gap of 1e-12."""
    rule = StopRule(gap=EXTRAGRADIENT_GAP, max_iterations=10**7, max_seconds=EXTRAGRADIENT_SECONDS)

    def run(game: PreferenceGame) -> Outcome:
        start = time.perf_counter()
        solution = solve(game, Extragradient(step_size=2.0), stop=rule)
        seconds = time.perf_counter() - start
        stop = str(solution.stop)
        return Outcome(
            seconds, np.atleast_2d(solution.policy), "ok" if stop == "certified" else stop
        )

    return run


def pygambit(case: Comparison) -> Run:
    """Gambit's quantal-response tracer, timed inside an interpreter of its own."""
    interpreter = os.environ.get(GAMBIT_ENVIRONMENT)
    if not interpreter:
        raise MethodFailed(
            f"pygambit is not used: {GAMBIT_ENVIRONMENT} is not set",
            "name an interpreter that has pygambit installed",
        )

    def run(game: PreferenceGame) -> Outcome:
        matrices, logs = (each[: case.sample] for each in _contexts(game))
        task = {
            "matrices": matrices.tolist(),
            "log_references": logs.tolist(),
            "temperature": case.temperature,
        }
        done = subprocess.run(
            [interpreter, str(_WORKER)],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            timeout=GAMBIT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise MethodFailed(
                f"pygambit ended with {done.stderr.strip()[-300:]!r}", "read its message"
            )
        answer = json.loads(done.stdout)
        return Outcome(answer["seconds"], np.array(answer["policies"]))

    return run


METHODS: Mapping[str, Callable[[Comparison], Run]] = {
    "exact": exact,
    "cvxpy": convex,
    "extragradient": extragradient,
    "pygambit": pygambit,
}
