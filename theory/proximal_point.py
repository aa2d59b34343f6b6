"""The proximal point method: the reference moves to the equilibrium of the game that it anchors."""

from dataclasses import dataclass
from math import ceil, log1p

import numpy as np
from jaxtyping import Float

from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.exact.matrix_game import solve_vertex
from nlhf.numerics import log_of
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .definitions import Game, Logs, divergence, relative, residual, row_payoff
from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT
from .instances import (
    EQUILIBRIUM_TOLERANCE,
    decode,
    draw_game,
    draw_payoff,
    draw_policy_of,
    encode,
    equilibrium,
    fixed_point,
    is_complementary,
    is_fixed_point,
)
from .recursions import is_shipped, log_rounding, shipped

_SOLVED_ABOVE = 0.3
"""Strength above which a short run of extragradient solves the inner game."""

_ENOUGH = 30.0
"""Logarithm of the factor by which such a run shrinks the divergence."""


@dataclass(frozen=True, slots=True, eq=False)
class Outer:
    """One outer step: a game anchored at π_t, a candidate for its equilibrium, π* and any ρ.

    The reference of the game is the magnet π_t and its temperature the strength σ; π* is a policy
    that may or may not be an equilibrium of the game without an anchor.
    """

    game: Game
    candidate: Logs
    nash: Logs
    other: Logs


def shortfall(game: Game, policy: Logs) -> float:
    """Return max_a ½ − P(π ≻ a), zero or less iff no response beats the policy."""
    earned = np.einsum("xa,xab->xb", np.exp(policy), game.payoff)
    return float((0.5 - earned).max())


def _left(game: Game, policy: Logs, after: Logs) -> float:
    """Return KL(ρ‖π_t) − KL(ρ‖π_{t+1}) − KL(π_{t+1}‖π_t), in nats."""
    away = divergence(game.weights, policy, game.log_reference)
    there = divergence(game.weights, policy, after)
    return away - there - divergence(game.weights, after, game.log_reference)


def _advantage(game: Game, policy: Logs, against: Logs) -> float:
    """Return P(ρ ≻ π) − ½."""
    return float(game.weights @ (np.exp(policy) * (row_payoff(game, against) - 0.5)).sum(axis=-1))


def _decrease(instance: Outer, after: Logs, off: float) -> Margin:
    """Return the margin of KL(π*‖π_{t+1}) + KL(π_{t+1}‖π_t) ≤ KL(π*‖π_t)."""
    game, nash = instance.game, instance.nash
    reached = divergence(game.weights, nash, after)
    reached += divergence(game.weights, after, game.log_reference)
    allowed = off + min(max(0.0, shortfall(game, nash)), EQUILIBRIUM_TOLERANCE) / game.temperature
    return relative(reached, divergence(game.weights, nash, game.log_reference), allowed)


def _comal_decrease(instance: Outer) -> Margin:
    r"""Margins in nats.

    If log π_{t+1} is off from log BR(π_{t+1}) by r at most, the identity fails by 2r at most.
    """
    game, after, tau = instance.game, instance.candidate, instance.game.temperature
    rounded = log_rounding(game, after, instance.nash, instance.other) * (1.0 + 1.0 / tau)
    off = 2.0 * (min(residual(game, after), EQUILIBRIUM_TOLERANCE / tau) + rounded)
    parts = {
        "identity": Margin.equal(
            _left(game, instance.other, after),
            _advantage(game, instance.other, after) / tau,
            scale=1.0 + 1.0 / tau + divergence(game.weights, instance.other, after),
            rounding=off,
        ),
        "decrease": _decrease(instance, after, off),
    }
    if is_shipped(game) and tau >= _SOLVED_ABOVE:
        reached = _outer_step(game)
        parts["decrease, shipped"] = _decrease(
            instance, reached, 2.0 * (residual(game, reached) + rounded)
        )
    return Margin.every(parts)


