"""Hard games and policies to draw, their equilibria, and coordinates for the local search."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.numerics import log_normalise

from .definitions import Game, Logs, Payoffs, best_response, residual
from .draws import Draws

COLDEST, HOTTEST = 1e-3, 10.0
LOWEST_REFERENCE = 1e-9
DEEPEST = -60.0
"""Lowest log-weight of a drawn policy that is not zero."""

EQUILIBRIUM_TOLERANCE = 1e-9
"""How far, in units of payoff, a policy called an equilibrium may be from its best response."""

_FINE = 2**20
"""Preferences are multiples of 2⁻²⁰ or 2⁻⁴⁰, so that 1 − p is exact."""

_ENTRIES: tuple[Callable[[Draws], float], ...] = (
    lambda draws: float(draws.whole(1)),  # a tournament
    lambda draws: draws.whole(2) / 2,  # with ties
    lambda draws: draws.whole(_FINE) / _FINE,
    lambda draws: draws.one_of((1 / _FINE, 1 - 1 / _FINE, 0.5 + 1 / _FINE)),  # nearly sure or tied
)


def draw_temperature(draws: Draws) -> float:
    """Draw a temperature, even in the logarithm."""
    return draws.logarithmic(COLDEST, HOTTEST)


def draw_preference(draws: Draws, contexts: int, responses: int) -> Payoffs:
    """Draw P in [0, 1] with P + Pᵀ = 1 exactly."""
    entry = draws.one_of(_ENTRIES)
    matrix = np.full((contexts, responses, responses), 0.5)
    for x in range(contexts):
        for i in range(responses):
            for j in range(i):
                matrix[x, i, j] = entry(draws)
                matrix[x, j, i] = 1.0 - matrix[x, i, j]
    return matrix


def draw_payoff(draws: Draws, contexts: int, responses: int) -> Payoffs:
    """Draw a matrix in [0, 1] without any symmetry."""
    return np.asarray(draws.array((contexts, responses, responses), 0.0, 1.0))


def draw_policy(
    draws: Draws, contexts: int, responses: int, lowest: float = DEEPEST, zeros: bool = False
) -> Logs:
    """Draw a log-policy: even, peaked, or (where allowed) with some probabilities zero."""
    deepest = draws.one_of((-1.0, lowest / 3, lowest))
    logs = np.asarray(draws.array((contexts, responses), deepest, 0.0))
    if zeros and draws.chance(4):
        gone = np.array([draws.chance(2) for _ in range(logs.size)]).reshape(logs.shape)
        gone[np.arange(contexts), logs.argmax(axis=1)] = False
        logs = np.where(gone, -np.inf, logs)
    return log_normalise(logs)


def draw_reference(draws: Draws, contexts: int, responses: int) -> Logs:
    """Draw a reference of full support down to about 1e-9."""
    return draw_policy(draws, contexts, responses, lowest=float(np.log(LOWEST_REFERENCE)))


def draw_sizes(draws: Draws) -> tuple[int, int]:
    """Draw the numbers of contexts and responses."""
    return draws.one_of(((1, 2), (1, 3), (1, 3), (1, 4), (1, 5), (1, 7), (2, 3), (3, 2)))


def draw_game(
    draws: Draws,
    payoff: Callable[[Draws, int, int], Payoffs] = draw_preference,
    temperature: Callable[[Draws], float] = draw_temperature,
) -> Game:
    """Draw a game of one to three contexts, each of two or more responses."""
    contexts, responses = draw_sizes(draws)
    return Game(
        payoff=payoff(draws, contexts, responses),
        log_reference=draw_reference(draws, contexts, responses),
        temperature=temperature(draws),
        weights=draw_weights(draws, contexts),
    )


def draw_weights(draws: Draws, contexts: int) -> Float[np.ndarray, "context"]:
    """Draw a prompt distribution."""
    if contexts == 1:
        return np.ones(1)
    raw = np.asarray(draws.array((contexts,), 0.1, 1.0))
    return raw / raw.sum()


def draw_policy_of(draws: Draws, game: Game, zeros: bool = False) -> Logs:
    """Draw a policy that fits the game."""
    contexts, responses = game.log_reference.shape
    return draw_policy(draws, contexts, responses, zeros=zeros)


def is_complementary(game: Game) -> bool:
    """Return whether P + Pᵀ = 1 exactly."""
    return bool((game.payoff + np.swapaxes(game.payoff, 1, 2) == 1.0).all())


def is_probability(matrix: Payoffs) -> bool:
    """Return whether all entries lie in [0, 1]."""
    return bool(((matrix >= 0.0) & (matrix <= 1.0)).all())


def is_fixed_point(game: Game, policy: Logs) -> bool:
    """Return whether the policy is its own best response, within the tolerance."""
    return game.temperature * residual(game, policy) <= EQUILIBRIUM_TOLERANCE


def as_preference_game(game: Game) -> nlhf.PreferenceGame:
    """Return the package's game; the payoff must be a preference."""
    return nlhf.PreferenceGame(
        game.payoff, nlhf.Policy(game.log_reference), game.temperature, game.weights
    )


