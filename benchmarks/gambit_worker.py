"""Solve games read from standard input with pygambit; runs under an interpreter that has it."""

import json
import sys
import time

import numpy as np
import pygambit
from pygambit import qre


def main() -> None:
    """Read a task, time the tracer on every game, write policies and seconds."""
    task = json.load(sys.stdin)
    temperature = task["temperature"]
    policies, seconds = [], 0.0
    for matrix, logs in zip(task["matrices"], task["log_references"], strict=True):
        shift = temperature * (np.array(logs)[:, None] - np.array(logs)[None, :])
        payoff = np.array(matrix) - 0.5 + shift
        game = pygambit.Game.from_arrays(payoff, -payoff)
        start = time.perf_counter()
        point = qre.logit_solve_lambda(game, lam=1.0 / temperature)[0]
        seconds += time.perf_counter() - start
        player = next(iter(game.players))
        policies.append([float(point.profile[s]) for s in player.strategies])
    json.dump({"seconds": seconds, "policies": policies}, sys.stdout)


if __name__ == "__main__":
    main()
