r"""What a deviation from a strategy gains: lower bounds on exploitability, and nothing else.

On a language model nobody knows the best response, so no upper bound can be had. Any deviation d
from π, however it was found, shows that the exploitability is at least what it gains,

.. math:: J(d,\pi) - J(\pi,\pi) = E_d[h_d] - E_\pi[h_\pi], \qquad
          h_\rho(y) = P(y \succ \pi|x) - \tau\log\frac{\rho(y|x)}{\mu(y|x)},

and a small gain says that this deviation is a poor one, not that π is good.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.lm.draws import Draws
from nlhf.lm.games import LanguageGame
from nlhf.lm.payoffs import ComparisonPayoff
from nlhf.lm.realisers.base import Realiser
from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.strategies import Strategy
from nlhf.results import Bound, Knows, Units
from nlhf.streams import Stream


@dataclass(frozen=True, slots=True, eq=False)
class DeviationGain:
    """What a deviation gains, and what that says of the strategy.

    Attributes:
        exploitability: A lower bound on the strategy's exploitability, in win probability.
        gain: The estimate of what the deviation gains, in win probability; it may be negative.
        error: Its standard error; 0 where all responses were listed.
        method: How the bound was made and what it assumes.
    """

    exploitability: Bound
    gain: float
    error: float
    method: str


def deviation_gain(
    game: LanguageGame,
    strategy: Strategy,
    deviation: Strategy,
    draws: Draws,
    stream: Stream,
    *,
    confidence: float = 0.95,
    block: int = 8,
    prompts: int | None = None,
) -> DeviationGain:
    r"""Return what a deviation gains over a strategy, from responses of both.

    Deviation and strategy answer with the same random numbers, so that the gain of a deviation that
    is hardly one has hardly any variance. Responses are cut into blocks with opponents of their
    own, whose means are independent.

    Coverage: nominal. Log-ratios are unbounded, so the bound is Student's, for means of blocks
    that are close to normal; it is exact where all responses are listed. See `resampling_gain` for
    a bound that assumes nothing.

    Args:
        game: The game; only it decides what a response is worth.
        strategy: π, one with probabilities: no geometric mixture.
        deviation: d, likewise.
        draws: How many responses of each; or all of an enumerable model.
        stream: Randomness; used up.
        confidence: One-sided, of the lower bound.
        block: Responses of a block; at least 2 blocks are needed.
        prompts: So many prompts are drawn at random and the bound is about all; `None` takes all
            prompts of the game, and the bound is about just these.

    Raises:
        HypothesisViolated: If a number is out of range.
    """
    asked = _asked(game, prompts, stream)
    own = stream.child("own")
    ours = draws.responses(game.model, strategy, asked, own)
    theirs = draws.responses(game.model, deviation, asked, own)
    against = draws.responses(game.model, strategy, asked, stream.child("opponents"))
    if ours.exhaustive and theirs.exhaustive and against.exhaustive:
        gain = float(
            (
                _worths(game, deviation, theirs, against) - _worths(game, strategy, ours, against)
            ).mean()
        )
        return _result(gain, 0.0, gain, 1.0, "all responses listed")
    for player, responses in ((strategy, ours), (deviation, theirs)):  # once, not block by block
        game.model.log_probabilities(player, responses)
        game.model.log_probabilities(game.reference, responses)
    found = [
        _worths(game, deviation, theirs.among(a, b), against.among(a, b))
        - _worths(game, strategy, ours.among(a, b), against.among(a, b))
        for a, b in _blocks(ours.shape[1], block)
    ]
    rounds = _rounds(np.stack(found, axis=1), prompts)
    return _student(rounds, confidence, _about(prompts))


def resampling_gain(
    game: LanguageGame,
    strategy: Strategy,
    stream: Stream,
    *,
    blocks: int = 64,
    candidates: int = 8,
    opponents: int = 32,
    sharpness: float = 1.0,
    limit: float | None = None,
    confidence: float = 0.95,
    prompts: int | None = None,
) -> DeviationGain:
    r"""Return what a soft best-of-n of a strategy gains over it: nothing is trained for it.

    The deviation draws n candidates of π and plays one of them with probabilities p proportional to
    :math:`e^{c s/\tau}`, s the estimate of h from opponents that only choose. With

    .. math:: KL(d\|\pi) \le E[\log n + \textstyle\sum_i p_i \log p_i], \qquad
              J(d,\pi) - J(\pi,\pi) = E\big[\textstyle\sum_i (p_i - \tfrac1n) h(y_i)\big]
              - \tau KL(d\|\pi)

    (the law of what is chosen against that of a candidate chosen at random: data processing) a
    block of candidates gives an unbiased estimate of a lower bound on the gain. As n and the number
    of opponents grow it is the gain of the best response itself, for c = 1.

    Coverage: with a `limit` B the deviation leaves candidates with :math:`|\log\pi/\mu| > B` alone,
    every block is bounded, and the bound holds with the stated confidence for any sample size and
    any distribution (betting, Waudby-Smith & Ramdas, 2024; all it takes is that preferences are
    between 0 and 1). Without, it is Student's as in
    `deviation_gain`: nominal, and much tighter.

    Args:
        game: The game.
        strategy: π, one with probabilities.
        stream: Randomness; used up.
        blocks: Independent blocks of candidates to every prompt, with opponents of their own.
        candidates: n.
        opponents: Responses of π that the choice is made by, shared by all blocks.
        sharpness: c > 0; below 1 where the estimates are noisy.
        limit: B > 0, in nats, or `None`.
        confidence: One-sided, of the lower bound.
        prompts: As in `deviation_gain`; not together with a limit.

    Raises:
        HypothesisViolated: If a number is out of range, the temperature is 0, or a limit goes
            with prompts.
    """
    tau = game.temperature
    if not (blocks >= 2 and candidates >= 2 and sharpness > 0.0 and tau > 0.0):
        raise HypothesisViolated(
            f"{blocks} blocks of {candidates} candidates, sharpness {sharpness}, temperature {tau}",
            "pass at least 2 of each, and a positive sharpness and temperature",
        )
    if limit is not None and prompts is not None:
        raise HypothesisViolated(
            "a bound without assumptions is about given prompts, not about a sample of them",
            "leave out prompts or limit",
        )
    asked = _asked(game, prompts, stream)
    model, count = game.model, blocks * candidates
    pool = model.sample(strategy, asked, count, stream.child("own"))
    against = model.sample(strategy, asked, count, stream.child("opponents"))
    judges = model.sample(strategy, asked, opponents, stream.child("scoring"))
    ratio = model.log_probabilities(strategy, pool) - model.log_probabilities(game.reference, pool)
    price = tau * ratio.cpu().numpy()
    score = _payoff(game, judges, pool) - price
    worth = (
        np.concatenate(
            [
                _payoff(game, against.among(a, b), pool.among(a, b))
                for a, b in _blocks(count, candidates)
            ],
            axis=1,
        )
        - price
    )
    shape = (len(asked), blocks, candidates)
    free = np.ones(shape, bool) if limit is None else np.abs(price.reshape(shape)) <= tau * limit
    p = _choice(sharpness * score.reshape(shape) / tau, free)
    moved = np.where(free, (p - 1.0 / candidates) * worth.reshape(shape), 0.0).sum(axis=2)
    surprise = (p * np.log(np.maximum(p * candidates, 1e-300))).sum(axis=2)
    rounds = _rounds(moved - tau * surprise, prompts)
    if limit is None:
        return _student(rounds, confidence, _about(prompts))
    width = 1.0 + 2.0 * tau * limit
    low = _betting(rounds, -width - tau * math.log(candidates), width, confidence)
    method = f"betting, no assumption, log-ratios beyond {limit:g} left alone, {_about(prompts)}"
    error = float(rounds.std(ddof=1)) / len(rounds) ** 0.5
    return _result(float(rounds.mean()), error, low, confidence, method)


def further(
    game: LanguageGame,
    strategy: Strategy,
    realiser: Realiser,
    stream: Stream,
    *,
    steps: int = 1,
    step_size: float = math.inf,
) -> Strategy:
    r"""Return a deviation from a strategy: proximal steps against the strategy as it is.

    With an infinite step size every step aims at the best response
    :math:`\mu e^{P(\cdot\succ\pi)/\tau}/Z` itself.

    Args:
        game: The game; its own realiser is not touched.
        strategy: The opponent in every step, and where the first step starts: a checkpoint.
        realiser: What carries the steps out.
        stream: Randomness of the opponents.
        steps: Number of proximal steps.
        step_size: η, in 1/win probability.
    """
    deviation = strategy
    for step in range(steps):
        payoff = game.operator((strategy,), stream.child("step", step)).payoffs[0]
        # A pull of next to nothing: the step is to start at the deviation all the same.
        pull = max(1.0 / step_size, 1e-9 * game.temperature)
        anchors = [(deviation, pull), (game.reference, game.temperature)]
        deviation = realiser.realise(game.model, payoff, anchors).strategy
    return deviation


def largest_gain(gains: Sequence[DeviationGain]) -> DeviationGain:
    """Return the gain with the largest bound, at the confidence with which all of them hold.

    Raises:
        HypothesisViolated: If there is none.
    """
    if not gains:
        raise HypothesisViolated("there are no deviations", "pass at least one")
    best = max(gains, key=lambda one: one.exploitability.value)
    sure = max(0.0, 1.0 - sum(1.0 - one.exploitability.confidence for one in gains))
    method = f"{best.method}; the largest of {len(gains)}"
    return _result(best.gain, best.error, best.exploitability.value, sure, method)


def _asked(game: LanguageGame, prompts: int | None, stream: Stream) -> Prompts:
    if prompts is None:
        return game.prompts
    if not 2 <= prompts <= len(game.prompts):
        raise HypothesisViolated(
            f"{prompts} of {len(game.prompts)} prompts", "ask for 2 or more, or None for all"
        )
    generator = stream.child("prompts").generator()
    return game.prompts.take(generator.choice(len(game.prompts), prompts, replace=False).tolist())


def _about(prompts: int | None) -> str:
    return "these prompts" if prompts is None else f"all prompts, from {prompts} of them"


def _payoff(
    game: LanguageGame, opponents: Responses, responses: Responses
) -> Float[np.ndarray, "prompt response"]:
    """Return P(y ≻ the opponents | x) of every response."""
    found = ComparisonPayoff(((1.0, opponents),), game.preference).values(responses)
    return np.asarray(found.cpu().numpy())


def _worths(
    game: LanguageGame, player: Strategy, responses: Responses, opponents: Responses
) -> Float[np.ndarray, "prompt"]:
    """Return E[h] of a player's responses, per prompt."""
    model = game.model
    ratio = model.log_probabilities(player, responses) - model.log_probabilities(
        game.reference, responses
    )
    paid = torch.where(responses.weights > 0.0, game.temperature * ratio, 0.0).cpu().numpy()
    weights = responses.weights.cpu().numpy()
    return np.asarray((weights * (_payoff(game, opponents, responses) - paid)).sum(axis=1))


