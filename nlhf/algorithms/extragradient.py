"""Extragradient: two proximal steps from the same point."""

from dataclasses import dataclass
from typing import Any, ClassVar

from nlhf.algorithms.rates import LinearRate, linear_rate
from nlhf.algorithms.steps import (
    Iterate,
    Limit,
    check_step_size,
    least_temperature,
    limit_by_lipschitz,
)
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

    Guarantee: for η ≤ 1/L, :math:`KL(z^*\|z_k) \le (1+\eta\tau)^{-k} KL(z^*\|z_0)`
    (`extragradient-linear`); for win probabilities L ≤ 1/2, so η ≤ 2.
    Published as: EGPO (Zhou, Fazel & Du 2025), Nash Mirror Prox (Tiapkin et al. 2025).
    Symbols: EGPO's β is our τ and its step is s = η/(1 + ητ); Nash Mirror Prox's η is our ητ
    with its β our τ.

    Args:
        step_size: η, the inverse strength of the current iterate, in 1/payoff units; `None` is
            the largest proven one.
        unproven: Allow a step size beyond.

    Raises:
        HypothesisViolated: If the step size is not positive; when a run starts, if it is beyond
            the proven range.
    """

    step_size: float | None = None
    unproven: bool = False

    keeps_equilibrium: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_step_size(self.step_size)

    def init(self, game: Game[Any, Any], start: Profile[Any]) -> Iterate[Any]:
        """Start at the given profile."""
        return Iterate(start, 1.0 / self.eta(game))

    def step(self, game: Game[Any, Any], state: Iterate[Any], stream: Stream) -> Iterate[Any]:
        """Look ahead, then step from the same point with the payoffs seen there."""
        anchor = [(state.current, state.strength)]
        half = game.prox(game.operator(state.current, stream.child("first")), anchor)
        moved = game.prox(game.operator(half, stream.child("second")), anchor)
        return Iterate(moved, state.strength)

    def profile(self, state: Iterate[Any]) -> Profile[Any]:
        """Return the last iterate."""
        return state.current

    def eta(self, game: Game[Any, Any]) -> float:
        """Return the step size η in this game."""
        return _limit(game).choose(self.step_size, self.unproven)

    def rate(self, game: Game[Any, Any]) -> LinearRate:
        """Return what `extragradient-linear` promises."""
        eta = _limit(game).choose(self.step_size, unproven=False)
        temperature, constant = least_temperature(game), game.lipschitz
        curvature = temperature * (1.0 + eta * temperature)
        worse = 1.0 + eta * constant**2 / curvature if curvature > 0.0 else 1.0
        return linear_rate(game, eta, divergence=1.0, gap=worse / eta)


def _limit(game: Game[Any, Any]) -> Limit:
    return limit_by_lipschitz(game, 1.0, "1", "extragradient-linear")
