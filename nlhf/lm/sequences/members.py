"""Members of token-wise mixtures, and what is wanted of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float64

Context = Callable[[], AbstractContextManager[torch.nn.Module]]
"""What gives a model, and may swap its weights for as long."""
Member = tuple[Context, float]
"""A model in its context, and its exponent."""


@dataclass(frozen=True, slots=True, eq=False)
class Play:
    r"""Responses wanted of :math:`\prod_k \pi_k^{w_k}`, renormalised at every token.

    Attributes:
        exponents: w, one per model; a model with zero does not read these rows.
        uniforms: In [0, 1), one per row and token. Row ``i * count + j`` is the j-th response to
            prompt i.
    """

    exponents: tuple[float, ...]
    uniforms: Float64[torch.Tensor, "row token"]
