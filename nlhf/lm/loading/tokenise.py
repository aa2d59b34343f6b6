"""From texts to tokens: prompts, and the responses of preference pairs."""

import warnings
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from nlhf.data.text import listed
from nlhf.errors import Approximate, InvalidData, InvalidProblem
from nlhf.lm.judges.pairs import PreferencePairs, single_responses
from nlhf.lm.loading.chat import Text, readable, render_prompt, render_response
from nlhf.lm.loading.datasets import CHOSEN, REJECTED, PreferenceData, PromptData
from nlhf.lm.responses import Prompts


def tokenise_prompts(
    data: PromptData, tokenizer: PreTrainedTokenizerBase, *, context: int, limit: int
) -> Prompts:
    """Turn prompts into tokens.

    A plain text gets what the tokenizer puts before every text (Llama: the token of the
    beginning; GPT-2: nothing). A conversation goes through the chat template, up to where the
    assistant begins, and gets nothing else.

    Args:
        data: The prompts.
        tokenizer: Has an end token.
        context: Tokens of prompt and response together that the model takes.
        limit: New tokens of a response, at most.

    Raises:
        InvalidData: A prompt leaves no room for the response, has no tokens, or is refused by the
            chat template.
        InvalidProblem: The tokenizer has no end token.
        NotAllowed: A conversation, and the tokenizer has no chat template.
    """
    _end_of(tokenizer)
    before = _before(tokenizer)
    own = _plain(tokenizer, _written(data, tokenizer))
    tokens = [
        (*before, *tokens) if isinstance(prompt, str) else tokens
        for prompt, tokens in zip(data.prompts, own, strict=True)
    ]
    _check_room(data, tokens, context, limit)
    return Prompts(tuple(tokens), tuple(map(readable, data.prompts)), data.rows)


def tokenise_pairs(
    pairs: PreferenceData, tokenizer: PreTrainedTokenizerBase, *, context: int, limit: int
) -> PreferencePairs:
    """Turn preference pairs into tokens, the end token after every response.

    A response is tokenised together with its prompt, and what follows the prompt's tokens is taken:
    sentence-piece tokenizers write a word otherwise at the start of a text. Where a token spans
    the seam, the response is tokenised alone, since a policy can only go on after the prompt's
    tokens. A response of more than `limit` tokens is cut there, without an end token: it stands for
    all responses that begin so. Annotators are numbered by first appearance; without names, all
    pairs are of one.

    Args:
        pairs: The pairs.
        tokenizer: Has an end token.
        context: Tokens of prompt and response together that the model takes.
        limit: Tokens of a response, at most, the end token included.

    Raises:
        InvalidData: As `tokenise_prompts`; or a response has the end token within.
        InvalidProblem: The tokenizer has no end token.
        NotAllowed: As `tokenise_prompts`; or the chat template ends turns by another token.

    Warns:
        Approximate: Responses were cut.
    """
    end = _end_of(tokenizer)
    data = PromptData(pairs.prompts, pairs.rows, (), pairs.origin)
    prompts = tokenise_prompts(data, tokenizer, context=context, limit=limit)
    written = _written(data, tokenizer)
    sides = []
    for column, texts in ((CHOSEN, pairs.chosen), (REJECTED, pairs.rejected)):
        spoken = [
            _spoken(tokenizer, prompt, text, f"{pairs.origin.at(row)}: {column}")
            for prompt, text, row in zip(pairs.prompts, texts, pairs.rows, strict=True)
        ]
        tokens = [
            _ended(own, end, f"{pairs.origin.at(row)}: {column}")
            for own, row in zip(_following(tokenizer, written, spoken), pairs.rows, strict=True)
        ]
        _warn_of_cuts(tokens, pairs, column, limit)
        sides.append(single_responses(prompts, [own[:limit] for own in tokens], pad=end))
    numbers = {name: i for i, name in enumerate(dict.fromkeys(pairs.annotators))}
    annotators = [numbers[name] for name in pairs.annotators] or [0] * len(pairs)
    return PreferencePairs.of(*sides, annotators=np.array(annotators))


def _written(data: PromptData, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return [
        prompt if isinstance(prompt, str) else render_prompt(tokenizer, prompt, data.origin.at(row))
        for prompt, row in zip(data.prompts, data.rows, strict=True)
    ]


def _spoken(tokenizer: PreTrainedTokenizerBase, prompt: Text, response: Text, place: str) -> str:
    if isinstance(response, str) or isinstance(prompt, str):
        return readable(response)
    return render_response(tokenizer, prompt, response, place)


def _plain(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[tuple[int, ...]]:
    found = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [tuple(own) for own in found]


def _before(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that the tokenizer puts before every plain text."""
    bare = tuple(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = tuple(tokenizer("a")["input_ids"])
    starts = (i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[: next(starts, 0)]


def _following(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], responses: Sequence[str]
) -> list[tuple[int, ...]]:
    """Return the tokens of responses where they follow their prompts."""
    before = _plain(tokenizer, prompts)
    both = _plain(tokenizer, [p + r for p, r in zip(prompts, responses, strict=True)])
    alone = _plain(tokenizer, responses)
    return [
        joint[len(own) :] if joint[: len(own)] == own else single
        for own, joint, single in zip(before, both, alone, strict=True)
    ]


def _ended(tokens: tuple[int, ...], end: int, place: str) -> tuple[int, ...]:
    """Append the end token where it is not there yet."""
    bare = tokens[:-1] if tokens and tokens[-1] == end else tokens
    if end in bare:
        raise InvalidData(
            f"{place} has the end token within, as token {bare.index(end)} of {len(bare)}",
            "a policy's response ends there: remove the token's text from the response",
        )
    return (*bare, end)


def _end_of(tokenizer: PreTrainedTokenizerBase) -> int:
    end = tokenizer.eos_token_id
    if not isinstance(end, int):
        raise InvalidProblem(
            f"the tokenizer of {len(tokenizer)} tokens has no end token (eos_token)",
            "load it by load_tokenizer with end_token, or set eos_token",
        )
    return end


def _check_room(
    data: PromptData, tokens: Sequence[tuple[int, ...]], context: int, limit: int
) -> None:
    empty = [row for row, own in zip(data.rows, tokens, strict=True) if not own]
    if empty:
        raise InvalidData(
            f"{data.origin.at(empty[0])}: the prompt has no tokens ({len(empty)} such)",
            "write something, or the token of the beginning",
        )
    room = context - limit
    long = [(row, len(own)) for row, own in zip(data.rows, tokens, strict=True) if len(own) > room]
    if long:
        row, length = long[0]
        raise InvalidData(
            f"{data.origin.at(row)}: the prompt has {length} tokens; {max(room, 0)} are allowed, "
            f"for the model takes {context} and the response may take {limit} "
            f"({len(long)} such of {len(data)} prompts, the longest has "
            f"{max(own for _, own in long)})",
            "shorten or remove these prompts, or lower limit, or take a model of longer context; "
            f"rows: {listed([row for row, _ in long])}",
        )


def _warn_of_cuts(
    tokens: Sequence[tuple[int, ...]], pairs: PreferenceData, column: str, limit: int
) -> None:
    cut = [row for row, own in zip(pairs.rows, tokens, strict=True) if len(own) > limit]
    if cut:
        warnings.warn(
            f"{pairs.origin.at(cut[0])}: {column} is cut at {limit} tokens ({len(cut)} such of "
            f"{len(pairs)} pairs); a cut response stands for all that begin so",
            Approximate,
            stacklevel=4,
        )
