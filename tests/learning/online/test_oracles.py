"""Oracles: what they answer, and what is refused."""

import numpy as np
import pytest

from nlhf.data.counts import WinCounts
from nlhf.data.preference_data import Pairs
from nlhf.errors import InvalidData, InvalidProblem, Unsupported
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.tabular import TabularClass
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.online.explorers import Uniform
from nlhf.learning.online.learning import learn_online
from nlhf.learning.online.oracles import (
    CallableOracle,
    ModelOracle,
    Oracle,
    Unseen,
    VotesOracle,
    asked,
)
from nlhf.streams import Stream
from tests.learning.drawn import skew

MANY = 40_000
FALSE_ALARM_DEVIATIONS = 6.0
"""Standard errors that a mean may be off: a false alarm in 2e-9."""


def pairs_of(shape, context, first, second, count=1):
    index = [np.full(count, i) for i in (context, first, second)]
    return Pairs.in_contexts(shape, *index)


def votes():
    wins = np.zeros((2, 3, 3))
    wins[0, 0, 1], wins[0, 1, 0], wins[1, 1, 2] = 6, 2, 3
    ties = np.zeros((2, 3, 3))
    ties[0, 0, 1] = ties[0, 1, 0] = 2
    return wins, ties


@pytest.mark.parametrize("link", list(Link))
def test_a_model_answers_with_its_probabilities(link):
    table = skew(np.random.default_rng(1), (2, 3, 3), 0.4)
    labels = ModelOracle(table, link).answer(pairs_of((2, 3), 1, 0, 2, MANY), Stream(2))
    payoff = table[1, 0, 2]
    expected = 0.5 + payoff if link is Link.PROBABILITY else 1 / (1 + np.exp(-payoff))
    assert abs(labels.mean() - expected) <= FALSE_ALARM_DEVIATIONS * np.sqrt(0.25 / MANY)
    assert set(labels) <= {0.0, 1.0}


def test_a_model_that_is_certain_always_says_so():
    table = np.array([[[0.0, 0.5], [-0.5, 0.0]]])
    oracle = ModelOracle(table)
    assert (oracle.answer(pairs_of((1, 2), 0, 0, 1, 500), Stream(1)) == 1.0).all()
    assert (oracle.answer(pairs_of((1, 2), 0, 1, 0, 500), Stream(1)) == 0.0).all()


def test_votes_are_drawn_as_often_as_they_were_cast():
    oracle = VotesOracle(*votes())
    for first, second, shares in ((0, 1, (0.6, 0.2, 0.2)), (1, 0, (0.2, 0.2, 0.6))):
        labels = oracle.answer(pairs_of((2, 3), 0, first, second, MANY), Stream(3))
        for label, share in zip((1.0, 0.5, 0.0), shares, strict=True):
            off = abs((labels == label).mean() - share)
            assert off <= FALSE_ALARM_DEVIATIONS * np.sqrt(0.25 / MANY)
    assert (oracle.answer(pairs_of((2, 3), 1, 1, 2, 50), Stream(4)) == 1.0).all()
    assert (oracle.answer(pairs_of((2, 3), 1, 2, 1, 50), Stream(4)) == 0.0).all()


def test_a_response_against_itself_is_a_tie():
    labels = VotesOracle(*votes()).answer(pairs_of((2, 3), 1, 0, 0, 5), Stream(1))
    assert (labels == 0.5).all()


def test_a_pair_without_votes_is_an_error_or_left_unanswered_as_asked():
    unknown = pairs_of((2, 3), 1, 0, 1, 2)
    with pytest.raises(InvalidData, match="responses 0 and 1 of context 1"):
        VotesOracle(*votes()).answer(unknown, Stream(1))
    refusing = VotesOracle(*votes(), unseen=Unseen.REFUSE)
    assert np.isnan(refusing.answer(unknown, Stream(1))).all()
    assert len(asked(refusing, unknown, Stream(1)).pairs) == 0


