"""When the equilibrium is the policy of a reward: the log-odds payoff and Bradley-Terry."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.numerics import EPSILON, log_normalise
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .definitions import depth, rounding, tilt
from .draws import Draws, instances
from .instances import (
    COLDEST,
    EQUILIBRIUM_TOLERANCE,
    HOTTEST,
    LOWEST_REFERENCE,
    draw_reference,
    draw_temperature,
)

LARGEST_REWARD = 8.0

Reference = Float[np.ndarray, "response"]
Matrix = Float[np.ndarray, "response response"]


@dataclass(frozen=True, slots=True, eq=False)
class Rewarded:
    """Rewards, a preference that may or may not come from them, and what regularises the game."""

    rewards: Float[np.ndarray, "response"]
    preference: Matrix
    log_reference: Reference
    temperature: float


def bradley_terry(rewards: Float[np.ndarray, "response"]) -> Matrix:
    """Return P(i, j) = σ(r_i − r_j)."""
    return 1.0 / (1.0 + np.exp(rewards[None, :] - rewards[:, None]))


def is_bradley_terry(instance: Rewarded) -> bool:
    """Return whether the preference is that of the rewards, to four roundings."""
    off = np.abs(instance.preference - bradley_terry(instance.rewards))
    return bool(off.max() <= 4 * EPSILON)


def _solved(game: nlhf.PreferenceGame | nlhf.LogOddsGame) -> tuple[Reference, float]:
    """Return the log-equilibrium and τ times its residual, as far as a solver may be off."""
    policy = nlhf.solve(game).profile
    response = game.prox(game.operator(policy), [])[0].log_probabilities
    logs = policy[0].log_probabilities
    residual = game.temperature * float(np.abs(logs - response).max())
    return logs, min(residual, EQUILIBRIUM_TOLERANCE)


def _logit_payoff_bt(instance: Rewarded) -> Margin:
    r"""Margins in units of payoff.

    Against any policy the log-odds payoff of a Bradley-Terry P is r up to a constant, so the best
    response does not depend on the opponent and a residual is an error of the same size. P enters
    with an absolute error of 2ε at most, its log-odds with 4ε/min P, the payoff with as much, and
    its difference from the normaliser with twice that.
    """
    tau, rewards = instance.temperature, instance.rewards
    matrix, reference = instance.preference, instance.log_reference
    closed = tilt(reference[None], rewards[None], tau)[0]
    policy, residual = _solved(nlhf.LogOddsGame(matrix, nlhf.Policy(reference), tau))
    scale = float(np.abs(rewards).max()) + tau * depth(reference, closed)
    odds_error = 8 * EPSILON / float(bradley_terry(rewards).min())
    allowed = rounding(scale, rewards.size) + odds_error + residual
    off = tau * float(np.abs(policy - closed).max())
    parts = {"reward policy": Margin.equal(off, 0.0, scale=scale, rounding=allowed)}
    if rewards.size == 2:
        chosen, other = _solved(nlhf.PreferenceGame(matrix, nlhf.Policy(reference), tau))
        shift = tau * float((policy[0] - policy[1]) - (chosen[0] - chosen[1]))
        delta = float(rewards[0] - rewards[1])
        parts["two responses"] = Margin.equal(
            shift,
            delta - float(bradley_terry(rewards)[0, 1]) + 0.5,
            scale=scale,
            rounding=2.0 * (allowed + other),
        )
    return Margin.every(parts)


def _draw_rewarded(draws: Draws) -> Rewarded:
    responses = draws.one_of((2, 2, 3, 4, 6))
    spread = draws.one_of((1.0, LARGEST_REWARD))
    rewards = np.asarray(draws.array((responses,), -spread, spread))
    reference = draw_reference(draws, 1, responses)[0]
    return Rewarded(rewards, bradley_terry(rewards), reference, draw_temperature(draws))


def _draw_unrewarded(draws: Draws) -> Rewarded:
    base = _draw_rewarded(draws)
    above = np.triu(draws.array(base.preference.shape, 0.1, 0.9), 1)
    matrix = above + np.tril(1.0 - above.T, -1) + 0.5 * np.eye(len(above))
    return Rewarded(base.rewards, matrix, base.log_reference, base.temperature)


def _vector(instance: Rewarded) -> Float[np.ndarray, "coordinate"]:
    return np.concatenate(
        [instance.rewards, instance.log_reference, np.log([instance.temperature])]
    )


def _at(instance: Rewarded, vector: Float[np.ndarray, "coordinate"]) -> Rewarded:
    responses = instance.rewards.size
    rewards = np.clip(vector[:responses], -LARGEST_REWARD, LARGEST_REWARD)
    reference = np.clip(vector[responses:-1], np.log(LOWEST_REFERENCE), 0.0)
    temperature = float(np.exp(np.clip(vector[-1], np.log(COLDEST), np.log(HOTTEST))))
    return Rewarded(rewards, bradley_terry(rewards), log_normalise(reference), temperature)


LOGIT_PAYOFF_BT = Theorem(
    key="logit-payoff-bt",
    statement=(
        r"with the payoff \log P - \log P^\top and P(a,b) = \sigma(r(a)-r(b)) the equilibrium is"
        r" \mu e^{r/\tau}/Z; with the payoff P it is not: for two responses with"
        r" \delta = r(1)-r(2) the log-odds of the two equilibria differ by"
        r" (\delta-\sigma(\delta)+\tfrac12)/\tau, which is 0 only for \delta = 0"
    ),
    sources=(Citation("ye2024", "as commonly stated"), Citation("bradley1952", "the model")),
    hypotheses=(Hypothesis("bradley-terry", r"P(a,b) = \sigma(r(a)-r(b))", is_bradley_terry),),
    margin=_logit_payoff_bt,
    instances=instances(_draw_rewarded),
    controls={"bradley-terry": instances(_draw_unrewarded)},
    coordinates=Coordinates(_vector, _at),
)

ALL = (LOGIT_PAYOFF_BT,)
