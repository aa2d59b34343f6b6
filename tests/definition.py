"""The duality gap from its definition, in 80 digits: shares no code with solver or certificates.

Policies and references are given by the floats that the package stores: their log-probabilities.
"""

from collections.abc import Sequence

import numpy as np
from mpmath import mp, mpf

DIGITS = 80
"""Whatever precision other tests have set."""

Vector = list[mpf]


def exact_distribution(log_probabilities: np.ndarray) -> Vector:
    """Return the distribution that these floats stand for, normalised."""
    weights = [mp.exp(mpf(float(v))) if v > -np.inf else mpf(0) for v in log_probabilities]
    total = mp.fsum(weights)
    return [w / total for w in weights]


def divergence(p: Sequence[mpf], q: Sequence[mpf]) -> mpf:
    return mp.fsum(a * mp.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def payoffs(matrix: np.ndarray, opponent: Vector) -> Vector:
    return [mp.fdot(zip(map(float, line), opponent, strict=True)) for line in matrix]


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


@mp.workdps(DIGITS)
def duality_gap(
    a: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    log_references: tuple[np.ndarray, np.ndarray],
    temperatures: tuple[float, float],
) -> mpf:
    """Return max_x J(x, column) - min_y J(row, y), the policies given by log-probabilities.

    J(x, y) = x'Ay - t1 KL(x|mu) + t2 KL(y|nu).
    """
    x, y = exact_distribution(row), exact_distribution(column)
    mu, nu = (exact_distribution(logs) for logs in log_references)
    t1, t2 = (mpf(t) for t in temperatures)
    faced, conceded = payoffs(a, y), payoffs(a.T, x)
    best_row = best_response(faced, mu, temperatures[0])
    best_column = best_response([-v for v in conceded], nu, temperatures[1])
    gains = mp.fdot(zip(best_row, faced, strict=True)) - t1 * divergence(best_row, mu)
    loses = mp.fdot(zip(best_column, conceded, strict=True)) + t2 * divergence(best_column, nu)
    return (gains + t2 * divergence(y, nu)) - (loses - t1 * divergence(x, mu))


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
