"""Solve games with another package, under an interpreter that has it; needs NumPy besides.

``PEER_INTERPRETER peer_worker.py PEER`` prints the package's version, ``... PEER TASK.npz`` solves
the games in the file one after another and prints policies, seconds and peak memory. A game is a
matrix P, the logarithm of a reference μ and a temperature τ. General solvers know no reference:
they are given the payoff P − 1/2 + τ(log μ_i − log μ_j), whose quantal response equilibrium is the
regularised equilibrium. A small game before the clock starts is for compilers and caches.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

MMD_GAP = 1e-9
MMD_SECONDS = 20.0
Solver = Callable[[np.ndarray, float], Any]
"""From a skew payoff and a temperature to the row player's policy."""


def pygambit() -> Solver:
    """Gambit's tracer of quantal response equilibria."""
    import pygambit as gambit
    from pygambit import qre

    def solve(payoff: np.ndarray, temperature: float) -> Any:
        game = gambit.Game.from_arrays(payoff, -payoff)
        point = qre.logit_solve_lambda(game, lam=1.0 / temperature)[0]
        player = next(iter(game.players))
        return [float(point.profile[strategy]) for strategy in player.strategies]

    return solve


def pygambit_lp() -> Solver:
    """Gambit's linear program in floating point."""
    import pygambit as gambit

    def solve(payoff: np.ndarray, temperature: float) -> Any:
        game = gambit.Game.from_arrays(payoff, -payoff)
        found = gambit.nash.lp_solve(game, rational=False).equilibria[0]
        player = next(iter(game.players))
        return [float(found[strategy]) for strategy in player.strategies]

    return solve


def open_spiel() -> Solver:
    """OpenSpiel's magnetic mirror descent with its default step, to a gap of 1e-9."""
    import pyspiel
    from open_spiel.python.algorithms import mmd_dilated

    def solve(payoff: np.ndarray, temperature: float) -> Any:
        game = pyspiel.convert_to_turn_based(pyspiel.create_matrix_game(payoff, -payoff))
        descent = mmd_dilated.MMDDilatedEnt(game, alpha=temperature)
        deadline = time.perf_counter() + MMD_SECONDS
        while time.perf_counter() < deadline:
            for _ in range(50):
                descent.update_sequences()
            if descent.get_gap() <= MMD_GAP:
                break
        return descent.current_sequences()[0][1:]

    return solve


def open_spiel_lp() -> Solver:
    """OpenSpiel's linear program (ECOS)."""
    import pyspiel
    from open_spiel.python.algorithms import lp_solver

    def solve(payoff: np.ndarray, temperature: float) -> Any:
        game = pyspiel.create_matrix_game(payoff, -payoff)
        return np.ravel(lp_solver.solve_zero_sum_matrix_game(game)[0])

    return solve


def open_spiel_nash_averaging() -> Solver:
    """OpenSpiel's equilibrium of largest entropy: ours, if the reference is uniform."""
    import pyspiel
    from open_spiel.python.algorithms import nash_averaging

    def solve(payoff: np.ndarray, temperature: float) -> Any:
        return np.ravel(
            nash_averaging.nash_averaging(pyspiel.create_matrix_game(payoff, -payoff))[0]
        )

    return solve


def quantecon() -> Solver:
    """QuantEcon's simplex method, compiled by Numba."""
    from quantecon.optimize import minmax

    def solve(payoff: np.ndarray, temperature: float) -> Any:
        return minmax(payoff)[1]

    return solve


def nashpy() -> Solver:
    """Nashpy's linear program (SciPy's HiGHS)."""
    import nashpy

    def solve(payoff: np.ndarray, temperature: float) -> Any:
        return nashpy.Game(payoff, -payoff).linear_program()[0]

    return solve


PEERS: Mapping[str, tuple[Callable[[], Solver], str]] = {
    "pygambit": (pygambit, "pygambit"),
    "pygambit_lp": (pygambit_lp, "pygambit"),
    "open_spiel": (open_spiel, "open-spiel"),
    "open_spiel_lp": (open_spiel_lp, "open-spiel"),
    "open_spiel_nash_averaging": (open_spiel_nash_averaging, "open-spiel"),
    "quantecon": (quantecon, "quantecon"),
    "nashpy": (nashpy, "nashpy"),
}
"""Solver and distribution by name."""


def payoff_of(matrix: np.ndarray, logs: np.ndarray, temperature: float) -> np.ndarray:
    """Return the payoff whose quantal response equilibrium is ours; exactly skew."""
    shifted = matrix - 0.5 + temperature * (logs[:, None] - logs[None, :])
    return np.asarray((shifted - shifted.T) / 2.0)


def peak_bytes() -> int:
    """Return the largest resident size of this process so far; see `benchmarks.clock`."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Print the version, or solve the games of a task."""
    make, distribution = PEERS[sys.argv[1]]
    out, sys.stdout = sys.stdout, sys.stderr  # what packages print is no answer
    solve = make()
    told: dict[str, Any] = {"version": {distribution: version(distribution)}}
    if len(sys.argv) > 2:
        with np.load(sys.argv[2]) as task:
            matrices, logs = task["matrices"], task["log_references"]
            temperature = float(task["temperature"])
        solve(np.array([[0.0, 0.1, -0.2], [-0.1, 0.0, 0.3], [0.2, -0.3, 0.0]]), temperature)
        told |= {"policies": [], "seconds": [], "processor": []}
        told["peak_memory_bytes_after_imports"] = peak_bytes()
        for matrix, log in zip(matrices, logs, strict=True):
            payoff = payoff_of(matrix, log, temperature)
            wall, processor = time.perf_counter(), time.process_time()
            policy = solve(payoff, temperature)
            told["seconds"].append(time.perf_counter() - wall)
            told["processor"].append(time.process_time() - processor)
            told["policies"].append([float(p) for p in policy])
        told["peak_memory_bytes"] = peak_bytes()
    json.dump(told, out)


if __name__ == "__main__":
    main()
