"""Simulated raters: a majority that likes pleased reviews, a minority that likes short ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.language.movie_reviews.plan import Plan
from benchmarks.language.movie_reviews.sentiment import Sentiment
from nlhf.data.votes import Votes
from nlhf.lm.responses import Responses
from nlhf.streams import Stream

Texts = Callable[[Responses], list[list[str]]]
"""Turns responses into what they say."""


@dataclass(frozen=True, slots=True, eq=False)
class Qualities:
    """What raters look at, shape ``(prompt, response)`` each.

    Attributes:
        sentiment: Log-odds that prompt and response together are positive.
        words: Words of the response.
    """

    sentiment: np.ndarray
    words: np.ndarray


def qualities(responses: Responses, texts: Texts, sentiment: Sentiment) -> Qualities:
    """Read responses."""
    said = texts(responses)
    whole = [
        whole_text(prompt, response)
        for prompt, row in zip(responses.prompts.texts, said, strict=True)
        for response in row
    ]
    return Qualities(
        sentiment.logits(whole).reshape(responses.shape),
        np.array([[len(response.split()) for response in row] for row in said], dtype=float),
    )


def whole_text(prompt: str, response: str) -> str:
    """Return prompt and response as one text; a response that goes on with a word is glued to it.

    The byte-level tokenizer marks the beginning of a word by a blank.
    """
    return f"{prompt}{response}"


def spread(values: np.ndarray) -> float:
    """Return the standard deviation within prompts of values ``(prompt, response)``."""
    return float(np.sqrt(values.var(axis=1, ddof=1).mean()))


def vote(found: Qualities, plan: Plan, stream: Stream) -> Votes:
    """Return the votes of all raters; the first `1 - minority` of them are of the majority.

    Args:
        found: What is seen of the pool of responses.
        plan: Numbers of raters and votes.
        stream: Which pairs are shown, and the raters' noise.
    """
    prompts, responses = found.words.shape
    shape = (plan.raters, plan.votes)
    shown = stream.child("pairs").generator()
    x = shown.integers(prompts, size=shape)
    a = shown.integers(responses, size=shape)
    b = (a + shown.integers(1, responses, size=shape)) % responses
    pleased = found.sentiment / spread(found.sentiment)
    brief = -found.words / spread(found.words)
    logits = np.where(
        majority(plan)[:, None], pleased[x, a] - pleased[x, b], brief[x, a] - brief[x, b]
    )
    noise = stream.child("noise").generator().logistic(size=shape)
    wins = plan.strength * logits + noise > 0.0
    names = tuple(str(j) for j in range(responses))
    return Votes(
        prompts=tuple(str(k) for k in range(prompts)),
        responses=(names,) * prompts,
        annotators=tuple(str(h) for h in range(plan.raters)),
        prompt=x.ravel(),
        response_a=a.ravel(),
        response_b=b.ravel(),
        annotator=np.repeat(np.arange(plan.raters), plan.votes),
        label=np.where(wins, 1, -1).astype(np.int8).ravel(),
    )


def majority(plan: Plan) -> np.ndarray:
    """Return which raters are of the majority, shape ``(raters,)``."""
    count = round(plan.raters * (1.0 - plan.minority))
    return np.arange(plan.raters) < count
