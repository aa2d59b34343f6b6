"""Extragradient: two proximal steps from the same point."""

from dataclasses import dataclass
from math import inf
from typing import Any

from nlhf.errors import HypothesisViolated
from nlhf.protocols import Game
from nlhf.results import Profile
from nlhf.streams import Stream


@dataclass(frozen=True, slots=True)
class Extragradient:
    r"""Two proximal steps per iteration from the same point.

    With :math:`F` the payoffs of all players and the game adding its references as anchors,

    .. math::
        z_{k+1/2} = \mathrm{prox}(F(z_k), \{z_k: 1/\eta\}), \qquad
        z_{k+1} = \mathrm{prox}(F(z_{k+1/2}), \{z_k: 1/\eta\}).

    Guarantee: for a preference game at temperature τ and η ≤ 2,
    :math:`KL(\pi^*\|\pi_k) \le (1+\eta\tau)^{-k} KL(\pi^*\|\pi_0)`.
    Source: Zhou, Fazel & Du 2025 (EGPO); Tiapkin et al. 2025 (Nash Mirror Prox): one map.
    Symbols: EGPO's β is our τ and its textbook step s is η/(1 + ητ).

    Args:
        step_size: η, the inverse strength of the current iterate, in 1/payoff units.

    Raises:
        HypothesisViolated: If the step size is not positive.
    """

    step_size: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.step_size < inf:
            raise HypothesisViolated(
                f"step_size is {self.step_size}", "pass a positive finite number"
            )

    def init(self, game: Game[Any, Any], start: Profile[Any]) -> Profile[Any]:
        """Start at the given profile."""
        return start

    def step(self, game: Game[Any, Any], state: Profile[Any], stream: Stream) -> Profile[Any]:
        """Look ahead, then step from the same point with the payoffs seen there."""
        anchor = [(state, 1.0 / self.step_size)]
        half = game.prox(game.operator(state, stream.child("first")), anchor)
        return game.prox(game.operator(half, stream.child("second")), anchor)

    def profile(self, state: Profile[Any]) -> Profile[Any]:
        """Return the last iterate."""
        return state
