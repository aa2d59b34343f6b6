"""Rewards and preferences that are learned from the votes: linear in features of a response."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.language.movie_reviews.raters import Texts, qualities
from benchmarks.language.movie_reviews.sentiment import Sentiment
from nlhf.data.votes import Votes
from nlhf.errors import Degenerate
from nlhf.estimation.mixtures.fitting import RaterMixture, fit_mixture
from nlhf.lm.responses import Responses
from nlhf.numerics import sigmoid
from nlhf.streams import Stream


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a reward can see of a response.

    The log-odds of the sentiment scorer, the number of words, and the sum of the reference's
    embeddings of its tokens, all in units of their standard deviation within the prompts of the
    reference's responses; the embeddings together weigh as much as one of the others.

    Attributes:
        texts: Turns responses into what they say.
        scorer: The sentiment scorer.
        embeddings: Of every token, shape ``(token, width)``.
        scale: What the raw features are divided by, shape ``(2 + width,)``.
    """

    texts: Texts
    scorer: Sentiment
    embeddings: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(
        cls, pool: Responses, texts: Texts, scorer: Sentiment, embeddings: np.ndarray
    ) -> "Features":
        """Return features with the scale of the reference's responses."""
        raw = cls(texts, scorer, embeddings, np.ones(2 + embeddings.shape[1]))
        spreads = np.sqrt(raw(pool).var(axis=1, ddof=1).mean(axis=0))
        spreads[2:] *= np.sqrt(embeddings.shape[1])
        return cls(texts, scorer, embeddings, spreads)

    def __call__(self, responses: Responses) -> np.ndarray:
        """Return the features, shape ``(prompt, response, feature)``."""
        seen = qualities(responses, self.texts, self.scorer)
        tokens = responses.tokens.cpu()
        counts = torch.arange(tokens.shape[2]) < responses.lengths.cpu()[..., None]
        summed = (self.embeddings[tokens.numpy()] * counts.numpy()[..., None]).sum(axis=2)
        raw = np.concatenate([seen.sentiment[..., None], seen.words[..., None], summed], axis=-1)
        return raw / self.scale


@dataclass(frozen=True, slots=True, eq=False)
class LinearReward:
    """A reward in logits.

    Attributes:
        features: Of a response.
        weights: Shape ``(feature,)``.
    """

    features: Features
    weights: np.ndarray

    def rewards(self, responses: Responses) -> np.ndarray:
        """Return the reward of every response, shape ``(prompt, response)``."""
        return self.features(responses) @ self.weights


@dataclass(frozen=True, slots=True, eq=False)
class PopulationPreference:
    r"""The preference of a population of groups: :math:`\sum_u \eta_u \sigma(r_u - r_u')`.

    Attributes:
        rewards: r_u; all with the same features.
        shares: η.
    """

    rewards: tuple[LinearReward, ...]
    shares: np.ndarray

    def preferences(self, first: Responses, second: Responses) -> np.ndarray:
        """Return the probability that each first response is preferred to each second one."""
        features = self.rewards[0].features
        weights = np.stack([reward.weights for reward in self.rewards])
        a = features(first) @ weights.T
        b = a if second is first else features(second) @ weights.T
        return sigmoid(a[:, :, None] - b[:, None, :]) @ self.shares


def fit_rewards(
    votes: Votes, groups: int, pool: np.ndarray, ridge: float, stream: Stream
) -> RaterMixture:
    """Fit Bradley-Terry rewards by (soft) expectation-maximisation over raters.

    Args:
        votes: On responses of the pool.
        groups: 1 pools all votes.
        pool: Features of the pool, shape ``(prompt, response, feature)``.
        ridge: Of the weights.
        stream: Randomness of the restarts.
    """
    items = pool.reshape(-1, pool.shape[-1])
    with warnings.catch_warnings():
        # It is about the votes' own graph; these rewards rest on features that all prompts share.
        warnings.simplefilter("ignore", Degenerate)
        return fit_mixture(votes, groups, features=items, ridge=ridge, restarts=4, stream=stream)
