"""Contextual bandits whose responses fall into semantic clusters, and their human comparisons."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.numerics import PROBABILITY_TOLERANCE, sigmoid
from nlhf.results import float_array, read_only
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredBandit:
    r"""A bandit with a true reward, a reference, and a partition of the responses.

    A human who compares responses i and j of context x prefers i with probability

    .. math:: \eta + (1 - 2\eta)\,\sigma(r^*(x, i) - r^*(x, j)),

    Bradley-Terry with every label flipped with probability η (label-noise in the ledger).

    Attributes:
        truth: r*, in logits, shape ``(context, response)``.
        reference: π₀, the supervised policy, of full support.
        clusters: The cluster g(x, i) of every response, from 0.
        weights: ρ, the distribution of contexts.
        temperature: β > 0, in logits of reward per nat of divergence.
        flip_rate: η in [0, 1/2).
    """

    truth: Float[np.ndarray, "context response"]
    reference: Policy
    clusters: Int[np.ndarray, "context response"]
    weights: Float[np.ndarray, " context"]
    temperature: float = 1.0
    flip_rate: float = 0.0

    def __post_init__(self) -> None:
        truth, weights = float_array("truth", self.truth), float_array("weights", self.weights)
        clusters = np.asarray(self.clusters)
        shapes = (truth.shape, self.reference.log_probabilities.shape, clusters.shape)
        matrices = truth.ndim == 2 and truth.shape[0] > 0 and truth.shape[1] > 1
        if not matrices or len(set(shapes)) != 1 or weights.shape != truth.shape[:1]:
            raise InvalidProblem(
                f"truth, reference and clusters of shapes {shapes}, weights of {weights.shape}",
                "give matrices (context, response) of one shape, at least two responses, and one "
                "weight a context",
            )
        if not (np.isfinite(truth).all() and np.isfinite(self.reference.log_probabilities).all()):
            raise InvalidProblem(
                "a true reward or a log-probability of the reference is not finite",
                "give finite rewards and a reference of full support",
            )
        if clusters.dtype.kind not in "iu" or clusters.min(initial=0) < 0:
            raise InvalidProblem(
                f"clusters of type {clusters.dtype} with least entry {clusters.min(initial=0)}",
                "number the clusters from 0",
            )
        if not (weights >= 0.0).all() or abs(weights.sum() - 1.0) > PROBABILITY_TOLERANCE:
            raise InvalidProblem(
                f"context weights with sum {weights.sum():.6g} and least entry {weights.min():.3g}",
                f"give a distribution (tolerance {PROBABILITY_TOLERANCE:g})",
            )
        if not (0.0 < self.temperature < np.inf and 0.0 <= self.flip_rate < 0.5):
            raise InvalidProblem(
                f"temperature {self.temperature!r}, flip rate {self.flip_rate!r}",
                "give a positive temperature, and a flip rate of at least 0 and below 1/2",
            )
        for name, array in (("truth", truth), ("clusters", clusters), ("weights", weights)):
            object.__setattr__(self, name, read_only(array))

    @property
    def gold_preference(self) -> Float[np.ndarray, "context response response"]:
        """σ(r*(x, i) − r*(x, j)): what labels without noise say."""
        return sigmoid(self.truth[:, :, None] - self.truth[:, None, :])

    @property
    def human_preference(self) -> Float[np.ndarray, "context response response"]:
        """What humans say, flips included."""
        return self.flip_rate + (1.0 - 2.0 * self.flip_rate) * self.gold_preference

    def policy(self, reward: Float[np.ndarray, "context response"]) -> Policy:
        r"""Return the optimal policy of a reward, :math:`\pi_r \propto \pi_0 e^{r/\beta}`."""
        return Policy.proportional(self.reference.log_probabilities + reward / self.temperature)

    def draw_comparisons(
        self, count: int, stream: Stream
    ) -> Float[np.ndarray, "context response response"]:
        """Draw human comparisons, and return how often i won against j in each context.

        The context is drawn from ρ, the two responses from π₀ ⊗ π₀ given that they differ.

        Args:
            count: m, the number of comparisons in all contexts together.
            stream: Randomness.

        Raises:
            HypothesisViolated: The count is negative, or the reference has one response left, to
                rounding, in a context.
        """
        if count < 0:
            raise HypothesisViolated(f"{count} comparisons", "ask for at least 0")
        pairs = distinct_pairs(self.reference)
        alone = np.flatnonzero((pairs.sum(axis=(1, 2)) == 0.0) & (self.weights > 0.0))
        if len(alone) > 0:
            raise HypothesisViolated(
                f"the reference never gives two different responses in contexts {alone[:5]}",
                "take a reference that does, or leave these contexts out",
            )
        cells = self.weights[:, None, None] * pairs
        law = (cells * self.human_preference).ravel()
        drawn = stream.generator().multinomial(count, law / law.sum())
        return drawn.reshape(cells.shape).astype(np.float64)


def distinct_pairs(policy: Policy) -> Float[np.ndarray, "context response response"]:
    r"""Return the law of a pair of different responses, :math:`\pi_i \pi_j / (1 - \|\pi\|^2)`.

    Zero where the policy has only one response left: no pair can be drawn.
    """
    p = policy.probabilities
    pairs = p[:, :, None] * p[:, None, :]
    every = np.arange(p.shape[1])
    pairs[:, every, every] = 0.0
    total = pairs.sum(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(pairs, total, out=np.zeros_like(pairs), where=total > 0.0))


@dataclass(frozen=True, slots=True)
class BanditFamily:
    r"""A law of random bandits, whose reference follows the truth as closely as one wants.

    With independent standard normals Q, Z per context and cluster, and u, v per response:

    .. math::

        r^*(x, i) = Q_{x,g(i)} + s\,u_{x,i}, \qquad
        \log\pi_0(i|x) = \omega\,Q_{x,g(i)} + \zeta\,Z_{x,g(i)} + s\,v_{x,i} + \text{const.}

    At ω = 0 the reference has opinions, of spread ζ, that have nothing to do with the truth.
    Sizes, flips, temperature and ω are those of an earlier, exploratory study. Its spreads are not
    known; these were chosen before anything was run.

    Attributes:
        informativeness: ω.
        contexts: How many, all of equal weight.
        clusters: How many in each context.
        responses: How many in each cluster.
        response_spread: s.
        reference_spread: ζ.
        temperature: β.
        flip_rate: η.
    """

    informativeness: float
    contexts: int = 4
    clusters: int = 4
    responses: int = 3
    response_spread: float = 0.5
    reference_spread: float = 1.0
    temperature: float = 1.0
    flip_rate: float = 0.25

    def __post_init__(self) -> None:
        if min(self.contexts, self.clusters, self.responses) < 1:
            raise InvalidProblem(
                f"{self.contexts} contexts of {self.clusters} clusters of {self.responses} "
                "responses",
                "take at least 1 of each",
            )

    def draw(self, stream: Stream) -> ClusteredBandit:
        """Draw a bandit; the same normals for every ω and η, so that cells can be paired."""
        quality, opinion = (
            stream.child("clusters").generator().normal(size=(2, self.contexts, self.clusters))
        )
        count = self.clusters * self.responses
        own, habit = stream.child("responses").generator().normal(size=(2, self.contexts, count))
        of = np.repeat(np.arange(self.clusters), self.responses)
        leaning = self.informativeness * quality + self.reference_spread * opinion
        return ClusteredBandit(
            truth=quality[:, of] + self.response_spread * own,
            reference=Policy.proportional(leaning[:, of] + self.response_spread * habit),
            clusters=np.tile(of, (self.contexts, 1)),
            weights=np.full(self.contexts, 1.0 / self.contexts),
            temperature=self.temperature,
            flip_rate=self.flip_rate,
        )
