"""Judges and reward functions that are plain callables."""

import numpy as np
import pytest
import torch

from nlhf.errors import InvalidData
from nlhf.lm.judges.base import (
    BradleyTerryPreference,
    PreferenceModel,
    RewardModel,
    checked_preferences,
    checked_rewards,
)
from nlhf.lm.judges.callables import CallablePreference, CallableReward
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from tests.lm.judges.tiny import Letters, random_responses


def responses_of(rows, prompts=((1,), (2,)), numbers=(40, 7)):
    longest = max(len(row) for some in rows for row in some)
    return Responses(
        Prompts(prompts, ("",) * len(prompts), numbers),
        torch.tensor([[[*row, *[5] * (longest - len(row))] for row in some] for some in rows]),
        torch.tensor([[len(row) for row in some] for some in rows]),
        uniform_weights(len(rows), len(rows[0])),
    )


FIRST = responses_of([[(1, 2), (3,)], [(4, 0), (1, 1, 1)]])
SECOND = responses_of([[(3,), (2, 2)], [(1, 1, 1), (2,)]])


def favours_first_place(prompts, pairs):
    return [0.7 if len(a) == len(b) else float(len(a) > len(b)) for a, b in pairs]


def test_a_judge_reads_texts_without_padding_or_special_tokens():
    seen = []

    def judge(prompts, pairs):
        seen.extend(zip(prompts, map(tuple, pairs), strict=True))
        return [0.5] * len(pairs)

    CallablePreference(judge, Letters(), debias=False).preferences(FIRST, SECOND)
    assert ("a", ("ab", "c")) in seen
    assert ("b", ("d", "aaa")) in seen
    assert len(seen) == 8


def test_both_orders_cancel_the_liking_for_a_place():
    judge = CallablePreference(favours_first_place, Letters())
    there, back = judge.preferences(FIRST, SECOND), judge.preferences(SECOND, FIRST)
    np.testing.assert_array_equal(there + back.swapaxes(1, 2), 1.0)
    assert there[0, 1, 0] == 0.5  # equal texts
    assert there[0, 0, 0] == 1.0
    assert isinstance(judge, PreferenceModel)


def test_control_one_order_keeps_the_liking_for_a_place():
    judge = CallablePreference(favours_first_place, Letters(), debias=False)
    there, back = judge.preferences(FIRST, SECOND), judge.preferences(SECOND, FIRST)
    assert abs(there + back.swapaxes(1, 2) - 1.0).max() == pytest.approx(0.4)


def test_equal_questions_are_asked_once_and_batches_change_nothing():
    calls = []

    def judge(prompts, pairs):
        calls.append(len(pairs))
        return [1.0 / (1 + len(a + b) + ord(a[0])) for a, b in pairs]

    whole = CallablePreference(judge, Letters()).preferences(FIRST, FIRST)
    assert sum(calls) == 8
    parts = CallablePreference(judge, Letters(), batch=3).preferences(FIRST, FIRST)
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize(
    "answer", [1.5, -1, float("nan"), None, "yes", "0.5"], ids=lambda value: repr(value)
)
def test_answers_that_are_no_probabilities_name_the_row(answer):
    def judge(prompts, pairs):
        return [answer if prompt == "b" else 0.5 for prompt in prompts]

    with pytest.raises(InvalidData, match=r"row 7: the judge answered .* to the pair 'd', 'aaa'"):
        CallablePreference(judge, Letters()).preferences(FIRST, SECOND)


def test_too_few_answers_and_no_list_are_refused():
    with pytest.raises(InvalidData, match=r"rows 7 to 40: 1 answers to 14 questions"):
        CallablePreference(lambda prompts, pairs: [0.5], Letters()).preferences(FIRST, SECOND)
    with pytest.raises(InvalidData, match=r"the answer is 0\.5, no list"):
        CallablePreference(lambda prompts, pairs: 0.5, Letters()).preferences(FIRST, SECOND)


