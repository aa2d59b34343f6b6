"""Nash-MD: its rate with a decaying step, and what a constant step converges to."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float

from nlhf.algorithms.nash_md import NashMD
from nlhf.numerics import log_normalise
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .definitions import Game, Logs, error, improvement, relative, residual, row_payoff, tilt
from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT
from .instances import (
    EQUILIBRIUM_TOLERANCE,
    decode,
    draw_game,
    draw_policy_of,
    encode,
    equilibrium,
    is_complementary,
    is_fixed_point,
)
from .linear_rates import draw_agreeing_run, draw_cycle, draw_near
from .recursions import (
    Distances,
    Iterates,
    below,
    decreasing,
    distances,
    half_range,
    is_shipped,
    iterates,
    log_rounding,
    mixture,
    nash_md_step,
    nearest,
    shipped,
)

CITED = 8.0
"""KL(π*‖π_T) ≤ 8/(τ²(T+1)) where payoffs are win probabilities: 32 L² at L = 1/2."""

SHARPENED = 2.0
"""KL(π*‖π_T) ≤ 2L²/(τ²(T+1)), sixteen times less."""

DRIFT = 0.5
"""One step adds at most s²L²/2."""

BIAS = 1 / 32
"""Exploitability of the fixed point over m²/τ³ at L = 1/2: L⁴/2."""

LIPSCHITZ = 0.5
"""L where payoffs are win probabilities."""

_ITERATIONS = (1, 3, 10, 40)
_SHIPPED = 10


@dataclass(frozen=True, slots=True, eq=False)
class NashMdRun:
    """A game, a candidate for its equilibrium, a start, and the mixing weights m_t = s_t τ."""

    game: Game
    candidate: Logs
    start: Logs
    mixing: Float[np.ndarray, "iteration"]


def decaying(iterations: int) -> Float[np.ndarray, "iteration"]:
    """Return m_t = 2/(t + 2), the weights of the step 2/(τ(t + 2))."""
    return 2.0 / (np.arange(iterations) + 2.0)


def _bounds(game: Game, iterations: int, constant: float) -> Distances:
    times = np.arange(iterations + 1.0)
    return Distances(
        constant * (half_range(game) / game.temperature) ** 2 / (times + 1.0), 0.0 * times
    )


def _one_step(run: NashMdRun, found: Distances) -> Margin:
    """Return the margin of KL_{t+1} ≤ (1 − m)KL_t + s²L²/2, at the worst step."""
    drift = DRIFT * (run.mixing * half_range(run.game) / run.game.temperature) ** 2
    value, off, stay = found.values, found.errors, 1.0 - run.mixing
    return nearest(
        [
            relative(value[t + 1], stay[t] * value[t] + drift[t], off[t + 1] + off[t])
            for t in range(run.mixing.size)
        ]
    )


def _nash_md_rate(run: NashMdRun) -> Margin:
    game, count = run.game, run.mixing.size
    found = distances(game, run.candidate, _nash_md(game, run.start, run.mixing))
    parts = {
        "as cited": below(found, _bounds(game, count, CITED / LIPSCHITZ**2)),
        "sharpened": below(found, _bounds(game, count, SHARPENED)),
        "one step": _one_step(run, found),
    }
    if is_shipped(game):
        count = min(count, _SHIPPED)
        found = distances(game, run.candidate, shipped(game, NashMD(), run.start, count))
        parts["sharpened, shipped"] = below(found, _bounds(game, count, SHARPENED))
    return Margin.every(parts)


def _nash_md(game: Game, start: Logs, mixing: Float[np.ndarray, "iteration"]) -> Iterates:
    return iterates(start, lambda z, t: nash_md_step(game, z, float(mixing[t])), mixing.size)


def _draw_nash_md(draws: Draws) -> NashMdRun:
    game = draw_game(draws)
    mixing = decaying(draws.one_of(_ITERATIONS))
    return NashMdRun(game, equilibrium(game), draw_policy_of(draws, game), mixing)


def _draw_wrong(draws: Draws) -> NashMdRun:
    game = draw_game(draws, temperature=lambda draws: draws.between(1.0, 5.0))
    wrong = draw_policy_of(draws, game)
    return NashMdRun(game, wrong, draw_policy_of(draws, game), decaying(_ITERATIONS[-1]))


def _draw_agreeing(draws: Draws) -> NashMdRun:
    """Draw a game that rewards agreement, with a reference that makes any policy a fixed point."""
    run = draw_agreeing_run(draws, half_range)
    best, tau = draw_near(draws, run.candidate), run.game.temperature
    reference = tilt(best, -row_payoff(run.game, best), tau)
    game = Game(run.game.payoff, reference, tau, run.game.weights)
    return NashMdRun(game, best, reference, decaying(100))


def _draw_constant(draws: Draws) -> NashMdRun:
    """Draw a cycle with an uneven reference, and mixing weights that do not decay."""
    count = draws.one_of((40, 120, 400))
    cycle = draw_cycle(draws, draws.between(0.06, 0.12))
    reference = log_normalise(draws.array(cycle.log_reference.shape, -4.0, 0.0))
    game = Game(cycle.payoff, reference, cycle.temperature, cycle.weights)
    mixing = np.full(count, draws.between(0.8, 0.95))
    return NashMdRun(game, equilibrium(game), reference, mixing)


def _nash_md_at(run: NashMdRun, vector: Float[np.ndarray, "coordinate"]) -> NashMdRun:
    game, (start,) = decode(run.game, vector)
    return NashMdRun(game, equilibrium(game), start, run.mixing)


NASH_MD_RATE = Theorem(
    key="nash-md-rate",
    statement=(
        r"\pi_{t+1} \propto \pi_t^m e^{s_t P\pi_t^m} with \pi_t^m \propto \pi_t^{1-m_t}\mu^{m_t},"
        r" m_t = s_t\tau, has KL(\pi^*\|\pi_{t+1}) \le (1-m_t)KL(\pi^*\|\pi_t) + s_t^2L^2/2;"
        r" for s_t = 2/(\tau(t+2)), KL(\pi^*\|\pi_T) \le 2L^2/(\tau^2(T+1)), where L \le 1/2 is"
        r" half the range of P, and so 8/(\tau^2(T+1)), which is cited"
    ),
    sources=(Citation("munos2023", "as commonly stated"),),
    hypotheses=(
        Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)),
        Hypothesis(
            "equilibrium",
            r"\pi^* \propto \mu e^{P\pi^*/\tau}",
            lambda x: is_fixed_point(x.game, x.candidate),
        ),
        Hypothesis(
            "decaying-step",
            r"s_t = 2/(\tau(t+2))",
            lambda x: bool((x.mixing == decaying(x.mixing.size)).all()),
        ),
    ),
    margin=_nash_md_rate,
    instances=instances(_draw_nash_md),
    controls={
        COMPLEMENTARY: instances(_draw_agreeing),
        "equilibrium": instances(_draw_wrong),
        "decaying-step": instances(_draw_constant),
    },
    constants={"cited": CITED, "sharpened": SHARPENED, "drift": DRIFT},
    coordinates=Coordinates(lambda run: encode(run.game, run.start), _nash_md_at),
)


@dataclass(frozen=True, slots=True, eq=False)
class Biased:
    """A game, a mixing weight m = sτ, a candidate for the fixed point, and a start."""

    game: Game
    mixing: float
    fixed: Logs
    start: Logs

    @property
    def hotter(self) -> Game:
        """The game at temperature τ/(1 − m)."""
        tau = self.game.temperature / (1.0 - self.mixing)
        return Game(self.game.payoff, self.game.log_reference, tau, self.game.weights)


def _off(instance: Biased) -> float:
    """Return max|log π − log(μ e^{Pπ^m/τ}/Z)|, zero at a fixed point."""
    game = instance.game
    mixed = mixture(game, instance.fixed, instance.mixing)
    ahead = tilt(game.log_reference, row_payoff(game, mixed), game.temperature)
    return float(np.abs(instance.fixed - ahead).max())


def _bias_bound(instance: Biased, off: float) -> float:
    """Return the bound on the exploitability of a point that is fixed within `off`."""
    game, m = instance.game, instance.mixing
    lipschitz, tau = half_range(game), game.temperature
    away = m * (lipschitz / tau + off)  # ‖π^m − π‖₁
    return tau * (2.0 * lipschitz * away / tau + 2.0 * off) ** 2 / 8.0


def _nash_md_bias(instance: Biased) -> Margin:
    game, m, fixed, hotter = instance.game, instance.mixing, instance.fixed, instance.hotter
    tau = game.temperature
    rounded = log_rounding(game, fixed) * (1.0 + 1.0 / tau)
    off = min(_off(instance) + rounded, EQUILIBRIUM_TOLERANCE / tau)
    mixed = mixture(game, fixed, m)
    unevenness = hotter.temperature * residual(hotter, mixed)
    bound = _bias_bound(instance, 0.0)
    allowed = error(game, fixed) + _bias_bound(instance, off) - bound
    policies = _nash_md(game, instance.start, np.full(_SHIPPED, m))
    mixtures = np.stack([mixture(game, policy, m) for policy in policies])
    parts = {
        "hotter equilibrium": Margin.equal(
            unevenness,
            0.0,
            scale=1.0 + hotter.temperature,
            rounding=2.0 * tau * off + hotter.temperature * rounded,
        ),
        "exploitability": relative(improvement(game, fixed), bound, allowed),
        "mixtures converge": decreasing(distances(hotter, mixed, mixtures), 1.0 / (1.0 - m)),
    }
    if is_shipped(game):
        again = shipped(game, NashMD(m / tau), fixed, 1)[1]
        moved = tau * float(np.abs(again - fixed).max())
        parts["fixed, shipped"] = Margin.equal(
            moved, 0.0, scale=1.0 + tau, rounding=2.0 * tau * (off + rounded)
        )
    return Margin.every(parts)


def longest(game: Game, times: float) -> float:
    """Return the smallest m with m(1 − m) L² = `times` τ², or 1/2 if every m is below."""
    lipschitz = half_range(game)
    product = times * (game.temperature / lipschitz) ** 2 if lipschitz > 0.0 else 1.0
    return (1.0 - sqrt(max(0.0, 1.0 - 4.0 * product))) / 2.0


def biased(game: Game, mixing: float, start: Logs) -> Biased:
    """Return the instance at its fixed point, the best response to the hotter equilibrium."""
    hotter = Biased(game, mixing, start, start).hotter
    mixed = equilibrium(hotter)
    fixed = tilt(game.log_reference, row_payoff(game, mixed), game.temperature)
    return Biased(game, mixing, fixed, start)


def _draw_biased(draws: Draws) -> Biased:
    game = draw_game(draws)
    mixing = draws.logarithmic(0.01, 1.0) * longest(game, 1.0)
    if draws.chance(2) and half_range(game) < 2.0 * game.temperature:
        mixing = draws.between(0.01, 0.99)  # every mixing weight is within the condition
    return biased(game, mixing, _start(draws, game))


def _start(draws: Draws, game: Game) -> Logs:
    return draw_near(draws, equilibrium(game)) if draws.chance(2) else draw_policy_of(draws, game)


def _draw_unfixed(draws: Draws) -> Biased:
    game = draw_game(draws, temperature=lambda draws: draws.logarithmic(0.3, 3.0))
    wrong = draw_policy_of(draws, game)
    return Biased(game, 0.5 * longest(game, 1.0), wrong, draw_near(draws, wrong))


def _draw_agreeing_bias(draws: Draws) -> Biased:
    run = draw_agreeing_run(draws, half_range)
    return Biased(run.game, longest(run.game, 1.0), run.candidate, run.start)


def _draw_long_step(draws: Draws) -> Biased:
    game = draw_cycle(draws, draws.logarithmic(0.02, 0.1))
    instance = biased(game, longest(game, 4.0), game.log_reference)
    return Biased(game, instance.mixing, instance.fixed, draw_near(draws, instance.fixed))


def _biased_at(instance: Biased, vector: Float[np.ndarray, "coordinate"]) -> Biased:
    game, (start,) = decode(instance.game, vector)
    mixing = min(instance.mixing, longest(game, 1.0)) or 0.5
    return biased(game, mixing, start)


NASH_MD_BIAS = Theorem(
    key="nash-md-constant-step-bias",
    statement=(
        r"with a constant step s, m = s\tau, the fixed point is \pi \propto \mu e^{P\pi^m/\tau};"
        r" its mixture \pi^m \propto \pi^{1-m}\mu^m is the equilibrium at temperature \tau/(1-m);"
        r" its exploitability is at most L^4m^2/(2\tau^3), m^2/(32\tau^3) for L = 1/2; and"
        r" KL(\pi^m\|\pi_k^m) \le (1-m)^k KL(\pi^m\|\pi_0^m) if m(1-m)L^2 \le \tau^2"
    ),
    sources=(Citation("munos2023", "the method"),),
    hypotheses=(
        Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)),
        Hypothesis(
            "fixed-point",
            r"\pi \propto \mu e^{P\pi^m/\tau}",
            lambda x: x.game.temperature * _off(x) <= EQUILIBRIUM_TOLERANCE,
        ),
        Hypothesis(
            "step",
            r"m(1-m)L^2 \le \tau^2",
            lambda x: (
                x.mixing * (1.0 - x.mixing) * half_range(x.game) ** 2
                <= x.game.temperature**2 * (1.0 + 1e-12)
            ),
        ),
    ),
    margin=_nash_md_bias,
    instances=instances(_draw_biased),
    controls={
        COMPLEMENTARY: instances(_draw_agreeing_bias),
        "fixed-point": instances(_draw_unfixed),
        "step": instances(_draw_long_step),
    },
    constants={"bias": BIAS},
    coordinates=Coordinates(lambda x: encode(x.game, x.start), _biased_at),
)

ALL = (NASH_MD_RATE, NASH_MD_BIAS)
