"""Policies for people who differ: of every group, of one reward, MaxMin, and Nash."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.analysis.prompts import PayoffKind, Problem, game_of
from nlhf.games.group_rewards import Offsets
from nlhf.games.maxmin import MaxMinGame
from nlhf.numerics import log_normalise
from nlhf.results import Certificate, Solution
from nlhf.solving import solve
from nlhf.spaces.policy import Policy

Rewards = Float[np.ndarray, "group _"]
"""Of one prompt."""

Policies = tuple[Float[np.ndarray, "_"], ...]
"""One policy: a distribution over the responses of every prompt, however many these are."""


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """Prompts of any sizes as one array, exactly.

    MaxMin has one set of group weights for all prompts, hence is one game. A prompt with fewer
    responses than the largest has its last one in several copies, which share its reference
    probability: a copy has the same rewards, so copies change neither the value nor the KL of the
    best policies, and their probabilities add up to that of the response.

    Attributes:
        sizes: The number of responses of every prompt.
    """

    sizes: tuple[int, ...]

    def reference(self) -> Float[np.ndarray, "context padded"]:
        """Return the uniform references of all prompts, copies included."""
        most = max(self.sizes)
        rows = np.zeros((len(self.sizes), most))
        for row, size in zip(rows, self.sizes, strict=True):
            row[: size - 1] = 1.0 / size
            row[size - 1 :] = 1.0 / (size * (most - size + 1))
        return rows

    def rewards(self, each: Sequence[Rewards]) -> Float[np.ndarray, "group context padded"]:
        """Return the rewards of all prompts, copies included."""
        most = max(self.sizes)
        columns = [np.minimum(np.arange(most), size - 1) for size in self.sizes]
        return np.stack([r[:, at] for r, at in zip(each, columns, strict=True)], axis=1)

    def apart(self, policy: Float[np.ndarray, "context padded"]) -> Policies:
        """Return the policy of every prompt, the copies' probabilities added."""
        return tuple(
            np.append(row[: size - 1], row[size - 1 :].sum())
            for row, size in zip(policy, self.sizes, strict=True)
        )


def references(sizes: Sequence[int]) -> Policies:
    """Return the uniform reference of every prompt."""
    return tuple(np.full(size, 1.0 / size) for size in sizes)


def optimal_policies(rewards: Sequence[Rewards], temperature: float) -> tuple[Policies, ...]:
    r"""Return :math:`\pi_u \propto e^{r_u/\tau}` of every group, for every prompt.

    It maximises the expected reward less τ times the divergence from the uniform reference.
    """
    each = [np.exp(log_normalise(r / temperature)) for r in rewards]
    return tuple(tuple(policy[u] for policy in each) for u in range(len(rewards[0])))


@dataclass(frozen=True, slots=True, eq=False)
class MaxMinPolicy:
    """The MaxMin policy of several groups over all prompts together.

    Attributes:
        game: The game, with prompts padded as in `Together`.
        policy: The policy of every prompt.
        weights: The group weights that prove it, shape ``(U,)``.
        certificate: Of the game; in reward units.
        method: The solver.
        iterations: Its steps.
    """

    game: MaxMinGame
    policy: Policies
    weights: Float[np.ndarray, "group"]
    certificate: Certificate[Policy]
    method: str
    iterations: int


def maxmin_policy(rewards: Sequence[Rewards], temperature: float, offsets: Offsets) -> MaxMinPolicy:
    """Return the policy that is best for the group that it serves worst, prompts weighted alike.

    Args:
        rewards: Of every prompt, all groups.
        temperature: τ > 0, in logits.
        offsets: What makes the rewards of different groups comparable.
    """
    together = Together(tuple(r.shape[1] for r in rewards))
    game = MaxMinGame(together.rewards(rewards), together.reference(), temperature, offsets=offsets)
    solution = solve(game)
    policy, weights = solution.profile
    return MaxMinPolicy(
        game=game,
        policy=together.apart(policy.probabilities),
        weights=weights.probabilities,
        certificate=solution.certificate,
        method=solution.provenance.method,
        iterations=solution.provenance.iterations,
    )


@dataclass(frozen=True, slots=True, eq=False)
class NashPolicy:
    """The Nash policy of the preference game that all raters' votes make together.

    Attributes:
        policy: Of every prompt.
        temperature: In win probability.
        gap: The duality gap of every prompt is at most this, rounding included.
    """

    policy: Policies
    temperature: float
    gap: float


def nash_policy(problems: Sequence[Problem], temperature: float) -> NashPolicy:
    """Solve the preference game of every prompt; prompts of equal size are one batch.

    Args:
        problems: Prompts with the preferences of all raters.
        temperature: In win probability.
    """
    sizes: dict[int, list[int]] = {}
    for k, problem in enumerate(problems):
        sizes.setdefault(len(problem.responses), []).append(k)
    found: dict[int, np.ndarray] = {}
    gap = 0.0
    for members in sizes.values():
        preference = np.stack([problems[k].preference for k in members])
        solution: Solution[Policy] = solve(game_of(preference, PayoffKind.PROBABILITY, temperature))
        bound = solution.certificate.bound
        rounding = (bound.high - bound.value) * len(members)  # at most all of it is one prompt's
        gap = max(gap, float(solution.certificate.per_context.max()) + rounding)
        found |= dict(zip(members, solution.policy, strict=True))
    return NashPolicy(tuple(found[k] for k in range(len(problems))), temperature, gap)
