"""Mirror descent: one proximal step against the current profile."""

from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar

from nlhf.algorithms.rates import LinearRate, linear_rate
from nlhf.algorithms.steps import Iterate, Limit, check_step_size, least_temperature
from nlhf.protocols import Game
from nlhf.results import Profile
from nlhf.streams import Stream


@dataclass(frozen=True, slots=True)
class MirrorDescent:
    r"""One proximal step per iteration, against the current profile.

    With :math:`F` the payoffs of all players and the game adding its references as anchors,

    .. math:: z_{k+1} = \mathrm{prox}(F(z_k), \{z_k: 1/\eta\}).

    Guarantee: for η ≤ τ/L², :math:`KL(z^*\|z_k) \le (1+\eta\tau)^{-k} KL(z^*\|z_0)`
    (`mirror-descent-linear`); for win probabilities L ≤ 1/2, so η ≤ 4τ. At temperature 0 the
    last iterate cycles and only the average converges (`sppo-average`, see `Average`).
    Published as: online mirror descent (OMD), magnetic mirror descent (MMD; Sokota et al. 2022),
    the inner step of MPO (Wang et al. 2024), INPO (Zhang et al. 2024); SPPO (Wu et al. 2024) and
    multiplicative weights at temperature 0.
    Symbols: the textbook step s and INPO's inverse step η_I = 1/s are s = η/(1 + ητ); MMD's
    magnet is our reference μ and its α our τ; SPPO's η is ours.

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
        """Step with the payoffs against the current profile."""
        payoffs = game.operator(state.current, stream)
        moved = game.prox(payoffs, [(state.current, state.strength)])
        return Iterate(moved, state.strength)

    def profile(self, state: Iterate[Any]) -> Profile[Any]:
        """Return the last iterate."""
        return state.current

    def for_its_average(self, game: Game[Any, Any]) -> "MirrorDescent":
        """Return the method as `Average` may run it: at temperature 0 any step has a bound."""
        return replace(self, unproven=self.unproven or least_temperature(game) == 0.0)

    def eta(self, game: Game[Any, Any]) -> float:
        """Return the step size η in this game."""
        return _limit(game).choose(self.step_size, self.unproven)

    def rate(self, game: Game[Any, Any]) -> LinearRate:
        """Return what `mirror-descent-linear` promises."""
        eta = _limit(game).choose(self.step_size, unproven=False)
        return linear_rate(game, eta, divergence=1.0, gap=1.0 / eta)


def _limit(game: Game[Any, Any]) -> Limit:
    temperature, constant = least_temperature(game), game.lipschitz
    value = temperature / constant / constant if constant > 0.0 else inf
    return Limit(
        value,
        f"step_size <= temperature/L^2 = {temperature:.6g}/{constant:.6g}^2 = {value:.6g}",
        "mirror-descent-linear",
    )
