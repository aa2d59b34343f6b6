"""Comparisons asked one batch after another: every outcome, with its probability."""

from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from .draws import Draws

_FLOOR = -1e5
"""Stands for log 0, so that differences stay defined."""

_LEAST_AFFINITY = 1e-300
"""Stands for BC = 0; −½ log of a likelihood ratio is then far larger."""

_TIED = 1e-12
"""Log-likelihoods this close, relative to their size, count as equal."""

Models = Float[np.ndarray, "model pair"]
Table = Float[np.ndarray, "node model"]


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """An adaptive experiment as a tree of outcomes.

    A round asks `batch` comparisons of one pair and sees how many are won, so that every node has
    batch + 1 children. Which pair is asked may depend on everything seen before.

    Attributes:
        models: Every model's probability of a win; the first is P*.
        law: What wins are drawn with.
        batch: Comparisons a round.
        asked: For every round the pair asked at each node, shape ``(node,)``.
        filed: For every round, node and number of wins, the pair they are booked under, shape
            ``(node, batch + 1)``.
        estimates: For every round the model chosen at each child, shape ``(child,)``.
        delta: δ.
        bound: B, of log-odds; not used by probabilities.
    """

    models: Models
    law: Float[np.ndarray, "pair"]
    batch: int
    asked: tuple[Int[np.ndarray, "..."], ...]
    filed: tuple[Int[np.ndarray, "..."], ...]
    estimates: tuple[Int[np.ndarray, "..."], ...]
    delta: float
    bound: float


class Level(NamedTuple):
    """The nodes after a round: what led there and what each model makes of it.

    Attributes:
        chance: The probability of each node.
        log_likelihood: Of the wins seen, up to a constant, under every model.
        hellinger: Σ −log BC(P_k, P*) over the comparisons so far.
        squared: Σ (P_k − P*)².
        odds: Σ (R_k − R*)², of log-odds.
    """

    chance: Float[np.ndarray, "node"]
    log_likelihood: Table
    hellinger: Table
    squared: Table
    odds: Table


