"""The example preference: partly a score, partly a wheel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf import Stream
from nlhf.errors import InvalidProblem
from nlhf.games.intransitive import scored_cycle
from nlhf.games.majority import majority_graph


def matrix(preference):
    return 0.5 + preference.features @ preference.skew @ preference.features.T


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.floats(0.0, 1.0))
def test_it_is_the_stated_formula(seed, count, cycle):
    rng = Stream(seed).child("wheel").generator()
    score, phase = rng.random(count), rng.uniform(0, 2 * np.pi, count)
    expected = (
        0.5
        + (1 - cycle) / 2 * (score[:, None] - score)
        + cycle / 2 * np.sin(phase[:, None] - phase)
    )
    assert matrix(scored_cycle(score, phase, cycle)) == pytest.approx(expected, abs=1e-14)


def test_three_on_a_wheel_beat_each_other_in_turn_and_a_score_does_not():
    phase = np.array([0.0, 1.0, 2.0]) * 2 * np.pi / 3
    assert majority_graph(matrix(scored_cycle(np.zeros(3), phase, 1.0))).cycle
    assert not majority_graph(matrix(scored_cycle([0.0, 0.5, 1.0], phase, 0.0))).cycle


def test_many_steps_are_accepted_without_looking_at_every_pair():
    rng = Stream(0).child("many").generator()
    preference = scored_cycle(rng.random((1000, 5)), rng.uniform(0, 7, (1000, 5)), 0.3)
    assert preference.payoff.shape == (5000, 5000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0.0, 1.0], [0.0]), "scores have shape"),
        (([0.0, 1.5], [0.0, 0.0]), "range from 0 to 1.5"),
        (([0.0, 1.0], [0.0, np.inf]), "to inf"),
        (([0.0, 1.0], [0.0, 0.0], 1.5), "cycle is 1.5"),
        (([], []), "shape"),
    ],
)
def test_what_makes_no_preference_is_refused(arguments, said):
    with pytest.raises(InvalidProblem, match=said):
        scored_cycle(*arguments)
