r"""What MaxMin gives the minority, and what it costs the majority, over a family of tastes.

The claim that is examined (MaxMin-RLHF, abstract): over a single reward, MaxMin improves the
average win rate by more than 16 % and the minority's by more than 33 %, relative. It was measured
on a language model with a judge; here the same quantities are computed exactly on finite problems.
The family below was written down before anything was run on it, and was not changed after.

**The family.** 200 pairs of tastes, numbers k = 0 ... 199, all randomness from
``Stream(2026).child("headline", k)``:

* X = 10 prompts with K = 10 responses each, prompts uniform.
* The majority's rewards are independent N(0, 1), in logits; the minority's are :math:`\rho r_1 +
  \sqrt{1-\rho^2}\, z` with z independent N(0, 1). The correlation ρ is uniform in one of four
  bands, 50 pairs each (k mod 4): [-1, -1/2) opposed, as in the paper's P3A against P3B, [-1/2, 0),
  [0, 1/2), [1/2, 1) alike.
* The reference is uniform (k div 4 even) or drawn from Dirichlet(1, ..., 1) for every prompt
  (odd).
* The temperature τ is 0.1, 0.3 or 1 logit (k mod 3), the same for all policies.
* Every pair is judged at four majority-minority splits: 80/20, 83/17, 86/14, 91/9 (4, 5, 6 and 10
  to 1).

**Policies.** Each group u votes Bradley-Terry with its rewards, and both rewards are known
exactly:

* single reward: the Bradley-Terry rewards of largest population likelihood for the mixture
  :math:`\sum_u \eta_u P_u` with all pairs compared equally often, and its KL-optimal policy;
* MaxMin: ``nlhf.solve(MaxMinGame(rewards, reference, τ, offsets="reference"))``; the proportions
  do not enter it;
* the minority's own: the KL-optimal policy of its rewards;
* the ceilings: for the minority, and for the average, the best policy of all, without any price of
  KL.

**The measure.** The opponent is the reference: the win rate of group u is :math:`E_x E_{y \sim
\pi, y' \sim \mu} P_u(y \succ y')`, 1/2 for the reference itself; the average is unweighted over
the two groups. Reported: quartiles of the change relative to the single reward, of the minority
and of the average; the share of instances with at least +33 %, with at least +16 %, and with both;
and the shares in which the ceilings allow these at all, since no win rate exceeds 1.

**After the first run**, to see what it takes, the opposed pairs (the first band) were repeated
with tastes of unequal strength: the majority's rewards times 1/4, 1/2 or 1, the minority's times
1, 2 or 4, at 80/20 and 91/9. These rows are an exploration chosen with the first results in sight,
they are kept apart, and they are no part of the claim's 200 instances.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import nlhf
from nlhf.estimation.likelihood import Likelihood, maximise, polish
from nlhf.numerics import log_normalise

PAIRS = 200
PROMPTS, RESPONSES = 10, 10
BANDS = ((-1.0, -0.5), (-0.5, 0.0), (0.0, 0.5), (0.5, 1.0))
TEMPERATURES = (0.1, 0.3, 1.0)
MINORITIES = (0.20, 0.17, 0.14, 0.09)
STRENGTHS = ((0.25, 0.5, 1.0), (1.0, 2.0, 4.0))
"""Of the majority's and the minority's tastes, in the exploration."""
EXPLORED = (0.20, 0.09)
Rewards = np.ndarray
"""Shape (prompt, response), in logits."""


@dataclass(frozen=True, slots=True, eq=False)
class Tastes:
    """A majority and a minority with given rewards.

    Attributes:
        correlation: ρ of the law that the rewards were drawn from.
        band: Its index in `BANDS`.
        uniform: Whether the reference is uniform.
        temperature: τ, in logits.
        rewards: Of the majority and the minority, shape ``(2, X, K)``.
        reference: μ, shape ``(X, K)``.
    """

    correlation: float
    band: int
    uniform: bool
    temperature: float
    rewards: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True, slots=True)
class Outcome:
    """One pair of tastes at one split; win rates are against the reference.

    Attributes:
        pair: k.
        majority_strength: What the majority's rewards are multiplied by; 1 in the claim's family.
        minority_strength: The same of the minority's.
        minority_share: η of the minority.
        correlation: ρ.
        band: Index of its band.
        uniform_reference: Whether the reference is uniform.
        temperature: τ, in logits.
        single_majority: The majority's win rate under the single reward's policy.
        single_minority: The minority's.
        maxmin_majority: The majority's win rate under the MaxMin policy.
        maxmin_minority: The minority's.
        maxmin_weight: The minority's weight at the MaxMin equilibrium.
        maxmin_gap: The duality gap of the MaxMin equilibrium, in logits; certified.
        own_minority: The minority's win rate under its own KL-optimal policy.
        ceiling_minority: The largest win rate of the minority under any policy.
        ceiling_average: The largest average under any policy.
    """

    pair: int
    majority_strength: float
    minority_strength: float
    minority_share: float
    correlation: float
    band: int
    uniform_reference: bool
    temperature: float
    single_majority: float
    single_minority: float
    maxmin_majority: float
    maxmin_minority: float
    maxmin_weight: float
    maxmin_gap: float
    own_minority: float
    ceiling_minority: float
    ceiling_average: float

    @property
    def minority_change(self) -> float:
        """Relative change of the minority's win rate, from the single reward to MaxMin."""
        return self.maxmin_minority / self.single_minority - 1.0

    @property
    def majority_change(self) -> float:
        """Relative change of the majority's."""
        return self.maxmin_majority / self.single_majority - 1.0

    @property
    def single_average(self) -> float:
        """The unweighted average of both groups under the single reward."""
        return (self.single_majority + self.single_minority) / 2.0

    @property
    def average_change(self) -> float:
        """Relative change of the average."""
        return (self.maxmin_majority + self.maxmin_minority) / 2.0 / self.single_average - 1.0

    @property
    def minority_room(self) -> float:
        """The largest relative change of the minority that any policy could bring."""
        return self.ceiling_minority / self.single_minority - 1.0

    @property
    def average_room(self) -> float:
        """The largest relative change of the average that any policy could bring."""
        return self.ceiling_average / self.single_average - 1.0


