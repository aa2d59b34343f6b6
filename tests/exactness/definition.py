"""The duality gap from its definition, in 50 digits: shares no code with solver or certificates."""

from collections.abc import Sequence

import numpy as np
from mpmath import mp, mpf

mp.dps = 50

Vector = list[mpf]


def exact_distribution(log_probabilities: np.ndarray) -> Vector:
    """Return the distribution that these floats stand for, normalised in 50 digits."""
    weights = [mp.exp(mpf(float(v))) if v > -np.inf else mpf(0) for v in log_probabilities]
    total = mp.fsum(weights)
    return [w / total for w in weights]


def divergence(p: Sequence[mpf], q: Sequence[mpf]) -> mpf:
    return mp.fsum(a * mp.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def objective(
    a: np.ndarray,
    x: Vector,
    y: Vector,
    references: tuple[Vector, Vector],
    temperatures: tuple[float, float],
) -> mpf:
    """Return x'Ay - t1 KL(x|mu) + t2 KL(y|nu)."""
    faced = [mp.fsum(mpf(float(v)) * w for v, w in zip(row, y, strict=True)) for row in a]
    value = mp.fsum(p * g for p, g in zip(x, faced, strict=True))
    if temperatures[0] > 0:
        value -= mpf(temperatures[0]) * divergence(x, references[0])
    if temperatures[1] > 0:
        value += mpf(temperatures[1]) * divergence(y, references[1])
    return value


def best_response(payoff: Vector, reference: Vector, temperature: float) -> Vector:
    """Return the maximiser of <p, payoff> - t KL(p|reference): the tilt, or a best vertex."""
    top = max(payoff)
    if temperature == 0:
        choice = payoff.index(top)
        return [mpf(int(i == choice)) for i in range(len(payoff))]
    tilted = [
        r * mp.exp((g - top) / mpf(temperature)) for r, g in zip(reference, payoff, strict=True)
    ]
    total = mp.fsum(tilted)
    return [w / total for w in tilted]


def duality_gap(
    a: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    log_references: tuple[np.ndarray, np.ndarray],
    temperatures: tuple[float, float],
) -> mpf:
    """Return max_x J(x, column) - min_y J(row, y), the policies given by log-probabilities."""
    x, y = exact_distribution(row), exact_distribution(column)
    references = (exact_distribution(log_references[0]), exact_distribution(log_references[1]))
    faced = [mp.fsum(mpf(float(v)) * w for v, w in zip(line, y, strict=True)) for line in a]
    conceded = [-mp.fsum(mpf(float(v)) * w for v, w in zip(line, x, strict=True)) for line in a.T]
    best_row = best_response(faced, references[0], temperatures[0])
    best_column = best_response(conceded, references[1], temperatures[1])
    return objective(a, best_row, y, references, temperatures) - objective(
        a, x, best_column, references, temperatures
    )


def self_play_gap(
    preference: np.ndarray, policy: np.ndarray, log_reference: np.ndarray, temperature: float
) -> mpf:
    """Return the duality gap of a policy played against itself: twice its exploitability."""
    return duality_gap(
        preference,
        policy,
        policy,
        (log_reference, log_reference),
        (temperature, temperature),
    )
