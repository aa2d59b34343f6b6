"""Random bandits with clusters of unequal size, and Hoeffding's bound for frequencies."""

import numpy as np
from hypothesis import strategies as st

from nlhf.learning.reward_on_policy.bandits import ClusteredBandit
from nlhf.spaces.policy import Policy


def random_bandit(seed, contexts=3, responses=6, clusters=3, temperature=1.0, flip_rate=0.0):
    g = np.random.default_rng(seed)
    weights = g.dirichlet(np.ones(contexts))
    return ClusteredBandit(
        truth=g.normal(size=(contexts, responses)),
        reference=Policy.proportional(g.normal(size=(contexts, responses))),
        clusters=g.integers(0, clusters, size=(contexts, responses)),
        weights=weights,
        temperature=temperature,
        flip_rate=flip_rate,
    )


seeds = st.integers(0, 2**32 - 1)
temperatures = st.floats(0.3, 3.0)


def widest_deviation(cells, draws, false_alarm):
    """Hoeffding's bound for a frequency, over so many cells at once."""
    return np.sqrt(np.log(2 * cells / false_alarm) / (2 * draws))
