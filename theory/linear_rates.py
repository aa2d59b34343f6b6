"""Linear rates: mirror descent, extragradient and optimistic mirror descent at τ > 0."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.optimistic import OptimisticMirrorDescent
from nlhf.numerics import kl_divergence, log_normalise
from nlhf.protocols import Algorithm
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Strategy, Theorem

from .definitions import Game, Logs, relative
from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT
from .gap import tied_game
from .instances import (
    decode,
    draw_game,
    draw_policy_of,
    encode,
    equilibrium,
    is_complementary,
    is_fixed_point,
)
from .recursions import (
    Distances,
    Iterates,
    below,
    decreasing,
    distances,
    extragradient_step,
    geometric,
    half_range,
    is_shipped,
    iterates,
    log_rounding,
    mirror_step,
    optimistic,
    shipped,
)

STEPS = 24
SHIPPED_STEPS = 6

MIRROR_STEP = 4.0
"""Mirror descent contracts for η ≤ 4τ, where payoffs are win probabilities: 1/L² at L = 1/2."""

EXTRAGRADIENT_STEP = 2.0
"""Extragradient contracts for η ≤ 2: 1/L at L = 1/2."""

POTENTIAL = sqrt(2.0) - 1.0
"""The weight of the second term of the optimistic potential, and its largest ηL."""

FIRST_STEP = 4 / 3
"""What the first step may add to the potential if nothing is predicted: 1.331…, rounded up."""

LONG = 4.0
"""Times the proven step of mirror descent: the control, 16τ."""

TOO_LONG = 2.0
"""Times 1/L: the control of the other two, η = 4."""

COLD = 0.01
"""The temperature of that control."""

_JUST_BELOW = 1.0 - 2.0**-20


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A game, a candidate for its equilibrium, a start and a step size η."""

    game: Game
    candidate: Logs
    start: Logs
    step_size: float


def mirror_limit(game: Game) -> float:
    """Return τ/L², the largest step of mirror descent."""
    lipschitz = half_range(game)
    return game.temperature / lipschitz**2 if lipschitz > 0.0 else inf


def extragradient_limit(game: Game) -> float:
    """Return 1/L, the largest step of extragradient."""
    lipschitz = half_range(game)
    return 1.0 / lipschitz if lipschitz > 0.0 else inf


def optimistic_limit(game: Game) -> float:
    """Return (√2 − 1)/L, the largest step of optimistic mirror descent."""
    return POTENTIAL * extragradient_limit(game)


Limit = Callable[[Game], float]


def _step(game: Game, limit: Limit, share: float) -> float:
    return share * min(limit(game), 1e3)


def draw_near(draws: Draws, policy: Logs) -> Logs:
    """Draw a policy at a distance of 0.01, 0.1 or 1 in its logarithms."""
    shift = draws.array(policy.shape, -1.0, 1.0)
    return log_normalise(policy + draws.one_of((0.01, 0.1, 1.0)) * shift)


def _draw_start(draws: Draws, game: Game, best: Logs) -> Logs:
    return draw_near(draws, best) if draws.chance(2) else draw_policy_of(draws, game)


def draw_run(draws: Draws, limit: Limit) -> Run:
    """Draw a game, its equilibrium, a start anywhere or near it, and a step within the limit."""
    game = draw_game(draws)
    best = equilibrium(game)
    share = _JUST_BELOW if draws.chance(2) else draws.logarithmic(0.01, _JUST_BELOW)
    return Run(game, best, _draw_start(draws, game, best), _step(game, limit, share))


def draw_wrong_run(draws: Draws, limit: Limit) -> Run:
    """Draw a game, any policy as the candidate, and a start near that."""
    game = draw_game(draws)
    wrong = draw_policy_of(draws, game)
    return Run(game, wrong, draw_near(draws, wrong), _step(game, limit, _JUST_BELOW))


