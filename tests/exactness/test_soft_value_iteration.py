"""The end of soft value iteration."""

import numpy as np

from nlhf import Stream
from nlhf.exact.backward_induction import soft_value_iteration
from nlhf.spaces.mdp import MDP


def test_an_accuracy_that_was_reached_is_reached_when_it_is_asked_for():
    rng = Stream(8).child("accuracy").generator()
    mdp = MDP(rng.dirichlet(np.ones(4), size=(4, 3)), 0)
    rewards = rng.normal(size=(4, 3))
    found = soft_value_iteration(mdp, rewards, temperature=0.5, discount=0.9, accuracy=1e-6)
    again = soft_value_iteration(mdp, rewards, temperature=0.5, discount=0.9, accuracy=found.error)
    more = soft_value_iteration(
        mdp, rewards, temperature=0.5, discount=0.9, accuracy=found.error * (1 - 1e-12)
    )
    assert again.sweeps == found.sweeps < more.sweeps
    np.testing.assert_array_equal(again.values, found.values)
