"""What processes, their games and importers say of arguments of a wrong kind."""

import numpy as np
import pytest

import nlhf
from nlhf.errors import InvalidProblem, Unsupported
from tests.unchecked import raised

SETTING = """
p = np.full((2, 1, 2), 0.5)
mdp = nlhf.MDP(p, 0)
made = nlhf.from_arrays(p, initial=0)
r = np.zeros((2, 1))
half = np.full((2, 2), 0.5)
"""
CALLS = {
    "nlhf.FiniteHorizon(p, 5)": "nlhf.MDP(",
    "nlhf.Histories(p, 2)": "nlhf.MDP(",
    "nlhf.Discounted(p, 0.9)": "nlhf.MDP(",
    "nlhf.FiniteHorizon(made, 5)": "attribute .mdp",
    "nlhf.soft_value_iteration(made, r, temperature=1.0, horizon=2)": "attribute .mdp",
    "nlhf.MarkovGame(mdp, half)": "FiniteHorizon(mdp, horizon) or Discounted(mdp, discount)",
    "nlhf.MarkovGame(p, half)": "FiniteHorizon(mdp, horizon) or Discounted(mdp, discount)",
    "nlhf.TrajectoryGame(mdp, half)": "Histories(mdp, horizon)",
    "nlhf.TrajectoryGame(p, half)": "Histories(mdp, horizon)",
    "nlhf.MarkovGame(nlhf.TokenTree(2, 1), half)": "has leaves",
    "nlhf.TrajectoryGame(nlhf.Discounted(mdp, 0.9), half)": "whole history",
}


def test_a_process_of_a_wrong_kind_is_named_with_the_right_one() -> None:
    for call, (kind, message) in raised(SETTING, CALLS).items():
        assert kind == "Unsupported", call
        assert CALLS[call] in message


def test_no_choice_is_read_as_another() -> None:
    calls = {
        "nlhf.MDP(p, 0, unreachable=None)": "'error', 'keep', 'drop'",
        "nlhf.from_arrays(p, initial=0, unreachable=None)": "'error', 'keep', 'drop'",
        "nlhf.from_gymnasium({}, initial=0, unreachable=0)": "'error', 'keep', 'drop'",
        "nlhf.from_arrays(p, initial=0, layout=None)": "'ours', 'pymdptoolbox'",
    }
    for call, (kind, message) in raised(SETTING, calls).items():
        assert kind == "InvalidProblem", call
        assert calls[call] in message


def test_numbers_that_are_none_are_refused_by_soft_value_iteration() -> None:
    calls = {
        "nlhf.soft_value_iteration(mdp, r, temperature='1', horizon=2)": "temperature is '1'",
        "nlhf.soft_value_iteration(mdp, r, temperature=1.0, discount=None)": "discount is None",
        "nlhf.soft_value_iteration(mdp, r, temperature=1.0, horizon=3.5)": "horizon is 3.5",
        "nlhf.soft_value_iteration(mdp, r, temperature=1.0, horizon='3')": "horizon is '3'",
    }
    for call, (kind, message) in raised(SETTING, calls).items():
        assert kind == "InvalidProblem", call
        assert calls[call] in message


def test_a_reference_can_be_an_array_of_probabilities() -> None:
    mdp = nlhf.MDP(np.full((2, 2, 2), 0.5), 0)
    probabilities, r = np.array([[0.2, 0.8], [0.6, 0.4]]), np.eye(2)
    a, b = (
        nlhf.soft_value_iteration(mdp, r, temperature=0.5, reference=reference, horizon=3)
        for reference in (probabilities, nlhf.Policy.of(probabilities))
    )
    np.testing.assert_array_equal(a.values, b.values)


def test_what_is_no_environment_is_refused() -> None:
    class NoStart:
        def __init__(self) -> None:
            self.P = {0: {0: [(1.0, 0, 0.0, False)]}}

    for nothing in (None, 3, [1.0]):
        with pytest.raises(Unsupported, match="has no table"):
            nlhf.from_gymnasium(nothing)
    with pytest.raises(InvalidProblem, match="does not say where an episode starts"):
        nlhf.from_gymnasium(NoStart())
    assert nlhf.from_gymnasium(NoStart(), initial=0).mdp.states == 1
    with pytest.raises(InvalidProblem, match="there are none"):
        nlhf.from_gymnasium({}, initial=0)
    with pytest.raises(InvalidProblem, match="there are none"):
        nlhf.from_gymnasium({0: {}}, initial=0)