def as_zero_sum_game(game: Game, column_temperature: float | None = None) -> nlhf.ZeroSumGame:
    """Return the package's game between two players, for any payoff.

    The column player's temperature is the game's unless given.
    """
    other = game.temperature if column_temperature is None else column_temperature
    reference = nlhf.Policy(game.log_reference)
    return nlhf.ZeroSumGame(
        game.payoff, (reference, reference), (game.temperature, other), game.weights
    )


def equilibrium(game: Game) -> Logs:
    """Return the log-policy of the equilibrium, by the exact solver of the package."""
    return np.asarray(nlhf.solve(as_preference_game(game)).log_policy)


def fixed_point(game: Game, steps: int = 300) -> Logs:
    """Iterate the best response, for payoffs without symmetry; it contracts where τ ≥ 1."""
    policy = game.log_reference
    for _ in range(steps):
        ahead = log_normalise(0.5 * policy + 0.5 * best_response(game, policy))
        moved = float(np.abs(ahead - policy).max())
        policy = ahead
        if moved < 1e-14:
            break
    return policy


def encode(game: Game, *policies: Logs) -> Float[np.ndarray, "coordinate"]:
    """Return coordinates: P above the diagonal, log μ, log τ, and the log-policies."""
    above = np.triu_indices(game.payoff.shape[-1], 1)
    parts = [game.payoff[:, above[0], above[1]], game.log_reference, np.log([game.temperature])]
    visible = [np.maximum(policy, DEEPEST) for policy in policies]
    return np.concatenate([np.ravel(part) for part in (*parts, *visible)])


def decode(game: Game, vector: Float[np.ndarray, "coordinate"]) -> tuple[Game, list[Logs]]:
    """Return the game and the policies at a vector; sizes and weights are the given game's.

    Coordinates out of range are moved to its end, so that every vector is an instance.
    """
    contexts, responses = game.log_reference.shape
    rows, columns = np.triu_indices(responses, 1)
    pairs, cells = contexts * rows.size, contexts * responses
    entries = np.round(np.clip(vector[:pairs], 0.0, 1.0) * _FINE**2) / _FINE**2
    matrix = np.full(game.payoff.shape, 0.5)
    matrix[:, rows, columns] = entries.reshape(contexts, -1)
    matrix[:, columns, rows] = 1.0 - matrix[:, rows, columns]
    rest = vector[pairs:]
    reference = np.clip(rest[:cells], np.log(LOWEST_REFERENCE), 0.0).reshape(contexts, responses)
    temperature = float(np.exp(np.clip(rest[cells], np.log(COLDEST), np.log(HOTTEST))))
    moved = Game(matrix, log_normalise(reference), temperature, game.weights)
    others = rest[cells + 1 :].reshape(-1, contexts, responses)
    return moved, [log_normalise(np.clip(policy, 10 * DEEPEST, 0.0)) for policy in others]