@pytest.mark.parametrize("batch", [1024, 1])
def test_a_judge_that_raises_names_the_row_and_keeps_the_exception(batch):
    def judge(prompts, pairs):
        if "b" in prompts:
            raise ConnectionError("the server is gone")
        return [0.5] * len(pairs)

    with pytest.raises(InvalidData, match=r"row 7: the judge raised ConnectionError") as caught:
        CallablePreference(judge, Letters(), batch=batch).preferences(FIRST, SECOND)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_a_judge_that_raises_on_no_single_row_names_the_rows_of_the_call():
    def judge(prompts, pairs):
        if len(set(prompts)) > 1:
            raise MemoryError("too many")
        return [0.5] * len(pairs)

    with pytest.raises(InvalidData, match=r"rows 7 to 40: the judge raised MemoryError"):
        CallablePreference(judge, Letters()).preferences(FIRST, SECOND)


def test_a_reward_function_gets_what_trl_gives_it():
    seen = {}

    def reward(prompts, completions, completion_ids, topic, **rest):
        seen.update(prompts=prompts, completions=completions, ids=completion_ids, topic=topic)
        assert not rest
        return [float(len(text)) for text in completions]

    model = CallableReward(reward, Letters(), columns={"topic": {40: "x", 7: "y"}})
    np.testing.assert_array_equal(model.rewards(FIRST), [[2.0, 1.0], [1.0, 3.0]])
    assert isinstance(model, RewardModel)
    assert seen["prompts"] == ["a", "a", "b", "b"]
    assert seen["completions"] == ["ab", "c", "d", "aaa"]
    assert seen["ids"] == [[1, 2], [3], [4, 0], [1, 1, 1]]
    assert seen["topic"] == ["x", "x", "y", "y"]


@pytest.mark.parametrize("answer", [None, float("nan"), float("inf"), "good"])
def test_rewards_that_are_no_numbers_name_row_and_response(answer):
    def reward(prompts, completions, completion_ids):
        return [answer if text == "aaa" else 0.0 for text in completions]

    with pytest.raises(InvalidData, match=r"row 7, response 1: the reward is"):
        CallableReward(reward, Letters(), batch=3).rewards(FIRST)


def test_a_reward_function_that_raises_names_the_row():
    def reward(prompts, completions, completion_ids):
        return [1.0 / (len(text) - 3) for text in completions]

    with pytest.raises(InvalidData, match=r"row 7: the reward function raised Zero") as caught:
        CallableReward(reward, Letters()).rewards(FIRST)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_columns_are_checked():
    def reward(**columns):
        return [0.0] * 4

    with pytest.raises(InvalidData, match=r"row 40: the column 'topic' has 2 entries"):
        CallableReward(reward, Letters(), columns={"topic": ["x", "y"]}).rewards(FIRST)
    with pytest.raises(InvalidData, match="columns are called prompts"):
        CallableReward(reward, Letters(), columns={"prompts": ["x", "y"]})


def test_a_bradley_terry_preference_is_the_sigmoid_of_the_difference():
    def reward(prompts, completions, completion_ids):
        return [0.3 * len(text) for text in completions]

    found = BradleyTerryPreference(CallableReward(reward, Letters())).preferences(FIRST, SECOND)
    assert found[0, 0, 0] == pytest.approx(1 / (1 + np.exp(-0.3)), rel=1e-15)
    assert found[1, 1, 1] == pytest.approx(1 / (1 + np.exp(-0.6)), rel=1e-15)
    other = random_responses(1, prompts=2)
    with pytest.raises(InvalidData, match="prompt 0 differs: row 40 on one side, row 0"):
        BradleyTerryPreference(CallableReward(reward, Letters())).preferences(FIRST, other)


def test_checks_name_what_is_wrong():
    with pytest.raises(InvalidData, match=r"row 7, response 0: the reward is nan \(1 such of 4\)"):
        checked_rewards(np.array([[0.0, 0.0], [np.nan, 0.0]]), FIRST)
    with pytest.raises(InvalidData, match=r"rewards of shape \(2,\) where \(prompt, response\)"):
        checked_rewards(np.zeros(2), FIRST)
    values = np.full((2, 2, 2), 0.5)
    values[1, 0, 1] = 1.2
    with pytest.raises(InvalidData, match=r"row 7, responses 0 and 1: the preference is 1\.2"):
        checked_preferences(values, FIRST, SECOND)