def log(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return the logarithm, with a large negative number at 0."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values), _FLOOR)


def log_odds(models: Models) -> Models:
    """Return log p/(1 − p)."""
    return log(models) - log(1.0 - models)


def distances(models: Models) -> tuple[Models, Models, Models]:
    """Return −log BC, the squared difference and that of the log-odds, from the first model."""
    truth = models[0]
    affinity = np.sqrt(models * truth) + np.sqrt((1.0 - models) * (1.0 - truth))
    odds = log_odds(models)
    affinity = np.clip(affinity, _LEAST_AFFINITY, 1.0)
    return -np.log(affinity), (models - truth) ** 2, (odds - odds[0]) ** 2


def _binomial(batch: int, law: Float[np.ndarray, "node"]) -> Float[np.ndarray, "node outcome"]:
    wins = np.arange(batch + 1)
    ways = np.array([float(comb(batch, int(w))) for w in wins])
    return np.asarray(ways * law[:, None] ** wins * (1.0 - law[:, None]) ** (batch - wins))


def root(models: Models) -> Level:
    """Return the level before anything is asked."""
    nothing = np.zeros((1, len(models)))
    return Level(np.ones(1), nothing, nothing, nothing, nothing)


def grow(
    level: Level,
    models: Models,
    law: Float[np.ndarray, "pair"],
    batch: int,
    asked: Int[np.ndarray, "node"],
    filed: Int[np.ndarray, "node outcome"],
) -> Level:
    """Return the level after one more round."""
    wins, count = np.arange(batch + 1), len(models)

    def booked(values: Models) -> np.ndarray:
        return np.asarray(values.T[filed])

    def after(before: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return np.asarray((before[:, None, :] + gain).reshape(-1, count))

    seen = wins[:, None] * booked(log(models)) + (batch - wins)[:, None] * booked(log(1.0 - models))
    apart = [batch * booked(distance) for distance in distances(models)]
    return Level(
        (level.chance[:, None] * _binomial(batch, law[asked])).ravel(),
        after(level.log_likelihood, seen),
        *(after(old, new) for old, new in zip(level[2:], apart, strict=True)),
    )


@lru_cache(maxsize=8)  # hypotheses and margin ask for the same
def levels(experiment: Experiment) -> tuple[Level, ...]:
    """Return the level after each round."""
    found, level = [], root(experiment.models)
    for asked, filed in zip(experiment.asked, experiment.filed, strict=True):
        level = grow(level, experiment.models, experiment.law, experiment.batch, asked, filed)
        found.append(level)
    return tuple(found)


def likeliest(level: Level) -> Bool[np.ndarray, "node model"]:
    """Return which models have the greatest likelihood, ties included."""
    best = level.log_likelihood.max(axis=1, keepdims=True)
    return np.asarray(level.log_likelihood >= best - _TIED * (1.0 + np.abs(best)))


def farthest_of_likeliest(level: Level) -> Int[np.ndarray, "node"]:
    """Return the maximum-likelihood model of every node; of tied ones the farthest from P*."""
    return np.asarray(np.where(likeliest(level), level.squared, -1.0).argmax(axis=1))


def is_predictable(experiment: Experiment) -> bool:
    """Return whether wins are booked under the pair that was asked."""
    pairs = zip(experiment.asked, experiment.filed, strict=True)
    return all(bool((filed == asked[:, None]).all()) for asked, filed in pairs)


def is_realisable(experiment: Experiment) -> bool:
    """Return whether wins are drawn from P*."""
    return bool((experiment.law == experiment.models[0]).all())


def is_likely(experiment: Experiment) -> bool:
    """Return whether every estimate is at least as likely as P*."""
    for level, chosen in zip(levels(experiment), experiment.estimates, strict=True):
        found = np.take_along_axis(level.log_likelihood, chosen[:, None], axis=1)[:, 0]
        truth = level.log_likelihood[:, 0]
        if (found < truth - 2.0 * _TIED * (1.0 + np.abs(truth)))[level.chance > 0.0].any():
            return False
    return True


def _ask(level: Level, models: Models, generator: np.random.Generator, greedy: bool) -> np.ndarray:
    """Choose pairs at random, or those that set the likeliest rival of P* apart from it."""
    nodes, pairs = len(level.chance), models.shape[1]
    if not greedy or len(models) == 1:
        return np.asarray(generator.integers(pairs, size=nodes))
    rival = 1 + level.log_likelihood[:, 1:].argmax(axis=1)
    return np.asarray(distances(models)[1][rival].argmax(axis=1))


def conduct(
    models: Models,
    batch: int,
    rounds: int,
    delta: float,
    generator: np.random.Generator,
    greedy: bool = False,
    law: Float[np.ndarray, "pair"] | None = None,
) -> Experiment:
    """Return an experiment that estimates by maximum likelihood, and books what it asks."""
    drawn = models[0] if law is None else law
    level, asked, filed, chosen = root(models), [], [], []
    for _ in range(rounds):
        pairs = _ask(level, models, generator, greedy)
        booked = np.repeat(pairs[:, None], batch + 1, axis=1)
        level = grow(level, models, drawn, batch, pairs, booked)
        asked.append(pairs)
        filed.append(booked)
        chosen.append(farthest_of_likeliest(level))
    bound = float(np.abs(log_odds(models)).max())
    return Experiment(models, drawn, batch, tuple(asked), tuple(filed), tuple(chosen), delta, bound)


def draw_models(draws: Draws, low: float = 0.0, high: float = 1.0) -> Models:
    """Draw up to eight models of up to four pairs: anything, near P*, or signs around it."""
    count, pairs = draws.one_of((1, 2, 2, 3, 5, 8)), draws.one_of((1, 1, 2, 4))
    if draws.chance(2):
        return draws.array((count, pairs), low, high)
    truth = draws.array((1, pairs), low, high)
    width = draws.one_of((0.1, 0.3, 0.5))
    signs = np.array([draws.one_of((-1.0, 1.0)) for _ in range((count - 1) * pairs)])
    rivals = truth + width * signs.reshape(count - 1, pairs)
    return np.clip(np.concatenate([truth, rivals]), low, high)


def draw_close(draws: Draws) -> Experiment:
    """Draw a rival on one pair that lies just outside the radius 2 log(2/δ)."""
    count, delta = draws.one_of((40, 100, 200)), draws.logarithmic(1e-3, 0.9)
    apart = float(np.sqrt(2.0 * np.log(2.0 / delta) / count)) * 1.0001
    if apart >= 0.98:
        count, apart = 100, 0.5
    centre = draws.one_of((0.0, draws.between(-1.0, 1.0))) * (1.0 - apart) / 2.0 + 0.5
    models = np.array([[centre - apart / 2.0], [centre + apart / 2.0]])
    models = np.clip(models, 0.01, 0.99)
    return conduct(models, count, 1, delta, np.random.default_rng(0))


def draw_experiment(draws: Draws, low: float = 0.0, high: float = 1.0) -> Experiment:
    """Draw an experiment of at most some hundred outcomes."""
    if draws.chance(3):
        return draw_close(draws)
    models = draw_models(draws, low, high)
    batch, rounds = draws.one_of(((1, 3), (1, 5), (2, 3), (6, 2), (15, 1), (40, 1), (100, 1)))
    generator = np.random.default_rng(draws.whole(2**30))
    delta = draws.logarithmic(1e-3, 0.9)
    return conduct(models, batch, rounds, delta, generator, greedy=draws.chance(2))
