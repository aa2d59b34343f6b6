"""One model reading token after token of many rows, each of which it remembers."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import nn
from transformers.cache_utils import Cache, DynamicCache

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.lm.sequences.cache import PreallocatedLayer, preallocated
from nlhf.lm.sequences.parts import CausalParts, causal_parts, require_known_tokens


class Reader:
    """A model's memory of rows of tokens: the prompts are read once, then one token a row.

    Where every layer attends to everything, keys and values lie in memory allocated once, and
    prompts are padded on the right: nothing that counts ever looks there, so they are read
    without a mask, and the padding is hidden from what follows. Otherwise (sliding windows, biases
    by distance) prompts are padded on the left, and cache and masks are those of transformers.

    Args:
        module: The model; it must be given again, with the same weights, at every call.
        prompts: Read by `first`, never empty.
        copies: Rows that answer each prompt.
        limit: Most tokens that will follow.
        pad: The token that fills.

    Raises:
        InvalidProblem: A prompt is empty or has a token that the model does not know, or prompt
            and response exceed the model's context.
        Unsupported: The model keeps no keys and values, or cannot tell positions of prompts of
            different lengths.
    """

    def __init__(
        self,
        module: nn.Module,
        prompts: Sequence[Sequence[int]],
        copies: int,
        limit: int,
        pad: int,
    ) -> None:
        parts = causal_parts(module)
        self._config = _config(parts)
        lengths = [len(prompt) for prompt in prompts]
        width = max(lengths, default=0)
        _check(lengths, limit, self._config)
        device = next(module.parameters()).device
        self._copies, self._seen = copies, width
        self._padded = min(lengths) < width
        self._takes_positions = "position_ids" in inspect.signature(parts.body.forward).parameters
        self._in_place = self._takes_positions and _attends_to_all(self._config)
        if self._padded and not self._takes_positions:
            raise Unsupported(
                f"prompts of {min(lengths)} to {width} tokens, and {type(parts.body).__name__} "
                "cannot be told where the padded ones begin",
                "pass prompts of one length at a time",
            )
        starts = [0 if self._in_place else width - length for length in lengths]
        tokens = torch.full((len(prompts), width), pad, dtype=torch.long)
        for row, (start, prompt) in enumerate(zip(starts, prompts, strict=True)):
            tokens[row, start : start + len(prompt)] = torch.as_tensor(prompt)
        require_known_tokens(tokens, self._config)
        first, count = torch.tensor([starts, lengths], device=device)[:, :, None]
        places = torch.arange(width + limit, device=device)
        prompt = (places >= first) & (places < first + count)
        self._mask = (prompt | (places >= width)).long()
        self._tokens = tokens.to(device)
        self._positions = (places[:width] - first).clamp(min=0)
        self._last = first[:, 0] + count[:, 0] - 1
        self._cache: Cache = (
            preallocated(int(self._config.num_hidden_layers), width + limit - 1, copies)
            if self._in_place
            else DynamicCache(config=self._config)
        )
        self._shown: torch.Tensor | None = None

    def first(self, module: nn.Module) -> Float[torch.Tensor, "row vocabulary"]:
        """Read the prompts; return the logits of the first token of every row."""
        parts = causal_parts(module)
        mask = None if self._in_place else self._mask[:, : self._seen]
        states = self._read(parts, self._tokens, mask, self._positions)
        rows = torch.arange(len(states), device=states.device)
        logits = parts.logits(states[rows, self._last])
        positions = self._positions[rows, self._last]
        self._positions = positions.repeat_interleave(self._copies)[:, None]
        self._mask = self._mask.repeat_interleave(self._copies, dim=0)
        if not self._in_place:
            self._cache.batch_repeat_interleave(self._copies)
        elif self._padded:
            self._shown = _shown(self._mask, self._config, states.dtype)
        return logits.repeat_interleave(self._copies, dim=0)

    def next(
        self, module: nn.Module, tokens: Int[torch.Tensor, "row"]
    ) -> Float[torch.Tensor, "row vocabulary"]:
        """Read one more token of every row; return the logits of the token after it."""
        self._seen += 1
        self._positions = self._positions + 1
        mask = None if self._in_place else self._mask[:, : self._seen]
        if self._shown is not None:
            mask = self._shown[..., : self._seen]
        parts = causal_parts(module)
        states = self._read(parts, tokens[:, None], mask, self._positions)
        return parts.logits(states[:, -1])

    def keep(self, rows: Int[torch.Tensor, "kept"]) -> None:
        """Forget all other rows."""
        self._mask, self._positions = self._mask[rows], self._positions[rows]
        self._shown = None if self._shown is None else self._shown[rows]
        if not self._in_place:
            self._cache.batch_select_indices(rows)
            return
        for layer in self._cache.layers:
            if isinstance(layer, PreallocatedLayer):
                layer.keep(rows)

    def _read(
        self,
        parts: CausalParts,
        tokens: torch.Tensor,
        mask: torch.Tensor | None,
        positions: torch.Tensor,
    ) -> torch.Tensor:
        arguments = {"position_ids": positions} if self._takes_positions else {}
        output = parts.body(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            **arguments,
        )
        if getattr(output, "past_key_values", None) is None:
            raise Unsupported(
                f"{type(parts.body).__name__} returns no keys and values to go on from",
                "use a transformer with a KV cache",
            )
        states: torch.Tensor = output.last_hidden_state
        return states


def _config(parts: CausalParts) -> Any:
    return getattr(parts.body, "config", None)


def _shown(mask: torch.Tensor, config: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask of all positions in the form that the attention kernel takes."""
    shown = (mask != 0)[:, None, None, :]
    if config._attn_implementation == "sdpa":
        return shown
    hidden = torch.zeros(shown.shape, dtype=dtype, device=shown.device)
    return hidden.masked_fill_(~shown, torch.finfo(dtype).min)


def _attends_to_all(config: object) -> bool:
    """Say whether every layer attends to all positions, by kernels that take a mask of ours."""
    types = getattr(config, "layer_types", None)
    windowed = getattr(config, "sliding_window", None) is not None if types is None else False
    plain = types is None or all(kind == "full_attention" for kind in types)
    kernel = getattr(config, "_attn_implementation", None)
    return plain and not windowed and kernel in ("sdpa", "eager")


def _check(lengths: list[int], limit: int, config: object) -> None:
    if min(lengths) == 0:
        empty = [row for row, length in enumerate(lengths) if length == 0]
        raise InvalidProblem(
            f"the prompts {empty} have no token", "start prompts with a beginning-of-text token"
        )
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and max(lengths) + limit > context:
        row = lengths.index(max(lengths))
        raise InvalidProblem(
            f"prompt {row} has {lengths[row]} tokens: with {limit} new ones that exceeds the "
            f"context of {context}",
            "shorten the prompts or lower the limit",
        )
