"""How many prompts have no Condorcet winner, beside what a reward model would make of noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from nlhf.data.counts import WinCounts
from nlhf.data.text import quoted
from nlhf.errors import HypothesisViolated
from nlhf.estimation.prior import fit_prior, posterior, stacks
from nlhf.streams import Stream

_BY_POLYNOMIAL = 64
_ENTRIES_AT_ONCE = 250_000


@dataclass(frozen=True, slots=True, eq=False)
class CondorcetLaw:
    r"""The number of prompts without a Condorcet winner, and a law of it.

    A response is a Condorcet winner if it beats *every* other one: more votes for it than against
    it, ties aside. A pair with as many votes each way, or with none, is beaten by neither side, so
    it stands in the way of both. A single response is a winner.

    Attributes:
        without: For every prompt, whether the votes show no Condorcet winner.
        probability: For every prompt, the probability of that under the model.
        distribution: `distribution[k]` is the probability that exactly k prompts have none.
        three_cycles: For every prompt, the expected number of majority 3-cycles under the model.
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
        """The mean of the number under the model."""
        return float(self.probability.sum())

    @property
    def p_value(self) -> float:
        """The probability, under the model, of at least as many prompts as observed."""
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


@dataclass(frozen=True, slots=True, eq=False)
class CondorcetNull(CondorcetLaw):
    """The law if the votes came from Bradley-Terry rewards, which are not known exactly.

    Attributes:
        prior: The precision of the Gaussian prior of the rewards, in logits⁻².
        cycles_low: The 2.5 % quantile of the number of majority 3-cycles in all prompts together.
        cycles_high: The 97.5 % quantile.
    """

    prior: float
    cycles_low: float
    cycles_high: float


def condorcet_law(counts: Sequence[WinCounts], rewards: Sequence[ArrayLike]) -> CondorcetLaw:
    r"""Return the law of the number of prompts without a Condorcet winner, for given rewards.

    Every pair keeps its number D of decisive votes (and its ties), and the wins of i over j are
    Binomial(D, σ(r_i - r_j)), independently. Under Davidson's model of ties that is the law of the
    votes given which of them are ties.

    Nothing is sampled: whether i beats j depends on the votes of that pair only, so i beats
    everybody with probability :math:`\prod_j B_{ij}`, where B is a tail of the binomial law; two
    responses cannot both do so, so a winner exists with probability :math:`\sum_i \prod_j B_{ij}`;
    and the number of prompts without one is a sum of independent indicators.

    Rewards *fitted* to the same votes do not make this a fair null model: taken as known, they are
    further apart than those that made the votes, or their noise is missing; see `condorcet_null`.

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
    probability, cycles = np.empty((2, len(counts)))
    for k, (count, given) in enumerate(zip(counts, rewards, strict=True)):
        reward = np.asarray(given, dtype=np.float64)
        if reward.shape != (len(count.responses),) or not np.isfinite(reward).all():
            raise HypothesisViolated(
                f"prompt {quoted(count.prompt)}: {len(count.responses)} responses, rewards of "
                f"shape {reward.shape} with {int((~np.isfinite(reward)).sum())} not finite",
                "give one finite reward a response; a ridge makes them finite",
            )
        beats = _beating(count.wins[None], reward[None, :, None])
        probability[k], cycles[k] = _no_winner(beats).item(), _three_cycles(beats).item()
    return CondorcetLaw(*_frozen(_without(counts), probability, _number(probability), cycles))


def condorcet_null(
    counts: Sequence[WinCounts], *, draws: int = 200, seed: int = 0
) -> CondorcetNull:
    r"""Compare the observed number of prompts without a Condorcet winner with its null law.

    The null hypothesis: the votes on every prompt come from a Bradley-Terry model, whose rewards
    are independent N(0, 1/ρ). Held as observed are which pairs were compared, how often, and how
    many of those votes were ties. Estimated are ρ, one for all prompts, by `fit_prior`; and the
    rewards given the votes, by Laplace's approximation N(r, H⁻¹) of their posterior. The law is
    that of new votes on the same pairs (the posterior predictive law): `draws` times rewards are
    drawn, given which the probabilities are exact as in `condorcet_law`; they are averaged. Given
    ρ the prompts are independent, so the number is a sum of independent indicators with the
    averaged probabilities. The range of 3-cycles is that of one replicate of all votes per draw.

    Calibration: the rewards are fitted to the votes that are then judged, so on Bradley-Terry data
    p-values are nearer 1/2 than uniform ones, and the test rejects *less* often than its level
    says: in seven simulated designs of 3 to 30 responses and 1 to 20 votes a pair, level 0.05
    rejected 0 to 3 %. (With the rewards taken as known it would reject far too often where votes
    are few.) ρ is taken as known once estimated, and rewards far from Gaussian are not covered.

    Args:
        counts: Votes, one entry a prompt.
        draws: How many times rewards are drawn; at least 1. An averaged probability has a
            standard error of at most 1/(2 √draws).
        seed: Of the stream of the draws; equal seeds give equal results.

    Raises:
        HypothesisViolated: There are no prompts, or `draws` is less than 1.
    """
    if draws < 1:
        raise HypothesisViolated(f"{draws} draws", "ask for at least 1")
    prior = fit_prior(counts)
    probability, cycles = np.empty((2, len(counts)))
    totals = np.zeros(draws)
    for members in _portions(counts, draws):
        wins = np.stack([counts[k].wins for k in members])
        generator = Stream(seed).child("condorcet null", members[0]).generator()
        beats = _beating(wins, _draw_rewards(wins, prior, draws, generator))
        probability[members] = _no_winner(beats).mean(axis=1)
        cycles[members] = _three_cycles(beats).mean(axis=1)
        totals += _three_cycles(_draw_majorities(beats, generator)).sum(axis=0)
    low, high = np.quantile(totals, [0.025, 0.975])
    without, chances, law, expected = _frozen(
        _without(counts), probability, _number(probability), cycles
    )
    return CondorcetNull(
        without=without,
        probability=chances,
        distribution=law,
        three_cycles=expected,
        prior=prior,
        cycles_low=float(low),
        cycles_high=float(high),
    )


def _portions(counts: Sequence[WinCounts], draws: int) -> Iterator[list[int]]:
    """Split the prompts into lists of equal size whose arrays fit into memory."""
    for size, members in stacks(counts).items():
        most = max(1, _ENTRIES_AT_ONCE // (draws * size**2))
        for first in range(0, len(members), most):
            yield members[first : first + most]


def _draw_rewards(
    wins: np.ndarray, prior: float, draws: int, generator: np.random.Generator
) -> Float[np.ndarray, "context response draw"]:
    found = posterior(wins.astype(np.float64), prior, np.zeros(wins.shape[:-1]))
    normal = generator.standard_normal((*wins.shape[:-1], draws))
    # With H = L Lᵀ, L⁻ᵀ z has covariance H⁻¹.
    root = np.linalg.cholesky(found.precision).swapaxes(1, 2)
    rewards: np.ndarray = found.mode[..., None] + np.linalg.solve(root, normal)
    return rewards


def _draw_majorities(
    beats: np.ndarray, generator: np.random.Generator
) -> Float[np.ndarray, "context draw response response"]:
    """Draw who beats whom: of i over j, j over i and neither, one happens."""
    first, second = np.triu_indices(beats.shape[-1], 1)
    uniform = generator.random((*beats.shape[:-2], len(first)))
    drawn = np.zeros(beats.shape, dtype=np.float32)  # 0 or 1; their sums are exact
    drawn[..., first, second] = uniform < beats[..., first, second]
    drawn[..., second, first] = 1.0 - uniform <= beats[..., second, first]
    return drawn


def _beating(
    wins: np.ndarray, rewards: Float[np.ndarray, "context response draw"]
) -> Float[np.ndarray, "context draw response response"]:
    """Return the probability that i gets more than half of the pair's decisive votes."""
    context, size, draws = rewards.shape
    first, second = np.triu_indices(size, 1)
    difference = rewards[:, first] - rewards[:, second]
    p = (0.5 + 0.5 * np.tanh(difference / 2)).reshape(-1, draws)
    number = (wins[:, first, second] + wins[:, second, first]).ravel()
    beats = np.zeros((context, draws, size, size))
    for i, j, chance in ((first, second, p), (second, first, 1.0 - p)):
        majority = _majority(number, chance).reshape(context, -1, draws)
        beats[..., i, j] = majority.swapaxes(1, 2)
    return beats


