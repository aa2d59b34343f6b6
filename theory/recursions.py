"""The algorithms as plain recursions on log-policies, written from their definitions.

They share nothing with `nlhf.algorithms`, whose iterates the theorems test as well. Steps are
ours: η is the inverse strength of the current iterate in the proximal step; a textbook step is
s = η/(1 + ητ).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import expm1, sqrt
from typing import Any

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.numerics import EPSILON, kl_divergence, log_normalise
from nlhf.protocols import Algorithm
from nlhf.streams import Stream
from nlhf.theorems import Margin

from .definitions import Game, Logs, depth, relative, residual, row_payoff
from .instances import (
    EQUILIBRIUM_TOLERANCE,
    as_preference_game,
    is_complementary,
    is_probability,
)

Iterates = Float[np.ndarray, "iterate context response"]


def prox(game: Game, payoff: Logs, anchors: Sequence[tuple[Logs, float]]) -> Logs:
    """Return argmax_π ⟨g, π⟩ − τ KL(π‖μ) − Σ_i s_i KL(π‖π_i) for anchors (π_i, s_i)."""
    logits = payoff + game.temperature * game.log_reference
    for policy, strength in anchors:
        logits = logits + strength * policy
    return log_normalise(logits / (game.temperature + sum(s for _, s in anchors)))


def mirror_step(game: Game, policy: Logs, step_size: float) -> Logs:
    """Return one step of mirror descent."""
    return prox(game, row_payoff(game, policy), [(policy, 1.0 / step_size)])


def extragradient_step(game: Game, policy: Logs, step_size: float) -> Logs:
    """Return one step of extragradient."""
    anchor = [(policy, 1.0 / step_size)]
    half = prox(game, row_payoff(game, policy), anchor)
    return prox(game, row_payoff(game, half), anchor)


def nash_md_step(game: Game, policy: Logs, mixing: float) -> Logs:
    r"""Return one step of Nash-MD: π' ∝ π^m e^{sP π^m} with π^m ∝ π^{1−m} μ^m and s = m/τ."""
    mixed = mixture(game, policy, mixing)
    return log_normalise(mixed + mixing / game.temperature * row_payoff(game, mixed))


def mixture(game: Game, policy: Logs, mixing: float) -> Logs:
    """Return the geometric mixture ∝ π^{1−m} μ^m."""
    return log_normalise((1.0 - mixing) * policy + mixing * game.log_reference)


def iterates(start: Logs, step: Callable[[Logs, int], Logs], steps: int) -> Iterates:
    """Return the start and `steps` iterates; `step` gets the iterate and its number."""
    found = [start]
    for number in range(steps):
        found.append(step(found[-1], number))
    return np.stack(found)


def optimistic(
    game: Game, centre: Logs, before: Logs | None, step_size: float, steps: int
) -> tuple[Iterates, Iterates]:
    r"""Return centres c_0, …, c_K and played policies z_0, …, z_K of optimistic mirror descent.

    With z_{−1} = `before`: z_k = prox(F(z_{k−1}), {c_k: 1/η}), c_{k+1} = prox(F(z_k), {c_k: 1/η}).
    Without it nothing is predicted at first: z_0 = c_0.
    """
    strength = 1.0 / step_size
    first = centre
    if before is not None:
        first = prox(game, row_payoff(game, before), [(centre, strength)])
    centres, played = [centre], [first]
    for _ in range(steps):
        payoff = row_payoff(game, played[-1])
        centres.append(prox(game, payoff, [(centres[-1], strength)]))
        played.append(prox(game, payoff, [(centres[-1], strength)]))
    return np.stack(centres), np.stack(played)


def is_shipped(game: Game) -> bool:
    """Return whether the package has this game: P must be a preference."""
    return is_complementary(game) and is_probability(game.payoff)


def shipped(game: Game, algorithm: Algorithm[Any], start: Logs, steps: int) -> Iterates:
    """Return the first proposal and `steps` more of an algorithm of the package."""
    played, stream = as_preference_game(game), Stream(0)
    state = algorithm.init(played, (nlhf.Policy(start),))
    found: list[Logs] = [algorithm.profile(state)[0].log_probabilities]
    for _ in range(steps):
        state = algorithm.step(played, state, stream)
        found.append(algorithm.profile(state)[0].log_probabilities)
    return np.stack(found)


