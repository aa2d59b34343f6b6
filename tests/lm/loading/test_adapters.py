"""Adapters change nothing until they are trained, and nothing at all when they are off."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from nlhf.errors import InvalidProblem
from nlhf.lm.loading.adapters import LoraSettings, targets_of, with_lora
from nlhf.lm.loading.pretrained import new_model
from nlhf.streams import Stream

TOKENS = torch.tensor([[1, 2, 3, 4, 5, 6]])


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


def trained(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def base(request, model):
    return model.to(request.param)


def test_new_adapters_leave_the_base_as_it_is_to_the_bit(base):
    before = logits(base)
    adapted = with_lora(base, LoraSettings(rank=4), Stream(0))
    assert torch.equal(logits(adapted), before)


def test_with_the_adapters_off_the_model_is_its_base_to_the_bit(base):
    before = logits(base)
    adapted = with_lora(base, LoraSettings(rank=4), Stream(0))
    with torch.no_grad():
        for p in trained(adapted).values():
            p += 0.3
    assert not torch.equal(logits(adapted), before)
    with adapted.disable_adapter():
        assert torch.equal(logits(adapted), before)


@pytest.mark.parametrize(
    ("dtype", "own"),
    [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_only_adapters_are_trained_and_never_in_16_bits(dtype, own, model):
    adapted = with_lora(model.to(dtype), LoraSettings(rank=4), Stream(0))
    assert all("lora_" in name for name in trained(adapted))
    assert {p.dtype for p in trained(adapted).values()} == {own}


def test_every_linear_layer_of_every_block_has_an_adapter(model):
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and name != "lm_head"
    ]
    adapted = with_lora(model, LoraSettings(rank=2), Stream(0))
    adapters = [name for name in trained(adapted) if "lora_A" in name]
    assert len(linear) == len(adapters) > 0
    assert all(any(f".{name}." in adapter for adapter in adapters) for name in linear)


def test_adapters_are_functions_of_their_stream_alone(architecture):
    def drawn(seed, stream):
        torch.manual_seed(seed)
        return trained(with_lora(new_model(architecture, Stream(3)), LoraSettings(2), stream))

    one, same, other = drawn(1, Stream(7)), drawn(2, Stream(7)), drawn(1, Stream(8))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_adapters_add_alpha_over_rank_times_their_product(model):
    adapted = with_lora(model.double(), LoraSettings(rank=2, alpha=6.0), Stream(0))
    layer = next(m for m in adapted.modules() if hasattr(m, "base_layer"))
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.linspace(-1.0, 1.0, a.shape[1], dtype=torch.float64)[None]
    with torch.no_grad():
        b += torch.arange(b.numel(), dtype=torch.float64).reshape(b.shape)
        added = layer(x) - layer.base_layer(x)
        assert torch.allclose(added, 3.0 * x @ a.T @ b.T, rtol=1e-10)
        assert added.abs().max() > 1.0


def test_unknown_targets_and_architectures_are_named_with_the_layers_there_are(model):
    with pytest.raises(InvalidProblem, match=r"'query'(.|\n)*choose among"):
        targets_of(model, LoraSettings(targets=("query",)))
    model.config.model_type = "novel"
    with pytest.raises(InvalidProblem, match=r"'novel'(.|\n)*linear layers are"):
        targets_of(model, LoraSettings())


@pytest.mark.parametrize(("rank", "alpha"), [(0, 1.0), (4, 0.0), (4, float("nan"))])
def test_impossible_adapters_are_refused(rank, alpha):
    with pytest.raises(InvalidProblem):
        LoraSettings(rank, alpha)
