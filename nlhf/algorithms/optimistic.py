"""Optimistic mirror descent: the last payoffs predict the next ones."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar, Generic, TypeVar

from nlhf.algorithms.rates import LinearRate, linear_rate
from nlhf.algorithms.steps import Limit, check_step_size, least_temperature, limit_by_lipschitz
from nlhf.protocols import Game
from nlhf.results import Profile
from nlhf.streams import Stream

S = TypeVar("S")

_SHARE = sqrt(2.0) - 1.0
"""Weight of the second term of the potential, and the largest proven ηL."""
_FIRST_STEP = 4.0 / 3.0
"""The first step has no prediction: Φ_1 ≤ 1.332 KL(z*‖z_0)."""


@dataclass(frozen=True, slots=True, eq=False)
class Predicting(Generic[S]):
    """The state of optimistic mirror descent.

    Attributes:
        centre: Where mirror descent stands.
        played: One further step with the last payoffs, where the next payoffs are seen.
        strength: 1/η, the strength of the centre's pull, in payoff units.
    """

    centre: Profile[S]
    played: Profile[S]
    strength: float


@dataclass(frozen=True, slots=True)
class OptimisticMirrorDescent:
    r"""Two proximal steps and one evaluation per iteration: the last payoffs are used again.

    With :math:`F` the payoffs of all players and the game adding its references as anchors, from
    :math:`c_0 = z_0`,

    .. math::
        c_{k+1} = \mathrm{prox}(F(z_k), \{c_k: 1/\eta\}), \qquad
        z_{k+1} = \mathrm{prox}(F(z_k), \{c_{k+1}: 1/\eta\}).

    Both steps use one realised evaluation of :math:`F(z_k)`: it is never drawn twice.

    Guarantee: for η ≤ (√2 − 1)/L, the potential
    :math:`\Phi_k = KL(z^*\|c_k) + (\sqrt2-1) KL(c_k\|z_{k-1})` falls by the factor 1/(1 + ητ)
    per step from k = 1 on, where it is at most 4/3 of KL(z*‖z_0); and
    :math:`KL(z^*\|z_k) \le \Phi_k/(\sqrt2-1+\eta\tau)` (`optimistic-linear`). At temperature 0
    the average of T iterates has a duality gap of order D/T (`onpo-average`, see `Average`).
    Published as: ONPO at temperature 0 (Zhang et al. 2025), optimistic multiplicative weights
    (OMWU), Popov's method.
    Symbols: ONPO's π̂_t is our centre, its prediction m_t = r_{t−1} our F(z_{k−1}), its η ours.

    Args:
        step_size: η, the inverse strength of the centre, in 1/payoff units; `None` is the largest
            proven one.
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

    def init(self, game: Game[Any, Any], start: Profile[Any]) -> Predicting[Any]:
        """Start at the given profile, with nothing to predict from."""
        return Predicting(start, start, 1.0 / self.eta(game))

    def step(self, game: Game[Any, Any], state: Predicting[Any], stream: Stream) -> Predicting[Any]:
        """Move the centre with the payoffs of what was played, then play one step ahead of it."""
        seen = game.operator(state.played, stream)
        centre = game.prox(seen, [(state.centre, state.strength)])
        played = game.prox(seen, [(centre, state.strength)])
        return Predicting(centre, played, state.strength)

    def profile(self, state: Predicting[Any]) -> Profile[Any]:
        """Return what is played."""
        return state.played

    def eta(self, game: Game[Any, Any]) -> float:
        """Return the step size η in this game."""
        return _limit(game).choose(self.step_size, self.unproven)

    def rate(self, game: Game[Any, Any]) -> LinearRate:
        """Return what `optimistic-linear` promises."""
        eta = _limit(game).choose(self.step_size, unproven=False)
        temperature, constant = least_temperature(game), game.lipschitz
        played = _SHARE + eta * temperature
        curvature = temperature * played
        worse = max(1.0, eta * constant**2 / curvature) if curvature > 0.0 else 1.0
        return linear_rate(
            game,
            eta,
            divergence=_FIRST_STEP * (1.0 + eta * temperature) / played,
            gap=_FIRST_STEP * worse / eta,
        )


def _limit(game: Game[Any, Any]) -> Limit:
    return limit_by_lipschitz(game, _SHARE, "(sqrt(2)-1)", "optimistic-linear")
