"""The uniform average of everything that a method has proposed."""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from nlhf.protocols import Algorithm, Game
from nlhf.results import Profile
from nlhf.streams import Stream

S = TypeVar("S")


@runtime_checkable
class BoundedRegret(Protocol):
    """A method with steps that are proven for its average though not for its last iterate."""

    def for_its_average(self, game: Game[Any, Any]) -> Algorithm[Any]:
        """Return the method as it may be run for its average."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Averaged(Generic[S]):
    """The state of an averaged method.

    Attributes:
        inner: The state of the method.
        mean: The average of its proposals so far.
        count: How many they are.
    """

    inner: Any
    mean: Profile[S]
    count: int


@dataclass(frozen=True, slots=True)
class Average:
    r"""The method inside, proposing the uniform average of its proposals, the start included.

    .. math:: \bar z_T = \tfrac1T \sum_{k=0}^{T-1} z_k,

    an average of distributions (`Game.mixture`), proposed after T − 1 steps.

    Guarantee at temperature 0, for win probabilities and D = max_π KL(π‖z_0): with mirror descent
    of step η = √(D/T) the duality gap is at most 4 √(D/T) (`sppo-average`; the proof gives
    2D/(ηT) + ηL²). With optimistic mirror descent of step 1/2 it is at most 4D/T once z_0 is
    predicted (`onpo-average`), and at most (4D + 0.14)/T with z_0 played unprepared, as here.
    Published as: the iterates that SPPO (Wu et al. 2024) and ONPO (Zhang et al. 2025) are
    analysed at.
    Symbols: as in the method inside.

    Args:
        inner: Any method.
    """

    inner: Algorithm[Any]

    @property
    def keeps_equilibrium(self) -> bool:
        """Whether the method inside does."""
        return self.inner.keeps_equilibrium

    def init(self, game: Game[Any, Any], start: Profile[Any]) -> Averaged[Any]:
        """Start the method; its first proposal is the first average."""
        method = self.inner
        if isinstance(method, BoundedRegret):
            method = method.for_its_average(game)
        inner = method.init(game, start)
        return Averaged(inner, self.inner.profile(inner), 1)

    def step(self, game: Game[Any, Any], state: Averaged[Any], stream: Stream) -> Averaged[Any]:
        """Make a step of the method and take its proposal into the average."""
        inner = self.inner.step(game, state.inner, stream)
        proposals = [(state.mean, float(state.count)), (self.inner.profile(inner), 1.0)]
        return Averaged(inner, game.mixture(proposals), state.count + 1)

    def profile(self, state: Averaged[Any]) -> Profile[Any]:
        """Return the average of the proposals."""
        return state.mean
