"""A network that reads both responses, and a skew form of what it reads of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import nn

from nlhf.lm.judges.base import checked_preferences, require_same_prompts
from nlhf.lm.judges.encoding import Encoder, Row, batches, new_linear, require_fit, response_rows
from nlhf.lm.responses import Responses
from nlhf.numerics import sigmoid
from nlhf.streams import Stream

CONTEXT, RESPONSE_A, RESPONSE_B = "[CONTEXT] ", " [RESPONSE A] ", " [RESPONSE B] "


@dataclass(frozen=True, slots=True)
class Markers:
    """The tokens before the prompt, before the first response and before the second.

    Attributes:
        context: `[CONTEXT]`.
        first: `[RESPONSE A]`.
        second: `[RESPONSE B]`.
    """

    context: Row
    first: Row
    second: Row

    @classmethod
    def of(cls, encode: Callable[[str], Sequence[int]]) -> "Markers":
        """Return the texts of the markers as tokens; `encode` adds no special ones."""
        found = [tuple(encode(text)) for text in (CONTEXT, RESPONSE_A, RESPONSE_B)]
        return cls(*found)

    def written(self, prompt: Row, first: Row, second: Row) -> Row:
        """Return one row: markers, prompt and both responses."""
        return self.context + prompt + self.first + first + self.second + second


class CrossEncoder(nn.Module):
    r"""The preference of a network that reads `[CONTEXT] x [RESPONSE A] a [RESPONSE B] b`.

    With s its number for one order,

    .. math:: P(a \succ b | x) = \sigma\big(\tfrac12 [s(x, a, b) - s(x, b, a)]\big),

    so any liking for a place cancels, the loss of training is of this same probability, and
    P(a, b) + P(b, a) = 1 to the rounding of a float64: the passes for a pair are the same,
    whichever way round it is asked. A response against itself has 1/2 without a pass. It can be
    intransitive. (RLHFlow's pair model averages the probabilities of both orders instead.)

    Args:
        encoder: The backbone.
        head: From its hidden state to s; without bias, which would cancel.
        markers: What separates the parts.
    """

    def __init__(self, encoder: Encoder, head: nn.Linear, markers: Markers) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.markers = markers

    @classmethod
    def on(
        cls,
        backbone: nn.Module,
        *,
        markers: Markers,
        pad: int,
        stream: Stream,
        micro_batch: int = 32,
    ) -> "CrossEncoder":
        """Put a new head, drawn N(0, 1/(width + 1)), on a backbone; see `Encoder`."""
        encoder = Encoder(backbone, pad=pad, micro_batch=micro_batch)
        like = next(backbone.parameters())
        head = new_linear(encoder.width, 1, stream.child("head"), bias=False, like=like)
        return cls(encoder, head, markers)

    def forward(self, rows: Sequence[Row]) -> Float[torch.Tensor, " row"]:
        """Return s of rows that are written out, in one pass with its graph."""
        return self._read(self.encoder(rows))

    def margins(self, first: Responses, second: Responses) -> Float[torch.Tensor, "pair 1"]:
        """Return the log-odds for one response each a prompt, with the graph."""
        pairs = [
            self._orders(first, x, a[0], b[0])
            for x, (a, b) in enumerate(
                zip(response_rows(first), response_rows(second), strict=True)
            )
        ]
        number = self([row for pair in pairs for row in pair])
        return (number[0::2] - number[1::2])[:, None] / 2.0

    @torch.no_grad()
    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the preferences.

        Raises:
            InvalidData: The prompts differ, a row is longer than the context, or a preference is
                nan.
        """
        require_same_prompts(first, second)
        shape = (*first.shape, second.shape[1])
        asked: dict[tuple[Row, Row, Row], tuple[Row, Row]] = {}
        places: list[tuple[tuple[Row, Row, Row], float]] = []
        for x, (own, other) in enumerate(
            zip(response_rows(first), response_rows(second), strict=True)
        ):
            prompt = first.prompts.tokens[x]
            for a in own:
                for b in other:
                    key = (prompt, min(a, b), max(a, b))
                    places.append((key, 0.0 if a == b else 1.0 if a < b else -1.0))
                    if a != b and key not in asked:
                        asked[key] = self._orders(first, x, key[1], key[2])
        known = self._log_odds(asked)
        logits = np.array([sign * known[key] if sign else 0.0 for key, sign in places])
        return checked_preferences(sigmoid(logits).reshape(shape), first, second)

    def _log_odds(
        self, asked: dict[tuple[Row, Row, Row], tuple[Row, Row]]
    ) -> dict[tuple[Row, Row, Row], float]:
        """Return the log-odds of pairs in an order that the question does not change."""
        if not asked:
            return {}
        keys = sorted(asked, key=lambda key: (len(asked[key][0]), key))
        rows = [row for key in keys for row in asked[key]]
        numbers = torch.cat([self(part) for part in batches(rows, self.encoder.micro_batch)])
        halves = (numbers[0::2] - numbers[1::2]).double().cpu().numpy() / 2.0
        return dict(zip(keys, halves.tolist(), strict=True))

    def _orders(self, responses: Responses, x: int, a: Row, b: Row) -> tuple[Row, Row]:
        prompt = responses.prompts.tokens[x]
        both = (self.markers.written(prompt, a, b), self.markers.written(prompt, b, a))
        row = responses.prompts.rows[x]
        require_fit(len(both[0]), self.encoder.context, row, "both responses")
        return both

    def _read(self, vectors: Float[torch.Tensor, "row hidden"]) -> Float[torch.Tensor, " row"]:
        found: torch.Tensor = self.head(vectors.to(self.head.weight.dtype))[:, 0]
        return found
