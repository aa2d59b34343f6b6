"""A causal language model taken apart: the body, the head, and what follows the head."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from nlhf.errors import InvalidProblem, Unsupported


@dataclass(frozen=True, slots=True, eq=False)
class CausalParts:
    r"""The factors of `logits = cap(scale * head(body(tokens)))`.

    `cap(z) = softcap * tanh(z / softcap)` for architectures that bound their logits, else the
    identity.

    Attributes:
        body: From tokens to hidden states, adapters included.
        head: From hidden states to the vocabulary.
        scale: What the architecture multiplies the head's output by.
        softcap: The bound of the logits, or none.
    """

    body: nn.Module
    head: nn.Module
    scale: float
    softcap: float | None

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the whole model returns at these hidden states."""
        logits: torch.Tensor = self.head(hidden)
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits


_KNOWN: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def causal_parts(module: nn.Module) -> CausalParts:
    """Take a causal language model apart, and check once per module that nothing was lost.

    Wrappers of peft and of distributed training are looked through; adapters inside the layers
    stay active. The check is one forward pass of a single token: the body's output must be the
    head's input, and the parts must give the module's own logits.

    Args:
        module: Any causal model of transformers, bare or wrapped.

    Returns:
        The parts; they share the module's weights.

    Raises:
        Unsupported: The module has no output embedding, or computes its logits in a way that
            these parts do not reproduce.
    """
    inner = _unwrapped(module)
    body = getattr(inner, "base_model", inner)
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    if body is inner or not isinstance(head, nn.Module):
        raise Unsupported(
            f"{type(inner).__name__} has no output embedding on top of a base model",
            "pass a causal language model of transformers (AutoModelForCausalLM)",
        )
    config = inner.config
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    parts = CausalParts(body, head, scale, getattr(config, "final_logit_softcapping", None))
    if inner not in _KNOWN:
        _check(inner, parts)
        _KNOWN[inner] = True
    return parts


def require_known_tokens(rows: torch.Tensor, config: object) -> None:
    """Refuse tokens that have no embedding: a device can only stop at them, without a word.

    Args:
        rows: Tokens of shape ``(row, token)``.
        config: Of the model; nothing is checked if it tells no size of the vocabulary.

    Raises:
        InvalidProblem: Naming the row and the token.
    """
    known = getattr(config, "vocab_size", None)
    if known is None:
        return
    wrong = ((rows < 0) | (rows >= known)).nonzero()
    if len(wrong):
        row, place = (int(i) for i in wrong[0])
        raise InvalidProblem(
            f"token {place} of row {row} is {int(rows[row, place])}, and the model knows the "
            f"tokens 0 to {known - 1}",
            "use the tokenizer that the model was trained with",
        )


def _unwrapped(module: Any) -> Any:
    """Remove the wrappers of distributed training and of peft, not the adapters themselves."""
    while True:
        if hasattr(module, "get_base_model"):
            module = module.get_base_model()
        elif isinstance(module, nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return module


def _check(inner: Any, parts: CausalParts) -> None:
    """Compare the parts with the module on one token; the hooks see one and the same pass."""
    seen: dict[str, torch.Tensor] = {}

    def of_body(_: nn.Module, __: object, output: Any) -> None:
        seen["body"] = output[0]

    def of_head(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen["head"] = inputs[0]

    hooks = (
        parts.body.register_forward_hook(of_body),
        parts.head.register_forward_pre_hook(of_head),
    )
    try:
        with torch.no_grad():
            token = torch.zeros((1, 1), dtype=torch.long, device=next(inner.parameters()).device)
            logits = inner(input_ids=token).logits
            same_input = torch.equal(seen["body"], seen["head"])
            rebuilt = parts.logits(seen["head"])
    finally:
        for hook in hooks:
            hook.remove()
    if not same_input or not torch.allclose(rebuilt, logits, rtol=1e-3, atol=1e-3):
        raise Unsupported(
            f"{type(inner).__name__} computes its logits by more than its head, a scale and a "
            f"soft cap: they differ by {float((rebuilt - logits).abs().max()):.3g}",
            "use an architecture whose logits are head(body), or add its rule to causal_parts",
        )
