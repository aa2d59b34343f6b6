"""The value of the game, its unique symmetric equilibrium, and what it does to other policies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.numerics import log_normalise
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Strategy, Theorem

from .definitions import (
    Game,
    Logs,
    Payoffs,
    best_response,
    column_payoff,
    divergence,
    error,
    free_energy,
    kl,
    relative,
    residual,
    row_payoff,
    size,
    tilt,
    value,
)
from .draws import Draws, instances
from .instances import (
    EQUILIBRIUM_TOLERANCE,
    HOTTEST,
    as_zero_sum_game,
    decode,
    draw_game,
    draw_payoff,
    draw_policy_of,
    draw_preference,
    draw_sizes,
    draw_weights,
    encode,
    equilibrium,
    fixed_point,
    is_complementary,
    is_fixed_point,
)

VALUE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Duel:
    """A game, two policies, and the temperature of the column player."""

    game: Game
    row: Logs
    column: Logs
    column_temperature: float


def draw_duel(
    draws: Draws,
    payoff: Callable[[Draws, int, int], Payoffs] = draw_preference,
    unequal: bool = False,
    zeros: bool = True,
) -> Duel:
    """Draw a duel; `unequal` gives the column player a temperature of its own."""
    game = draw_game(draws, payoff)
    factor = draws.between(1.1, 3.0) if unequal else 1.0
    row, column = (draw_policy_of(draws, game, zeros=zeros) for _ in range(2))
    return Duel(game, row, column, game.temperature * factor)


def duel_at(instance: Duel, vector: Float[np.ndarray, "coordinate"]) -> Duel:
    """Return the duel at a vector of coordinates."""
    game, (row, column) = decode(instance.game, vector)
    return Duel(game, row, column, game.temperature)


DUEL_COORDINATES: Coordinates[Duel] = Coordinates(
    lambda x: encode(x.game, x.row, x.column), duel_at
)

COMPLEMENTARY = "complementary"
COMPLEMENTARY_TEXT = r"P + P^\top = 1"


def exact_value(game: Game, row: Logs, column: Logs) -> tuple[Fraction, ...]:
    """Return πᵀPρ in every context, in rational arithmetic, of the policies' exact ratios."""
    found = []
    for x in range(game.payoff.shape[0]):
        p, q = ([Fraction(float(mass)) for mass in np.exp(policy[x])] for policy in (row, column))
        rows = [
            sum(Fraction(float(entry)) * mass for entry, mass in zip(payoffs, q, strict=True))
            for payoffs in game.payoff[x]
        ]
        total = sum(mass * payoff for mass, payoff in zip(p, rows, strict=True))
        found.append(Fraction(total) / (sum(p) * sum(q)))
    return tuple(found)


def _symmetric_value(instance: Duel) -> Margin:
    game, p, q = instance.game, instance.row, instance.column
    scale, allowed = size(game, p, q), error(game, p, q)

    def against(row: Logs, column: Logs) -> float:
        return value(game, row, column, instance.column_temperature)

    both = zip(exact_value(game, p, q), exact_value(game, q, p), strict=True)
    exactly = float(max(abs(there + back - 1) for there, back in both))
    mirror = float(max(abs(mean - Fraction(VALUE)) for mean in exact_value(game, p, p)))
    total = against(p, q) + against(q, p)
    return Margin.every(
        {
            "value": Margin.equal(against(p, p), VALUE, scale=scale, rounding=allowed),
            "sum": Margin.equal(total, 1.0, scale=scale, rounding=allowed),
            "value, rational": Margin.equal(mirror, 0.0, scale=1.0, rounding=0.0),
            "sum, rational": Margin.equal(exactly, 0.0, scale=1.0, rounding=0.0),
        }
    )


DUEL_HYPOTHESES: tuple[Hypothesis[Duel], ...] = (
    Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)),
    Hypothesis(
        "shared-temperature",
        r"both players have the same \tau",
        lambda x: x.column_temperature == x.game.temperature,
    ),
)

DUEL_CONTROLS: Mapping[str, Strategy[Duel]] = {
    COMPLEMENTARY: instances(lambda draws: draw_duel(draws, draw_payoff)),
    "shared-temperature": instances(lambda draws: draw_duel(draws, unequal=True)),
}


SYMMETRIC_VALUE = Theorem(
    key="symmetric-value",
    statement=r"J(\pi,\pi) = \tfrac12 and J(\pi,\rho) + J(\rho,\pi) = 1 for all \pi, \rho",
    sources=(Citation("ye2024", "as commonly stated"),),
    hypotheses=DUEL_HYPOTHESES,
    margin=_symmetric_value,
    instances=instances(draw_duel),
    controls=DUEL_CONTROLS,
    constants={"value": VALUE},
    coordinates=DUEL_COORDINATES,
)


def duality_gap(game: Game, row: Logs, column: Logs) -> float:
    """Return max_ρ J(ρ, column) − min_ρ J(row, ρ), both through free energies."""
    conceded = -column_payoff(game, row)
    best = [
        free_energy(game.log_reference, payoff, game.temperature, game.weights)
        for payoff in (row_payoff(game, column), conceded)
    ]
    pulls = [divergence(game.weights, policy, game.log_reference) for policy in (row, column)]
    return sum(best) + game.temperature * sum(pulls)


