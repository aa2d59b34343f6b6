"""A Gaussian prior of Bradley-Terry rewards, its strength estimated from the votes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.data.counts import WinCounts
from nlhf.errors import HypothesisViolated
from nlhf.estimation.likelihood import Likelihood, maximise

WEAKEST, STRONGEST = 1e-4, 1e4
"""The range of prior precisions, in logits⁻²; the votes may want one beyond it."""

_FIRST_STEP, _LAST_STEP = 1.6, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """The Laplace approximation of the posterior of rewards, for prompts of equal size.

    Attributes:
        mode: The most probable rewards.
        precision: Minus the Hessian of the log-posterior there.
        evidence: The logarithm of the marginal likelihood, of all prompts together.
    """

    mode: Float[np.ndarray, "context response"]
    precision: Float[np.ndarray, "context response response"]
    evidence: float


def stacks(counts: Sequence[WinCounts]) -> dict[int, list[int]]:
    """Return the indices of the prompts of every size, so that equal ones are worked together."""
    found: dict[int, list[int]] = {}
    for index, count in enumerate(counts):
        found.setdefault(len(count.responses), []).append(index)
    return found


def posterior(
    wins: Float[np.ndarray, "context response response"],
    prior: float,
    start: Float[np.ndarray, "context response"],
) -> Posterior:
    r"""Approximate the posterior of rewards under the prior N(0, I/ρ), at its mode r.

    .. math:: \log p(w) \approx \ell(r) - \tfrac{\rho}{2} |r|^2 + \tfrac{n}{2} \log \rho
        - \tfrac{1}{2} \log \det H, \qquad H = -\nabla^2 \ell(r) + \rho I
    """
    likelihood = Likelihood(wins, prior)
    mode = maximise(likelihood, start)
    precision = likelihood.information(mode)
    evidence = likelihood.penalised(mode).sum() + mode.size / 2 * math.log(prior)
    return Posterior(mode, precision, float(evidence - np.linalg.slogdet(precision)[1].sum() / 2))


def fit_prior(counts: Sequence[WinCounts]) -> float:
    r"""Estimate how strong a Gaussian prior of the rewards is, from the decisive votes.

    The rewards of all responses of all prompts are independent N(0, 1/ρ); ρ is the maximiser of
    the marginal likelihood of the decisive votes in Laplace's approximation (empirical Bayes, or
    type-II maximum likelihood), within `WEAKEST` to `STRONGEST` and to a factor of about 1.1.
    It is found by moving log ρ uphill in steps that are halved where neither side is higher.

    As a ridge of `fit_bradley_terry` it gives the rewards that are most probable after the votes.

    Args:
        counts: Votes, one entry a prompt.

    Returns:
        ρ, in logits⁻². `STRONGEST` if the votes are no more alike than coin flips; 1 if there are
        no decisive votes, which say nothing.

    Raises:
        HypothesisViolated: There are no prompts.
    """
    if not counts:
        raise HypothesisViolated("no prompts", "give the counts of at least one")
    wins = [
        np.stack([counts[k].wins for k in members]).astype(np.float64)
        for members in stacks(counts).values()
    ]
    modes = [np.zeros(stack.shape[:-1]) for stack in wins]
    if not any(stack.any() for stack in wins):
        return 1.0

    def evidence(logarithm: float) -> float:
        total = 0.0
        for k, stack in enumerate(wins):
            found = posterior(stack, math.exp(logarithm), modes[k])
            modes[k], total = found.mode, total + found.evidence
        return total

    low, high = math.log(WEAKEST), math.log(STRONGEST)
    at, step, forward = 0.0, _FIRST_STEP, 1.0
    best = evidence(at)
    while step >= _LAST_STEP:
        for direction in (forward, -forward):
            candidate = min(max(at + direction * step, low), high)
            value = evidence(candidate)
            if value > best:
                at, best, forward = candidate, value, direction
                break
        else:
            step /= 2
    return math.exp(at)
