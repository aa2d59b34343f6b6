"""Published names of one map: updates as their papers print them, against ours."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.numerics import log_normalise
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import Game, Logs, depth, row_payoff
from .draws import Draws, instances
from .instances import draw_game, draw_policy_of
from .recursions import (
    Iterates,
    extragradient_step,
    is_shipped,
    iterates,
    log_rounding,
    mirror_step,
    shipped,
)

STEPS = 4

_LONGEST = 2.0

Weights = tuple[Fraction, Fraction, Fraction]
"""Coefficients of log π_k, of log μ and of the payoffs in log π_{k+1}."""


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A game, a start, a textbook step s and our η, the inverse strength, as rational numbers."""

    game: Game
    start: Logs
    textbook: Fraction
    step_size: Fraction

    @property
    def tau(self) -> Fraction:
        """The temperature."""
        return Fraction(self.game.temperature)


def ours(x: Named) -> Weights:
    """Return the weights of prox(P·, {π_k: 1/η}): (1/η, τ, 1)/(1/η + τ)."""
    strength = 1 / x.step_size
    total = strength + x.tau
    return strength / total, x.tau / total, 1 / total


def textbook_omd(x: Named) -> Weights:
    """Return those of online mirror descent and EGPO: π^{1−sτ} μ^{sτ} e^{sP·}."""
    return 1 - x.textbook * x.tau, x.textbook * x.tau, x.textbook


def inpo(x: Named) -> Weights:
    """Return those of INPO, whose η_I is 1/s: e^{P·/η_I} μ^{τ/η_I} π^{1−τ/η_I}."""
    inverse = 1 / x.textbook
    return 1 - x.tau / inverse, x.tau / inverse, 1 / inverse


def magnetic(x: Named) -> Weights:
    """Return those of magnetic mirror descent and MPO: (π μ^{ητ} e^{ηP·})^{1/(1+ητ)}."""
    share = 1 / (1 + x.step_size * x.tau)
    return share, x.step_size * x.tau * share, x.step_size * share


def mirror_prox(x: Named) -> Weights:
    """Return those of Nash Mirror Prox, whose η is our ητ and β our τ.

    (μ^β π^{β/η} e^{P·})^{1/(β+β/η)}.
    """
    beta, eta = x.tau, x.step_size * x.tau
    share = 1 / (beta + beta / eta)
    return beta / eta * share, beta * share, share


PRINTED = (textbook_omd, inpo, magnetic, mirror_prox)


def update(game: Game, origin: Logs, opponent: Logs, weights: Weights) -> Logs:
    """Return the log-linear update with these weights, against an opponent."""
    own, reference, payoff = (float(w) for w in weights)
    against = row_payoff(game, opponent)
    return log_normalise(own * origin + reference * game.log_reference + payoff * against)


def _one_step(x: Named, weights: Weights) -> Iterates:
    return iterates(x.start, lambda z, _: update(x.game, z, z, weights), STEPS)


def _two_steps(x: Named, weights: Weights) -> Iterates:
    def step(z: Logs, _: int) -> Logs:
        return update(x.game, z, update(x.game, z, z, weights), weights)

    return iterates(x.start, step, STEPS)


Run = Callable[[Named, Weights], Iterates]


def _published_aliases(x: Named) -> Margin:
    """Margins in nats.

    In sup norm an error of log-probabilities grows at most by 1 + 2sL < 1 + s, up to a constant,
    in every evaluation of the payoffs.
    """
    exact = max(abs(a - b) for name in PRINTED for a, b in zip(name(x), ours(x), strict=True))
    eta, game = float(x.step_size), x.game
    growth = (2.0 + 2.0 * max(float(x.textbook), eta)) ** (2 * STEPS)
    descent = iterates(x.start, lambda z, _: mirror_step(game, z, eta), STEPS)
    extra = iterates(x.start, lambda z, _: extragradient_step(game, z, eta), STEPS)
    allowed = log_rounding(game, descent, extra) * growth
    scale = depth(descent, extra)

    def same(found: Iterates, run: Run, names: tuple[Callable[[Named], Weights], ...]) -> Margin:
        off = max(float(np.abs(found - run(x, name(x))).max()) for name in names)
        return Margin.equal(off, 0.0, scale=scale, rounding=allowed)

    one, two = (textbook_omd, inpo, magnetic), (textbook_omd, mirror_prox)
    parts = {
        "weights, rational": Margin.equal(float(exact), 0.0, scale=1.0, rounding=0.0),
        "mirror descent": same(descent, _one_step, one),
        "extragradient": same(extra, _two_steps, two),
    }
    if is_shipped(game):
        found = shipped(game, MirrorDescent(eta, unproven=True), x.start, STEPS)
        parts["mirror descent, shipped"] = same(found, _one_step, one)
        found = shipped(game, Extragradient(eta, unproven=True), x.start, STEPS)
        parts["extragradient, shipped"] = same(found, _two_steps, two)
    return Margin.every(parts)


def _draw_named(draws: Draws) -> Named:
    game = draw_game(draws)
    tau = Fraction(game.temperature)
    longest = min(_LONGEST, 1.0 / game.temperature)
    textbook = Fraction(draws.between(0.01, 0.5) * longest)
    start = draw_policy_of(draws, game)
    return Named(game, start, textbook, textbook / (1 - textbook * tau))


def _draw_unconverted(draws: Draws) -> Named:
    x = _draw_named(draws)
    return Named(x.game, x.start, x.textbook, x.textbook)


PUBLISHED_ALIASES = Theorem(
    key="published-aliases",
    statement=(
        r"with \eta = s/(1-s\tau) the updates \pi^{1-s\tau}\mu^{s\tau}e^{sP\pi} (OMD),"
        r" e^{P\pi/\eta_I}\mu^{\tau/\eta_I}\pi^{1-\tau/\eta_I} at \eta_I = 1/s (INPO) and"
        r" (\pi\mu^{\eta\tau}e^{\eta P\pi})^{1/(1+\eta\tau)} (MMD, MPO) are mirror descent, and"
        r" two steps of EGPO or Nash Mirror Prox are extragradient, iterate for iterate"
    ),
    sources=(
        Citation("sokota2022", "update"),
        Citation("wang2024", "update of the inner step"),
        Citation("zhang2024", "update"),
        Citation("zhou2025", "update"),
        Citation("tiapkin2025", "update"),
    ),
    hypotheses=(
        Hypothesis(
            "conversion",
            r"\eta = s/(1-s\tau), 0 < s\tau < 1",
            lambda x: (
                0 < x.textbook * x.tau < 1 and x.step_size == x.textbook / (1 - x.textbook * x.tau)
            ),
        ),
    ),
    margin=_published_aliases,
    instances=instances(_draw_named),
    controls={"conversion": instances(_draw_unconverted)},
)

ALL = (PUBLISHED_ALIASES,)