def iterate_from(game: Game, row: Logs, column: Logs) -> tuple[Logs, Logs]:
    """Run extragradient between two players from a start until it converges, or 400 steps.

    It shares nothing with the exact solver, and the players share nothing with each other.
    """
    strength, tau = 0.5, game.temperature

    def step(origin: Logs, payoff: Logs) -> Logs:
        logits = strength * origin + tau * game.log_reference + payoff
        return log_normalise(logits / (strength + tau))

    for k in range(400):
        ahead = step(row, row_payoff(game, column)), step(column, -column_payoff(game, row))
        row, column = (
            step(row, row_payoff(game, ahead[1])),
            step(column, -column_payoff(game, ahead[0])),
        )
        if k % 10 == 9 and _distance_bound(game, row, column) < 1e-11:
            break
    return row, column


def _distance_bound(game: Game, row: Logs, column: Logs) -> float:
    """Return 2 √(gap/τ), which bounds the sum of both players' distances from equilibrium."""
    tau, mu = game.temperature, game.log_reference
    gap = kl(game.weights, row, tilt(mu, row_payoff(game, column), tau))
    gap += kl(game.weights, column, tilt(mu, -column_payoff(game, row), tau))
    return 2.0 * float(np.sqrt(gap))


def _distance(game: Game, p: Logs, q: Logs) -> float:
    return float(game.weights @ np.abs(np.exp(p) - np.exp(q)).sum(axis=-1))


FARTHEST = 2.0
"""The largest distance between two policies."""

SAME = 1e-14
"""Rounding error of a distance between policies of a few responses, and of their payoffs."""

_ITERATED_ABOVE = 0.1
"""Temperature above which 400 steps of extragradient converge from any start drawn here."""


def _ne_unique_symmetric(instance: Duel) -> Margin:
    game, start = instance.game, (instance.row, instance.column)
    if game.temperature == 0.0:
        return Margin.every({"any start": _equal_if_equilibria(game, *start)})
    x, y = (policy.log_probabilities for policy in nlhf.solve(as_zero_sum_game(game)).profile)
    allowed = SAME + _distance_bound(game, x, y)
    parts = {
        "symmetric": Margin.equal(_distance(game, x, y), 0.0, scale=FARTHEST, rounding=allowed)
    }
    if game.temperature >= _ITERATED_ABOVE:
        row, column = iterate_from(game, *start)
        away = _distance(game, row, x) + _distance(game, column, x)
        # The column player's own y may be off from x by `allowed`, on top of x being off itself.
        allowed += SAME + _distance_bound(game, x, y) + _distance_bound(game, row, column)
        parts["any start"] = Margin.equal(away, 0.0, scale=FARTHEST, rounding=allowed)
    nearby = game.temperature * (kl(game.weights, start[0], x) + kl(game.weights, start[1], x))
    error_here = error(game, x, *start) + 2.0 * equilibrium_error(game, x)
    parts["any profile"] = relative(nearby, duality_gap(game, *start), error_here)
    return Margin.every(parts)


def _equal_if_equilibria(game: Game, row: Logs, column: Logs) -> Margin:
    """Without regularisation: whoever starts in an equilibrium stays, so two must be equal."""
    gains = [
        float((row_payoff(game, p).max(axis=-1) - (np.exp(p) * row_payoff(game, p)).sum(-1)).max())
        for p in (row, column)
    ]
    allowed = FARTHEST if max(gains) > SAME else 0.0
    return Margin.at_most(_distance(game, row, column), allowed, scale=FARTHEST, rounding=SAME)


def equilibrium_error(game: Game, candidate: Logs) -> float:
    r"""Return τ r + gap, by how much J(π̂, ·) = ½ + τ KL(·‖π̂) may fail at an approximate π̂.

    With r = max|log π̂ − log BR(π̂)|: J(π̂, π) = ½ + τ KL(π‖BR(π̂)) − τ KL(π̂‖BR(π̂)) holds for
    every π̂, and exchanging BR(π̂) for π̂ in the middle term changes it by at most τ r. The gap is
    at most τ r itself, so whatever passes as an equilibrium stays below twice the tolerance.
    """
    response = best_response(game, candidate)
    found = residual(game, candidate) + kl(game.weights, candidate, response)
    return min(game.temperature * found, 2.0 * EQUILIBRIUM_TOLERANCE)


def _draw_lopsided_duel(draws: Draws) -> Duel:
    """Draw a game without symmetry, and any two policies or its own two equilibrium policies."""
    game = draw_game(draws, draw_payoff, lambda draws: draws.logarithmic(_ITERATED_ABOVE, HOTTEST))
    if draws.chance(2):
        row, column = (draw_policy_of(draws, game) for _ in range(2))
    else:
        profile = nlhf.solve(as_zero_sum_game(game)).profile
        row, column = (policy.log_probabilities for policy in profile)
    return Duel(game, row, column, game.temperature)


