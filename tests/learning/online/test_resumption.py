"""Runs that are interrupted and go on."""

import os
from dataclasses import fields

import numpy as np
import pytest

from nlhf.errors import InvalidData, NotAllowed
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.linear import LinearClass
from nlhf.estimation.classes.links import Link
from nlhf.learning.online.explorers import Enhancer, OnPolicy
from nlhf.learning.online.learning import learn_online
from nlhf.learning.online.oracles import CallableOracle, ModelOracle
from nlhf.results import Bound
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream
from tests.learning.drawn import problem


class Gone(Exception):
    """The machine is switched off."""


def oracle(drawn, fails_in=0):
    """Answers from the truth, and dies in the given round."""
    inner, asked = ModelOracle(drawn.truth, drawn.models.link), []

    def answer(pairs, stream):
        asked.append(len(pairs))
        if len(asked) == fails_in:
            raise Gone
        return inner.answer(pairs, stream)

    return CallableOracle(answer, "truth")


def same(first, second):
    """Whether two results are the same to the last bit."""
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, Policy):
        pairs = [(p.log_probabilities, p.probabilities) for p in (first, second)]
        return all(map(np.array_equal, *pairs))
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if hasattr(first, "__dataclass_fields__") and not isinstance(first, Link):
        names = [field.name for field in fields(first) if field.name != "provenance"]
        return all(same(getattr(first, name), getattr(second, name)) for name in names)
    return first == second


def learn(drawn, answers, checkpoint=None, **arguments):
    given = {"rounds": 3, "queries": 30, "stream": Stream(6)} | arguments
    models = given.pop("models", drawn.models)
    return learn_online(drawn.setting, models, answers, checkpoint=checkpoint, **given)


@pytest.mark.parametrize(
    ("link", "markov", "interrupted"),
    [
        (Link.PROBABILITY, False, 1),
        (Link.LOG_ODDS, False, 3),
        (Link.PROBABILITY, True, 2),
    ],
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, link, markov, interrupted):
    drawn, path = problem(3, markov=markov, link=link, samples=1), tmp_path / "run"
    whole = learn(drawn, oracle(drawn))
    with pytest.raises(Gone):
        learn(drawn, oracle(drawn, fails_in=interrupted), path)
    assert path.exists() == (interrupted > 1)
    seen = []
    resumed = learn(drawn, oracle(drawn), path, observe=seen.append)
    assert same(resumed, whole)
    assert [one.number for one in seen] == [1, 2, 3]
    again = learn(drawn, CallableOracle(lambda pairs, stream: 1 / 0, "truth"), path)
    assert same(again, whole)
    assert not list(tmp_path.glob("*.part"))


def test_runs_on_infinite_classes_resume_too(tmp_path):
    drawn, path = problem(3, temperature=0.1, samples=1), tmp_path / "run"
    stages, outcomes = drawn.setting.shape
    x = np.random.default_rng(2).normal(size=(stages, outcomes, outcomes, 3))
    models = LinearClass((x - x.swapaxes(1, 2)) / 100.0, 0.4)
    whole = learn(drawn, oracle(drawn), models=models)
    with pytest.raises(Gone):
        learn(drawn, oracle(drawn, fails_in=3), path, models=models)
    assert same(learn(drawn, oracle(drawn), path, models=models), whole)


def test_the_comparison_of_runs_can_fail():
    drawn = problem(3, samples=1)
    one, other = learn(drawn, oracle(drawn)), learn(drawn, oracle(drawn), stream=Stream(7))
    assert same(one, one)
    assert not same(one, other)
    bound = one.last.gap
    near = Bound(np.nextafter(bound.value, 2.0), bound.knows, bound.units, 0.0, 3.0)
    assert not same(bound, near)


def test_an_interrupted_observer_loses_nothing(tmp_path):
    drawn, path = problem(5, samples=1), tmp_path / "run"

    def leave(one):
        if one.number == 2:
            raise Gone

    with pytest.raises(Gone):
        learn(drawn, oracle(drawn), path, observe=leave)
    assert same(learn(drawn, oracle(drawn, fails_in=3), path), learn(drawn, oracle(drawn)))


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    drawn, path = problem(3, samples=1), tmp_path / "run"
    learn(drawn, oracle(drawn), path)
    other = problem(4, samples=1)
    changed = FiniteClass(0.5 * drawn.models.tables)
    for part, call in {
        "arguments": lambda: learn(drawn, oracle(drawn), path, rounds=4),
        "arguments: ": lambda: learn(drawn, oracle(drawn), path, delta=0.1),
        "stream": lambda: learn(drawn, oracle(drawn), path, stream=Stream(8)),
        "explorer": lambda: learn(drawn, oracle(drawn), path, explorer=OnPolicy()),
        "oracle": lambda: learn(drawn, ModelOracle(drawn.truth), path),
        "preferences": lambda: learn(drawn, oracle(drawn), path, models=changed),
        "setting": lambda: learn(other, oracle(other), path),
    }.items():
        with pytest.raises(NotAllowed, match=f"other {part}"):
            call()
    assert same(learn(drawn, oracle(drawn), path, explorer=Enhancer()), learn(drawn, oracle(drawn)))


def test_every_damage_to_a_checkpoint_is_noticed(tmp_path):
    drawn, path = problem(3, samples=1), tmp_path / "run"
    learn(drawn, oracle(drawn), path)
    whole = path.read_bytes()
    flips = np.random.default_rng(1).integers(len(whole), size=40)
    damaged = [whole[: len(whole) // 2], b"", b"something else", whole + b"x"]
    damaged += [whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :] for k in flips]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InvalidData, match="damaged"):
            learn(drawn, oracle(drawn), path)


@pytest.mark.skipif(os.name != "posix", reason="permissions of folders")
def test_a_path_that_cannot_be_used_is_named(tmp_path):
    drawn = problem(3, samples=1)
    with pytest.raises(NotAllowed, match="cannot be read"):
        learn(drawn, oracle(drawn), tmp_path)
    with pytest.raises(NotAllowed, match="cannot be written"):
        learn(drawn, oracle(drawn), tmp_path / "no folder" / "run")
