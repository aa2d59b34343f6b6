"""Reward functions that the recipes name, in TRL's form.

Models and data that they need are named by environment variables, so that the same configuration
runs on hub ids and on local folders; nothing is loaded before the first call.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import log, sqrt
from pathlib import Path

import torch

from nlhf.errors import InvalidData
from nlhf.lm.loading.classifiers import ClassifierReward

SENTIMENT = "NLHF_SENTIMENT_MODEL"
"""Names the variable with the classifier of `positive_sentiment`."""

SENTIMENT_LABEL = "NLHF_SENTIMENT_LABEL"
"""Names the variable with the label that means positive."""

GROUP_REWARDS = "NLHF_GROUP_REWARDS"
"""Names the variable with the folder that holds one reward model per group, as P3A, P3B."""

MOVIE_REVIEWS = "NLHF_MOVIE_REVIEWS"
"""Names the variable with the folder of rt-polarity.pos and rt-polarity.neg."""

TOKENS_PER_LOGIT = 16
"""Tokens that cost one unit of `conciseness`: the scale of a strong sentiment."""

positive_sentiment = ClassifierReward(
    os.environ.get(SENTIMENT, "lvwerra/distilbert-imdb"),
    label=os.environ.get(SENTIMENT_LABEL, "POSITIVE"),
)
"""Log-odds, by a classifier, that prompt and response together are positive."""


def _group_reward(group: str) -> ClassifierReward:
    return ClassifierReward(
        str(Path(os.environ.get(GROUP_REWARDS, "rewards")) / group),
        chat=True,
        chat_template="tulu",
        dtype=torch.bfloat16,
    )


friendly, unfriendly = _group_reward("P3A"), _group_reward("P3B")
"""Rewards of the groups P3A and P3B of Personalized Soups; `fit_group_rewards` makes them."""


def conciseness(completion_ids: Sequence[Sequence[int]], **columns: object) -> list[float]:
    """Return minus the number of tokens of every response, by `TOKENS_PER_LOGIT`."""
    return [-len(tokens) / TOKENS_PER_LOGIT for tokens in completion_ids]


def movie_sentiment(
    prompts: Sequence[str], completions: Sequence[str], **columns: object
) -> list[float]:
    r"""Return the sentiment of prompt and response by naive Bayes on labelled sentences.

    .. math:: n^{-1/2} \sum_w \log \frac{p(w | \text{positive})}{p(w | \text{negative})}

    over the n words, with one added to every count; the square root keeps long texts from extremes
    that the words, which are not independent, do not warrant.
    """
    weights = _word_weights()
    scores = []
    for prompt, completion in zip(prompts, completions, strict=True):
        found = [weights.get(word, 0.0) for word in _words(f"{prompt} {completion}")]
        scores.append(sum(found) / sqrt(max(1, len(found))))
    return scores


@cache
def _word_weights() -> dict[str, float]:
    folder = Path(os.environ.get(MOVIE_REVIEWS, "movie_reviews"))
    counts = {side: Counter(_words(_labelled(folder, side))) for side in ("pos", "neg")}
    words = counts["pos"].keys() | counts["neg"].keys()
    totals = {side: sum(found.values()) + len(words) for side, found in counts.items()}
    return {
        word: log((counts["pos"][word] + 1) / totals["pos"])
        - log((counts["neg"][word] + 1) / totals["neg"])
        for word in words
    }


def _labelled(folder: Path, side: str) -> str:
    path = folder / f"rt-polarity.{side}"
    try:
        return path.read_text(encoding="latin-1")
    except OSError as error:
        raise InvalidData(
            f"{path} cannot be read ({error.strerror})",
            f"set {MOVIE_REVIEWS} to the folder of rt-polarity.pos and rt-polarity.neg",
        ) from error


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+|[!?]", text.lower())
