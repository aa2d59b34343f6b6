"""The Gibbs variational principle, and how far a best response can be from the reference."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.numerics import log_normalise
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .definitions import (
    Game,
    Logs,
    Payoffs,
    Weights,
    best_response,
    depth,
    divergence,
    error,
    free_energy,
    kl,
    rounding,
    tilt,
)
from .draws import Draws, instances
from .instances import (
    COLDEST,
    DEEPEST,
    HOTTEST,
    decode,
    draw_game,
    draw_payoff,
    draw_policy,
    draw_policy_of,
    draw_preference,
    draw_reference,
    draw_sizes,
    draw_temperature,
    draw_weights,
    encode,
    is_probability,
)


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    r"""The objective ⟨π, f⟩ − τ KL(π‖μ), a policy, and the temperature at which f is tilted."""

    payoff: Logs
    log_reference: Logs
    temperature: float
    tilt_temperature: float
    weights: Weights
    policy: Logs


def draw_objective(draws: Draws, mistuned: bool = False) -> Objective:
    """Draw an objective; `mistuned` tilts at another temperature."""
    contexts, responses = draw_sizes(draws)
    spread = draws.one_of((1.0, 10.0))
    temperature = draw_temperature(draws)
    return Objective(
        payoff=np.asarray(draws.array((contexts, responses), -spread, spread)),
        log_reference=draw_reference(draws, contexts, responses),
        temperature=temperature,
        tilt_temperature=temperature * (draws.between(1.1, 3.0) if mistuned else 1.0),
        weights=draw_weights(draws, contexts),
        policy=draw_policy(draws, contexts, responses, zeros=True),
    )


def _objective_value(instance: Objective, policy: Logs) -> float:
    payoff = float(instance.weights @ (np.exp(policy) * instance.payoff).sum(axis=-1))
    pull = divergence(instance.weights, policy, instance.log_reference)
    return payoff - instance.temperature * pull


def _kl_optimum(instance: Objective) -> Margin:
    best = tilt(instance.log_reference, instance.payoff, instance.tilt_temperature)
    optimum = free_energy(
        instance.log_reference, instance.payoff, instance.temperature, instance.weights
    )
    deficit = optimum - _objective_value(instance, instance.policy)
    logs = depth(instance.log_reference, instance.policy, best)
    scale = float(np.abs(instance.payoff).max()) + instance.temperature * logs
    allowed = rounding(scale, instance.payoff.shape[-1])
    distance = instance.temperature * kl(instance.weights, instance.policy, best)
    attained = _objective_value(instance, best)
    return Margin.every(
        {
            "optimum": Margin.equal(attained, optimum, scale=scale, rounding=allowed),
            "deficit": Margin.equal(deficit, distance, scale=scale, rounding=allowed),
        }
    )


def _objective_vector(instance: Objective) -> Float[np.ndarray, "coordinate"]:
    parts = (instance.payoff, instance.log_reference, np.maximum(instance.policy, DEEPEST))
    return np.append(np.concatenate([np.ravel(part) for part in parts]), instance.temperature)


def _objective_at(instance: Objective, vector: Float[np.ndarray, "coordinate"]) -> Objective:
    payoff, reference, policy = vector[:-1].reshape(3, *instance.payoff.shape)
    temperature = float(np.clip(abs(vector[-1]), COLDEST, HOTTEST))
    return Objective(
        payoff=payoff,
        log_reference=log_normalise(reference),
        temperature=temperature,
        tilt_temperature=temperature,
        weights=instance.weights,
        policy=log_normalise(policy),
    )


KL_OPTIMUM = Theorem(
    key="kl-optimum",
    statement=(
        r"\max_\pi \langle\pi,f\rangle - \tau KL(\pi\|\mu) = \tau\log E_\mu e^{f/\tau}, and for"
        r" every \pi the deficit is \tau KL(\pi\|\pi_f) with \pi_f \propto \mu e^{f/\tau}"
    ),
    sources=(
        Citation("donsker1975", "variational formula, as commonly stated"),
        Citation("ye2024", "as commonly stated"),
    ),
    hypotheses=(
        Hypothesis(
            "same-temperature",
            r"\pi_f tilts with the \tau that weighs the divergence",
            lambda instance: instance.tilt_temperature == instance.temperature,
        ),
    ),
    margin=_kl_optimum,
    instances=instances(draw_objective),
    controls={"same-temperature": instances(lambda draws: draw_objective(draws, mistuned=True))},
    coordinates=Coordinates(_objective_vector, _objective_at),
)


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """A game, and the policy that is responded to."""

    game: Game
    opponent: Logs


PAYOFF_RANGE = 1.0


def _br_density_ratio(instance: Response) -> Margin:
    game = instance.game
    ratio = best_response(game, instance.opponent) - game.log_reference
    return Margin.at_most(
        game.temperature * float(np.abs(ratio).max()),
        PAYOFF_RANGE,
        scale=PAYOFF_RANGE,
        rounding=error(game, instance.opponent),
    )


def draw_response(
    draws: Draws, payoff: Callable[[Draws, int, int], Payoffs] | None = None
) -> Response:
    """Draw a game, complementary or not unless a payoff is given, and an opponent."""
    payoff = payoff or draws.one_of((draw_preference, draw_payoff))
    game = draw_game(draws, payoff)
    return Response(game, draw_policy_of(draws, game, zeros=True))


def draw_wide_payoff(draws: Draws, contexts: int, responses: int) -> Payoffs:
    """Draw a matrix in [−2, 3]."""
    return np.asarray(draws.array((contexts, responses, responses), -2.0, 3.0))


def _response_at(instance: Response, vector: Float[np.ndarray, "coordinate"]) -> Response:
    game, (opponent,) = decode(instance.game, vector)
    return Response(game, opponent)


def _extreme_response() -> Response:
    """The last response holds the reference and loses; the first, all but unknown to it, wins."""
    matrix = np.array([[0.5, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5]])[None]
    reference = log_normalise(np.log([[1e-9, 1e-9, 1.0]]))
    opponent = np.log(np.array([[1e-300, 1.0, 1e-300]]))
    return Response(Game(matrix, reference, 1.0, np.ones(1)), opponent)


BR_DENSITY_RATIO = Theorem(
    key="br-density-ratio",
    statement=r"e^{-1/\tau} \le BR(\pi)(a)/\mu(a) \le e^{1/\tau} for every \pi and a",
    sources=(Citation("wu2025", "as commonly stated"),),
    hypotheses=(
        Hypothesis(
            "range", r"0 \le P \le 1", lambda instance: is_probability(instance.game.payoff)
        ),
    ),
    margin=_br_density_ratio,
    instances=instances(draw_response),
    controls={"range": instances(lambda draws: draw_response(draws, draw_wide_payoff))},
    sharp=(_extreme_response(),),
    constants={"payoff-range": PAYOFF_RANGE},
    coordinates=Coordinates(lambda x: encode(x.game, x.opponent), _response_at),
)

ALL = (KL_OPTIMUM, BR_DENSITY_RATIO)