def draw_agreeing_run(draws: Draws, limit: Limit) -> Run:
    """Draw a game that rewards agreement, at its uniform fixed point, from which it is leaving."""
    responses = draws.one_of((2, 3, 4))
    reward = draws.between(0.1, 0.5)
    payoff = 0.5 + reward * (2.0 * np.eye(responses) - 1.0)[None]
    even = np.full((1, responses), -np.log(responses))
    temperature = draws.between(0.05, 0.4) * 2.0 * reward / responses
    game = Game(payoff, even, temperature, np.ones(1))
    return Run(game, even, draw_near(draws, even), _step(game, limit, _JUST_BELOW))


def draw_cycle(draws: Draws, temperature: float) -> Game:
    """Draw a cycle of an odd number of responses, in which each beats the half that follows."""
    responses = draws.one_of((3, 5, 7))
    behind = (np.arange(responses)[:, None] - np.arange(responses)) % responses
    wins = np.where(behind == 0, 0.5, (behind <= responses // 2).astype(float))
    reference = log_normalise(0.1 * draws.array((1, responses), -1.0, 1.0))
    return Game(wins[None], reference, temperature, np.ones(1))


def draw_long_run(draws: Draws, limit: Limit, times: float, coldest: float, hottest: float) -> Run:
    """Draw a cycle, a start near its equilibrium, and a step `times` the limit."""
    game = draw_cycle(draws, draws.logarithmic(coldest, hottest))
    best = equilibrium(game)
    return Run(game, best, draw_near(draws, best), _step(game, limit, times))


def run_coordinates(limit: Limit) -> Coordinates[Run]:
    """Return coordinates that keep the step's share of its limit and solve the game again."""

    def moved(run: Run, vector: Float[np.ndarray, "coordinate"]) -> Run:
        game, (start,) = decode(run.game, vector)
        share = run.step_size / _step(run.game, limit, 1.0)
        return Run(game, equilibrium(game), start, _step(game, limit, min(share, _JUST_BELOW)))

    return Coordinates(lambda run: encode(run.game, run.start), moved)


def run_hypotheses(limit: Limit, text: str) -> tuple[Hypothesis[Run], ...]:
    """Return the hypotheses of a linear rate."""
    return (
        Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)),
        Hypothesis(
            "equilibrium",
            r"\pi^* \propto \mu e^{P\pi^*/\tau}",
            lambda x: is_fixed_point(x.game, x.candidate),
        ),
        Hypothesis("step", text, lambda x: 0.0 < x.step_size <= limit(x.game)),
    )


def contraction(run: Run, policies: Iterates, algorithm: Algorithm[Any]) -> Margin:
    """Return the margins of the contraction at every step and of the rate from the start.

    The rate is also that of the package's own iterates, wherever it has the game.
    """
    factor = 1.0 + run.step_size * run.game.temperature
    found = distances(run.game, run.candidate, policies)
    parts = {
        "every step": decreasing(found, factor),
        "rate": below(found, geometric(found, factor)),
    }
    if is_shipped(run.game):
        found = distances(
            run.game, run.candidate, shipped(run.game, algorithm, run.start, SHIPPED_STEPS)
        )
        parts["rate, shipped"] = below(found, geometric(found, factor))
    return Margin.every(parts)


def tied_run() -> Run:
    """Return a game in which nothing is at stake, and a start that hardly plays a response."""
    game = tied_game()
    return Run(game, game.log_reference, log_normalise(np.array([[0.0, -2e4]])), 1.0)


def _mirror_descent(run: Run) -> Margin:
    policies = iterates(run.start, lambda z, _: mirror_step(run.game, z, run.step_size), STEPS)
    return contraction(run, policies, MirrorDescent(run.step_size, unproven=True))


def _extragradient(run: Run) -> Margin:
    policies = iterates(
        run.start, lambda z, _: extragradient_step(run.game, z, run.step_size), STEPS
    )
    return contraction(run, policies, Extragradient(run.step_size, unproven=True))


def _run_controls(limit: Limit, long_run: Strategy[Run]) -> dict[str, Strategy[Run]]:
    return {
        COMPLEMENTARY: instances(lambda draws: draw_agreeing_run(draws, limit)),
        "equilibrium": instances(lambda draws: draw_wrong_run(draws, limit)),
        "step": long_run,
    }


