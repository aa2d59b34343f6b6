"""Responses that are promised: drawn together with the next ones to the same prompts."""

from typing import Protocol, runtime_checkable

from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.strategies import Strategy
from nlhf.streams import Stream


@runtime_checkable
class Opponents(Protocol):
    """Responses that are there, or promised."""

    @property
    def prompts(self) -> Prompts:
        """The prompts that they answer."""
        ...

    def now(self) -> Responses:
        """Return them."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """What keeps promises."""

    def keep_promises(self, prompts: Prompts) -> None:
        """Draw all that is promised to these prompts."""
        ...


class Promise:
    """Responses of a strategy that somebody will look at later.

    What they are is settled by the stream, whenever they are drawn.

    Attributes:
        strategy: Who will answer.
        prompts: What.
        count: Responses to each.
        stream: Their randomness.
        kept: The responses once they are drawn.
    """

    def __init__(
        self, sampler: Sampler, strategy: Strategy, prompts: Prompts, count: int, stream: Stream
    ) -> None:
        self.strategy, self.prompts, self.count, self.stream = strategy, prompts, count, stream
        self.kept: Responses | None = None
        self._sampler = sampler

    def now(self) -> Responses:
        """Return the responses, with all that is promised to the same prompts if need be."""
        if self.kept is None:
            self._sampler.keep_promises(self.prompts)
        if self.kept is None:
            raise RuntimeError("a promise was not kept")
        return self.kept