def half_range(game: Game) -> float:
    """Return L, half the range of the payoffs: |(P(z − z'))·(u − u')| ≤ L‖z − z'‖₁‖u − u'‖₁."""
    each = game.payoff.max(axis=(1, 2)) - game.payoff.min(axis=(1, 2))
    return float(each.max()) / 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """KL(π*‖π_k) along a run, in nats, and bounds on the errors of these numbers."""

    values: Float[np.ndarray, "iterate"]
    errors: Float[np.ndarray, "iterate"]


def distances(game: Game, best: Logs, policies: Iterates) -> Distances:
    """Return KL(π*‖π_k), given an approximate equilibrium in the place of π*."""
    return divergences(game, best, policies, log_error(game, best))


def divergences(game: Game, best: Logs, policies: Iterates, off: float = 0.0) -> Distances:
    r"""Return KL(π̂‖π_k) as what stands for KL(π*‖π_k), if |log π* − log π̂| ≤ `off`.

    With e for that, |KL(π*‖π) − KL(π̂‖π)| is at most (e^e − 1)(E_π̂|log π̂/π| + e). The roundings
    of log-probabilities count in e, those of the k-th iterate k + 1 times: the steps do not expand
    them here.
    """
    values = kl_divergence(np.broadcast_to(best, policies.shape), policies) @ game.weights
    with np.errstate(invalid="ignore"):  # 0 · ∞ where π̂ vanishes
        mass = np.exp(best)
        spread = np.where(mass > 0.0, mass * np.abs(best - policies), 0.0).sum(axis=-1)
    each = log_rounding(game, best, policies) * np.arange(1, len(policies) + 1)
    error = off + each
    return Distances(values, np.expm1(error) * (spread @ game.weights + error))


def log_rounding(game: Game, *policies: Float[np.ndarray, "..."]) -> float:
    """Return a bound on the rounding errors of log-probabilities after a proximal step."""
    largest = float(np.abs(game.payoff).max())
    size = depth(game.log_reference, *policies) + largest
    return 4.0 * (game.payoff.shape[-1] + 8) * EPSILON * size


def log_error(game: Game, candidate: Logs) -> float:
    r"""Return e with |log π* − log π̂| ≤ e, from the residual r = max|log π̂ − log BR(π̂)|.

    KL(π̂‖π*) ≤ KL(π̂‖BR(π̂)) ≤ r(e^r − 1) by gap-controls-kl, so d = ‖π̂ − π*‖₁ is at most
    √(2r(e^r − 1)). The payoffs of π̂ and π* then differ, up to a constant, by a function of range
    at most 2Ld, so log π* = log BR(π*) and log BR(π̂) differ by at most 2Ld/τ. Whatever passes as an
    equilibrium has τr below the tolerance.
    """
    tau = game.temperature
    rounded = log_rounding(game, candidate) * (1.0 + 1.0 / tau)
    off = min(residual(game, candidate) + rounded, EQUILIBRIUM_TOLERANCE / tau)
    return off + 2.0 * half_range(game) * sqrt(2.0 * off * expm1(off)) / tau


def nearest(margins: Sequence[Margin]) -> Margin:
    """Return the margin nearest to a violation, among those that decide anything if some do."""
    decisive = [margin for margin in margins if margin.decisive]
    return max(decisive or margins, key=lambda margin: margin.excess)


def decreasing(found: Distances, factor: float) -> Margin:
    """Return the margin of factor · d_{k+1} ≤ d_k, at the worst step."""
    value, error = found.values, found.errors
    pairs = range(len(value) - 1)
    return nearest(
        [relative(factor * value[k + 1], value[k], factor * error[k + 1] + error[k]) for k in pairs]
    )


def below(found: Distances, bounds: Distances) -> Margin:
    """Return the margin of d_k ≤ b_k for k ≥ 1, at the worst iterate; both have the start first."""
    return nearest(
        [
            relative(found.values[k], bounds.values[k], found.errors[k] + bounds.errors[k])
            for k in range(1, len(found.values))
        ]
    )


def geometric(found: Distances, factor: float, constant: float = 1.0) -> Distances:
    """Return the bounds constant · d_0 · factor^{−k}."""
    shrink = constant * factor ** -np.arange(float(len(found.values)))
    return Distances(found.values[0] * shrink, found.errors[0] * shrink)
