"""Bradley-Terry rewards by maximum likelihood."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from nlhf.data.counts import WinCounts
from nlhf.data.text import quoted
from nlhf.errors import HypothesisViolated, SolverFailed
from nlhf.estimation.graphs import components, describe
from nlhf.estimation.likelihood import Likelihood, maximise, polish

SCORE_TOLERANCE = 1e-9
"""Largest score that is accepted as zero, relative to the votes of the most compared response."""


class Ties(StrEnum):
    """How a tied vote enters the likelihood."""

    HALF = "half"
    """As half a win for each side."""
    DISCARDED = "discarded"
    """Not at all: only decisive votes count. Under Davidson's model of ties, the decisive votes
    given their number are exactly Bradley-Terry."""


@dataclass(frozen=True, slots=True, eq=False)
class BradleyTerry:
    """Rewards r with P(i preferred to j) = 1 / (1 + exp(r_j - r_i)).

    Attributes:
        rewards: r, in logits, with mean 0.
        ridge: The strength of the penalty (ridge/2) |r|².
        ties: How tied votes were counted.
        log_likelihood: Of the votes, in nats, without the penalty.
        score: The largest |derivative| of the penalised log-likelihood, in votes; 0 at the optimum.
    """

    rewards: Float[np.ndarray, " response"]
    ridge: float
    ties: Ties
    log_likelihood: float
    score: float

    @property
    def preference(self) -> Float[np.ndarray, "response response"]:
        """The matrix of preference probabilities of the model."""
        difference = self.rewards[:, None] - self.rewards[None, :]
        probability: np.ndarray = 0.5 + 0.5 * np.tanh(difference / 2)
        return probability


def fit_bradley_terry(
    counts: WinCounts, *, ridge: float = 0.0, ties: Ties = Ties.HALF
) -> BradleyTerry:
    r"""Fit rewards to the votes of one prompt.

    .. math:: \max_r \sum_{i \ne j} w_{ij} \log \sigma(r_i - r_j) - \tfrac{\rho}{2} \|r\|^2

    with w the wins, plus half the ties if they are counted so, and ridge ρ. The objective is
    concave. With ρ > 0 the maximum exists and is unique. With ρ = 0 it exists, and is unique among
    centred r, if and only if the directed graph of wins is strongly connected: no split of the
    responses has all wins going one way (L. R. Ford Jr., American Mathematical Monthly 64, 1957).
    At the maximum every response has as many wins as expected, up to the penalty:
    :math:`\sum_j w_{ij} - \sum_j (w_{ij} + w_{ji}) \sigma(r_i - r_j) = \rho r_i`.

    Solved by a damped Newton method, `nlhf.estimation.likelihood.maximise`.

    Args:
        counts: Votes of one prompt.
        ridge: ρ, in votes per logit²; at least 0.
        ties: How tied votes are counted.

    Raises:
        HypothesisViolated: The ridge is negative, or it is 0 and the maximum does not exist; with
            the strongly connected components of the graph of wins.
        SolverFailed: The score at the solver's answer is not zero.
    """
    if not (math.isfinite(ridge) and ridge >= 0):
        raise HypothesisViolated(f"ridge {ridge:g} is not a penalty", "give a number of at least 0")
    ties = Ties(ties)
    wins = counts.wins + (counts.ties / 2 if ties is Ties.HALF else 0.0)
    if ridge == 0:
        _require_maximum(counts, wins, ties)
    likelihood = Likelihood(wins, ridge)
    rewards = polish(likelihood, maximise(likelihood, np.zeros(len(wins))))
    rewards = rewards - rewards.mean()
    rewards.setflags(write=False)
    score = float(abs(likelihood.score(rewards)).max())
    allowed = SCORE_TOLERANCE * max(1.0, float(likelihood.compared.sum(axis=1).max()))
    if not score <= allowed:
        raise SolverFailed(
            f"prompt {quoted(counts.prompt)}: score {score:.3g} where at most "
            f"{allowed:.3g} votes are allowed",
            "add a small ridge; report the counts if that does not help",
            solver="damped Newton",
            status="score not zero",
        )
    return BradleyTerry(rewards, ridge, ties, float(likelihood.value(rewards)), score)


def _require_maximum(counts: WinCounts, wins: np.ndarray, ties: Ties) -> None:
    parts = components(wins > 0)
    if len(parts) > 1:
        raise HypothesisViolated(
            f"prompt {quoted(counts.prompt)}: no maximum-likelihood rewards exist (ties "
            f"{ties.value}): the graph of wins is not strongly connected; its {len(parts)} "
            f"components, between any two of which wins go at most one way: "
            f"{describe(parts, counts.responses)}",
            "give a ridge above 0 (for example 0.1), or collect votes that connect them",
        )