def _draw_tied_duel(draws: Draws) -> Duel:
    game = draw_game(draws, lambda _, x, n: np.full((x, n, n), 0.5), lambda _: 0.0)
    row, column = (draw_policy_of(draws, game) for _ in range(2))
    return Duel(game, row, column, 0.0)


NE_UNIQUE_SYMMETRIC = Theorem(
    key="ne-unique-symmetric",
    statement=(
        r"the game has exactly one equilibrium; both players play the same \pi^* in it, and"
        r" \tau KL(\pi\|\pi^*) + \tau KL(\rho\|\pi^*) \le"
        r" \max_{\pi'} J(\pi',\rho) - \min_{\rho'} J(\pi,\rho') for all \pi, \rho"
    ),
    sources=(
        Citation("ye2024", "as commonly stated"),
        Citation("munos2023", "as commonly stated"),
        Citation("mckelvey1995", "logit equilibrium, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)),
        Hypothesis("positive-temperature", r"\tau > 0", lambda x: x.game.temperature > 0.0),
    ),
    margin=_ne_unique_symmetric,
    instances=instances(lambda draws: draw_duel(draws, zeros=False)),
    controls={
        COMPLEMENTARY: instances(_draw_lopsided_duel),
        "positive-temperature": instances(_draw_tied_duel),
    },
    coordinates=DUEL_COORDINATES,
)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A game, a candidate for its equilibrium, and another policy."""

    game: Game
    candidate: Logs
    policy: Logs


def draw_candidate(draws: Draws, zeros: bool = True) -> Candidate:
    """Draw a game, solve it, and draw a policy, anywhere or close to the equilibrium."""
    game = draw_game(draws)
    best = equilibrium(game)
    near = draws.chance(2)
    policy = _near(draws, best) if near else draw_policy_of(draws, game, zeros=zeros)
    return Candidate(game, best, policy)


def draw_wrong_candidate(draws: Draws) -> Candidate:
    """Draw a game, a policy close to its equilibrium, and another one as the candidate."""
    game = draw_game(draws)
    return Candidate(game, draw_policy_of(draws, game), _near(draws, equilibrium(game)))


def draw_agreeing_candidate(draws: Draws) -> Candidate:
    """Draw a game that rewards agreement, a policy that is a best response to itself, and one near.

    The payoff P is not complementary: its symmetric part pulls a best response towards the
    policy that is responded to.
    """
    contexts, responses = draw_sizes(draws)
    matrix = 0.5 * draw_payoff(draws, contexts, responses) + 0.5 * np.eye(responses)
    reference = log_normalise(draws.array((contexts, responses), -1.0, 0.0))
    game = Game(matrix, reference, draws.between(1.0, 2.0), draw_weights(draws, contexts))
    candidate = fixed_point(game)
    return Candidate(game, candidate, _near(draws, candidate))


def _near(draws: Draws, policy: Logs) -> Logs:
    shift = draws.array(policy.shape, -1.0, 1.0)
    return log_normalise(policy + draws.one_of((0.01, 0.1)) * shift)


def candidate_at(instance: Candidate, vector: Float[np.ndarray, "coordinate"]) -> Candidate:
    """Return the instance at a vector of coordinates; its game is solved again."""
    game, (policy,) = decode(instance.game, vector)
    return Candidate(game, equilibrium(game), policy)


CANDIDATE_COORDINATES: Coordinates[Candidate] = Coordinates(
    lambda x: encode(x.game, x.policy), candidate_at
)

CANDIDATE_HYPOTHESES: tuple[Hypothesis[Candidate], ...] = (
    Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)),
    Hypothesis(
        "equilibrium",
        r"\pi^* = BR(\pi^*), with BR(\pi) \propto \mu e^{P\pi/\tau}",
        lambda x: is_fixed_point(x.game, x.candidate),
    ),
)

CANDIDATE_CONTROLS = {
    COMPLEMENTARY: instances(draw_agreeing_candidate),
    "equilibrium": instances(draw_wrong_candidate),
}


def _ne_dominance(instance: Candidate) -> Margin:
    game, best, policy = instance.game, instance.candidate, instance.policy
    return Margin.equal(
        value(game, best, policy),
        VALUE + game.temperature * kl(game.weights, policy, best),
        scale=size(game, best, policy),
        rounding=error(game, best, policy) + equilibrium_error(game, best),
    )


NE_DOMINANCE = Theorem(
    key="ne-dominance",
    statement=r"J(\pi^*,\pi) = \tfrac12 + \tau KL(\pi\|\pi^*) for all \pi",
    sources=(Citation("ye2024", "as commonly stated"),),
    hypotheses=CANDIDATE_HYPOTHESES,
    margin=_ne_dominance,
    instances=instances(draw_candidate),
    controls=CANDIDATE_CONTROLS,
    constants={"value": VALUE},
    coordinates=CANDIDATE_COORDINATES,
)

ALL = (SYMMETRIC_VALUE, NE_UNIQUE_SYMMETRIC, NE_DOMINANCE)
