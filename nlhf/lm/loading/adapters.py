"""Low-rank adapters, by peft."""

import warnings
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from nlhf.data.text import listed
from nlhf.errors import InvalidProblem
from nlhf.lm.loading.randomness import seeded
from nlhf.streams import Stream

_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TARGETS = {
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
}
"""Layers that get adapters, by the architecture's name: all linear ones but the two embeddings."""


@dataclass(frozen=True, slots=True)
class LoraSettings:
    r"""Adapters ``W + (alpha / rank) B A`` on linear layers.

    `A` starts random and `B` at zero, so that a model with new adapters is its base. There is no
    dropout: it would make the policy that is trained another one than the policy that is sampled.

    Attributes:
        rank: Of the product ``B A``.
        alpha: Scale.
        targets: Names of the layers; empty for those of the architecture in `TARGETS`.

    Raises:
        InvalidProblem: If the rank or the scale is not positive.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0.0:
            raise InvalidProblem(
                f"LoRA of rank {self.rank} and alpha {self.alpha}",
                "give a rank of at least 1 and a positive alpha; 16 and 32 are usual",
            )


def with_lora(model: PreTrainedModel, settings: LoraSettings, stream: Stream) -> PeftModel:
    """Freeze a model and put adapters on it.

    The model's responses do not change: with the adapters off they are those of the model as it
    was, to the bit, and new adapters add zero. Adapters of a model in 16 bits are in float32.

    Args:
        model: It is changed in place and belongs to the result.
        settings: Of the adapters.
        stream: From which `A` is drawn.

    Raises:
        InvalidProblem: If a target names no linear layer, or the architecture is not known and
            no targets are given.
    """
    config = lora_config(model, settings, task="CAUSAL_LM")
    with seeded(stream), warnings.catch_warnings():
        # peft asks transformers for a property under its old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = get_peft_model(model, config)
    assert isinstance(adapted, PeftModel)
    return adapted.eval()


def lora_config(model: nn.Module, settings: LoraSettings, *, task: str | None = None) -> LoraConfig:
    """Return the adapters' settings as peft wants them for this model.

    Raises:
        InvalidProblem: As `with_lora`.
    """
    return LoraConfig(
        task_type=task,
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft divides it by the rank
        lora_dropout=0.0,
        target_modules=list(targets_of(model, settings)),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )


def targets_of(model: nn.Module, settings: LoraSettings) -> tuple[str, ...]:
    """Return the names of the layers that get adapters.

    Raises:
        InvalidProblem: As `with_lora`.
    """
    linear = _linear_layers(model)
    kind = str(getattr(getattr(model, "config", None), "model_type", "unknown"))
    targets = settings.targets or TARGETS.get(kind, ())
    if not targets:
        raise InvalidProblem(
            f"no LoRA targets are known for the architecture {kind!r}",
            f"name them in the LoRA settings; its linear layers are {listed(sorted(linear), 20)}",
        )
    unknown = [name for name in targets if name not in linear]
    if unknown:
        raise InvalidProblem(
            f"the model has no linear layer named {listed(unknown)}",
            f"choose among {listed(sorted(linear), 20)}",
        )
    return targets


def _linear_layers(model: nn.Module) -> set[str]:
    # Also true on the meta device, where nothing but shapes is known.
    return {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and isinstance(module.weight, torch.Tensor)
    }