def _majority(
    number: Int[np.ndarray, " pair"], p: Float[np.ndarray, "pair draw"]
) -> Float[np.ndarray, "pair draw"]:
    """Return P(Binomial(D, p) > D/2), row by row; 0 where D is 0."""
    tail = np.zeros(p.shape)
    for votes in np.unique(number[number <= _BY_POLYNOMIAL]):
        tail[number == votes] = _tail(int(votes), p[number == votes])
    many = number > _BY_POLYNOMIAL
    if many.any():
        from scipy.special import betainc

        half = number[many, None] // 2
        tail[many] = betainc(half + 1, number[many, None] - half, p[many])
    return tail


def _tail(votes: int, p: np.ndarray) -> np.ndarray:
    r"""Return :math:`p^{h+1} \sum_{m < D-h} \binom{h+m}{m} (1-p)^m`, h = ⌊D/2⌋.

    The (h+1)-th win comes after m losses, and m is less than D - h; if D is 0, no m is.
    """
    half, q = votes // 2, 1.0 - p
    total = np.zeros_like(p)
    for losses in range(votes - half - 1, -1, -1):
        total *= q
        total += comb(half + losses, losses)
    total *= p ** (half + 1)
    return total


def _no_winner(beats: np.ndarray) -> np.ndarray:
    """Return the probability that no response beats all others."""
    others = beats + np.eye(beats.shape[-1])
    missing: np.ndarray = np.maximum(1.0 - others.prod(axis=-1).sum(axis=-1), 0.0)
    return missing


def _three_cycles(beats: np.ndarray) -> np.ndarray:
    """Return the expected number of 3-cycles, pairs being independent."""
    cycles: np.ndarray = ((beats @ beats) * beats.swapaxes(-1, -2)).sum(axis=(-1, -2)) / 3
    return cycles


def _without(counts: Sequence[WinCounts]) -> np.ndarray:
    majorities = ((count.wins > count.wins.T).astype(np.float64) for count in counts)
    return np.array([_no_winner(majority[None]).item() > 0 for majority in majorities])


def _number(probability: np.ndarray) -> np.ndarray:
    """Return the law of the number of independent events that happen."""
    either = np.stack([1 - probability, probability], axis=1)
    law: np.ndarray = reduce(np.convolve, either, np.ones(1))
    return law


def _frozen(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    for array in arrays:
        array.setflags(write=False)
    return arrays