def tastes(k: int) -> Tastes:
    """Draw the k-th pair of tastes of the family."""
    stream = nlhf.Stream(2026).child("headline", k)
    low, high = BANDS[k % 4]
    rho = float(stream.child("correlation").generator().uniform(low, high))
    majority, other = stream.child("rewards").generator().normal(size=(2, PROMPTS, RESPONSES))
    uniform = (k // 4) % 2 == 0
    reference = np.full((PROMPTS, RESPONSES), 1.0 / RESPONSES)
    if not uniform:
        reference = stream.child("reference").generator().dirichlet(np.ones(RESPONSES), PROMPTS)
    return Tastes(
        correlation=rho,
        band=k % 4,
        uniform=uniform,
        temperature=TEMPERATURES[k % 3],
        rewards=np.stack([majority, rho * majority + np.sqrt(1.0 - rho**2) * other]),
        reference=reference,
    )


def pooled_reward(preference: np.ndarray) -> Rewards:
    """Return the Bradley-Terry rewards of largest population likelihood, all pairs alike."""
    likelihood = Likelihood(preference * (1.0 - np.eye(preference.shape[-1])), 0.0)
    found: np.ndarray = polish(likelihood, maximise(likelihood, np.zeros(preference.shape[:-1])))
    return found


def outcomes(
    k: int,
    strengths: tuple[float, float] = (1.0, 1.0),
    minorities: Sequence[float] = MINORITIES,
) -> list[Outcome]:
    """Compute a pair of tastes at every split."""
    pair = tastes(k)
    rewards = pair.rewards * np.array(strengths)[:, None, None]
    preference = 1.0 / (1.0 + np.exp(rewards[..., None, :] - rewards[..., :, None]))
    wins = np.einsum("uxij,xj->uxi", preference, pair.reference)  # of a response against μ

    def rates(policy: np.ndarray) -> np.ndarray:
        return np.einsum("xi,uxi->u", policy, wins) / PROMPTS

    def optimal(reward: Rewards) -> np.ndarray:
        return np.exp(log_normalise(np.log(pair.reference) + reward / pair.temperature))

    game = nlhf.MaxMinGame(
        rewards, pair.reference, pair.temperature, offsets=nlhf.Offsets.REFERENCE
    )
    solution = nlhf.solve(game)
    maxmin, weights = (strategy.probabilities for strategy in solution.profile)
    fair = rates(maxmin)
    found = []
    for share in minorities:
        single = rates(optimal(pooled_reward(np.tensordot([1.0 - share, share], preference, 1))))
        found.append(
            Outcome(
                pair=k,
                majority_strength=strengths[0],
                minority_strength=strengths[1],
                minority_share=share,
                correlation=pair.correlation,
                band=pair.band,
                uniform_reference=pair.uniform,
                temperature=pair.temperature,
                single_majority=float(single[0]),
                single_minority=float(single[1]),
                maxmin_majority=float(fair[0]),
                maxmin_minority=float(fair[1]),
                maxmin_weight=float(weights[1]),
                maxmin_gap=float(solution.certificate.bound.high),
                own_minority=float(rates(optimal(rewards[1]))[1]),
                ceiling_minority=float(wins[1].max(axis=-1).mean()),
                ceiling_average=float(wins.mean(axis=0).max(axis=-1).mean()),
            )
        )
    return found


def exploration(pairs: int = PAIRS) -> list[Outcome]:
    """Compute the opposed ones of so many pairs with tastes of unequal strength."""
    return [
        one
        for majority in STRENGTHS[0]
        for minority in STRENGTHS[1]
        if (majority, minority) != (1.0, 1.0)
        for k in range(0, pairs, len(BANDS))
        for one in outcomes(k, (majority, minority), EXPLORED)
    ]
