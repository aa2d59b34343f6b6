"""Folders of transformers and peft as modules, without pickles."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers.utils import logging

from nlhf.errors import InvalidData
from nlhf.lm.loading.pretrained import load_model

_ADAPTER = "adapter_config.json"


def open_module(name: str, dtype: torch.dtype) -> Any:
    """Return a causal model, or an adapter on the model that it names.

    Args:
        name: A folder, or a model's id on the hub.
        dtype: Of the weights.

    Raises:
        InvalidData: There is no such model, or the adapter is incomplete.
        NotAllowed: The weights are pickled.
    """
    base = adapter_base(name)
    if base is None:
        return load_model(name, dtype=dtype)
    if not (Path(name) / "adapter_model.safetensors").is_file():
        raise InvalidData(
            f"{name} lacks adapter_model.safetensors", "save the adapter with safetensors"
        )
    return PeftModel.from_pretrained(load_model(base, dtype=dtype), name, is_trainable=True)


def tokenizer_place(name: str) -> str:
    """Return where the tokenizer is: an adapter without one has that of its base."""
    base = adapter_base(name)
    here = base is None or (Path(name) / "tokenizer_config.json").is_file()
    return name if here else str(base)


def adapter_base(name: str) -> str | None:
    """Return the model that an adapter names, or `None` if the folder is no adapter.

    Raises:
        InvalidData: An adapter that names none.
    """
    path = Path(name) / _ADAPTER
    if not path.is_file():
        return None
    base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise InvalidData(f"{path} names no base model", "write base_model_name_or_path there")
    return str(base)


def quiet_libraries() -> None:
    """Turn off the progress bars and advice of transformers, for this process."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
