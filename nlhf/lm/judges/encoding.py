"""From prompts and responses to vectors: the hidden state of a network at the last token."""

import inspect
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import nn

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.responses import Responses
from nlhf.streams import Stream

Row = tuple[int, ...]


class Encoder(nn.Module):
    """The last hidden state of a transformer at the last token of a row.

    Dropout is always off: the vector of a row is a function of the row and the weights, and
    repeated passes agree. (The checkpointing of activations that transformers ties to training
    mode is therefore off as well; smaller micro-batches save the memory.)

    Args:
        backbone: A model without a language-model head, causal or not: it is called with
            `input_ids` and `attention_mask` and returns `last_hidden_state`; `config.hidden_size`
            is its width, `config.max_position_embeddings`, where there is one, its context.
        pad: The token that fills rows at their end, masked.
        micro_batch: The most rows of one forward pass.

    Raises:
        HypothesisViolated: The micro-batch is not at least 1.
    """

    def __init__(self, backbone: nn.Module, *, pad: int, micro_batch: int = 32) -> None:
        super().__init__()
        if micro_batch < 1:
            raise HypothesisViolated(f"micro_batch {micro_batch}", "take at least 1 row a pass")
        self.backbone = backbone
        self.pad = pad
        self.micro_batch = micro_batch
        # Keys and values of long rows are many times the hidden states, and nobody reads on.
        caches = "use_cache" in inspect.signature(backbone.forward).parameters
        self._settings = {"use_cache": False} if caches else {}

    @property
    def width(self) -> int:
        """The length of a hidden state."""
        return int(self.backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @property
    def context(self) -> int | None:
        """The most tokens of a row, where the architecture has a limit."""
        most = getattr(self.backbone.config, "max_position_embeddings", None)
        return None if most is None else int(most)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    def forward(self, rows: Sequence[Row]) -> Float[torch.Tensor, "row hidden"]:
        """Return the vectors of rows in one pass with its graph, equal rows read once."""
        self.backbone.eval()
        place = {row: k for k, row in enumerate(dict.fromkeys(rows))}
        ids, mask = padded(list(place), self.pad, self.device)
        found = self.backbone(input_ids=ids, attention_mask=mask, **self._settings)
        if not hasattr(found, "last_hidden_state"):
            raise HypothesisViolated(
                f"the backbone returns {type(found).__name__}, without last_hidden_state",
                "pass a model without a head: AutoModel.from_pretrained, or model.base_model",
            )
        last = mask.sum(dim=1) - 1
        vectors: torch.Tensor = found.last_hidden_state
        own = vectors[torch.arange(len(place), device=vectors.device), last]
        return own[[place[row] for row in rows]]

    @torch.no_grad()
    def encoded(self, rows: Sequence[Row]) -> Float[torch.Tensor, "row hidden"]:
        """Return the vectors of any number of rows without a graph, in passes of few rows.

        What is read together does not depend on the order of the rows.
        """
        distinct = sorted(set(rows), key=lambda row: (len(row), row))
        place = {row: k for k, row in enumerate(distinct)}
        parts = [self(part) for part in batches(distinct, self.micro_batch)]
        return torch.cat(parts)[[place[row] for row in rows]]


def batches(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Yield consecutive parts of at most the given size."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def padded(
    rows: Sequence[Row], pad: int, device: torch.device
) -> tuple[Int[torch.Tensor, "row token"], Int[torch.Tensor, "row token"]]:
    """Return tokens padded at the end, and the mask that is 1 on what counts.

    At the end, because then the positions of a row do not depend on the others.
    """
    longest = max(len(row) for row in rows)
    ids = torch.tensor([(*row, *[pad] * (longest - len(row))) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(longest)[None, :] < lengths[:, None]).long()
    return ids.to(device), mask.to(device)


def response_rows(responses: Responses) -> list[list[Row]]:
    """Return the tokens of every response to every prompt, what is past their lengths cut off."""
    lengths = responses.lengths.tolist()
    return [
        [tuple(row[:length]) for row, length in zip(rows, counts, strict=True)]
        for rows, counts in zip(responses.tokens.tolist(), lengths, strict=True)
    ]


def whole_rows(responses: Responses, context: int | None) -> list[Row]:
    """Return prompt and response as one row each, prompt by prompt.

    Raises:
        InvalidData: One is longer than the context; names the row and the response.
    """
    rows = []
    for x, answers in enumerate(response_rows(responses)):
        prompt = responses.prompts.tokens[x]
        for y, answer in enumerate(answers):
            require_fit(
                len(prompt) + len(answer), context, responses.prompts.rows[x], f"response {y}"
            )
            rows.append(prompt + answer)
    return rows


def require_fit(length: int, context: int | None, row: int, what: str) -> None:
    """Refuse what the network cannot read whole.

    Raises:
        InvalidData: The length is above the context.
    """
    if context is not None and length > context:
        raise InvalidData(
            f"row {row}, {what}: {length} tokens with the prompt, the context is {context}",
            "shorten the prompt or the limit of responses, or take a judge with a longer context",
        )


def new_linear(
    inputs: int, outputs: int, stream: Stream, *, bias: bool, like: torch.Tensor
) -> nn.Linear:
    r"""Return a linear layer with weights N(0, 1/(inputs + 1)) and bias 0, at least in float32.

    Args:
        inputs: Length of a hidden state.
        outputs: How many numbers are read from it.
        stream: Randomness of the weights.
        bias: Whether there is one.
        like: A tensor on the layer's device; a float64 one makes the layer float64.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    # Not nn.Linear(...): that draws from the global generator.
    layer = nn.utils.skip_init(
        nn.Linear, inputs, outputs, bias=bias, device=like.device, dtype=dtype
    )
    drawn = stream.generator().normal(size=(outputs, inputs)) / (inputs + 1) ** 0.5
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(drawn))
        if bias:
            layer.bias.zero_()
    return layer
