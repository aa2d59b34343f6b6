"""What the losses of INPO and online IPO do: exact gradients over a finite set of responses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.numerics import EPSILON, log_normalise
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .definitions import Game, Logs, depth
from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT
from .instances import (
    decode,
    draw_payoff,
    draw_policy,
    draw_preference,
    encode,
    is_complementary,
)
from .recursions import is_shipped, mirror_step, shipped

CURVATURE = 2.0
"""INPO's loss exceeds its minimum by twice a variance."""

SELF_PLAY_FACTOR = 4.0
"""∇(online IPO) = −(4/τ) ∇(self-play objective)."""

_DEEPEST = -6.0

Logits = Complex[np.ndarray, "response"]


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """A game of one context, the iterate π_t, the law of both responses, a policy, a step s."""

    game: Game
    current: Logs
    sampler: Logs
    policy: Logs
    textbook_step: float


def gradient(
    function: Callable[[Logits], complex], at: Float[np.ndarray, "response"]
) -> Float[np.ndarray, "response"]:
    """Return the gradient of an analytic function by complex steps, exact up to rounding."""
    tiny = 1e-40
    shifts = at + 1j * tiny * np.eye(at.size)
    return np.array([function(shift).imag / tiny for shift in shifts])


def inpo_loss(instance: Sampled, logits: Logits) -> complex:
    r"""Return INPO's population loss at a softmax policy with these logits.

    Two responses y, y' are drawn independently, y wins with probability P(y, y') and y' with
    P(y', y). With s the inverse of INPO's η the loss is the mean of (h(winner, loser) − s/2)²,

    .. math:: h(y,y') = \log\frac{\pi(y)}{\pi(y')} - s\tau\log\frac{\mu(y)}{\mu(y')}
              - (1-s\tau)\log\frac{\pi_t(y)}{\pi_t(y')}.
    """
    game, step = instance.game, instance.textbook_step
    kept = 1.0 - step * game.temperature
    score = logits - (1.0 - kept) * game.log_reference[0] - kept * instance.current[0]
    contrast = score[:, None] - score[None, :]
    both = np.exp(instance.sampler[0])
    wins = game.payoff[0]
    lost = (contrast - step / 2.0) ** 2
    return complex(both @ (wins * lost + wins.T * lost.T) @ both)


def inpo_minimiser(instance: Sampled) -> Logs:
    """Return the mirror step from π_t."""
    return mirror_step(instance.game, instance.current, _inverse_strength(instance))


def _inverse_strength(instance: Sampled) -> float:
    """Return η = s/(1 − sτ)."""
    step = instance.textbook_step
    return step / (1.0 - step * instance.game.temperature)


def _spread(instance: Sampled) -> float:
    """Return the size of the terms that the losses are summed from."""
    game = instance.game
    logs = depth(game.log_reference, instance.current, instance.sampler, instance.policy)
    return 4.0 * (logs + (1.0 + 1.0 / game.temperature) * float(np.abs(game.payoff).max())) ** 2


def _rounding(instance: Sampled) -> float:
    return 32.0 * (instance.game.payoff.shape[-1] + 8) * EPSILON * _spread(instance)


def _inpo_stationary(instance: Sampled) -> Margin:
    best = inpo_minimiser(instance)[0]
    off = instance.policy[0] - best
    mass = np.exp(instance.sampler[0])
    variance = float(mass @ (off - mass @ off) ** 2)
    excess = inpo_loss(instance, instance.policy[0] + 0j) - inpo_loss(instance, best + 0j)
    slope = gradient(lambda logits: inpo_loss(instance, logits), best)
    scale, allowed = _spread(instance), _rounding(instance)
    parts = {
        "stationary": Margin.equal(float(np.abs(slope).max()), 0.0, scale=scale, rounding=allowed),
        "excess": Margin.equal(excess.real, CURVATURE * variance, scale=scale, rounding=allowed),
    }
    if is_shipped(instance.game):
        algorithm = MirrorDescent(_inverse_strength(instance), unproven=True)
        found = shipped(instance.game, algorithm, instance.current, 1)[1, 0]
        slope = gradient(lambda logits: inpo_loss(instance, logits), found)
        parts["stationary, shipped"] = Margin.equal(
            float(np.abs(slope).max()), 0.0, scale=scale, rounding=allowed
        )
    return Margin.every(parts)


def online_ipo_loss(instance: Sampled, logits: Logits) -> complex:
    r"""Return the online IPO loss at a softmax policy, its samples held fixed.

    The mean over independent y, y' of
    :math:`(\log\frac{\pi(y)\mu(y')}{\pi(y')\mu(y)} - (P(y,y')-\tfrac12)/\tau)^2`.
    """
    game = instance.game
    score = logits - game.log_reference[0]
    target = (game.payoff[0] - 0.5) / game.temperature
    both = np.exp(instance.sampler[0])
    return complex(both @ ((score[:, None] - score[None, :] - target) ** 2) @ both)