def _outer_step(game: Game) -> Logs:
    """Return where the package's outer loop moves its magnet first, at temperature 0."""
    strength = game.temperature
    steps = ceil(_ENOUGH / log1p(2.0 * strength))
    method = ProximalPoint(Extragradient(), strength=strength, inner_steps=steps)
    return np.asarray(shipped(unanchored(game), method, game.log_reference, steps)[-1])


def unanchored(game: Game) -> Game:
    """Return the game at temperature 0."""
    return Game(game.payoff, game.log_reference, 0.0, game.weights)


def nash_policy(game: Game) -> Logs:
    """Return an equilibrium at temperature 0, by linear programming."""
    rows = np.array([solve_vertex(matrix).row for matrix in game.payoff]).clip(0.0)
    return log_of(rows / rows.sum(axis=1, keepdims=True))


def _draw_outer(draws: Draws) -> Outer:
    game = draw_game(draws)
    other = draw_policy_of(draws, game, zeros=True)
    return Outer(game, equilibrium(game), nash_policy(game), other)


def _draw_unsolved(draws: Draws) -> Outer:
    game = draw_game(draws)
    wrong, other = (draw_policy_of(draws, game) for _ in range(2))
    return Outer(game, wrong, nash_policy(game), other)


def _draw_beaten(draws: Draws) -> Outer:
    game = draw_game(draws, temperature=lambda draws: draws.logarithmic(0.1, 3.0))
    beaten = draw_policy_of(draws, game)
    return Outer(game, equilibrium(game), beaten, draw_policy_of(draws, game))


def _draw_lopsided(draws: Draws) -> Outer:
    """Draw a payoff without symmetry whose first response earns at least half against all."""

    def payoff(draws: Draws, contexts: int, responses: int) -> Float[np.ndarray, "..."]:
        matrix = draw_payoff(draws, contexts, responses)
        matrix[:, 0] = 0.5 + 0.2 * matrix[:, 0]
        return matrix

    game = draw_game(draws, payoff, lambda draws: draws.between(1.0, 3.0))
    first = np.full(game.log_reference.shape, -np.inf)
    first[:, 0] = 0.0
    return Outer(game, fixed_point(game), first, draw_policy_of(draws, game))


def _outer_at(instance: Outer, vector: Float[np.ndarray, "coordinate"]) -> Outer:
    game, (other,) = decode(instance.game, vector)
    return Outer(game, equilibrium(game), nash_policy(game), other)


COMAL_DECREASE = Theorem(
    key="comal-decrease",
    statement=(
        r"\pi_{t+1} \propto \pi_t e^{P\pi_{t+1}/\sigma} has KL(\rho\|\pi_{t+1}) = KL(\rho\|\pi_t) -"
        r" KL(\pi_{t+1}\|\pi_t) - (P(\rho\succ\pi_{t+1}) - \tfrac12)/\sigma for all \rho, hence"
        r" KL(\pi^*\|\pi_{t+1}) \le KL(\pi^*\|\pi_t) - KL(\pi_{t+1}\|\pi_t) for every \pi^* that no"
        r" response beats"
    ),
    sources=(Citation("liu2024", "as commonly stated; the identity sharpens it"),),
    hypotheses=(
        Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)),
        Hypothesis(
            "inner-equilibrium",
            r"\pi_{t+1} \propto \pi_t e^{P\pi_{t+1}/\sigma}",
            lambda x: is_fixed_point(x.game, x.candidate),
        ),
        Hypothesis(
            "unbeaten",
            r"P(\pi^*\succ a) \ge \tfrac12 for all a",
            lambda x: shortfall(x.game, x.nash) <= EQUILIBRIUM_TOLERANCE,
        ),
    ),
    margin=_comal_decrease,
    instances=instances(_draw_outer),
    controls={
        COMPLEMENTARY: instances(_draw_lopsided),
        "inner-equilibrium": instances(_draw_unsolved),
        "unbeaten": instances(_draw_beaten),
    },
    coordinates=Coordinates(lambda x: encode(x.game, np.maximum(x.other, -60.0)), _outer_at),
)

ALL = (COMAL_DECREASE,)
