"""Drawing tokens from given uniform numbers, by the inverse of the distribution function."""

import torch
from jaxtyping import Float, Float64, Int
from torch.nn.functional import pad

_BLOCK = 256
"""Tokens per block: the distribution function is summed over blocks, then inside one of them."""


def draw(
    logits: Float[torch.Tensor, "row token"], uniforms: Float64[torch.Tensor, "row"]
) -> tuple[Int[torch.Tensor, "row"], Float64[torch.Tensor, "row"]]:
    r"""Return the tokens min {i : F(i) > u} with their log-probabilities.

    `F(i) = sum_{j <= i} softmax(logits)_j` in the order of the vocabulary. A token of probability
    zero is never drawn, whatever `u` in [0, 1) and whatever the rounding.

    Args:
        logits: Up to a constant per row; minus infinity for what cannot be drawn.
        uniforms: In [0, 1).

    Returns:
        The tokens, and log softmax(logits) at them.
    """
    rows, vocabulary = logits.shape
    peak = logits.amax(dim=-1, keepdim=True)
    masses = (logits - peak).exp_()
    blocks = pad(masses, (0, -vocabulary % _BLOCK)).view(rows, -1, _BLOCK)
    block_masses = blocks.sum(dim=-1, dtype=torch.float64)
    totals = block_masses.sum(dim=-1)
    block, left = _locate(block_masses, uniforms * totals)
    inside, _ = _locate(blocks[torch.arange(rows, device=logits.device), block].double(), left)
    tokens = block * _BLOCK + inside
    picked = logits.gather(-1, tokens[:, None]) - peak
    return tokens, picked[:, 0].double() - totals.log()


def _locate(
    masses: Float64[torch.Tensor, "row cell"], targets: Float64[torch.Tensor, "row"]
) -> tuple[Int[torch.Tensor, "row"], Float64[torch.Tensor, "row"]]:
    """Return the first cell where the running sum exceeds the target, and what is left in it.

    Where rounding leaves no such cell, the last one with mass.
    """
    running = masses.cumsum(dim=-1)
    cells = torch.arange(masses.shape[-1], device=masses.device)
    last = torch.where(masses > 0, cells, 0).amax(dim=-1)
    cell = torch.minimum((running <= targets[:, None]).sum(dim=-1), last)
    before = (running - masses).gather(-1, cell[:, None])[:, 0]
    return cell, targets - before
