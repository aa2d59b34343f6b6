"""Causal models: from the hub or a folder, or new ones to be trained from scratch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from nlhf.data.text import listed
from nlhf.errors import InvalidData, InvalidProblem, NotAllowed
from nlhf.lm.loading.memory import GIB, meta_model
from nlhf.lm.loading.randomness import seeded
from nlhf.lm.loading.weight_files import local_folder, weight_files
from nlhf.streams import Stream

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Names of the types that weights may have, as configuration files give them."""

ARCHITECTURES = ("gpt2", "llama")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Shape of a new model.

    Attributes:
        kind: ``gpt2`` or ``llama``.
        vocabulary: Tokens that there are.
        context: Tokens of prompt and response together, at most.
        width: Numbers in a hidden state.
        layers: Blocks of attention and feed-forward layers.
        heads: Attention heads; they divide the width.

    Raises:
        InvalidProblem: If a number is not positive, the heads do not divide the width, or the kind
            is another.
    """

    kind: str
    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int

    def __post_init__(self) -> None:
        if self.kind not in ARCHITECTURES:
            raise InvalidProblem(
                f"architecture {self.kind!r}", f"choose among {', '.join(ARCHITECTURES)}"
            )
        numbers = (self.vocabulary, self.context, self.width, self.layers, self.heads)
        if min(numbers) < 1 or self.width % self.heads:
            raise InvalidProblem(
                f"vocabulary, context, width, layers and heads are {numbers}",
                "give positive numbers of which the heads divide the width",
            )

    def config(self, end: int | None) -> PretrainedConfig:
        """Return the configuration that transformers understands, with this end token."""
        if self.kind == "gpt2":
            return GPT2Config(
                vocab_size=self.vocabulary,
                n_positions=self.context,
                n_embd=self.width,
                n_layer=self.layers,
                n_head=self.heads,
                bos_token_id=end,
                eos_token_id=end,
            )
        return LlamaConfig(
            vocab_size=self.vocabulary,
            max_position_embeddings=self.context,
            hidden_size=self.width,
            # As in Llama: two thirds of four widths, here rounded up to a multiple of 8.
            intermediate_size=-(-8 * self.width // 24) * 8,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            bos_token_id=end,
            eos_token_id=end,
        )


def new_model(
    architecture: Architecture,
    stream: Stream,
    *,
    end: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> PreTrainedModel:
    """Return a model with random weights, without dropout, on the CPU.

    Args:
        architecture: Its shape.
        stream: From which the weights are drawn.
        end: The end token, where there is one.
        dtype: Of the weights; they are drawn in float32.
    """
    config = without_dropout(architecture.config(end))
    with seeded(stream):
        model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=torch.float32
        )
    return model.to(dtype).eval()


def load_model(
    name_or_path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load a causal model from a folder or from the hub.

    The model is laid out on the meta device and filled from the mapped safetensors, tensor by
    tensor, in its final type and on its final device: a checkpoint in shards never needs memory for
    more than the model itself. Pickles are never opened, and code that comes with a model is run
    only on request. Dropout is off for good: under it, log-probabilities would be those of another
    policy at every call.

    Args:
        name_or_path: A folder, or an id on the hub.
        dtype: Of the weights.
        device: Where they go.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Run the repository's own model code.

    Raises:
        InvalidData: There is no such model, a shard is missing or cut, or the checkpoint lacks
            weights or has them in other shapes.
        NotAllowed: The weights are pickled, the model needs its own code, or the device has less
            memory than the weights need.
    """
    return _loaded(AutoModelForCausalLM, name_or_path, dtype, device, revision, trust_remote_code)


