"""Nash-EMA: mirror descent against a moving average of its own past."""

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.steps import check_step_size
from nlhf.errors import HypothesisViolated
from nlhf.protocols import Game
from nlhf.results import Profile
from nlhf.streams import Stream

S = TypeVar("S")


@dataclass(frozen=True, slots=True, eq=False)
class Averaging(Generic[S]):
    """The state of Nash-EMA.

    Attributes:
        current: The iterate.
        average: The moving average of the iterates before it.
        strength: 1/η, the strength of the iterate's pull, in payoff units.
    """

    current: Profile[S]
    average: Profile[S]
    strength: float


@dataclass(frozen=True, slots=True)
class NashEMA:
    r"""A step against the exponential moving average of the iterates.

    With :math:`F` the payoffs of all players, the game adding its references as anchors, and the
    average being that of distributions (`Game.mixture`), from :math:`a_{-1} = z_0`,

    .. math::
        a_k = \lambda a_{k-1} + (1-\lambda) z_k, \qquad
        z_{k+1} = \mathrm{prox}(F(a_k), \{z_k: 1/\eta\}).

    Guarantee: none is known; what the certificate says is all that is. A decay of 0 is mirror
    descent; a decay near 1 is close to fictitious play.
    Published as: Nash-EMA (Munos et al. 2023), there with averaged parameters.
    Symbols: their β is our decay λ, their step is s = η/(1 + ητ).

    Args:
        step_size: η, the inverse strength of the current iterate, in 1/payoff units; `None` is
            what `MirrorDescent` takes.
        decay: λ in [0, 1), the weight of the past.

    Raises:
        HypothesisViolated: If the step size is not positive or the decay is out of range; when a
            run starts, if the step size is `None` and a temperature is zero.
    """

    step_size: float | None = None
    decay: float = 0.5

    keeps_equilibrium: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_step_size(self.step_size)
        if not 0.0 <= self.decay < 1.0:
            raise HypothesisViolated(
                f"decay is {self.decay}", "pass the weight of the past, at least 0 and below 1"
            )

    def init(self, game: Game[Any, Any], start: Profile[Any]) -> Averaging[Any]:
        """Start at the given profile, which is also its own past."""
        return Averaging(start, start, 1.0 / self.eta(game))

    def step(self, game: Game[Any, Any], state: Averaging[Any], stream: Stream) -> Averaging[Any]:
        """Move the average, then step with the payoffs against it."""
        average = game.mixture([(state.average, self.decay), (state.current, 1.0 - self.decay)])
        moved = game.prox(game.operator(average, stream), [(state.current, state.strength)])
        return Averaging(moved, average, state.strength)

    def profile(self, state: Averaging[Any]) -> Profile[Any]:
        """Return the last iterate."""
        return state.current

    def eta(self, game: Game[Any, Any]) -> float:
        """Return the step size η in this game."""
        return MirrorDescent(self.step_size, unproven=True).eta(game)
