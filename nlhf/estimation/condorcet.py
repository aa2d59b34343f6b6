"""How many prompts have no Condorcet winner, beside what a reward model would make of noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from nlhf.data.counts import WinCounts
from nlhf.data.text import quoted
from nlhf.errors import HypothesisViolated


@dataclass(frozen=True, slots=True, eq=False)
class CondorcetNull:
    r"""The number of prompts without a Condorcet winner, and its law under Bradley-Terry.

    A response is a Condorcet winner if it beats *every* other one: more votes for it than against
    it, ties aside. A pair with as many votes each way, or with none, is beaten by neither side, so
    it stands in the way of both. A single response is a winner.

    Attributes:
        without: For every prompt, whether the votes show no Condorcet winner.
        probability: For every prompt, the probability of that under the null model.
        distribution: `distribution[k]` is the probability that exactly k prompts have none.
        three_cycles: For every prompt, the expected number of majority 3-cycles under the null.
    """

    without: Bool[np.ndarray, " context"]
    probability: Float[np.ndarray, " context"]
    distribution: Float[np.ndarray, " count"]
    three_cycles: Float[np.ndarray, " context"]

    @property
    def observed(self) -> int:
        """The number of prompts whose votes show no Condorcet winner."""
        return int(self.without.sum())

    @property
    def expected(self) -> float:
        """The mean of the number under the null."""
        return float(self.probability.sum())

    @property
    def p_value(self) -> float:
        """The probability, under the null, of at least as many prompts as observed."""
        return float(min(1.0, self.distribution[self.observed :].sum()))

    def quantile(self, level: float) -> int:
        """Return the smallest k with a probability of at least `level` of at most k prompts.

        Raises:
            HypothesisViolated: The level is not in [0, 1].
        """
        if not 0 <= level <= 1:
            raise HypothesisViolated(f"level {level:g}", "give a number from 0 to 1")
        cumulative = np.cumsum(self.distribution)
        return int(np.searchsorted(cumulative, level * cumulative[-1]))


def condorcet_null(counts: Sequence[WinCounts], rewards: Sequence[ArrayLike]) -> CondorcetNull:
    r"""Compare the observed number of prompts without a Condorcet winner with its null law.

    The null is the parametric bootstrap of Bradley-Terry models with the given rewards: every pair
    keeps its number D of decisive votes (and its ties), and the wins of i over j are
    Binomial(D, σ(r_i - r_j)), independently. Under Davidson's model of ties that is the law of the
    votes given which of them are ties; the rewards should then be fitted to the decisive votes,
    `fit_bradley_terry(c, ties=Ties.DISCARDED)`.

    Nothing is sampled: whether i beats j depends on the votes of that pair only, so i beats
    everybody with probability :math:`\prod_j B_{ij}`, where B is an incomplete beta function; two
    responses cannot both do so, so a winner exists with probability :math:`\sum_i \prod_j B_{ij}`;
    and the number of prompts without one is a sum of independent indicators. This is the limit of
    infinitely many replicates.

    The rewards are taken as known. Rewards fitted to noisy votes are further apart than those that
    made the votes, so the null has somewhat fewer cycles than a true Bradley-Terry model would.

    Args:
        counts: Votes, one entry a prompt.
        rewards: Rewards of each prompt's responses.

    Raises:
        HypothesisViolated: There are not as many rewards as responses, or one is not finite.
    """
    if len(counts) != len(rewards) or not counts:
        raise HypothesisViolated(
            f"{len(counts)} prompts and rewards for {len(rewards)}", "give rewards for each prompt"
        )
    without, probability, cycles = [], [], []
    for count, given in zip(counts, rewards, strict=True):
        reward = np.asarray(given, dtype=np.float64)
        if reward.shape != (len(count.responses),) or not np.isfinite(reward).all():
            raise HypothesisViolated(
                f"prompt {quoted(count.prompt)}: {len(count.responses)} responses, rewards of "
                f"shape {reward.shape} with {int((~np.isfinite(reward)).sum())} not finite",
                "give one finite reward a response; a ridge makes them finite",
            )
        observed = count.wins > count.wins.T
        beats = _beating(count, reward)
        without.append(not _all_others(observed).any())
        probability.append(1.0 - min(1.0, float(_all_others(beats).sum())))
        cycles.append(float(np.einsum("ij,ji->", beats @ beats, beats)) / 3)
    chances = np.array(probability)
    law: np.ndarray = reduce(np.convolve, np.stack([1 - chances, chances], axis=1), np.ones(1))
    arrays = np.array(without), chances, law, np.array(cycles)
    for array in arrays:
        array.setflags(write=False)
    return CondorcetNull(*arrays)


def _beating(counts: WinCounts, rewards: np.ndarray) -> Float[np.ndarray, "response response"]:
    """Return the probability that i gets more than half of the pair's decisive votes."""
    from scipy.special import betainc

    decisive = counts.wins + counts.wins.T
    half = decisive // 2
    difference = rewards[:, None] - rewards[None, :]
    probability = 0.5 + 0.5 * np.tanh(difference / 2)
    seen = decisive > 0
    # P(Binomial(D, p) > h) = I_p(h + 1, D - h).
    beyond = betainc(half + 1, np.where(seen, decisive - half, 1), probability)
    beats: np.ndarray = np.where(seen, beyond, 0.0)
    return beats


def _all_others(matrix: np.ndarray) -> np.ndarray:
    """Return the product of every row without its diagonal entry."""
    filled = matrix.astype(np.float64)
    np.fill_diagonal(filled, 1.0)
    product: np.ndarray = filled.prod(axis=1)
    return product
