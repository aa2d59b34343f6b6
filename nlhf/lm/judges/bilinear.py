"""A skew-symmetric form of two embeddings: complementary by construction, cycles and all."""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import nn

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.base import checked_preferences, require_same_prompts
from nlhf.lm.judges.encoding import Encoder, new_linear, whole_rows
from nlhf.lm.responses import Responses
from nlhf.numerics import sigmoid
from nlhf.streams import Stream


class SkewBilinear(nn.Module):
    r"""The preference :math:`\sigma(\phi(x, a)^\top J \phi(x, b))` with J skew.

    :math:`\phi = W h + c \in R^{2k}` is linear in the hidden state, and J has k blocks
    :math:`\begin{pmatrix} 0 & 1 \\ -1 & 0 \end{pmatrix}`. Nothing is lost by that J: every skew
    matrix of rank 2k is :math:`W^\top J W` for some W. So the log-odds are any skew form of the
    hidden states and 1: with k = 1 they include Bradley-Terry (φ = (r, 1)), with any k ≥ 1 cycles.
    A response is encoded once, not once a pair: n passes for n² preferences.

    Source: Zhang et al., Beyond Bradley-Terry Models: A General Preference Model, 2024.

    Args:
        encoder: The backbone.
        head: From its hidden states to φ.

    Raises:
        HypothesisViolated: The head has an odd number of outputs.
    """

    def __init__(self, encoder: Encoder, head: nn.Linear) -> None:
        super().__init__()
        if head.out_features % 2:
            raise HypothesisViolated(
                f"the head has {head.out_features} outputs", "give an even number: pairs of them"
            )
        self.encoder = encoder
        self.head = head

    @classmethod
    def on(
        cls,
        backbone: nn.Module,
        *,
        blocks: int,
        pad: int,
        stream: Stream,
        micro_batch: int = 32,
    ) -> "SkewBilinear":
        """Put a new head of k blocks on a backbone; see `Encoder`.

        Raises:
            HypothesisViolated: There is no block.
        """
        if blocks < 1:
            raise HypothesisViolated(f"{blocks} blocks", "ask for at least 1")
        encoder = Encoder(backbone, pad=pad, micro_batch=micro_batch)
        like = next(backbone.parameters())
        head = new_linear(encoder.width, 2 * blocks, stream.child("head"), bias=True, like=like)
        return cls(encoder, head)

    def forward(self, responses: Responses) -> Float[torch.Tensor, "row entry"]:
        """Return φ of all responses, prompt by prompt, in one pass with its graph.

        Raises:
            InvalidData: Prompt and response are longer than the context.
        """
        return self._read(self.encoder(whole_rows(responses, self.encoder.context)))

    def margins(self, first: Responses, second: Responses) -> Float[torch.Tensor, "pair 1"]:
        """Return the log-odds for one response each a prompt, with the graph."""
        rows = [*whole_rows(first, self.encoder.context), *whole_rows(second, self.encoder.context)]
        a, b = self._read(self.encoder(rows)).chunk(2)
        each = a[:, 0::2] * b[:, 1::2] - a[:, 1::2] * b[:, 0::2]
        return each.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the preferences.

        Raises:
            InvalidData: The prompts differ, a row is too long, or a preference is nan.
        """
        require_same_prompts(first, second)
        a = self._embedded(first)
        b = a if second is first else self._embedded(second)
        even = np.einsum("xik,xjk->xij", a[..., 0::2], b[..., 1::2])
        odd = np.einsum("xik,xjk->xij", a[..., 1::2], b[..., 0::2])
        return checked_preferences(sigmoid(even - odd), first, second)

    def _embedded(self, responses: Responses) -> np.ndarray:
        rows = whole_rows(responses, self.encoder.context)
        found = self._read(self.encoder.encoded(rows)).double().cpu().numpy()
        return np.asarray(found.reshape(*responses.shape, -1))

    def _read(self, vectors: torch.Tensor) -> Float[torch.Tensor, "row entry"]:
        found: torch.Tensor = self.head(vectors.to(self.head.weight.dtype))
        return found