def _blocks(count: int, block: int) -> list[tuple[int, int]]:
    if not 1 <= block <= count // 2:
        raise HypothesisViolated(
            f"{count} responses make {count // max(block, 1)} blocks of {block}",
            "draw more responses or take smaller blocks: at least 2 are needed",
        )
    return [(a, a + block) for a in range(0, count - block + 1, block)]


def _rounds(
    values: Float[np.ndarray, "prompt block"], prompts: int | None
) -> Float[np.ndarray, "round"]:
    """Return independent estimates of one mean: a block of every prompt, or all of a prompt."""
    return np.asarray(values.mean(axis=0 if prompts is None else 1))


def _choice(
    logits: Float[np.ndarray, "prompt block candidate"], free: np.ndarray
) -> Float[np.ndarray, "prompt block candidate"]:
    """Return the probabilities of the choice: softmax among the free ones, 1/n for the others."""
    masked = np.where(free, logits, -np.inf)
    top = np.where(free.any(axis=2, keepdims=True), masked.max(axis=2, keepdims=True), 0.0)
    tilted = np.where(free, np.exp(masked - top), 0.0)
    share = free.mean(axis=2, keepdims=True)
    total = np.maximum(tilted.sum(axis=2, keepdims=True), 1e-300)
    return np.asarray(np.where(free, share * tilted / total, 1.0 / logits.shape[2]))


