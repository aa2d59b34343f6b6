r"""The objects of the statements, computed straight from their definitions on raw arrays.

Nothing is validated, so that hypotheses can be violated. Nothing is shared with the package but
`kl`, so that the two sides of an identity are computed by different formulas.
Axes: x contexts, a responses; policies are log-probabilities.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, kl_divergence
from nlhf.theorems import Margin

Logs = Float[np.ndarray, "context response"]
Weights = Float[np.ndarray, "context"]
Payoffs = Float[np.ndarray, "context response response"]


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    r"""A two-player game with payoff P, reference μ, temperature τ and context weights w.

    .. math:: J(\pi,\rho) = \sum_x w_x\left[\pi^\top P\rho - \tau KL(\pi\|\mu)
        + \tau KL(\rho\|\mu)\right].
    """

    payoff: Payoffs
    log_reference: Logs
    temperature: float
    weights: Weights


def bilinear(game: Game, row: Logs, column: Logs) -> float:
    """Return Σ_x w_x πᵀPρ."""
    each = np.einsum("xa,xab,xb->x", np.exp(row), game.payoff, np.exp(column))
    return float(game.weights @ each)


def divergence(weights: Weights, p: Logs, q: Logs) -> float:
    """Return Σ_x w_x Σ_a p_a (log p_a − log q_a), with 0 log 0 = 0."""
    live = np.exp(p) > 0.0
    with np.errstate(invalid="ignore"):
        terms = np.where(live, np.exp(p) * np.where(live, p - q, 0.0), 0.0)
    return float(weights @ terms.sum(axis=-1))


def value(game: Game, row: Logs, column: Logs, column_temperature: float | None = None) -> float:
    """Return J(π, ρ); the column player's temperature is the game's unless given."""
    other = game.temperature if column_temperature is None else column_temperature
    return (
        bilinear(game, row, column)
        - game.temperature * divergence(game.weights, row, game.log_reference)
        + other * divergence(game.weights, column, game.log_reference)
    )


def row_payoff(game: Game, column: Logs) -> Logs:
    """Return (Pρ)(a), every row's payoff against the column policy."""
    return np.einsum("xab,xb->xa", game.payoff, np.exp(column))


def column_payoff(game: Game, row: Logs) -> Logs:
    """Return (πᵀP)(b), what every column concedes to the row policy."""
    return np.einsum("xa,xab->xb", np.exp(row), game.payoff)


def tilt(log_reference: Logs, payoff: Logs, temperature: float) -> Logs:
    """Return log of μ e^{g/τ} / Z."""
    logits = log_reference + payoff / temperature
    logits = logits - logits.max(axis=-1, keepdims=True)  # so that the sum is 1 to rounding
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def best_response(game: Game, opponent: Logs) -> Logs:
    """Return BR(π) ∝ μ e^{Pπ/τ}."""
    return tilt(game.log_reference, row_payoff(game, opponent), game.temperature)


def free_energy(log_reference: Logs, payoff: Logs, temperature: float, weights: Weights) -> float:
    """Return Σ_x w_x τ log E_μ e^{g/τ}."""
    mass = np.logaddexp.reduce(log_reference, axis=-1)  # 0 up to rounding
    each = np.logaddexp.reduce(log_reference + payoff / temperature, axis=-1) - mass
    return float(weights @ (temperature * each))


def improvement(game: Game, policy: Logs) -> float:
    """Return max_ρ J(ρ, π) − J(π, π), the gain of the best deviation.

    The maximum is taken through the free energy, not through the best response.
    """
    payoff = row_payoff(game, policy)
    best = free_energy(game.log_reference, payoff, game.temperature, game.weights)
    here = bilinear(game, policy, policy)
    return best - here + game.temperature * divergence(game.weights, policy, game.log_reference)


def residual(game: Game, policy: Logs) -> float:
    """Return max_a |log π(a) − log BR(π)(a)|, zero iff π is a fixed point of BR."""
    return float(np.abs(policy - best_response(game, policy)).max())


def size(game: Game, *policies: Logs) -> float:
    """Return the size of the terms that J is summed from: max|P| + τ (1 + max|log|)."""
    return float(
        np.abs(game.payoff).max() + game.temperature * depth(game.log_reference, *policies)
    )


def depth(*policies: Float[np.ndarray, "..."]) -> float:
    """Return 1 + max|log π| over everything that is not zero."""
    return 1.0 + max(float(np.abs(p[np.isfinite(p)]).max(initial=0.0)) for p in policies)


def rounding(size: float, responses: int) -> float:
    r"""Return a bound on the rounding error of a sum of up to four values J.

    A product πᵀPρ is summed with at most 2n roundings and a divergence with n + 6 (exponential,
    difference of logarithms, product, sum), each relative to a term no larger than `size`.
    Normalised log-probabilities sum to one within (n + 6) ε, which multiplies the same terms. In
    all 4 (4n + 16) ε · `size`, with room for the sum over contexts.
    """
    return 16 * (responses + 4) * EPSILON * size


def error(game: Game, *policies: Logs) -> float:
    """Return `rounding` for values J of this game at these policies."""
    return rounding(size(game, *policies), game.payoff.shape[-1])


def relative(lhs: float, rhs: float, error: float) -> Margin:
    """Return the margin of lhs ≤ rhs between non-negative numbers, on the scale of rhs."""
    return Margin.at_most(lhs, rhs, scale=max(rhs, 0.0) + error, rounding=error)


def kl(weights: Weights, p: Logs, q: Logs) -> float:
    """Return Σ_x w_x KL(p‖q) by the package's formula, which has no negative terms."""
    return float(weights @ kl_divergence(p, q))
