"""The one rule for step sizes: the largest proven one by default, beyond it only on request."""

from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

from nlhf.errors import HypothesisViolated
from nlhf.protocols import Game
from nlhf.results import Profile

S = TypeVar("S")

_ROUNDING = 1e-9
"""A step this much larger, relatively, is the limit itself in other arithmetic: 4τ or τ/L²."""


@dataclass(frozen=True, slots=True, eq=False)
class Iterate(Generic[S]):
    """The state of a method that has no memory but its iterate.

    Attributes:
        current: The iterate.
        strength: 1/η, the strength of its pull, in payoff units.
    """

    current: Profile[S]
    strength: float


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest step size for which a method is proven to converge in a game.

    Attributes:
        value: The largest proven η; infinite where every step is proven, 0 where none is.
        condition: The hypothesis with the numbers of the game.
        theorem: Key of the theorem that needs it.
    """

    value: float
    condition: str
    theorem: str

    def choose(self, step_size: float | None, unproven: bool) -> float:
        """Return η: the one asked for, or the largest proven one (1 if all are) for `None`.

        Raises:
            HypothesisViolated: If the step is beyond the limit and not allowed to be, or if it is
                `None` and none is proven.
        """
        if step_size is None:
            if self.value == 0.0:
                raise HypothesisViolated(
                    f"no step size is proven here: {self.theorem} needs {self.condition}",
                    "pass a step_size of your choice with unproven=True, or another method",
                )
            return self.value if self.value < inf else 1.0
        if step_size > self.value * (1.0 + _ROUNDING) and not unproven:
            raise HypothesisViolated(
                f"step_size {step_size:g} is not proven: {self.theorem} needs {self.condition}",
                "take a smaller one, None for the largest proven one, or unproven=True to run it "
                "all the same",
            )
        return step_size


def check_step_size(step_size: float | None) -> None:
    """Check that a step size is one, or is left to the game.

    Raises:
        HypothesisViolated: If it is not positive and finite.
    """
    if step_size is not None and not 0.0 < step_size < inf:
        raise HypothesisViolated(
            f"step_size is {step_size}",
            "pass a positive finite number, in 1/payoff units, or None",
        )


def least_temperature(game: Game[Any, Any]) -> float:
    """Return the smallest temperature of the players, on which conditions and rates depend."""
    return min(game.temperatures)


def limit_by_lipschitz(game: Game[Any, Any], factor: float, text: str, theorem: str) -> Limit:
    """Return the condition η ≤ factor/L, the factor written as `text`."""
    constant = game.lipschitz
    value = factor / constant if constant > 0.0 else inf
    return Limit(value, f"step_size <= {text}/L = {text}/{constant:.6g} = {value:.6g}", theorem)