def _student(rounds: Float[np.ndarray, "round"], confidence: float, about: str) -> DeviationGain:
    from scipy.special import stdtrit

    _check(confidence)
    count = len(rounds)
    mean, error = float(rounds.mean()), float(rounds.std(ddof=1)) / count**0.5
    low = mean - float(stdtrit(count - 1, confidence)) * error
    return _result(mean, error, low, confidence, f"Student's t of {count} means, {about}")


def _betting(
    rounds: Float[np.ndarray, "round"], least: float, most: float, confidence: float
) -> float:
    """Return a lower confidence bound on the mean of independent numbers in [least, most].

    The capital of a bettor against a mean of m, who stakes what the past suggests, exceeds 1/δ with
    a probability of at most δ if m is the mean.
    """
    _check(confidence)
    x = np.clip((rounds - least) / (most - least), 0.0, 1.0)
    count, goal = np.arange(1, len(x) + 1), math.log(1.0 / (1.0 - confidence))
    means = (0.5 + np.cumsum(x)) / (count + 1)
    spread = (0.25 + np.cumsum((x - means) ** 2)) / (count + 1)
    known = np.concatenate([[0.25], spread[:-1]])
    stakes = np.sqrt(2.0 * goal / (len(x) * known))
    low, high = 0.0, float(x.mean())
    for _ in range(60):
        middle = 0.5 * (low + high)
        bets = np.minimum(stakes, 0.75 / max(middle, 1e-12))
        refuted = np.cumsum(np.log1p(bets * (x - middle))).max() >= goal
        low, high = (middle, high) if refuted else (low, middle)
    return least + low * (most - least)


def _result(gain: float, error: float, low: float, confidence: float, method: str) -> DeviationGain:
    least = max(0.0, low)
    bound = Bound(least, Knows.LOWER, Units.WIN_PROBABILITY, least, math.inf, confidence)
    return DeviationGain(bound, gain, error, method)


def _check(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise HypothesisViolated(f"confidence {confidence:g}", "give a number between 0 and 1")
