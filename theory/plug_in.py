"""The gap of the equilibrium of an estimated preference, played in the true game."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.numerics import log_normalise
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .definitions import (
    Game,
    Logs,
    Payoffs,
    Weights,
    column_payoff,
    error,
    relative,
    size,
    tilt,
    value,
)
from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT, VALUE, equilibrium_error
from .instances import (
    as_zero_sum_game,
    decode,
    draw_game,
    draw_payoff,
    draw_policy_of,
    draw_preference,
    encode,
    equilibrium,
    is_complementary,
    is_fixed_point,
    is_probability,
)

RANGE_FACTOR = 1 / 8
COVERAGE_FACTOR = 1 / 2
COVERAGE_EXPONENT = 2.0

_NODES = 16
_LARGEST_EXPONENT = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class PlugIn:
    """A true game, an estimate of its preference, and a candidate for the estimate's equilibrium.

    The estimated game has the reference, temperature and weights of the true one.
    """

    game: Game
    estimate: Payoffs
    candidate: Logs

    @property
    def estimated(self) -> Game:
        """The estimated game."""
        true = self.game
        return Game(self.estimate, true.log_reference, true.temperature, true.weights)


def variance_integral(log_policy: Logs, gain: Logs, temperature: float) -> Weights:
    r"""Return ∫₀¹ (1 − s) Var_{π_s}(Δ) ds per context, with π_s ∝ π e^{−sΔ/τ}.

    Gauss-Legendre with 16 nodes on intervals no longer than 2τ/range. The integrand is analytic
    where E_π e^{−zΔ/τ} has no zero, that is for |Im z| < πτ/range, since there all terms lie in
    a half-plane. In units of half an interval the ellipse of semi-minor axis 2 lies inside, its
    parameter is ρ = 2 + √5, and on it |Var| ≤ range²/cos²(1) < 4 range². So the relative
    error is below 64/15 · 4 · ρ⁻³² < 1e-18, less than the rounding of the sum.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    spread = float((gain.max(axis=-1) - gain.min(axis=-1)).max())
    pieces = max(1, ceil(spread / (2.0 * temperature)))
    ends = np.linspace(0.0, 1.0, pieces + 1)
    s = (ends[:-1, None] + (nodes + 1.0) / (2.0 * pieces)).ravel()
    logits = log_policy - s[:, None, None] * (gain - gain.min(axis=-1, keepdims=True)) / temperature
    tilted = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    mean = (tilted * gain).sum(axis=-1, keepdims=True)
    variance = (tilted * (gain - mean) ** 2).sum(axis=-1)
    factor = (1.0 - s) * np.tile(weights, pieces) / (2.0 * pieces)
    return np.asarray(factor @ variance)


def _plug_in_identity(instance: PlugIn) -> Margin:
    game, policy, tau = instance.game, instance.candidate, instance.game.temperature
    difference = instance.estimate - game.payoff
    gain = np.einsum("xab,xb->xa", difference, np.exp(policy))
    punisher = tilt(game.log_reference, -column_payoff(game, policy), tau)
    gap = VALUE - value(game, policy, punisher)
    integral = float(game.weights @ variance_integral(policy, gain, tau)) / tau
    spread = gain.max(axis=-1) - gain.min(axis=-1)
    reference = np.exp(game.log_reference)
    squared = np.einsum("xa,xab,xb->x", reference, difference**2, reference)
    growth = float(np.exp(min(COVERAGE_EXPONENT / tau, _LARGEST_EXPONENT)))
    # An estimate's equilibrium that is off by τ r in its own game shifts Δ by as much.
    allowed = error(game, policy, punisher) + 2.0 * equilibrium_error(instance.estimated, policy)
    by_range = RANGE_FACTOR * float(game.weights @ spread**2) / tau
    by_coverage = COVERAGE_FACTOR * growth * float(game.weights @ squared) / tau
    return Margin.every(
        {
            "identity": Margin.equal(gap, integral, scale=size(game, policy), rounding=allowed),
            "range bound": relative(gap, by_range, allowed),
            "coverage bound": relative(gap, by_coverage, allowed),
        }
    )


def _estimate(draws: Draws, truth: Payoffs) -> Payoffs:
    """Draw an estimate: unrelated, or the truth moved a little."""
    if draws.chance(2):
        return draw_preference(draws, truth.shape[0], truth.shape[1])
    amount = draws.one_of((2.0**-10, 2.0**-4, 2.0**-2))
    noise = np.where(draw_preference(draws, truth.shape[0], truth.shape[1]) > 0.5, amount, -amount)
    above = np.triu(np.clip(truth + noise, 0.0, 1.0), 1)
    return above + np.tril(1.0 - np.swapaxes(above, 1, 2), -1) + 0.5 * np.eye(truth.shape[1])


