"""Estimates agree with what tensors hold, and an allocation that fails names what to change."""

import pytest
import torch

from nlhf.errors import NotAllowed
from nlhf.lm.loading.adapters import LoraSettings, with_lora
from nlhf.lm.loading.memory import MemorySettings, estimate_memory, explained_memory
from nlhf.streams import Stream


def held(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


def settings(dtype=torch.float32, lora=None, checkpointing=False):
    return MemorySettings(dtype, lora, 3, 5, 4, checkpointing)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_full_training_is_estimated_as_its_tensors_hold(model, dtype):
    estimate = estimate_memory(model.config, settings(dtype))
    model = model.to(dtype)
    assert estimate.weights == estimate.reference == estimate.gradients == held(model.parameters())
    assert estimate.optimiser == 2 * 4 * sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_training_of_adapters_is_estimated_as_its_tensors_hold(model, dtype):
    lora = LoraSettings(rank=3)
    estimate = estimate_memory(model.config, settings(dtype, lora))
    adapted = with_lora(model.to(dtype), lora, Stream(0))
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert estimate.weights == held(adapted.parameters())
    assert estimate.gradients == held(trained)
    assert estimate.optimiser == 2 * 4 * sum(p.numel() for p in trained)
    assert estimate.reference == 0


def test_the_cache_is_estimated_as_transformers_holds_it(model):
    estimate = estimate_memory(model.config, settings())
    cache = model(torch.zeros(3, 9, dtype=torch.int64), use_cache=True).past_key_values
    assert estimate.cache == held([t for layer in cache.layers for t in (layer.keys, layer.values)])


def test_checkpointing_lowers_the_estimate_of_deep_models(model):
    model.config.num_hidden_layers = 12
    plain = estimate_memory(model.config, settings()).activations
    assert estimate_memory(model.config, settings(checkpointing=True)).activations < plain / 5


def test_the_total_takes_sampling_and_training_in_turns(model):
    e = estimate_memory(model.config, settings())
    lasting = e.weights + e.reference + e.gradients + e.optimiser
    assert e.total == lasting + max(e.cache, e.activations)
    assert all(name in str(e) for name in ("GiB", "weights", "optimiser", "cache"))


def test_an_allocation_that_fails_names_the_settings_to_change():
    with (
        pytest.raises(NotAllowed, match="while sampling") as caught,
        explained_memory("sampling", settings()),
    ):
        torch.empty(10**15)
    for way in ("bfloat16", "LoRA", "micro_batch 1 instead of 3", "limit 2", "checkpointing"):
        assert way in caught.value.fix
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_memory_errors_of_python_and_of_devices_are_explained_too(error):
    with pytest.raises(NotAllowed), explained_memory("training", settings()):
        raise error


def test_what_cannot_be_lowered_any_more_is_not_proposed():
    lowest = MemorySettings(torch.bfloat16, LoraSettings(), 1, 5, 1, True)
    assert lowest.remedies() == "a smaller model or a device with more memory"


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shapes") as caught, explained_memory("x", settings()):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert not isinstance(caught.value, NotAllowed)
