"""Payoffs of responses: realised once, then looked up for any response, added and scaled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.base import (
    PreferenceModel,
    RewardModel,
    checked_preferences,
    checked_rewards,
)
from nlhf.lm.promised import Opponents
from nlhf.lm.responses import Prompts, Responses

Check = Callable[[np.ndarray, Responses, Responses], np.ndarray]
"""Refuses answers about the first responses against the second, or returns them as float64."""


@runtime_checkable
class ResponsePayoff(Protocol):
    """A payoff of responses to a batch of prompts."""

    @property
    def prompts(self) -> Prompts:
        """The prompts that it was realised on."""
        ...

    def values(self, responses: Responses) -> Float64[torch.Tensor, "prompt response"]:
        """Return the payoff of every response."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonPayoff:
    r"""How often a response is preferred to those of opponents who have already answered.

    .. math:: g(x, y) = \sum_k c_k \sum_j w_{kj}\, P(y \succ y'_{kj} | x).

    The opponents' responses are drawn once and kept: adding and scaling combine realised
    evaluations and draw nothing.

    Attributes:
        terms: The coefficients c with the opponents' responses; all to the same prompts.
        preference: P.
        check: What P is held to; by default, that it is a probability.

    Raises:
        HypothesisViolated: If the terms are about different prompts, or payoffs of different
            preferences are added.
    """

    terms: tuple[tuple[float, Opponents], ...]
    preference: PreferenceModel
    check: Check = checked_preferences

    def __post_init__(self) -> None:
        _require_one_batch([opponents.prompts for _, opponents in self.terms])

    @property
    def prompts(self) -> Prompts:
        """The prompts that it was realised on."""
        return self.terms[0][1].prompts

    def values(self, responses: Responses) -> Float64[torch.Tensor, "prompt response"]:
        """Return g, in win probability.

        Raises:
            InvalidData: If P is out of range or of another shape; names the row.
        """
        _require_one_batch([self.prompts, responses.prompts])
        total = np.zeros(responses.shape)
        for coefficient, promised in self.terms:
            opponents = promised.now()
            answers = self.preference.preferences(responses, opponents)
            wins = self.check(answers, responses, opponents)
            weights = opponents.weights.cpu().numpy()
            total += coefficient * np.einsum("xrj,xj->xr", wins, weights)
        return torch.as_tensor(total, device=responses.tokens.device)

    def __add__(self, other: "ComparisonPayoff") -> "ComparisonPayoff":
        if self.preference is not other.preference:
            raise HypothesisViolated(
                "payoffs of different preferences cannot be added",
                "evaluate both with the same game",
            )
        return ComparisonPayoff(self.terms + other.terms, self.preference, self.check)

    def __sub__(self, other: "ComparisonPayoff") -> "ComparisonPayoff":
        return self + other * -1.0

    def __mul__(self, factor: float) -> "ComparisonPayoff":
        scaled = tuple((c * factor, o) for c, o in self.terms)
        return ComparisonPayoff(scaled, self.preference, self.check)

    __rmul__ = __mul__


@dataclass(frozen=True, slots=True, eq=False)
class RewardPayoff:
    r"""A combination of rewards, :math:`g(x, y) = \sum_u c_u r_u(x, y)`.

    Attributes:
        prompts: The batch of prompts of this evaluation.
        rewards: r_u, one reward model per group.
        coefficients: c_u.

    Raises:
        HypothesisViolated: If payoffs of different rewards or prompts are added.
    """

    prompts: Prompts
    rewards: tuple[RewardModel, ...]
    coefficients: tuple[float, ...]

    def values(self, responses: Responses) -> Float64[torch.Tensor, "prompt response"]:
        """Return g, in units of the rewards.

        Raises:
            InvalidData: If a reward is not a finite number; names the row.
        """
        total = np.zeros(responses.shape)
        for reward, coefficient in zip(self.rewards, self.coefficients, strict=True):
            if coefficient != 0.0:
                total += coefficient * checked_rewards(reward.rewards(responses), responses)
        return torch.as_tensor(total, device=responses.tokens.device)

    def __add__(self, other: "RewardPayoff") -> "RewardPayoff":
        _require_one_batch([self.prompts, other.prompts])
        if [*map(id, self.rewards)] != [*map(id, other.rewards)]:
            raise HypothesisViolated(
                "payoffs of different rewards cannot be added",
                "evaluate both with the same game",
            )
        pairs = zip(self.coefficients, other.coefficients, strict=True)
        return RewardPayoff(self.prompts, self.rewards, tuple(a + b for a, b in pairs))

    def __sub__(self, other: "RewardPayoff") -> "RewardPayoff":
        return self + other * -1.0

    def __mul__(self, factor: float) -> "RewardPayoff":
        scaled = tuple(c * factor for c in self.coefficients)
        return RewardPayoff(self.prompts, self.rewards, scaled)

    __rmul__ = __mul__


def _require_one_batch(batches: Sequence[Prompts]) -> None:
    first = batches[0]
    for other in batches[1:]:
        if not other.same_as(first):
            raise HypothesisViolated(
                f"a payoff on prompts {_shown(first)} meets one on prompts {_shown(other)}: their "
                "combination is known on neither",
                "methods that add evaluations (optimistic) need all prompts in every step: leave "
                "out prompts_per_step",
            )


def _shown(prompts: Prompts) -> str:
    rows = ", ".join(str(row) for row in prompts.rows[:4])
    return f"[{rows}{', ...' if len(prompts) > 4 else ''}] ({len(prompts)})"