def solved(game: Game, estimate: Payoffs) -> PlugIn:
    """Return the instance whose candidate is the equilibrium of the estimate."""
    estimated = Game(estimate, game.log_reference, game.temperature, game.weights)
    return PlugIn(game, estimate, equilibrium(estimated))


def draw_plug_in(draws: Draws) -> PlugIn:
    """Draw a game and an estimate of it, and solve the estimate."""
    game = draw_game(draws)
    return solved(game, _estimate(draws, game.payoff))


def _draw_lopsided(draws: Draws) -> PlugIn:
    game = draw_game(draws, draw_payoff)
    contexts, responses = game.log_reference.shape
    return solved(game, draw_preference(draws, contexts, responses))


def _draw_wrong(draws: Draws) -> PlugIn:
    game = draw_game(draws)
    return PlugIn(game, _estimate(draws, game.payoff), draw_policy_of(draws, game))


def _draw_out_of_range(draws: Draws) -> PlugIn:
    """Two responses; the estimate lifts the one that the reference hardly plays to one half."""
    rare = draws.logarithmic(1e-9, 1e-4)
    tau = draws.between(0.5, 2.0)
    lift = round(tau * float(np.log((1.0 - rare) / rare)) * 1024) / 1024
    wrong = draws.between(64.0, 512.0, steps=448) / 1024
    reference = log_normalise(np.log([[1.0 - rare, rare]]))

    def preference(advantage: float) -> Payoffs:
        return np.array([[[0.5, 0.5 - advantage], [0.5 + advantage, 0.5]]])

    estimated = Game(preference(lift), reference, tau, np.ones(1))
    row, _ = nlhf.solve(as_zero_sum_game(estimated)).profile
    game = Game(preference(lift - wrong), reference, tau, np.ones(1))
    return PlugIn(game, estimated.payoff, row.log_probabilities)


def _vector(instance: PlugIn) -> Float[np.ndarray, "coordinate"]:
    above = np.triu_indices(instance.estimate.shape[-1], 1)
    return np.append(encode(instance.game), instance.estimate[:, above[0], above[1]])


def _at(instance: PlugIn, vector: Float[np.ndarray, "coordinate"]) -> PlugIn:
    contexts, responses = instance.game.log_reference.shape
    pairs = contexts * responses * (responses - 1) // 2
    game, _ = decode(instance.game, vector[:-pairs])
    # The same coordinates with the estimate's preferences in the place of the true ones.
    estimated, _ = decode(instance.game, np.append(vector[-pairs:], vector[pairs:-pairs]))
    return solved(game, estimated.payoff)


PLUG_IN_IDENTITY = Theorem(
    key="plug-in-identity",
    statement=(
        r"gap(NE(\hat P)) = \tfrac1\tau\int_0^1 (1-s)\,Var_{\pi_s}(\Delta)\,ds with"
        r" \Delta(a) = E_{a'\sim\hat\pi}(\hat P - P)(a,a') and"
        r" \pi_s \propto \hat\pi e^{-s\Delta/\tau}; hence gap \le range(\Delta)^2/(8\tau) and"
        r" gap \le \tfrac1{2\tau} e^{2/\tau} E_{\mu\times\mu}(\hat P - P)^2"
    ),
    sources=(Citation("wu2025", "fast rate of greedy sampling, as commonly stated"),),
    hypotheses=(
        Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)),
        Hypothesis(
            "range",
            r"0 \le P, \hat P \le 1",
            lambda x: is_probability(x.game.payoff) and is_probability(x.estimate),
        ),
        Hypothesis(
            "equilibrium",
            r"\hat\pi \propto \mu e^{\hat P\hat\pi/\tau}",
            lambda x: is_fixed_point(x.estimated, x.candidate),
        ),
    ),
    margin=_plug_in_identity,
    instances=instances(draw_plug_in),
    controls={
        COMPLEMENTARY: instances(_draw_lopsided),
        "range": instances(_draw_out_of_range),
        "equilibrium": instances(_draw_wrong),
    },
    constants={
        "range-factor": RANGE_FACTOR,
        "coverage-factor": COVERAGE_FACTOR,
        "coverage-exponent": COVERAGE_EXPONENT,
    },
    coordinates=Coordinates(_vector, _at),
)

ALL = (PLUG_IN_IDENTITY,)