MIRROR_DESCENT_LINEAR = Theorem(
    key="mirror-descent-linear",
    statement=(
        r"z_{k+1} = prox(Pz_k, \{z_k: 1/\eta\}) has"
        r" KL(\pi^*\|z_k) \le (1+\eta\tau)^{-k} KL(\pi^*\|z_0) for \eta \le \tau/L^2, where L is"
        r" half the range of P: for \eta \le 4\tau where P is a probability"
    ),
    sources=(
        Citation("sokota2022", "as commonly stated"),
        Citation("wang2024", "as commonly stated"),
        Citation("liu2024", "as commonly stated"),
        Citation("zhang2024", "as commonly stated"),
    ),
    hypotheses=run_hypotheses(mirror_limit, r"0 < \eta \le \tau/L^2"),
    margin=_mirror_descent,
    instances=instances(lambda draws: draw_run(draws, mirror_limit)),
    controls=_run_controls(
        mirror_limit,
        instances(lambda draws: draw_long_run(draws, mirror_limit, LONG, COLD, 0.5)),
    ),
    sharp=(tied_run(),),
    constants={"step": MIRROR_STEP},
    coordinates=run_coordinates(mirror_limit),
)

EXTRAGRADIENT_LINEAR = Theorem(
    key="extragradient-linear",
    statement=(
        r"z_{k+1/2} = prox(Pz_k, \{z_k: 1/\eta\}), z_{k+1} = prox(Pz_{k+1/2}, \{z_k: 1/\eta\}) have"
        r" KL(\pi^*\|z_k) \le (1+\eta\tau)^{-k} KL(\pi^*\|z_0) for \eta \le 1/L, where L is half"
        r" the range of P: for \eta \le 2 where P is a probability"
    ),
    sources=(
        Citation("zhou2025", "as commonly stated"),
        Citation("tiapkin2025", "as commonly stated"),
    ),
    hypotheses=run_hypotheses(extragradient_limit, r"0 < \eta \le 1/L"),
    margin=_extragradient,
    instances=instances(lambda draws: draw_run(draws, extragradient_limit)),
    controls=_run_controls(
        extragradient_limit,
        instances(lambda draws: draw_long_run(draws, extragradient_limit, TOO_LONG, COLD, COLD)),
    ),
    sharp=(tied_run(),),
    constants={"step": EXTRAGRADIENT_STEP},
    coordinates=run_coordinates(extragradient_limit),
)


@dataclass(frozen=True, slots=True, eq=False)
class OptimisticRun:
    """A run whose start is the first centre, and the policy played before it."""

    run: Run
    before: Logs


def _potential(run: Run, centres: Iterates, before: Iterates) -> Distances:
    """Return Φ_k = KL(π*‖c_k) + (√2 − 1) KL(c_k‖z_{k−1}), the last argument being the z_{k−1}."""
    game = run.game
    first = distances(game, run.candidate, centres)
    second = kl_divergence(centres, before) @ game.weights
    # Moving logarithms by e moves KL(c‖z) by at most (e^e − 1)(E_c|log c/z| + e).
    shift = log_rounding(game, centres, before) * np.arange(1, len(centres) + 1)
    spread = (np.exp(centres) * np.abs(centres - before)).sum(axis=-1) @ game.weights
    errors = first.errors + POTENTIAL * np.expm1(shift) * (spread + shift)
    return Distances(first.values + POTENTIAL * second, errors)


