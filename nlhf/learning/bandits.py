"""Contextual bandits to learn in."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from nlhf.data.preference_data import Pairs
from nlhf.errors import InvalidProblem
from nlhf.exact.matrix_game import solve_matrix_game
from nlhf.exact.regularised import solve_regularised
from nlhf.games.group_rewards import Offsets
from nlhf.games.maxmin import MaxMinGame
from nlhf.games.preference import PreferenceGame
from nlhf.games.tabular import checked_reference, checked_temperature, checked_weights
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.learning.judging import exploitability
from nlhf.learning.preferences import as_preferences
from nlhf.numerics import EPSILON, log_sum_exp
from nlhf.results import Bound, Units, float_array
from nlhf.spaces.policy import Policy
from nlhf.spaces.simplex import Simplex
from nlhf.streams import Stream


class BanditSetting:
    """Prompts drawn from a distribution, and a response to choose for each.

    Stages are the contexts, with the prompt distribution as weights; outcomes are the responses.

    Args:
        reference: μ, of full support, shape ``(X, n)``; one prompt is ``(1, n)``.
        temperature: τ ≥ 0, in units of the payoffs that will be learned.
        weights: The prompt distribution, shape ``(X,)``; uniform by default.

    Attributes:
        reference: μ.
        temperature: τ.
        stage_weights: The prompt distribution.
        space: The policies.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range.
    """

    def __init__(
        self,
        reference: ArrayLike | Policy,
        temperature: float,
        weights: ArrayLike | None = None,
    ) -> None:
        shape = (
            reference.log_probabilities.shape
            if isinstance(reference, Policy)
            else float_array("the reference", reference).shape
        )
        if len(shape) != 2:
            raise InvalidProblem(
                f"the reference has shape {shape}",
                "pass one row per context, (X, n); a single prompt is (1, n)",
            )
        self.reference = checked_reference(reference, shape[:1], shape[1])
        self.temperature = checked_temperature(temperature)
        self.stage_weights = checked_weights(weights, shape[:1])
        self.space = Simplex(shape[1], self.stage_weights)

    def __repr__(self) -> str:
        contexts, responses = self.shape
        return f"BanditSetting({contexts} contexts, {responses} responses, τ={self.temperature:g})"

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(X, n), the numbers of contexts and of responses."""
        contexts, responses = self.reference.log_probabilities.shape
        return contexts, responses

    def visits(self, policy: Policy) -> Float[np.ndarray, "stage outcome"]:
        """Return π(y|x)."""
        return policy.probabilities

    def divergence(self, policy: Policy) -> float:
        """Return E_x KL(π‖μ), in nats."""
        return self.space.divergence(policy, self.reference).value

    def best(
        self, values: Float[np.ndarray, "stage outcome"], temperature: float | None = None
    ) -> Policy:
        """Return the best policy against the values of all responses; see `Setting`."""
        price = self.temperature if temperature is None else temperature
        if price == 0.0:
            return self.space.best_response(values)
        return self.space.prox(values, [(self.reference, price)]).strategy

    def conceded(
        self, values: Float[np.ndarray, "model stage outcome"]
    ) -> Float[np.ndarray, " model"]:
        r"""Return :math:`-\tau E_x \log E_\mu e^{-v/\tau}`, at τ = 0 the mean of the minima."""
        if self.temperature == 0.0:
            return np.asarray(values.min(axis=-1) @ self.stage_weights)
        soft = log_sum_exp(self.reference.log_probabilities - values / self.temperature)
        return np.asarray(-self.temperature * (soft @ self.stage_weights))

    def reached(
        self, values: Float[np.ndarray, "model stage outcome"]
    ) -> Float[np.ndarray, " model"]:
        """Return the mean over contexts of the largest values."""
        return np.asarray(values.max(axis=-1) @ self.stage_weights)

    def exploitability(
        self, table: Float[np.ndarray, "stage outcome outcome"], policy: Policy, units: Units
    ) -> Bound:
        """Return the exploitability of a policy under skew payoffs, exact up to rounding."""
        payoff = np.einsum("lij,lj->li", table, self.visits(policy))
        rounding = np.full(self.shape[0], (self.shape[1] + 2) * EPSILON * np.abs(table).max())
        return exploitability(self, payoff, policy, rounding, units)

    def solve(self, table: Float[np.ndarray, "stage outcome outcome"]) -> Policy:
        """Return the equilibrium policy, by the exact solvers of preference games."""
        preference, scale = as_preferences(table)
        game = PreferenceGame(
            preference, self.reference, scale * self.temperature, self.stage_weights
        )
        if game.temperature > 0.0:
            return solve_regularised(game).profile[0]
        return solve_matrix_game(game).profile[0]

    def maxmin(self, planes: Sequence[Float[np.ndarray, "stage outcome"]]) -> MaxMinGame:
        """Return the game of a policy that is paid by the worst of several planes."""
        return MaxMinGame(
            np.stack(planes),
            self.reference,
            self.temperature,
            offsets=Offsets.AS_GIVEN,
            weights=self.stage_weights,
        )

    def zero_sum(self, table: Float[np.ndarray, "stage outcome outcome"]) -> ZeroSumGame:
        """Return the two-player game of any payoffs."""
        return ZeroSumGame(
            table,
            references=(self.reference, self.reference),
            temperatures=(self.temperature, self.temperature),
            weights=self.stage_weights,
        )

    def draw(self, first: Policy, second: Policy, count: int, stream: Stream) -> Pairs:
        """Return prompts from their distribution, each with a response of either policy."""
        generator = stream.generator()
        context = generator.choice(self.shape[0], size=count, p=self.stage_weights)
        chosen = [_responses(policy, context, generator) for policy in (first, second)]
        return Pairs.in_contexts(self.shape, context, *chosen)


def _responses(
    policy: Policy, context: Int[np.ndarray, " pair"], generator: np.random.Generator
) -> Int[np.ndarray, " pair"]:
    cumulative = policy.probabilities.cumsum(axis=-1)
    cumulative /= cumulative[:, -1:]
    draws = generator.random(len(context))
    return np.asarray((cumulative[context] <= draws[:, None]).sum(axis=-1))
