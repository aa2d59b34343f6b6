"""Prompts and responses joined into rows of one width."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int

from nlhf.errors import InvalidProblem
from nlhf.lm.sequences.parts import CausalParts, require_known_tokens


class RightPadded:
    """Rows prompt + response, padded on the right, where causal attention never looks.

    Args:
        prompts: One per row, of any lengths, never empty.
        tokens: The responses, padded at the end.
        lengths: How many tokens of each row count.
        pad: The token that fills.

    Attributes:
        targets: The counted tokens of all rows, one after the other.

    Raises:
        InvalidProblem: An empty prompt, or a number of prompts that is not that of the rows.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        tokens: Int[torch.Tensor, "row token"],
        lengths: Int[torch.Tensor, "row"],
        pad: int,
    ) -> None:
        if len(prompts) != len(tokens) or any(len(prompt) == 0 for prompt in prompts):
            empty = [row for row, prompt in enumerate(prompts) if len(prompt) == 0]
            raise InvalidProblem(
                f"{len(prompts)} prompts for {len(tokens)} responses, empty in rows {empty}",
                "pass one prompt of at least one token per row",
            )
        self._shape = tokens.shape
        tokens, lengths = tokens.cpu(), lengths.cpu()
        starts = torch.tensor([len(prompt) for prompt in prompts])
        ends = starts + lengths
        self._sequences = torch.full((len(prompts), int(ends.max())), pad, dtype=torch.long)
        before = torch.arange(int(starts.max())) < starts[:, None]
        read = [token for prompt in prompts for token in prompt]
        self._sequences[:, : before.shape[1]][before] = torch.tensor(read)
        self._mask = (torch.arange(self._sequences.shape[1]) < ends[:, None]).long()
        counted = torch.arange(tokens.shape[1]) < lengths[:, None]
        self._rows, self._positions = counted.nonzero(as_tuple=True)
        self.targets = tokens[self._rows, self._positions].long()
        self._sequences[self._rows, starts[self._rows] + self._positions] = self.targets
        # The state before a token predicts it.
        self._before = starts[self._rows] + self._positions - 1

    def states(self, parts: CausalParts) -> Float[torch.Tensor, "position width"]:
        """Return the hidden states that predict the targets.

        Raises:
            InvalidProblem: If a row exceeds the model's context, or a token its vocabulary.
        """
        config = getattr(parts.body, "config", None)
        context = getattr(config, "max_position_embeddings", None)
        width = self._sequences.shape[1]
        if context is not None and width > context:
            row = int(self._mask.sum(dim=1).argmax())
            raise InvalidProblem(
                f"prompt and response of row {row} have {width} tokens, the model's context "
                f"{context}",
                "shorten the prompts or the responses",
            )
        require_known_tokens(self._sequences, config)
        device = next(parts.body.parameters()).device
        output = parts.body(
            input_ids=self._sequences.to(device),
            attention_mask=self._mask.to(device),
            use_cache=False,
        )
        states: torch.Tensor = output.last_hidden_state
        return states[self._rows.to(device), self._before.to(device)]

    def placed(self, terms: Float[torch.Tensor, "position"]) -> Float[torch.Tensor, "row token"]:
        """Put one number per target where the target is; zeros elsewhere."""
        places = (self._rows.to(terms.device), self._positions.to(terms.device))
        return terms.new_zeros(self._shape).index_put(places, terms)