def self_play_objective(instance: Sampled, logits: Logits) -> complex:
    """Return P(π ≻ π') − τ KL(π‖μ) at a softmax policy π, its opponent π' held fixed."""
    game = instance.game
    shifted = logits - logits.real.max()
    logs = shifted - np.log(np.exp(shifted).sum())
    mass = np.exp(logs)
    against = game.payoff[0] @ np.exp(instance.policy[0])
    return complex(mass @ (against - game.temperature * (logs - game.log_reference[0])))


def _ipo_self_play(instance: Sampled) -> Margin:
    tau, at = instance.game.temperature, instance.policy[0]
    loss = gradient(lambda logits: online_ipo_loss(instance, logits), at)
    objective = gradient(lambda logits: self_play_objective(instance, logits), at)
    off = float(np.abs(loss + SELF_PLAY_FACTOR / tau * objective).max())
    scale = float(np.sqrt(_spread(instance)))
    allowed = 32.0 * (at.size + 8) * EPSILON * scale
    return Margin.equal(off, 0.0, scale=scale, rounding=allowed)


def _draw_sampled(draws: Draws, off_policy: bool = False, preference: bool = True) -> Sampled:
    responses = draws.one_of((2, 3, 4, 6))
    payoff = (draw_preference if preference else draw_payoff)(draws, 1, responses)
    temperature = draws.logarithmic(0.01, 10.0)
    reference, current, sampler, policy = (
        draw_policy(draws, 1, responses, _DEEPEST) for _ in range(4)
    )
    game = Game(payoff, reference, temperature, np.ones(1))
    step = draws.between(0.01, 0.99) * min(1.0, 1.0 / temperature)
    return Sampled(game, current, sampler if off_policy else current, policy, step)


def _self_played(instance: Sampled) -> Sampled:
    """Return the instance whose policy is the iterate itself."""
    return Sampled(
        instance.game,
        instance.current,
        instance.sampler,
        instance.current,
        instance.textbook_step,
    )


def _at(instance: Sampled, vector: Float[np.ndarray, "coordinate"]) -> Sampled:
    game, policies = decode(instance.game, vector)
    current, policy = (log_normalise(np.clip(logs, -20.0, 0.0)) for logs in policies)
    step = min(instance.textbook_step, 0.99 / game.temperature)
    return Sampled(game, current, current, policy, step)


_COMPLEMENTARY: Hypothesis[Sampled] = Hypothesis(
    COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.game)
)

INPO_STATIONARY = Theorem(
    key="inpo-stationary",
    statement=(
        r"INPO's population loss, pairs drawn from \pi_t, exceeds its minimum by"
        r" 2 Var_{\pi_t}(\log\pi - \log\pi^+) at every \pi, where \pi^+ \propto"
        r" \pi_t^{1-s\tau}\mu^{s\tau}e^{sP\pi_t} is the mirror step: its only minimiser"
    ),
    sources=(Citation("zhang2024", "as commonly stated"),),
    hypotheses=(
        _COMPLEMENTARY,
        Hypothesis(
            "on-policy",
            r"both responses are drawn from \pi_t",
            lambda x: bool((x.sampler == x.current).all()),
        ),
    ),
    margin=_inpo_stationary,
    instances=instances(_draw_sampled),
    controls={
        COMPLEMENTARY: instances(lambda draws: _draw_sampled(draws, preference=False)),
        "on-policy": instances(lambda draws: _draw_sampled(draws, off_policy=True)),
    },
    constants={"curvature": CURVATURE},
    coordinates=Coordinates(lambda x: encode(x.game, x.current, x.policy), _at),
)

IPO_SELF_PLAY = Theorem(
    key="ipo-self-play",
    statement=(
        r"\nabla_\theta of the online IPO loss, pairs drawn from \pi_\theta and not differentiated,"
        r" is -(4/\tau)\,\nabla_\theta [P(\pi_\theta \succ \pi) - \tau KL(\pi_\theta\|\mu)] at"
        r" \pi = \pi_\theta, the opponent not differentiated"
    ),
    sources=(Citation("calandriello2024", "as commonly stated"),),
    hypotheses=(
        _COMPLEMENTARY,
        Hypothesis(
            "on-policy",
            r"both responses are drawn from \pi_\theta",
            lambda x: bool((x.sampler == x.policy).all()),
        ),
    ),
    margin=_ipo_self_play,
    instances=instances(lambda draws: _self_played(_draw_sampled(draws))),
    controls={
        COMPLEMENTARY: instances(
            lambda draws: _self_played(_draw_sampled(draws, preference=False))
        ),
        "on-policy": instances(lambda draws: _self_played(_draw_sampled(draws, off_policy=True))),
    },
    constants={"factor": SELF_PLAY_FACTOR},
    coordinates=Coordinates(
        lambda x: encode(x.game, x.current, x.policy), lambda x, v: _self_played(_at(x, v))
    ),
)

ALL = (INPO_STATIONARY, IPO_SELF_PLAY)
