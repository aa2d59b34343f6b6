r"""Synthetic preferences from consensus: what the clusters of n samples say, by enumeration.

The samples of a policy fall into clusters with counts N ~ Multinomial(n, q). The largest cluster
wins, a tie for it is broken uniformly at random, and a context is accepted if
:math:`\gamma \le N_{\max}/n < 1` (with all samples in one cluster there is nothing to reject). The
preferred response is the sampled one of largest reward inside the largest cluster, a tie of rewards
broken uniformly among the samples; the rejected one is uniform among the samples of the other
clusters. Everything here is the exact law of that, but for `draw_consensus_pairs`.

Source: Lang, Huang, Li, Fine-Tuning Language Models with Reward Learning on Policy, 2024,
section 4.2; selection in the ledger. The two rules for ties are ours: the paper names none.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.compositions import compositions
from nlhf.numerics import PROBABILITY_TOLERANCE
from nlhf.results import read_only
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream

TIED = 1e-9
"""Rewards as close as this, in logits, are tied: responses that nobody compared have the same one
but for rounding."""

_THRESHOLD_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class ConsensusLaw:
    """What consensus selects, as probabilities of clusters.

    Attributes:
        masses: q, the clusters' masses under the policy.
        pairs: P(accepted, g is the largest cluster and the rejected response is of h).
    """

    masses: Float[np.ndarray, "context cluster"]
    pairs: Float[np.ndarray, "context cluster cluster"]

    @property
    def coverage(self) -> Float[np.ndarray, " context"]:
        """The probability that a context is accepted."""
        return np.asarray(self.pairs.sum(axis=(1, 2)))

    @property
    def modal(self) -> Float[np.ndarray, " context"]:
        """The probability that the largest cluster is the most probable one, given acceptance.

        `nan` where nothing is ever accepted.
        """
        mode = self.masses.argmax(axis=1)
        selected = self.pairs.sum(axis=2)[np.arange(len(mode)), mode]
        return _ratio(selected, self.coverage, np.nan)

    @property
    def calibrated_accuracy(self) -> Float[np.ndarray, " context"]:
        """The probability of a correct label, given acceptance, if the policy is calibrated.

        Calibrated: one cluster is correct, and it is g with probability q_g. A label "g over h" is
        then right if g is the correct one, wrong if h is, and a coin flip otherwise:
        1/2 + (q_g − q_h)/2. `nan` where nothing is ever accepted.
        """
        margin = self.masses[:, :, None] - self.masses[:, None, :]
        return 0.5 + 0.5 * _ratio((self.pairs * margin).sum(axis=(1, 2)), self.coverage, np.nan)


def consensus_law(
    masses: Float[np.ndarray, "context cluster"], samples: int, threshold: float
) -> ConsensusLaw:
    """Return the law of what consensus selects, by enumeration of all counts.

    Args:
        masses: q, a distribution over clusters in each context.
        samples: n, at least 2.
        threshold: γ in [0, 1]; γn is compared with N_max to within 1e-9.

    Raises:
        HypothesisViolated: An argument is out of range, masses are no distributions, or there are
            too many counts to enumerate.
    """
    _check_masses(masses)
    return ConsensusLaw(
        read_only(masses), read_only(_selections(masses, samples, threshold).sum(axis=1))
    )


def limiting_accuracy(
    masses: Float[np.ndarray, "context cluster"],
) -> Float[np.ndarray, " context"]:
    r"""Return the calibrated accuracy without a threshold as the number of samples grows.

    .. math:: \tfrac12\Big[1 + q_{\max} - \sum_{h \ne \max} \frac{q_h^2}{1 - q_{\max}}\Big]

    `nan` where one cluster has all the mass: there is never a pair.

    Raises:
        HypothesisViolated: Masses are no distributions.
    """
    _check_masses(masses)
    top = masses.max(axis=1)
    others = (masses * masses).sum(axis=1) - top * top
    return np.asarray(0.5 * (1.0 + top - _ratio(others, 1.0 - top, np.nan)))


def cluster_masses(
    policy: Policy, clusters: Int[np.ndarray, "context response"]
) -> Float[np.ndarray, "context cluster"]:
    """Return the mass of every cluster under a policy."""
    one_hot = clusters[:, :, None] == np.arange(int(clusters.max()) + 1)
    return np.asarray((policy.probabilities[:, :, None] * one_hot).sum(axis=1))


def consensus_pairs(
    policy: Policy,
    clusters: Int[np.ndarray, "context response"],
    reward: Float[np.ndarray, "context response"],
    samples: int,
    threshold: float,
) -> Float[np.ndarray, "context response response"]:
    r"""Return P(accepted, i preferred, j rejected) in every context; it sums to the coverage.

    Given the counts, :math:`P(i) = (F_i^{N_g} - F_{i-}^{N_g})\,c_i/(F_i - F_{i-})` for i in the
    largest cluster g, with c the policy within it and :math:`F_i, F_{i-}` the mass of c on rewards
    of at most, and below, that of i; and :math:`P(j) = \frac{N_h}{n - N_g}\,\pi(j|h)`.

    Args:
        policy: The policy that is sampled.
        clusters: The cluster of every response, from 0.
        reward: What ranks the responses inside the largest cluster.
        samples: n, at least 2.
        threshold: γ in [0, 1].

    Raises:
        HypothesisViolated: The number of samples or the threshold is out of range, shapes differ,
            clusters are no whole numbers, a reward is not finite, or there are too many counts to
            enumerate.
    """
    _check_responses(policy, clusters, reward)
    masses = cluster_masses(policy, clusters)
    own = np.take_along_axis(masses, clusters, axis=1)
    within = _ratio(policy.probabilities, own)
    best = _best_of(within, clusters, reward, samples)
    selections = _selections(masses, samples, threshold)
    # Given the size of the largest cluster, its best response and the rejected cluster are
    # independent.
    of = selections[np.arange(len(clusters))[:, None], :, clusters]
    chosen = np.einsum("xsi,xish->xih", best, of)
    rejected = np.take_along_axis(chosen, clusters[:, None, :], axis=2)
    return np.asarray(rejected * within[:, None, :])


def draw_consensus_pairs(
    policy: Policy,
    clusters: Int[np.ndarray, "context response"],
    reward: Float[np.ndarray, "context response"],
    samples: int,
    threshold: float,
    repetitions: int,
    stream: Stream,
) -> Int[np.ndarray, "context response response"]:
    """Draw what `consensus_pairs` enumerates, and return how often each pair came out.

    Args:
        policy: As there.
        clusters: As there.
        reward: As there.
        samples: As there.
        threshold: As there.
        repetitions: How often each context is sampled; rejected repetitions leave no pair.
        stream: Randomness.

    Raises:
        HypothesisViolated: The number of samples or the threshold is out of range, shapes differ,
            clusters are no whole numbers, or a reward is not finite.
    """
    _check_responses(policy, clusters, reward)
    least = _least_count(samples, threshold)
    generator = stream.generator()
    contexts, responses = clusters.shape
    parts = int(clusters.max()) + 1
    found = np.zeros((contexts, responses, responses), dtype=np.int64)
    for x in range(contexts):
        drawn = generator.choice(responses, (repetitions, samples), p=policy.probabilities[x])
        of = clusters[x][drawn]
        counts = (of[:, :, None] == np.arange(parts)).sum(axis=1)
        most = counts.max(axis=1)
        tied = np.where(counts == most[:, None], generator.random(counts.shape), -1.0)
        inside = of == tied.argmax(axis=1)[:, None]
        accepted = (most >= least) & (most < samples)
        # Random keys break ties among the samples, not among the responses.
        score = np.where(inside, reward[x][drawn], -np.inf)
        best = np.where(
            score >= score.max(axis=1)[:, None] - TIED, generator.random(of.shape), -1.0
        )
        other = np.where(inside, -1.0, generator.random(of.shape))
        rows = np.arange(repetitions)
        winner, loser = drawn[rows, best.argmax(axis=1)], drawn[rows, other.argmax(axis=1)]
        np.add.at(found[x], (winner[accepted], loser[accepted]), 1)
    return found


def _selections(
    masses: np.ndarray, samples: int, threshold: float
) -> Float[np.ndarray, "context size cluster cluster"]:
    """Return P(accepted, N_max = size, g largest, rejected of h), sizes from 0 to n."""
    least = _least_count(samples, threshold)
    every = compositions(samples, masses.shape[1])
    law = every.law(masses)
    contexts, parts = masses.shape
    found = np.zeros((contexts, samples + 1, parts, parts))
    for size, rows in every.blocks:
        if least <= size < samples:
            largest = law[:, rows, None] * every.share[rows]
            # An integer matrix would not go to BLAS.
            counts = every.counts[rows].astype(np.float64)
            found[:, size] = largest.swapaxes(1, 2) @ counts / (samples - size)
    found[..., np.arange(parts), np.arange(parts)] = 0.0
    return found


def _best_of(
    within: np.ndarray, clusters: np.ndarray, reward: np.ndarray, samples: int
) -> Float[np.ndarray, "context size response"]:
    r"""Return P(i is the best of s samples of its cluster), s from 0 to n.

    :math:`(F^s - L^s)/(F - L) = \sum_{k<s} F^k L^{s-1-k}`, F and L the mass up to and below i: by
    recursion, so that nothing cancels where i is improbable.
    """
    together = clusters[:, :, None] == clusters[:, None, :]
    ahead = reward[:, None, :] - reward[:, :, None]
    mass = within[:, None, :] * together
    upper = np.where(ahead <= TIED, mass, 0.0).sum(axis=2)
    lower = np.where(ahead < -TIED, mass, 0.0).sum(axis=2)
    found = np.zeros((len(within), samples + 1, within.shape[1]))
    for size in range(samples):
        found[:, size + 1] = upper * found[:, size] + within * lower**size
    return found


def _check_masses(masses: np.ndarray) -> None:
    if not (masses >= 0.0).all() or np.abs(masses.sum(axis=1) - 1.0).max() > PROBABILITY_TOLERANCE:
        raise HypothesisViolated(
            f"masses of clusters with sums {masses.sum(axis=1)[:5]} and least entry "
            f"{masses.min():.3g}",
            f"give a distribution in each context (tolerance {PROBABILITY_TOLERANCE:g})",
        )


def _check_responses(policy: Policy, clusters: np.ndarray, reward: np.ndarray) -> None:
    shapes = (policy.log_probabilities.shape, clusters.shape, reward.shape)
    numbered = clusters.dtype.kind in "iu" and clusters.min(initial=0) >= 0
    if len(set(shapes)) != 1 or clusters.ndim != 2 or not numbered:
        raise HypothesisViolated(
            f"policy, clusters and reward of shapes {shapes}, clusters of type {clusters.dtype}, "
            f"least cluster {clusters.min(initial=0)}",
            "give matrices (context, response) of one shape, and number clusters from 0",
        )
    if not np.isfinite(reward).all():
        raise HypothesisViolated(
            "a reward that is not finite", "give finite rewards: they rank the samples"
        )


def _least_count(samples: int, threshold: float) -> int:
    """Return the smallest size of the largest cluster that is accepted."""
    if samples < 2 or not 0.0 <= threshold <= 1.0:
        raise HypothesisViolated(
            f"{samples} samples and threshold {threshold!r}",
            "take at least 2 samples, and a threshold in [0, 1]",
        )
    return math.ceil(threshold * samples - _THRESHOLD_ROUNDING)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Return the quotient, and another number where the denominator is not positive."""
    found = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), otherwise)
    return np.asarray(np.divide(numerator, denominator, out=found, where=denominator > 0.0))
