"""Payoffs of responses: what cannot be one is refused, with the row that it is about."""

from dataclasses import dataclass

import numpy as np
import pytest

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.draws import Sampled
from nlhf.lm.enumerate import TablePreference, TableReward
from nlhf.lm.games import LanguageGame, RewardGame
from nlhf.lm.payoffs import RewardPayoff
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.responses import Prompts
from nlhf.streams import Stream
from tests.lm.tiny import LEAVES, PROMPTS, VOCABULARY, intransitive, tiny_model


@dataclass
class Broken:
    """A judge and reward with one answer that is wrong."""

    wrong: float

    def preferences(self, first, second):
        found = np.full((*first.shape, second.shape[1]), 0.5)
        found[1, 2, 0] = self.wrong
        return found

    def rewards(self, responses):
        found = np.zeros(responses.shape)
        found[1, 2] = self.wrong
        return found


def game_of(preference, model) -> LanguageGame:
    realiser = PolicyGradient(Stream(0), draws=Sampled(4))
    return LanguageGame(model, PROMPTS, preference, 0.1, realiser, opponents=Sampled(2))


@pytest.mark.parametrize("wrong", [np.nan, -0.01, 1.01])
def test_a_judge_that_answers_no_probability_is_named_with_its_row(wrong):
    game = game_of(Broken(wrong), tiny_model())
    with pytest.raises(InvalidData, match=f"row 1, responses 2 and 0: the preference is {wrong}"):
        game.prox(game.operator(game.start(), Stream(0)), [(game.start(), 1.0)])


def test_a_reward_that_is_no_number_is_named_with_its_row():
    model = tiny_model()
    game = RewardGame(model, PROMPTS, Broken(np.nan), 0.1, PolicyGradient(Stream(0)))
    with pytest.raises(InvalidData, match="row 1, response 2: the reward is nan"):
        game.prox(game.operator(game.start(), Stream(0)), [(game.start(), 1.0)])


def test_answers_of_another_shape_are_not_broadcast():
    class Flat:
        def preferences(self, first, second):
            return np.full((*first.shape, 1), 0.5)

    game = game_of(Flat(), tiny_model())
    with pytest.raises(InvalidData, match=r"shape \(2, 4, 1\)"):
        game.prox(game.operator(game.start(), Stream(0)), [(game.start(), 1.0)])


def test_payoffs_of_different_preferences_rewards_or_prompts_are_not_added():
    model = tiny_model()
    tables = [TablePreference(intransitive(seed, 1.0), VOCABULARY) for seed in range(2)]
    games = [game_of(table, model) for table in tables]
    first, second = (g.operator(g.start(), Stream(0)).payoffs[0] for g in games)
    with pytest.raises(HypothesisViolated, match="different preferences"):
        first - second
    rewards = [TableReward(np.zeros((2, LEAVES)), VOCABULARY) for _ in range(2)]
    one, other = (RewardPayoff(PROMPTS, (reward,), (1.0,)) for reward in rewards)
    with pytest.raises(HypothesisViolated, match="different rewards"):
        one + other
    assert (one - one * 0.5).coefficients == (0.5,)
    elsewhere = RewardPayoff(Prompts.of([[3, 3], [1]]), one.rewards, (1.0,))
    with pytest.raises(HypothesisViolated, match="a payoff on prompts"):
        one + elsewhere
