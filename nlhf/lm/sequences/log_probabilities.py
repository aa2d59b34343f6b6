"""Log-probabilities of responses, without ever holding the logits of a whole batch."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch.autograd.function import FunctionCtx
from torch.utils.checkpoint import checkpoint

from nlhf.lm.sequences.members import Member
from nlhf.lm.sequences.parts import CausalParts, causal_parts
from nlhf.lm.sequences.right_padded import RightPadded

_CHUNK_ENTRIES = 1 << 24
"""Logits held at a time: 64 MiB in float32."""


def sequence_log_probabilities(
    module: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    tokens: Int[torch.Tensor, "row token"],
    lengths: Int[torch.Tensor, "row"],
    *,
    temperature: float = 1.0,
    pad: int = 0,
    chunk: int | None = None,
) -> Float[torch.Tensor, "row"]:
    r"""Return log pi(y | x) of every row: the sum over its counted tokens.

        log pi(y | x) = sum_{t < lengths} log softmax(logits(x, y_{<t}) / temperature)[y_t]

    The end token is counted where it lies within `lengths`; a response cut at the limit is a
    prefix event, its sum over the tokens that were drawn. Differentiable in the module's weights;
    the backward pass recomputes the logits chunk by chunk.

    Args:
        module: A causal language model, bare or wrapped; its mode (dropout) is the caller's.
        prompts: One prompt per row, of any lengths, never empty.
        tokens: The responses, padded at the end.
        lengths: How many tokens of each row count.
        temperature: Divides the logits.
        pad: The token that fills; what it is has no influence.
        chunk: Token positions whose logits are held at a time; by default 64 MiB of them.

    Returns:
        The sums, in float64; each token's term has the accuracy of the module's own precision,
        at least float32.

    Raises:
        InvalidProblem: An empty prompt, or as many prompts as rows are not given.
        Unsupported: The module's logits are not a head on top of a body.
    """
    terms = token_log_probabilities(
        module, prompts, tokens, lengths, temperature=temperature, pad=pad, chunk=chunk
    )
    return terms.double().sum(dim=-1)


def token_log_probabilities(
    module: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    tokens: Int[torch.Tensor, "row token"],
    lengths: Int[torch.Tensor, "row"],
    *,
    temperature: float = 1.0,
    pad: int = 0,
    chunk: int | None = None,
) -> Float[torch.Tensor, "row token"]:
    """Return the summands of `sequence_log_probabilities`: zero where no token counts.

    Arguments and errors are those of `sequence_log_probabilities`; float32, or float64 for a
    module in float64.
    """
    batch = RightPadded(prompts, tokens, lengths, pad)
    parts = causal_parts(module)
    states = batch.states(parts)
    return batch.placed(
        _log_probabilities(parts, states, batch.targets.to(states.device), temperature, chunk)
    )


def tokenwise_log_probabilities(
    members: Sequence[Member],
    prompts: Sequence[Sequence[int]],
    tokens: Int[torch.Tensor, "row token"],
    lengths: Int[torch.Tensor, "row"],
    *,
    temperature: float = 1.0,
    pad: int = 0,
    chunk: int | None = None,
) -> Float[torch.Tensor, "row"]:
    r"""Return the log-probabilities of rows under the token-wise mixture of several models.

        log pi(y | x) = sum_t [ s_t(y_t) - log sum_v exp s_t(v) ],   s_t = sum_k w_k z_k,t / T

    with z_k,t the logits of member k: what `decode_tokenwise` draws from. Without a graph, since
    the members may be one module with several weights.

    Args:
        members: Contexts that give each model, and the exponents w.
        prompts: As for `sequence_log_probabilities`, and so are the rest.
        tokens: The responses, padded at the end.
        lengths: How many tokens of each row count.
        temperature: Divides the logits.
        pad: The token that fills.
        chunk: Token positions whose logits are held at a time.
    """
    batch = RightPadded(prompts, tokens, lengths, pad)
    with torch.no_grad():
        states = []
        for context, _ in members:
            with context() as module:
                states.append(batch.states(causal_parts(module)))
        terms = []
        step = chunk or _CHUNK_ENTRIES // (1 << 16)
        for start in range(0, len(batch.targets), step):
            mixed: torch.Tensor | None = None
            for (context, exponent), known in zip(members, states, strict=True):
                with context() as module:
                    logits = causal_parts(module).logits(known[start : start + step])
                logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
                mixed = exponent * logits if mixed is None else mixed.add_(logits, alpha=exponent)
            target = batch.targets[start : start + step].to(states[0].device)
            if mixed is not None:
                terms.append(_GatherLogSoftmax.apply(mixed, target, temperature))
        return batch.placed(torch.cat(terms)).double().sum(dim=-1)


def _log_probabilities(
    parts: CausalParts,
    states: Float[torch.Tensor, "position width"],
    targets: Int[torch.Tensor, "position"],
    temperature: float,
    chunk: int | None,
) -> Float[torch.Tensor, "position"]:
    """Return log softmax(logits / temperature) at the targets, a chunk of positions at a time."""
    if chunk is None:
        chunk = max(1, _CHUNK_ENTRIES // _vocabulary(parts))

    def terms(hidden: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return _GatherLogSoftmax.apply(parts.logits(hidden), target, temperature)

    pieces = []
    chunks = list(zip(states.split(chunk), targets.split(chunk), strict=True))
    for number, (hidden, target) in enumerate(chunks):
        # The last chunk is the first of the backward pass: kept, it raises no peak.
        if torch.is_grad_enabled() and number + 1 < len(chunks):
            piece = checkpoint(terms, hidden, target, use_reentrant=False, preserve_rng_state=False)
        else:
            piece = terms(hidden, target)
        pieces.append(piece)
    return torch.cat(pieces) if pieces else states.new_zeros(0)


def _vocabulary(parts: CausalParts) -> int:
    weight = getattr(parts.head, "weight", None)
    return int(weight.shape[0]) if isinstance(weight, torch.Tensor) else 1 << 16


class _GatherLogSoftmax(torch.autograd.Function):
    """log softmax(z / temperature)[target]; keeps the logits and their normaliser only."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: torch.Tensor, target: torch.Tensor, temperature: float
    ) -> torch.Tensor:
        scaled = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        normaliser = scaled.logsumexp(dim=-1)
        ctx.save_for_backward(logits, normaliser, target)
        ctx.temperature = temperature  # type: ignore[attr-defined]
        return scaled.gather(-1, target[:, None])[:, 0] - normaliser

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        logits, normaliser, target = ctx.saved_tensors
        gradient = logits.to(normaliser.dtype) / ctx.temperature
        gradient.sub_(normaliser[:, None]).exp_().mul_(-slope[:, None])
        gradient.scatter_add_(-1, target[:, None], slope[:, None])
        return gradient.div_(ctx.temperature).to(logits.dtype), None, None
