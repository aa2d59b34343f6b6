"""How a strategy's responses are looked at: a sample of them, or all of them."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from nlhf.errors import HypothesisViolated
from nlhf.lm.model import LanguageModel
from nlhf.lm.promised import Opponents
from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.strategies import Strategy
from nlhf.streams import Stream


@runtime_checkable
class Draws(Protocol):
    """Responses that stand for a strategy."""

    def responses(
        self, model: LanguageModel, strategy: Strategy, prompts: Prompts, stream: Stream
    ) -> Responses:
        """Return responses whose weights average as the strategy does."""
        ...

    def promised(
        self, model: LanguageModel, strategy: Strategy, prompts: Prompts, stream: Stream
    ) -> Opponents:
        """Return the same responses, drawn when it is cheap and at the latest when looked at."""
        ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """So many independent responses to each prompt, of equal weight.

    Attributes:
        count: R ≥ 1.

    Raises:
        HypothesisViolated: If the count is not a positive integer.
    """

    count: int

    def __post_init__(self) -> None:
        if not self.count >= 1:
            raise HypothesisViolated(
                f"{self.count} responses stand for nobody", "draw at least one"
            )

    def responses(
        self, model: LanguageModel, strategy: Strategy, prompts: Prompts, stream: Stream
    ) -> Responses:
        """Return the sample."""
        return model.sample(strategy, prompts, self.count, stream)

    def promised(
        self, model: LanguageModel, strategy: Strategy, prompts: Prompts, stream: Stream
    ) -> Opponents:
        """Return the same sample, to be drawn with the next one to these prompts."""
        return model.promise(strategy, prompts, self.count, stream)


@dataclass(frozen=True, slots=True)
class Enumerated:
    """All responses of an enumerable model, weighted by their probabilities: exact.

    Attributes:
        vocabulary: V; responses are all of the V^limit sequences.
    """

    vocabulary: int

    def responses(
        self, model: LanguageModel, strategy: Strategy, prompts: Prompts, stream: Stream
    ) -> Responses:
        """Return all responses; the stream is not used."""
        listed = every_response(prompts, self.vocabulary, model.limit, model.device)
        logs = model.relative_log_probabilities(strategy, listed)
        weights = torch.softmax(logs, dim=1)
        return Responses(prompts, listed.tokens, listed.lengths, weights, listed.known, True)

    def promised(
        self, model: LanguageModel, strategy: Strategy, prompts: Prompts, stream: Stream
    ) -> Opponents:
        """Return all responses: there is nothing to draw."""
        return self.responses(model, strategy, prompts, stream)


def every_response(
    prompts: Prompts, vocabulary: int, length: int, device: torch.device
) -> Responses:
    """Return all sequences of a length in lexicographic order, of equal weight."""
    digits = [torch.arange(vocabulary, device=device)] * length
    tokens = torch.cartesian_prod(*digits).reshape(-1, length).expand(len(prompts), -1, -1)
    shape = tokens.shape[:2]
    lengths = torch.full(shape, length, device=device)
    weights = torch.full(shape, 1.0 / shape[1], dtype=torch.float64, device=device)
    return Responses(prompts, tokens, lengths, weights)
