"""Reward learning on policy by synthetic preferences (RLP-SPG), with sentiment as the meaning.

The published method groups a policy's answers by an entailment model; two endings of a review say
the same here if the scorer finds both pleased or both displeased.
"""

from dataclasses import replace

import numpy as np

from benchmarks.language.movie_reviews.raters import whole_text
from benchmarks.language.movie_reviews.rewards import LinearReward
from benchmarks.language.movie_reviews.sentiment import Sentiment
from nlhf.data.votes import Votes
from nlhf.lm.judges.texts import Decoder
from nlhf.lm.responses import Responses
from nlhf.lm.reward_on_policy.synthetic import synthetic_preferences
from nlhf.streams import Stream


def same_sentiment(scorer: Sentiment, prompts: list[str], pairs: list[list[str]]) -> list[bool]:
    """Return whether both endings of every pair are pleased, or both are not."""
    signs = [
        scorer.logits(
            [whole_text(prompt, pair[side]) for prompt, pair in zip(prompts, pairs, strict=True)]
        )
        > 0
        for side in (0, 1)
    ]
    return [bool(same) for same in signs[0] == signs[1]]


def on_policy(
    votes: Votes,
    pool: np.ndarray,
    own: Responses,
    reward: LinearReward,
    tokenizer: Decoder,
    stream: Stream,
) -> tuple[Votes, np.ndarray]:
    """Return votes and features with those of the policy's own responses added.

    Args:
        votes: Of the raters, on the pool.
        pool: Features of the pool, shape ``(prompt, response, feature)``.
        own: As many responses of the policy to a prompt as the pool has.
        reward: The reward that the policy pursued.
        tokenizer: Turns tokens into text.
        stream: Randomness.

    Returns:
        The votes of the raters and of one more, the consensus, on twice the prompts; the features.
    """
    scorer = reward.features.scorer
    made = synthetic_preferences(
        own,
        reward,
        lambda prompts, pairs: same_sentiment(scorer, prompts, pairs),
        tokenizer,
        stream,
    )
    count, raters, new = len(votes.prompts), len(votes.annotators), len(made.accepted)
    joined = replace(
        votes,
        prompts=votes.prompts + tuple(f"policy {name}" for name in votes.prompts),
        responses=votes.responses + votes.responses,
        annotators=(*votes.annotators, "consensus"),
        prompt=np.concatenate([votes.prompt, made.accepted + count]),
        response_a=np.concatenate([votes.response_a, made.chosen]),
        response_b=np.concatenate([votes.response_b, made.rejected]),
        annotator=np.concatenate([votes.annotator, np.full(new, raters)]),
        label=np.concatenate([votes.label, np.ones(new, dtype=np.int8)]),
    )
    return joined, np.concatenate([pool, reward.features(own)])
