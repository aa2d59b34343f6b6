"""Sums over processes, precision, and weights that change under a cache of casts."""

import pytest
import torch
from accelerate.state import AcceleratorState

from nlhf.errors import InvalidProblem
from nlhf.lm.engine import Engine, _buckets
from nlhf.lm.launch import accelerated
from nlhf.lm.responses import Prompts
from nlhf.streams import Stream
from tests.lm.tiny import moved, tiny_model


@pytest.fixture
def fresh_accelerator():
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def engine_of(rank: int, world: int) -> Engine:
    engine = Engine()
    engine.rank, engine.world = rank, world
    return engine


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [7, 8, 20])
def test_shares_are_all_prompts_in_order_and_differ_by_one_at_most(world, count):
    shares = [engine_of(rank, world).share(count) for rank in range(world)]
    assert [i for share in shares for i in share] == [*range(count)]
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_fewer_prompts_than_processes_are_refused():
    with pytest.raises(InvalidProblem, match="2 prompts for 3 processes"):
        engine_of(0, 3).share(2)


def test_buckets_hold_every_parameter_once_and_never_mix_types():
    kinds = [torch.float32, torch.float32, torch.float64, torch.float32]
    parameters = [torch.nn.Parameter(torch.zeros(3, dtype=kind)) for kind in kinds]
    found = list(_buckets(parameters))
    assert [len(bucket) for bucket in found] == [2, 1, 1]
    assert [id(p) for bucket in found for p in bucket] == [id(p) for p in parameters]


def test_half_precision_is_close_to_full_and_not_the_same(fresh_accelerator):
    prompts = Prompts.of([[0, 1, 3], [2]])
    full = tiny_model(dtype=torch.float32)
    half = tiny_model(dtype=torch.float32, engine=accelerated(mixed_precision="bf16", cpu=True))
    seen = full.sample(full.reference, prompts, 8, Stream(0))
    exact = full.log_probabilities(full.reference, seen)
    seen.known.clear()
    rounded = half.log_probabilities(half.reference, seen)
    assert rounded.dtype == torch.float64
    assert 1e-6 < float((exact - rounded).abs().max()) < 0.5


def test_casts_of_one_strategy_are_never_used_for_another(fresh_accelerator):
    model = tiny_model(dtype=torch.float32, engine=accelerated(mixed_precision="bf16", cpu=True))
    other = moved(model, 1, 1.0)
    prompts = Prompts.of([[0, 1]])
    seen = model.sample(model.reference, prompts, 4, Stream(0))

    def scored(strategies):
        found = []
        with torch.no_grad(), model.engine.autocast():  # one context: its cache lives on
            for strategy in strategies:
                with model.playing(strategy):
                    found.append(model.present_log_probabilities(seen))
        return found

    (first,) = scored([model.reference])
    (second,) = scored([other])
    together = scored([model.reference, other, model.reference])
    assert torch.equal(together[0], first)
    assert torch.equal(together[1], second)
    assert torch.equal(together[2], first)
    assert float((first - second).abs().max()) > 0.1  # a control


def test_an_unknown_precision_and_shards_of_one_process_are_refused(fresh_accelerator):
    with pytest.raises(InvalidProblem, match="mixed_precision is 'fp8'"):
        accelerated(mixed_precision="fp8")
    with pytest.raises(InvalidProblem, match="sharded over one process"):
        accelerated(cpu=True, sharded=True)


def test_a_process_that_has_begun_in_one_precision_refuses_another(fresh_accelerator):
    accelerated(mixed_precision="bf16", cpu=True)
    with pytest.raises(InvalidProblem, match=r"mixed precision no .* has begun with others"):
        accelerated(mixed_precision="no", cpu=True)