def _optimistic(instance: OptimisticRun) -> Margin:
    run = instance.run
    game, tau, step_size = run.game, run.game.temperature, run.step_size
    factor, share = 1.0 + step_size * tau, POTENTIAL + step_size * tau
    centres, played = optimistic(game, run.start, instance.before, step_size, STEPS)
    potential = _potential(run, centres, np.concatenate([instance.before[None], played[:-1]]))
    found = distances(game, run.candidate, played)
    scaled = Distances(share * found.values, share * found.errors)
    parts = {
        "every step": decreasing(potential, factor),
        "played": below(scaled, potential),
        "rate": below(found, geometric(potential, factor, 1.0 / share)),
    }
    # Nothing predicted at first: the potential exists from the first step on.
    centres, played = optimistic(game, run.start, None, step_size, 1)
    after = _potential(run, centres, played[:1].repeat(2, axis=0))
    start = Distances(FIRST_STEP * after.values[:1], FIRST_STEP * after.errors[:1])
    parts["first step"] = relative(
        after.values[1], start.values[0], after.errors[1] + start.errors[0]
    )
    if is_shipped(game):
        algorithm = OptimisticMirrorDescent(step_size, unproven=True)
        found = distances(game, run.candidate, shipped(game, algorithm, run.start, SHIPPED_STEPS))
        parts["rate, shipped"] = below(found, geometric(found, factor, FIRST_STEP * factor / share))
    return Margin.every(parts)


def _of_the_run(hypothesis: Hypothesis[Run]) -> Hypothesis[OptimisticRun]:
    return Hypothesis(hypothesis.name, hypothesis.text, lambda x: hypothesis.holds(x.run))


def _with_before(draw: Callable[[Draws], Run]) -> Strategy[OptimisticRun]:
    def drawn(draws: Draws) -> OptimisticRun:
        run = draw(draws)
        before = run.start if draws.chance(2) else draw_near(draws, run.start)
        return OptimisticRun(run, before)

    return instances(drawn)


def _optimistic_coordinates() -> Coordinates[OptimisticRun]:
    plain = run_coordinates(optimistic_limit)

    def vector(instance: OptimisticRun) -> Float[np.ndarray, "coordinate"]:
        return np.append(plain.to_vector(instance.run), instance.before)

    def moved(
        instance: OptimisticRun, coordinates: Float[np.ndarray, "coordinate"]
    ) -> OptimisticRun:
        cut = coordinates.size - instance.before.size
        before = np.clip(coordinates[cut:], -600.0, 0.0).reshape(instance.before.shape)
        return OptimisticRun(
            plain.from_vector(instance.run, coordinates[:cut]), log_normalise(before)
        )

    return Coordinates(vector, moved)


OPTIMISTIC_LINEAR = Theorem(
    key="optimistic-linear",
    statement=(
        r"z_k = prox(Pz_{k-1}, \{c_k: 1/\eta\}), c_{k+1} = prox(Pz_k, \{c_k: 1/\eta\}) have, with"
        r" \theta = \sqrt2 - 1 and \Phi_k = KL(\pi^*\|c_k) + \theta KL(c_k\|z_{k-1}),"
        r" (1+\eta\tau)\Phi_{k+1} \le \Phi_k and (\theta+\eta\tau) KL(\pi^*\|z_k) \le \Phi_k for"
        r" \eta \le \theta/L, where L is half the range of P"
    ),
    sources=(
        Citation("popov1980", "the method"),
        Citation("rakhlin2013", "optimistic mirror descent, as commonly stated"),
    ),
    hypotheses=tuple(
        _of_the_run(hypothesis)
        for hypothesis in run_hypotheses(optimistic_limit, r"0 < \eta \le (\sqrt2-1)/L")
    ),
    margin=_optimistic,
    instances=_with_before(lambda draws: draw_run(draws, optimistic_limit)),
    controls={
        COMPLEMENTARY: _with_before(lambda draws: draw_agreeing_run(draws, optimistic_limit)),
        "equilibrium": _with_before(lambda draws: draw_wrong_run(draws, optimistic_limit)),
        "step": _with_before(
            lambda draws: draw_long_run(draws, extragradient_limit, TOO_LONG, COLD, COLD)
        ),
    },
    sharp=(OptimisticRun(tied_run(), tied_run().start),),
    coordinates=_optimistic_coordinates(),
)

ALL = (MIRROR_DESCENT_LINEAR, EXTRAGRADIENT_LINEAR, OPTIMISTIC_LINEAR)
