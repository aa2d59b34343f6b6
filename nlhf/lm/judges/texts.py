"""Tokens back to texts, for judges that read."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from nlhf.lm.judges.encoding import response_rows
from nlhf.lm.responses import Prompts, Responses


@runtime_checkable
class Decoder(Protocol):
    """A tokenizer of transformers, or anything that turns tokens into text as one does."""

    def decode(self, token_ids: Sequence[int], /, *, skip_special_tokens: bool) -> str:
        """Return the text of some tokens."""
        ...


def prompt_texts(prompts: Prompts, tokenizer: Decoder) -> list[str]:
    """Return what every prompt says: its own text where it has one, else its tokens decoded."""
    return [
        text or tokenizer.decode(list(tokens), skip_special_tokens=True)
        for text, tokens in zip(prompts.texts, prompts.tokens, strict=True)
    ]


def response_texts(responses: Responses, tokenizer: Decoder) -> list[list[str]]:
    """Return the texts of all responses, without end token or padding."""
    return [
        [tokenizer.decode(list(row), skip_special_tokens=True) for row in rows]
        for rows in response_rows(responses)
    ]
