"""What is not a game is refused, once, with the entry, the tolerance and the fix."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nlhf
from nlhf.errors import InvalidProblem, NlhfError
from tests.instances import preferences

FAIR = np.full((3, 3), 0.5)


def changed(**entries: float) -> np.ndarray:
    p = FAIR.copy()
    for name, value in entries.items():
        p[int(name[1]), int(name[2])] = value
    return p


@pytest.mark.parametrize(
    ("preference", "message"),
    [
        (changed(_01=0.7), r"P\[0, 1\] \+ P\[1, 0\] = 0.7 \+ 0.5 = 1.2, not 1 \(tolerance 1e-09\)"),
        (changed(_01=0.5 + 1e-8), r"tolerance 1e-09"),
        (changed(_11=0.6), r"P\[1, 1\]"),
        (
            changed(_20=1.5, _02=-0.5),
            r"entry \(0, 2\) is -0.5, outside \[0, 1\]|entry \(2, 0\) is 1.5",
        ),
        (changed(_02=np.nan), r"entry \(0, 2\) is NaN \(1 in all\)"),
        (np.full((2, 3), 0.5), r"shape \(2, 3\)"),
        (np.full((2, 3, 2), 0.5), r"shape \(2, 3, 2\)"),
        (np.full((0, 0), 0.5), r"shape \(0, 0\)"),
        (np.full(3, 0.5), r"shape \(3,\)"),
        (np.array([[0.5, np.inf], [-np.inf, 0.5]]), r"outside \[0, 1\]"),
    ],
)
def test_a_matrix_that_is_no_preference_is_refused(preference, message):
    with pytest.raises(InvalidProblem, match=message) as caught:
        nlhf.PreferenceGame(preference, temperature=0.1)
    assert caught.value.fix
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"reference": [0.5, 0.5, 0.0]}, r"reference entry \(2,\) is 0"),
        ({"reference": [0.5, 0.5]}, r"shape \(2,\)"),
        ({"reference": [0.5, 0.6, 0.1]}, "sums to 1"),
        ({"reference": [[0.5, 0.25, 0.25]] * 2}, r"shape \(2, 3\)"),
        ({"weights": [0.5, 0.5]}, "one per context"),
        ({"weights": [2.0]}, "sum to 2"),
        ({"weights": [-1.0]}, "non-negative"),
    ],
)
@pytest.mark.parametrize("kind", [nlhf.PreferenceGame, nlhf.LogOddsGame])
def test_bad_arguments_are_named(kind, arguments, message):
    with pytest.raises(InvalidProblem, match=message):
        kind(FAIR, **{"temperature": 0.1, **arguments})


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_log_odds_of_a_sure_win_are_refused(value):
    with pytest.raises(InvalidProblem, match="log-odds are infinite"):
        nlhf.LogOddsGame(changed(_01=value, _10=1 - value), temperature=0.1)


def test_zero_sum_games_check_players_and_payoffs():
    with pytest.raises(InvalidProblem, match="temperatures has 1 entries, expected 2"):
        nlhf.ZeroSumGame(np.eye(2), temperatures=(0.1,))
    with pytest.raises(InvalidProblem, match=r"payoff entry \(0, 1\) is nan"):
        nlhf.ZeroSumGame([[0.0, np.nan]], temperatures=(0.1, 0.1))
    with pytest.raises(InvalidProblem, match="shape"):
        nlhf.ZeroSumGame(np.zeros(3), temperatures=(0.1, 0.1))


def test_low_rank_preferences_are_checked():
    phi, skew = np.eye(3)[:, :2], np.array([[0.0, 1.0], [-1.0, 0.0]])
    with pytest.raises(InvalidProblem, match=r"may reach 1, more than 1/2") as caught:
        nlhf.LowRankPreference(phi, skew)
    assert "multiply skew by 0.5" in caught.value.fix
    with pytest.raises(InvalidProblem, match="skewᵀ has an entry of size 2"):
        nlhf.LowRankPreference(phi, np.abs(skew))
    with pytest.raises(InvalidProblem, match="shape"):
        nlhf.LowRankPreference(phi, np.zeros((3, 3)))
    with pytest.raises(InvalidProblem, match="non-finite"):
        nlhf.LowRankPreference(phi * np.nan, skew)


def test_within_the_tolerance_the_matrix_is_made_exactly_complementary():
    game = nlhf.PreferenceGame(changed(_01=0.7, _10=0.3 + 5e-10), temperature=0.1)
    p = game.payoff.matrix
    np.testing.assert_array_equal(p + p.T, np.ones((3, 3)))
    assert abs(p[0, 1] - 0.7) <= 5e-10


@given(preferences(max_n=5), st.integers(0, 1000))
def test_any_single_spoiled_entry_is_caught(p, seed):
    rng = np.random.default_rng(seed)
    i, j = rng.integers(p.shape[0], size=2)
    spoiled = p.copy()
    spoiled[i, j] += rng.choice([-1, 1]) * 10 ** rng.uniform(-8, 1)
    with pytest.raises(NlhfError):
        nlhf.PreferenceGame(spoiled, temperature=0.1)


def test_games_do_not_alias_the_callers_arrays():
    p = FAIR.copy()
    game = nlhf.PreferenceGame(p, temperature=0.1)
    p[0, 1] = 0.9
    assert game.payoff.matrix[0, 1] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        game.payoff.matrix[0, 1] = 0.9


def test_one_response_is_a_game_with_one_answer():
    solution = nlhf.solve(nlhf.PreferenceGame([[0.5]], temperature=0.3))
    np.testing.assert_array_equal(solution.policy, [1.0])
    assert solution.certificate.bound.value == 0.0


def test_profiles_of_wrong_length_or_shape_are_refused():
    game = nlhf.PreferenceGame(FAIR, temperature=0.1)
    with pytest.raises(InvalidProblem, match="2 entries, expected 1"):
        nlhf.certify(game, ([1 / 3] * 3, [1 / 3] * 3))
    with pytest.raises(InvalidProblem, match="shape"):
        nlhf.certify(game, [0.5, 0.5])


def test_policies_taken_on_trust_are_checked_where_they_are_judged():
    game = nlhf.PreferenceGame([[0.5, 0.8], [0.2, 0.5]])
    for logs, message in (
        (np.log([0.9, 0.9]), r"sum to e\^0.587787"),
        (np.array([np.nan, 0.0]), "not a number"),
        (np.array([np.inf, 0.0]), "not a number"),
    ):
        with pytest.raises(InvalidProblem, match=message):
            nlhf.certify(game, nlhf.Policy(logs))
        with pytest.raises(InvalidProblem, match=message):
            nlhf.PreferenceGame(FAIR[:2, :2], nlhf.Policy(logs), 0.1)


@pytest.mark.parametrize("value", ["a", None, 1e-320, 1e200])
def test_a_temperature_that_is_no_use_is_refused(value):
    with pytest.raises((InvalidProblem, TypeError), match="temperature"):
        nlhf.PreferenceGame(FAIR, temperature=value)


def test_games_are_fixed_once_made():
    game = nlhf.PreferenceGame(FAIR, temperature=0.1)
    with pytest.raises(nlhf.NlhfError, match="fixed once it is made"):
        game.temperatures = (5.0,)


def test_copies_are_as_read_only_as_the_original():
    solution = nlhf.solve(nlhf.PreferenceGame(FAIR, temperature=0.1))
    assert not pickle.loads(pickle.dumps(solution)).log_policy.flags.writeable
    assert not copy.deepcopy(solution).log_policy.flags.writeable


def test_a_read_only_view_of_a_writeable_array_is_copied():
    p = FAIR.copy()
    view = p.view()
    view.flags.writeable = False
    game = nlhf.PreferenceGame(view, temperature=0.1)
    zero_sum = nlhf.ZeroSumGame(view, temperatures=(1.0, 1.0))
    p[0, 1] = 9.0
    assert game.payoff.matrix[0, 1] == 0.5
    assert zero_sum.payoff.matrix[0, 1] == 0.5


def test_log_odds_of_tiny_probabilities_keep_their_digits():
    p = 1e-15
    game = nlhf.LogOddsGame([[0.5, p], [1 - p, 0.5]], temperature=0.1)
    assert game.payoff.matrix[0, 1] == pytest.approx(np.log(p) - np.log1p(-p), rel=1e-15)
    assert game.two_player().units is game.units
