"""Random MaxMin games: all ambiguity sets, spread references, easy and hard rewards."""

import numpy as np

from nlhf import Discounted, FiniteHorizon, Stream
from nlhf.games.maxmin import MaxMinGame
from nlhf.spaces.ambiguity import (
    ChiSquareBall,
    ConditionalValueAtRisk,
    KLBall,
    TotalVariationBall,
    WholeSimplex,
)
from nlhf.spaces.duals import StepPayoff
from tests.processes.drawn import random_mdp

AMBIGUITIES = {
    "whole simplex": lambda rng, eta: WholeSimplex(eta),
    "KL ball": lambda rng, eta: KLBall(eta, float(10.0 ** rng.uniform(-3, 0))),
    "chi-square ball": lambda rng, eta: ChiSquareBall(eta, float(10.0 ** rng.uniform(-3, 0.5))),
    "total variation ball": lambda rng, eta: TotalVariationBall(eta, float(rng.uniform(0.01, 0.6))),
    "CVaR": lambda rng, eta: ConditionalValueAtRisk(eta, float(rng.uniform(0.1, 0.95))),
}
TEMPERATURES = (10.0, 1.0, 0.3, 0.1, 0.03, 0.01)
REWARDS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "approval": lambda rng, shape: rng.choice([0.0, 1.0], size=shape),
    "opposed": lambda rng, shape: (
        np.sign(rng.normal(size=(shape[0],) + (1,) * (len(shape) - 1))) * rng.random(shape[1:])
    ),
    "unequal scales": lambda rng, shape: (
        rng.normal(size=shape) * 10.0 ** rng.uniform(-2, 1, (shape[0],) + (1,) * (len(shape) - 1))
    ),
}
OFFSETS = ("as given", "reference", "regret")


def generator_of(*labels):
    return Stream(17).child("maxmin", *map(str, labels)).generator()


def spread(rng, *shape):
    """Distributions with entries down to about 1e-4."""
    weights = 10.0 ** rng.uniform(-4, 0, shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def _population(rng, ambiguity):
    groups = int(rng.integers(2, 7))
    eta = rng.dirichlet(np.full(groups, 2.0)) * 0.98 + 0.02 / groups
    kappa = float(rng.choice([0.0, 0.0, 0.1]))
    return groups, AMBIGUITIES[ambiguity](rng, eta), kappa


def bandit(rng, ambiguity, temperature=None):
    """One prompt or up to four, up to thirty responses."""
    groups, around, kappa = _population(rng, ambiguity)
    prompts, responses = int(rng.integers(1, 5)), int(rng.integers(2, 31))
    rewards = REWARDS[str(rng.choice(list(REWARDS)))](rng, (groups, prompts, responses))
    return MaxMinGame(
        rewards,
        spread(rng, prompts, responses),
        float(rng.choice(TEMPERATURES)) if temperature is None else temperature,
        ambiguity=around,
        group_temperature=kappa,
        offsets=str(rng.choice(OFFSETS)),
        weights=rng.dirichlet(np.ones(prompts)),
    )


def decision_process(rng, kind, ambiguity, temperature=None):
    """A stochastic process with a reward per group for every step, and the last state if any."""
    groups, around, kappa = _population(rng, ambiguity)
    states, actions, horizon = int(rng.integers(2, 6)), int(rng.integers(2, 4)), 4
    mdp = random_mdp(rng, states=states, actions=actions, successors=min(states, 3))
    if kind == "discounted":
        process = Discounted(mdp, float(rng.uniform(0.3, 0.95)))
        shape, last = (states, actions), np.zeros((groups, states))
    else:
        process = FiniteHorizon(mdp, horizon)
        shape, last = (horizon, states, actions), rng.normal(size=(groups, states))
    return MaxMinGame(
        [StepPayoff(rng.normal(size=shape), final) for final in last],
        spread(rng, *shape),
        float(rng.choice(TEMPERATURES)) if temperature is None else temperature,
        ambiguity=around,
        group_temperature=kappa,
        offsets=str(rng.choice(OFFSETS)),
        process=process,
    )
