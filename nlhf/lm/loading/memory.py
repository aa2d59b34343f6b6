"""What a run needs of memory, and what to change where there is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from nlhf.errors import NotAllowed
from nlhf.lm.loading.adapters import LoraSettings, targets_of

GIB = 2**30

_OPTIMISER_STATES = 2
_FLOAT32 = 4
_EXHAUSTED = ("not enough memory", "can't allocate memory", "out of memory")


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """The settings of a run on which its memory depends.

    Attributes:
        dtype: Of the weights.
        lora: The adapters; None to train all weights.
        micro_batch: Sequences that are run through the model at once.
        prompt: Tokens of a prompt.
        limit: New tokens of a response, at most.
        gradient_checkpointing: Whether activations are computed again on the way back.
    """

    dtype: torch.dtype
    lora: LoraSettings | None
    micro_batch: int
    prompt: int
    limit: int
    gradient_checkpointing: bool = False

    def remedies(self) -> str:
        """Return which of the settings can still be changed to need less memory."""
        ways = []
        if self.dtype in (torch.float32, torch.float64):
            ways.append(f"dtype bfloat16 instead of {str(self.dtype).removeprefix('torch.')}")
        if self.lora is None:
            ways.append("LoRA instead of training all weights")
        if self.micro_batch > 1:
            ways.append(f"micro_batch {self.micro_batch // 2} instead of {self.micro_batch}")
        if self.limit > 1:
            ways.append(f"limit {self.limit // 2} instead of {self.limit}")
        if not self.gradient_checkpointing:
            ways.append("gradient checkpointing")
        return "; ".join(ways) or "a smaller model or a device with more memory"


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes that a run holds on a device.

    Attributes:
        weights: Of the model, adapters included.
        reference: A copy of what is trained; nothing under LoRA, whose reference is the base.
        gradients: One number per trained weight.
        optimiser: Two float32 numbers per trained weight, as Adam keeps.
        cache: Keys and values of one micro-batch while it is sampled.
        activations: Of one micro-batch on the way forward, for the way back. Approximate.
    """

    weights: int
    reference: int
    gradients: int
    optimiser: int
    cache: int
    activations: int

    @property
    def total(self) -> int:
        """The most that is held at once: sampling and training take turns."""
        lasting = self.weights + self.reference + self.gradients + self.optimiser
        return lasting + max(self.cache, self.activations)

    def __str__(self) -> str:
        parts = ", ".join(
            f"{name} {getattr(self, name) / GIB:.2f}" for name in self.__slots__ if name != "total"
        )
        return f"{self.total / GIB:.2f} GiB ({parts})"


def estimate_memory(config: PretrainedConfig, settings: MemorySettings) -> MemoryEstimate:
    r"""Estimate what a run holds, before anything of it is loaded.

    Weights, gradients, optimiser and cache follow from the shapes, which a model on the meta device
    gives. Activations are the ``34 s b h`` bytes per layer in 16 bits of Korthikanti et al. (2022,
    arXiv:2205.05198, equation 2, with the attention matrix never stored), and ``2 s b h`` per layer
    plus one layer in full with checkpointing: for a batch of `b` sequences of `s` tokens and width
    `h`. Logits are not counted: they are made in chunks.

    Args:
        config: Of a causal model that transformers knows.
        settings: Of the run.
    """
    model = meta_model(config)
    total = sum(p.numel() for p in model.parameters())
    trained = total if settings.lora is None else _adapter_numbers(model, settings.lora)
    size = settings.dtype.itemsize
    # Adapters of a model in 16 bits are kept in float32.
    own = size if settings.lora is None else max(size, _FLOAT32)
    layers, width = config.num_hidden_layers, config.hidden_size
    heads = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    depth = getattr(config, "head_dim", None) or width // heads
    tokens = settings.micro_batch * (settings.prompt + settings.limit)
    kept = 2 * layers + 34 if settings.gradient_checkpointing else 34 * layers
    return MemoryEstimate(
        weights=total * size + (0 if settings.lora is None else trained * own),
        reference=total * size if settings.lora is None else 0,
        gradients=trained * own,
        optimiser=trained * _OPTIMISER_STATES * _FLOAT32,
        cache=2 * layers * shared * depth * tokens * size,
        activations=kept * tokens * width * size // 2,
    )


def meta_model(
    config: PretrainedConfig, kind: Any = AutoModelForCausalLM, *, trust_remote_code: bool = False
) -> nn.Module:
    """Return the model of a configuration as shapes alone, which take no memory."""
    with torch.device("meta"):
        model: nn.Module = kind.from_config(config, trust_remote_code=trust_remote_code)
    return model


def _adapter_numbers(model: nn.Module, lora: LoraSettings) -> int:
    targets = targets_of(model, lora)
    return sum(
        lora.rank * sum(module.get_parameter("weight").shape)
        for name, module in model.named_modules()
        if name.rsplit(".", 1)[-1] in targets
    )


@contextmanager
def explained_memory(doing: str, settings: MemorySettings) -> Iterator[None]:
    """Turn an allocation that fails into an error that names the settings to change.

    Args:
        doing: What is being done, for the message: "sampling", "loading gpt2".
        settings: Of the run.

    Raises:
        NotAllowed: Memory ran out, on the CPU or on a device. Other errors pass.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        exhausted = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not exhausted and not any(text in str(error).lower() for text in _EXHAUSTED):
            raise
        raise NotAllowed(f"memory ran out while {doing} ({said})", settings.remedies()) from error
