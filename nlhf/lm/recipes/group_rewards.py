"""One reward model per group, fitted to its preferences and saved as published ones are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraModel
from peft.tuners.tuners_utils import cast_adapter_dtype

from nlhf.lm.judges.reward_heads import BradleyTerryReward
from nlhf.lm.judges.training import Epoch, FitSettings, PairFit, fit_pairs
from nlhf.lm.loading.adapters import LoraSettings, lora_config
from nlhf.lm.loading.personalised_soups import read_personalised_soups
from nlhf.lm.loading.pretrained import context_length, load_backbone
from nlhf.lm.loading.randomness import seeded
from nlhf.lm.loading.tokenise import tokenise_pairs
from nlhf.lm.loading.tokenizers import load_tokenizer
from nlhf.streams import Stream

TULU_FIT = FitSettings(learning_rate=2e-5, weight_decay=0.001, epochs=1, batch=16, micro_batch=4)
"""Learning rate, decay and epochs of the MaxMin-RLHF scripts; their batch was 1."""

TULU_ADAPTERS = LoraSettings(rank=8, alpha=32.0)
"""Of the MaxMin-RLHF scripts, but for their dropout."""


def fit_group_rewards(
    paths: Sequence[str | Path],
    base: str,
    out: str | Path,
    stream: Stream,
    *,
    settings: FitSettings = TULU_FIT,
    lora: LoraSettings = TULU_ADAPTERS,
    limit: int = 512,
    held_out: float = 0.1,
    chat_template: str | None = "tulu",
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    observe: Callable[[str, Epoch], None] | None = None,
) -> dict[str, PairFit]:
    """Fit a Bradley-Terry reward to every group's preferences, and save it under its name.

    Each is the base with adapters, merged at the end, and a new head: a sequence classifier with
    one output in safetensors, with its tokenizer, which `ClassifierReward` loads.

    Args:
        paths: Files of Personalized Soups, one per group.
        base: The causal model that the rewards start from: a folder, or an id on the hub.
        out: Folder in which every group gets one.
        stream: Randomness of the heads, the adapters, the order and what is held out.
        settings: Of the fit.
        lora: Adapters of the backbone.
        limit: Most tokens of a response.
        held_out: Share of the pairs on which accuracy is measured.
        chat_template: The format, if not the tokenizer's own.
        dtype: Of the backbone; the head is in float32 while it is fitted.
        device: Where it is fitted.
        observe: Called with the group after every epoch.

    Returns:
        The fits by group, with loss and accuracy on what was held out.

    Raises:
        NlhfError: As reading, loading, tokenising and fitting raise.
    """
    fits = {}
    for path in paths:
        group = Path(path).stem
        own = stream.child("group", group)
        tokenizer = load_tokenizer(base, chat_template=chat_template)
        with seeded(own.child("head")):
            model = load_backbone(base, dtype=dtype, device=device)
        data = read_personalised_soups([path]).as_chat()
        pairs = tokenise_pairs(data, tokenizer, context=context_length(model.config), limit=limit)
        train, test = pairs.held_out(held_out, own.child("held out"))
        tuner = _adapted(model, lora, own.child("adapters"))
        reward = BradleyTerryReward.of_classifier(
            model, pad=tokenizer.pad_token_id, micro_batch=settings.micro_batch
        )
        note = None if observe is None else lambda epoch, group=group: observe(group, epoch)
        fits[group] = fit_pairs(reward, train, test, settings, own.child("order"), observe=note)
        merged: Any = tuner.merge_and_unload()
        merged.to(dtype).save_pretrained(Path(out) / group)
        tokenizer.save_pretrained(Path(out) / group)
    return fits


def _adapted(model: Any, lora: LoraSettings, stream: Stream) -> LoraModel:
    """Put adapters into a classifier, in place; they and the head are trained, in float32."""
    config = lora_config(model, lora)
    with seeded(stream):
        tuner = LoraModel(model, config, "default")
    cast_adapter_dtype(tuner, "default")
    model.score.float().requires_grad_(True)
    return tuner