def load_classifier(
    name_or_path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load a sequence classifier, as which reward models are published, like `load_model`.

    Raises:
        InvalidData: As `load_model`; a checkpoint without the classifier's head lacks weights.
        NotAllowed: As `load_model`.
    """
    kind = AutoModelForSequenceClassification
    return _loaded(kind, name_or_path, dtype, device, revision, trust_remote_code)


def load_backbone(
    name_or_path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    revision: str | None = None,
) -> PreTrainedModel:
    """Load a causal model as a sequence classifier with one output, to be made a reward model.

    Its head `score` is new, and drawn from torch's generator: use `seeded`.

    Raises:
        InvalidData: As `load_model`.
        NotAllowed: As `load_model`.
    """
    kind = AutoModelForSequenceClassification
    return _loaded(kind, name_or_path, dtype, device, revision, False, new=("score.weight",))


def _loaded(
    kind: Any,
    name_or_path: str | Path,
    dtype: torch.dtype,
    device: torch.device | str,
    revision: str | None,
    trust_remote_code: bool,
    *,
    new: tuple[str, ...] = (),
) -> PreTrainedModel:
    """Load a model of a kind; the weights named as new need not be in the checkpoint."""
    folder = local_folder(name_or_path, revision=revision, code=trust_remote_code)
    files = weight_files(folder)
    config = without_dropout(_config(folder, trust_remote_code))
    if new:
        config.num_labels = 1
    device = torch.device(device)
    shapes = meta_model(config, kind, trust_remote_code=trust_remote_code)
    _check_room(shapes, dtype, device)
    model, report = kind.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=trust_remote_code,
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **({} if device.type == "cpu" else {"device_map": {"": device}}),
    )
    _check_report(folder, len(files), report, new)
    return _without_dropout_layers(model.eval())


def _config(folder: Path, trust_remote_code: bool) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise NotAllowed(
                f"{folder}: the model brings its own code, which is not run",
                "read the code; if you trust it, pass trust_remote_code=True",
            ) from error
        raise InvalidData(
            f"{folder}: no configuration that transformers knows ({str(error).splitlines()[0]})",
            "give the folder that holds the model's config.json",
        ) from error


def _check_room(shapes: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse weights that alone are larger than the memory that the device has in all."""
    needed = dtype.itemsize * sum(p.numel() for p in shapes.parameters())
    there = _memory(device)
    if needed > there:
        raise NotAllowed(
            f"the weights need {needed / GIB:.1f} GiB as {dtype}; {device} has "
            f"{there / GIB:.1f} GiB in all",
            "load them as bfloat16, choose a smaller model, or spread it over devices by FSDP",
        )


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    import psutil  # type: ignore[import-untyped]  # accelerate brings it

    return int(psutil.virtual_memory().total)


def _check_report(
    folder: Path, files: int, report: dict[str, object], new: tuple[str, ...]
) -> None:
    """Refuse weights that are absent or of another shape: they would be random."""
    for problem in ("missing_keys", "mismatched_keys"):
        found = report[problem]
        listable = found if isinstance(found, set | list) else []
        names = sorted(name for name in map(str, listable) if name not in new)
        if names:
            what = "are missing from" if problem == "missing_keys" else "have another shape in"
            raise InvalidData(
                f"{len(names)} weights {what} the {files} files of {folder}: {listed(names)}",
                "give a checkpoint of this very kind of model, with its head",
            )


def without_dropout(config: PretrainedConfig) -> PretrainedConfig:
    """Set every dropout of a configuration to 0, in place, and return it."""
    for name, value in config.to_dict().items():
        if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, float):
            setattr(config, name, 0.0)
    return config


def _without_dropout_layers(model: PreTrainedModel) -> PreTrainedModel:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def context_length(config: PretrainedConfig) -> int:
    """Return how many tokens of prompt and response together a model takes.

    Raises:
        InvalidProblem: The configuration does not say.
    """
    length = getattr(config, "max_position_embeddings", None)
    if not isinstance(length, int):
        raise InvalidProblem(
            f"the configuration of {config.model_type} names no max_position_embeddings",
            "set it on the configuration",
        )
    return length


def dtype_named(name: str) -> torch.dtype:
    """Return the type of a name such as ``bfloat16``.

    Raises:
        InvalidProblem: It is none of `DTYPES`.
    """
    if name not in DTYPES:
        raise InvalidProblem(f"dtype {name!r}", f"choose among {', '.join(DTYPES)}")
    return DTYPES[name]
