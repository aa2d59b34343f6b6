"""Votes of raters, who are named, as preference pairs of tokens."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nlhf.data.text import quoted
from nlhf.data.votes import Votes
from nlhf.errors import InvalidData
from nlhf.lm.judges.pairs import Encode, PreferencePairs, single_responses
from nlhf.lm.responses import Prompts


def voted_pairs(
    votes: Votes,
    prompts: Mapping[str, str],
    responses: Mapping[tuple[str, str], str],
    encode: Encode,
    *,
    pad: int,
) -> PreferencePairs:
    """Return every vote as a pair, and every tie as both orders with weight 1/2.

    A pair's row is the number of its prompt in `votes.prompts`, so that whole prompts are held out;
    its annotator is the number in `votes.annotators`.

    Args:
        votes: Who preferred which.
        prompts: The text of every prompt, by its id.
        responses: The text of every response, by the ids of its prompt and its own.
        encode: From a text to its tokens.
        pad: Fills responses at their end.

    Raises:
        InvalidData: A text is missing or has no tokens, or there are no votes.
    """
    if not len(votes):
        raise InvalidData("there are no votes", "give at least one")
    asked = [tuple(encode(_text(prompts, own, f"prompt {quoted(own)}"))) for own in votes.prompts]
    said = [
        [_text(responses, (own, one), f"response {quoted(one)} to {quoted(own)}") for one in ids]
        for own, ids in zip(votes.prompts, votes.responses, strict=True)
    ]
    tokens = [[tuple(encode(text)) for text in texts] for texts in said]
    won, lost, tied = (votes.label > 0, votes.label < 0, votes.label == 0)
    places = [np.flatnonzero(kind) for kind in (won, lost, tied, tied)]
    at = np.concatenate(places)
    turned = np.concatenate([np.full(len(own), k in (1, 3)) for k, own in enumerate(places)])
    first = np.where(turned, votes.response_b[at], votes.response_a[at])
    second = np.where(turned, votes.response_a[at], votes.response_b[at])
    rows = votes.prompt[at].tolist()
    shown = Prompts(
        tuple(asked[x] for x in rows),
        tuple(prompts[votes.prompts[x]] for x in rows),
        tuple(rows),
    )
    sides = [
        single_responses(
            shown, [tokens[x][y] for x, y in zip(rows, side.tolist(), strict=True)], pad=pad
        )
        for side in (first, second)
    ]
    weights = np.where(votes.label[at] == 0, 0.5, 1.0)
    return PreferencePairs.of(*sides, weights=weights, annotators=votes.annotator[at])


def _text(texts: Mapping[Any, str], key: object, what: str) -> str:
    if key not in texts:
        raise InvalidData(f"{what} has no text", "give the text of every prompt and response")
    return texts[key]
