"""States go to JSON and tensors and come back the same, and nothing of a file is ever run."""

import json
from math import inf

import numpy as np
import pytest
import torch

from nlhf.algorithms.average import Average, Averaged
from nlhf.algorithms.steps import Iterate
from nlhf.errors import InvalidData, Unsupported
from nlhf.lm.running.encoding import Encoded, decode, encode
from nlhf.lm.strategies import Checkpoint, GeometricMixture, Mixture
from nlhf.spaces.policy import Policy


def checkpoint(seed: int) -> Checkpoint:
    return Checkpoint.of({"w": torch.arange(3.0) + seed})


REFERENCE, FIRST, SECOND = (checkpoint(seed) for seed in range(3))


def again(state):
    found = encode(state, REFERENCE)
    text = json.dumps(found.document, allow_nan=False)
    return decode(Encoded(json.loads(text), found.arrays, found.checkpoints), REFERENCE)


def test_states_of_methods_come_back_with_the_same_strategies_and_numbers():
    mixture = Mixture(((FIRST, 0.1), (REFERENCE, 0.9)))
    state = Averaged(inner=Iterate((SECOND,), 1.0 / 3.0), mean=(mixture,), count=7)
    found = again(state)
    assert type(found) is Averaged
    assert type(found.inner) is Iterate
    assert found.inner.strength == 1.0 / 3.0
    assert found.inner.current[0].key == SECOND.key
    assert found.mean[0].key == mixture.key
    assert found.mean[0].weighted[1][0] is REFERENCE
    assert found.count == 7


def test_policies_of_groups_come_back_to_the_bit():
    policy = Policy(np.log([0.3, 0.7]))
    found = again((FIRST, policy))[1]
    np.testing.assert_array_equal(found.log_probabilities, policy.log_probabilities)


def test_infinite_numbers_tensors_and_nested_containers_come_back():
    state = {"a": (inf, [1, True, None, "x"]), "b": torch.arange(4)}
    found = again(state)
    assert found["a"] == state["a"]
    assert torch.equal(found["b"], state["b"])


def test_every_strategy_is_kept_once_and_the_reference_not_at_all():
    mixture = GeometricMixture(((FIRST, 0.5), (SECOND, 0.5)))
    found = encode((FIRST, FIRST, mixture, REFERENCE), REFERENCE)
    assert set(found.checkpoints) == {FIRST.key, SECOND.key}


@pytest.mark.parametrize("state", [object(), {1: 2}, lambda: 0, {3, 4}])
def test_what_cannot_be_read_back_safely_is_refused_when_written(state):
    with pytest.raises(Unsupported, match="cannot be saved"):
        encode((state,), REFERENCE)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "subprocess:Popen", "fields": {"args": ["false"]}},
        {"type": "nlhf.lm.strategies:digest", "fields": {}},
        {"type": "nlhf.lm.strategies:hashlib", "fields": {}},
        {"type": "nlhf.lm.engine:Accelerator", "fields": {}},
        {"type": "nlhf.nowhere:Thing", "fields": {}},
        {"type": "nlhf.algorithms.steps:Iterate", "fields": {"other": 1}},
        {"unheard": "of"},
        {"eval": "1", "more": 2},
    ],
)
def test_a_document_makes_nothing_but_dataclasses_of_the_package(document):
    with pytest.raises(InvalidData):
        decode(Encoded(document), REFERENCE)


def test_control_a_dataclass_of_the_package_is_made():
    document = {
        "type": "nlhf.algorithms.steps:Iterate",
        "fields": {"current": {"tuple": []}, "strength": 2.0},
    }
    assert decode(Encoded(document), REFERENCE).strength == 2.0
    assert Average.__dataclass_fields__  # what `Averaged` above is the state of
