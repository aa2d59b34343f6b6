"""RLP-SPG: preferences that the policy's own samples make by consensus, as pairs to train on."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.base import RewardModel, checked_rewards
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.lm.judges.texts import Decoder, prompt_texts, response_texts
from nlhf.lm.responses import Responses
from nlhf.lm.reward_on_policy.clustering import Clustering, Equivalence, semantic_clusters
from nlhf.results import read_only
from nlhf.streams import Stream

TIED = 1e-9
"""Rewards as close as this, in logits, are tied."""

_THRESHOLD_ROUNDING = 1e-9


class LargestTie(StrEnum):
    """What happens where several clusters are largest; the paper does not say."""

    UNIFORM = "uniform"
    """One of them is drawn with equal probabilities."""
    REJECTED = "rejected"
    """The prompt makes no pair."""


@dataclass(frozen=True, slots=True)
class ConsensusStatistics:
    """What became of the prompts.

    Attributes:
        prompts: All of them: accepted + one_cluster + below_threshold + rejected_ties.
        accepted: Those that made a pair.
        one_cluster: Those whose samples all fell into one cluster: nothing is left to reject.
        below_threshold: Those whose largest cluster is too small.
        rejected_ties: Those given up because several clusters were largest.
        broken_ties: Those accepted though several clusters were largest, one being drawn.
        confidence: The mean confidence over all prompts.
        clusters: The mean number of clusters over all prompts.
        chosen_length: The mean number of tokens of the chosen responses.
        rejected_length: The same of the rejected ones.
    """

    prompts: int
    accepted: int
    one_cluster: int
    below_threshold: int
    rejected_ties: int
    broken_ties: int
    confidence: float
    clusters: float
    chosen_length: float
    rejected_length: float


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticPreferences:
    """Pairs made by consensus.

    Attributes:
        pairs: D̂: one pair an accepted prompt, with weight 1.
        accepted: The places of those prompts among all.
        chosen: Which of the samples was chosen.
        rejected: Which was rejected.
        confidence: c = size of the largest cluster over n, of every prompt.
        clusters: The cluster of every sample of every prompt.
        statistics: What became of the prompts.
    """

    pairs: PreferencePairs
    accepted: Int[np.ndarray, " pair"]
    chosen: Int[np.ndarray, " pair"]
    rejected: Int[np.ndarray, " pair"]
    confidence: Float[np.ndarray, " prompt"]
    clusters: Int[np.ndarray, "prompt response"]
    statistics: ConsensusStatistics

    def __post_init__(self) -> None:
        for name in ("accepted", "chosen", "rejected", "confidence", "clusters"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


def synthetic_preferences(
    samples: Responses,
    reward: RewardModel,
    equivalent: Equivalence,
    tokenizer: Decoder,
    stream: Stream,
    *,
    threshold: float = 0.5,
    clustering: Clustering = Clustering.GREEDY,
    tie: LargestTie = LargestTie.UNIFORM,
) -> SyntheticPreferences:
    r"""Make preference pairs from n samples of the policy to every prompt.

    The samples fall into clusters that say the same. A prompt is accepted if the largest has
    :math:`\gamma \le N_{\max}/n < 1`. The chosen response is the one of largest reward in the
    largest cluster, the rejected one uniform among the samples of all others. Ties of rewards are
    broken uniformly among the samples.

    Source: Lang, Huang, Li, 2024, section 4.2 (n = 10, γ = 0.5). The rules for ties are ours. What
    such labels can add to the reward they start from is in
    `nlhf.learning.reward_on_policy.consensus`.

    Args:
        samples: n ≥ 2 samples of the policy to every prompt, weighted equally.
        reward: Ranks the samples within the largest cluster.
        equivalent: Whether two texts say the same: `NliEquivalence`, or any callable.
        tokenizer: Turns tokens into text.
        stream: Randomness of ties and of the rejected response, keyed by row.
        threshold: γ in [0, 1]; γn is compared with the size to within 1e-9.
        clustering: How answers about pairs become clusters.
        tie: What happens where several clusters are largest.

    Raises:
        HypothesisViolated: There are fewer than 2 samples, they are weighted unequally, the
            threshold is out of range, or no prompt is accepted.
        InvalidData: A reward is not a finite number, or the equivalence fails; names the row.
    """
    _check(samples, threshold)
    prompts = prompt_texts(samples.prompts, tokenizer)
    texts = response_texts(samples, tokenizer)
    rows = samples.prompts.rows
    found = semantic_clusters(prompts, texts, equivalent, clustering=clustering, rows=rows)
    clusters = np.stack(found)
    rewards = checked_rewards(reward.rewards(samples), samples)
    least = least_size(samples.shape[1], threshold)
    counted = dict.fromkeys(("one", "below", "tied", "broken"), 0)
    kept: list[tuple[int, int, int]] = []
    for x, row in enumerate(rows):
        groups = largest_clusters(clusters[x])
        size = int((clusters[x] == groups[0]).sum())
        several = len(groups) > 1
        if size == samples.shape[1]:
            counted["one"] += 1
        elif size < least:
            counted["below"] += 1
        elif several and tie is LargestTie.REJECTED:
            counted["tied"] += 1
        else:
            counted["broken"] += several
            generator = stream.child("row", row).generator()
            group = groups[int(generator.integers(len(groups)))]
            best, others = candidates(clusters[x], rewards[x], group)
            kept.append((x, int(generator.choice(best)), int(generator.choice(others))))
    return _result(samples, clusters, np.array(kept, dtype=np.int64).reshape(-1, 3), counted)


def least_size(samples: int, threshold: float) -> int:
    """Return the smallest size of the largest cluster that is accepted, of n samples."""
    return math.ceil(threshold * samples - _THRESHOLD_ROUNDING)


def largest_clusters(clusters: Int[np.ndarray, " response"]) -> list[int]:
    """Return the clusters that no other is larger than."""
    sizes = np.bincount(clusters)
    return [int(k) for k in np.flatnonzero(sizes == sizes.max())]


def candidates(
    clusters: Int[np.ndarray, " response"],
    rewards: Float[np.ndarray, " response"],
    group: int,
) -> tuple[Int[np.ndarray, " best"], Int[np.ndarray, " other"]]:
    """Return the best samples of a cluster, tied within `TIED`, and the samples of all others."""
    inside = clusters == group
    top = rewards[inside].max()
    return np.flatnonzero(inside & (rewards >= top - TIED)), np.flatnonzero(~inside)


def _result(
    samples: Responses, clusters: np.ndarray, kept: np.ndarray, counted: dict[str, int]
) -> SyntheticPreferences:
    prompts, count = samples.shape
    sizes = np.stack([np.bincount(own, minlength=count) for own in clusters])
    confidence = sizes.max(axis=1) / count
    if not len(kept):
        raise HypothesisViolated(
            f"none of {prompts} prompts makes a pair: in {counted['one']} all samples are one "
            f"cluster, in {counted['below']} the largest is below the threshold, in "
            f"{counted['tied']} several are largest (mean confidence {confidence.mean():.3f})",
            "lower the threshold, draw more samples, or take another equivalence",
        )
    x, chosen, rejected = kept.T
    pairs = PreferencePairs.of(_picked(samples, x, chosen), _picked(samples, x, rejected))
    statistics = ConsensusStatistics(
        prompts=prompts,
        accepted=len(kept),
        one_cluster=counted["one"],
        below_threshold=counted["below"],
        rejected_ties=counted["tied"],
        broken_ties=counted["broken"],
        confidence=float(confidence.mean()),
        clusters=float((sizes > 0).sum(axis=1).mean()),
        chosen_length=float(pairs.chosen.lengths.double().mean()),
        rejected_length=float(pairs.rejected.lengths.double().mean()),
    )
    return SyntheticPreferences(pairs, x, chosen, rejected, confidence, clusters, statistics)


def _picked(samples: Responses, x: np.ndarray, y: np.ndarray) -> Responses:
    """Return one of the samples of some prompts."""
    own = samples.take(x.tolist())
    rows = np.arange(len(x))
    return Responses(
        own.prompts,
        own.tokens[rows, y][:, None],
        own.lengths[rows, y][:, None],
        own.weights.new_ones((len(x), 1)),
    )


def _check(samples: Responses, threshold: float) -> None:
    count = samples.shape[1]
    if count < 2 or not 0.0 <= threshold <= 1.0:
        raise HypothesisViolated(
            f"{count} samples and threshold {threshold!r}",
            "take at least 2 samples, and a threshold in [0, 1]",
        )
    if not bool((abs(samples.weights - 1.0 / count) <= 1e-9).all()):
        raise HypothesisViolated(
            "the responses are weighted unequally",
            "pass samples of the policy: consensus counts them",
        )
