"""Random learning problems, small enough to be solved many times."""

from dataclasses import dataclass

import numpy as np

import nlhf
from nlhf.data.preference_data import PreferenceData
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.links import Link
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.processes import MarkovSetting
from nlhf.spaces.policy import Policy


@dataclass(frozen=True)
class Problem:
    """A setting, a class that holds the truth, and data."""

    setting: BanditSetting | MarkovSetting
    models: FiniteClass
    true: int
    data: PreferenceData

    @property
    def truth(self):
        return self.models.tables[self.true]


def skew(rng, shape, size):
    x = rng.normal(size=shape)
    return size * np.tanh(x - x.swapaxes(-1, -2))


def random_policy(rng, setting):
    shape = setting.reference.log_probabilities.shape
    return Policy.of(rng.dirichlet(np.full(shape[-1], 0.7), size=shape[:-1]))


def bandit(rng, temperature=None):
    contexts, responses = int(rng.integers(1, 4)), int(rng.integers(2, 6))
    tau = float(rng.choice([0.0, 0.05, 0.2, 1.0])) if temperature is None else temperature
    return BanditSetting(
        rng.dirichlet(np.full(responses, 2.0), size=contexts),
        tau,
        rng.dirichlet(np.full(contexts, 5.0)),
    )


def process(rng, temperature=None):
    states, actions, horizon = (int(rng.integers(2, 4)) for _ in range(3))
    mdp = nlhf.MDP(
        rng.dirichlet(np.ones(states), size=(states, actions)), rng.dirichlet(np.ones(states))
    )
    tau = float(rng.choice([0.0, 0.1, 0.5])) if temperature is None else temperature
    return MarkovSetting(nlhf.FiniteHorizon(mdp, horizon), tau)


def labels(rng, link, payoffs):
    return (rng.random(len(payoffs)) < link.probability(payoffs)).astype(float)


def problem(seed, *, markov=False, link=Link.PROBABILITY, temperature=None, samples=None):
    """Draw candidates around a centre, one of them true, and data of a random behaviour."""
    rng = np.random.default_rng([seed, 5])
    setting = (process if markov else bandit)(rng, temperature)
    stages, outcomes = setting.shape
    count = int(rng.integers(2, 13))
    size = 0.5 if link is Link.PROBABILITY else float(rng.choice([0.5, 2.0]))
    centre = rng.normal(size=(stages, outcomes, outcomes))
    own = rng.normal(size=(count, stages, outcomes, outcomes))
    mixed = centre + float(rng.choice([0.1, 0.4, 1.0])) * own
    models = FiniteClass(size * np.tanh(mixed - mixed.swapaxes(-1, -2)), link)
    true = int(rng.integers(count))
    number = int(rng.choice([5, 50, 500])) if samples is None else samples
    behaviour = [random_policy(rng, setting) for _ in range(2)]
    pairs = setting.draw(*behaviour, number, nlhf.Stream(seed))
    payoffs = pairs.payoffs(models.tables[true])
    data = PreferenceData.of_labels(pairs, labels(rng, link, payoffs))
    return Problem(setting, models, true, data)