def test_what_goes_unanswered_is_no_data():
    setting = BanditSetting(np.full((2, 3), 1 / 3), 0.1)
    oracle = VotesOracle(*votes(), unseen=Unseen.REFUSE)
    run = learn_online(
        setting, TabularClass((2, 3)), oracle, rounds=2, queries=90, explorer=Uniform()
    )
    seen = run.data.compared() > 0
    known = votes()[0] + votes()[0].swapaxes(1, 2) > 0
    assert (seen == (known | np.eye(3, dtype=bool))).all()
    assert 0 < run.last.answers < 180


def test_counts_of_prompts_make_an_oracle():
    wins, ties = (each.astype(int) for each in votes())
    counts = [WinCounts(f"p{k}", ("a", "b", "c"), wins[k], ties[k]) for k in range(2)]
    oracle = VotesOracle.of_counts(counts)
    assert (oracle.wins == wins).all()
    assert oracle.identity == VotesOracle(*votes()).identity
    assert oracle.identity != VotesOracle(votes()[0]).identity
    two = WinCounts("q", ("a", "b"), np.zeros((2, 2), int), np.zeros((2, 2), int))
    for wrong in ([counts[0], two], []):
        with pytest.raises(InvalidData, match="prompts"):
            VotesOracle.of_counts(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda wins, ties: (wins[0], ties[0]), "shape"),
        (lambda wins, ties: (wins, ties[:1]), "shape"),
        (lambda wins, ties: (-wins, ties), r"wins\[0, 0, 1\] is -6"),
        (lambda wins, ties: (wins + np.nan, ties), "nan"),
        (lambda wins, ties: (wins + np.eye(3), ties), r"wins\[0, 0, 0\] is 1"),
        (lambda wins, ties: (wins, np.triu(ties)), "both sides"),
    ],
)
def test_counts_that_are_none_are_refused(change, message):
    with pytest.raises(InvalidData, match=message):
        VotesOracle(*change(*votes()))


def test_votes_on_responses_say_nothing_of_trajectories():
    index = np.zeros((1, 2), int)
    with pytest.raises(Unsupported, match="2 cells"):
        VotesOracle(*votes()).answer(Pairs((2, 3), index, index, index + 1), Stream(1))


@pytest.mark.parametrize("oracle", [VotesOracle(*votes()), ModelOracle(np.zeros((2, 3, 3)))])
def test_pairs_of_another_shape_are_refused(oracle):
    with pytest.raises(InvalidData, match=r"\(2, 4\).*\(2, 3\)"):
        oracle.answer(pairs_of((2, 4), 0, 0, 1), Stream(1))
    assert isinstance(oracle, Oracle)


def test_a_table_that_is_not_skew_answers_nothing():
    with pytest.raises(InvalidProblem):
        ModelOracle(np.full((1, 2, 2), 0.1))


@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.inf])
def test_a_label_that_is_none_names_the_pair(wrong):
    setting = BanditSetting(np.full((1, 2), 0.5), 0.1)
    oracle = CallableOracle(lambda pairs, stream: np.where(np.arange(len(pairs)) == 3, wrong, 0.5))
    models = FiniteClass(np.zeros((1, 1, 2, 2)))
    with pytest.raises(InvalidData, match=r"pair 3 \(. against . at stage 0\)"):
        learn_online(setting, models, oracle, rounds=1, queries=5)


@pytest.mark.parametrize("answer", [np.zeros(4), np.zeros((5, 1)), 1.0])
def test_too_few_labels_are_refused(answer):
    oracle = CallableOracle(lambda pairs, stream: answer)
    with pytest.raises(InvalidData, match="one label a pair"):
        asked(oracle, pairs_of((1, 2), 0, 0, 1, 5), Stream(1))


def test_answers_that_are_no_numbers_are_refused():
    oracle = CallableOracle(lambda pairs, stream: ["first"] * len(pairs))
    with pytest.raises(InvalidData, match="answers of the function"):
        asked(oracle, pairs_of((1, 2), 0, 0, 1, 5), Stream(1))


def test_a_function_may_tie_and_answer_with_truth_values():
    pairs = pairs_of((1, 2), 0, 0, 1, 4)
    tied = asked(CallableOracle(lambda pairs, stream: [0.5] * 4), pairs, Stream(1))
    assert (tied.wins == 0.5).all()
    won = asked(CallableOracle(lambda pairs, stream: pairs.first[:, 0] == 0), pairs, Stream(1))
    assert (won.wins == 1.0).all()
