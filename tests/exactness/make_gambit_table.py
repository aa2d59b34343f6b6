"""Make `gambit_table.json` with pygambit, a solver that shares nothing with ours.

Run once, by hand, in an environment of its own (pygambit is no dependency):

    pip install pygambit==16.7.0 numpy
    python tests/exactness/make_gambit_table.py

A KL-regularised equilibrium with reference mu is the logit quantal response equilibrium of the
game with payoffs P_ij + tau log(mu_i / mu_j), at lambda = 1 / tau, and Gambit traces it from
lambda = 0. Matrices have two decimals and references two significant digits, so the file holds the
instances exactly. Nothing is stored whose fixed point does not check out.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pygambit
from pygambit import qre

SIZES = (2, 3, 5, 10, 30)
TEMPERATURES = (1.0, 0.1, 0.01, 0.001)
ACCURACY = 1e-10
"""Largest ||pi - pi*||_1, in the certified bound sqrt(2 KL(pi || best response)), to be stored."""


def instance(rng: np.random.Generator, size: int, kind: str) -> dict[str, list[float]]:
    """Draw the entries above the diagonal, row by row, and the reference's weights."""
    pairs = size * (size - 1) // 2
    above = rng.uniform(size=pairs)
    if kind == "tournament":
        above = np.rint(above)
    weights = np.ones(size)
    if kind != "uniform":
        weights = 10.0 ** rng.uniform(-6.0 if kind == "spread" else -12.0, 0.0, size=size)
    return {
        "above": [round(float(entry), 2) for entry in above],
        "weights": [float(f"{w:.1e}") for w in weights],
    }


def preference(above: list[float], size: int) -> np.ndarray:
    """Complete the matrix by P + P^T = 1."""
    p = np.full((size, size), 0.5)
    rows, columns = np.triu_indices(size, 1)
    p[rows, columns] = above
    p[columns, rows] = 1.0 - p[rows, columns]
    return p


def gambit(p: np.ndarray, mu: np.ndarray, temperature: float) -> np.ndarray:
    """Return Gambit's equilibrium policy of the row player."""
    logs = np.log(mu)
    payoff = p - 0.5 + temperature * (logs[:, None] - logs[None, :])
    game = pygambit.Game.from_arrays(payoff, -payoff)
    point = qre.logit_solve_lambda(game, lam=1.0 / temperature)[0]
    player = next(iter(game.players))
    return np.array([float(point.profile[s]) for s in player.strategies])


def distance_bound(p: np.ndarray, mu: np.ndarray, temperature: float, pi: np.ndarray) -> float:
    """Return sqrt(2 KL(pi || mu exp(P pi / tau) / Z)), a bound on ||pi - pi*||_1."""
    logits = np.log(mu) + p @ pi / temperature
    response = np.exp(logits - logits.max())
    response /= response.sum()
    ratio = response / pi - 1.0
    return float(np.sqrt(2.0 * np.sum(pi * (ratio - np.log1p(ratio)))))


def main() -> None:
    """Solve every instance and write those that check out."""
    rows, refused = [], []
    for size in SIZES:
        for kind in ("uniform", "spread", "tournament"):
            for temperature in TEMPERATURES:
                rng = np.random.default_rng([size, len(kind), round(1 / temperature)])
                drawn = instance(rng, size, kind)
                p = preference(drawn["above"], size)
                mu = np.array(drawn["weights"]) / np.sum(drawn["weights"])
                pi = gambit(p, mu, temperature)
                bound = distance_bound(p, mu, temperature, pi)
                if pi.min() > 0.0 and bound <= ACCURACY:
                    rows.append(
                        {"kind": kind, "temperature": temperature, **drawn}
                        | {"policy": pi.tolist()}
                    )
                else:
                    refused.append((size, kind, temperature, float(pi.min()), bound))
    made_by = (
        f"make_gambit_table.py with pygambit {version('pygambit')}, numpy {version('numpy')}, "
        f"python {platform.python_version()}"
    )
    head = json.dumps({"made_by": made_by, "distance_bound": ACCURACY})[:-1]
    body = ",\n".join(json.dumps(row) for row in rows)  # a row a line: readable differences
    Path(__file__).with_name("gambit_table.json").write_text(f'{head}, "rows": [\n{body}\n]}}\n')
    print(f"{len(rows)} stored, {len(refused)} refused")
    for each in refused:
        print("refused: n {} {} temperature {}: smallest {:.3g}, bound {:.3g}".format(*each))


if __name__ == "__main__":
    main()
