"""The whole interface on one page: spaces, games, algorithms, and what passes between them.

Equilibria of regularised preference games solve a monotone variational inequality over a product
of strategy spaces with a Bregman (KL) geometry. A *game* evaluates every player's payoff at a
profile; a *space* carries out the proximal map; an *algorithm* is a sequence of the two and knows
neither what a strategy is nor how a payoff is stored.

What a decision process must offer is in `spaces.process`, how proximal steps are realised on one in
`spaces.realisers`, and what a certificate asks of a game in `certificates`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from nlhf.results import Bound, Certificate, Profile
from nlhf.streams import Stream


@runtime_checkable
class Dual(Protocol):
    """A payoff: the gradient of a player's utility. It can be added and scaled."""

    def __add__(self, other: Any, /) -> Any:
        """Return the sum of two payoffs of one player."""
        ...

    def __sub__(self, other: Any, /) -> Any:
        """Return the difference of two payoffs of one player."""
        ...

    def __mul__(self, factor: float, /) -> Any:
        """Return the payoff times a number."""
        ...


S = TypeVar("S")
D = TypeVar("D", bound=Dual)
C = TypeVar("C", bound=Dual, contravariant=True)
State = TypeVar("State")

Anchors = Sequence[tuple[S, float]]
"""Strategies with the strengths of their KL pulls, in payoff units."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation(Generic[D]):
    """One realised evaluation of all players' payoffs at one profile.

    It is a value, not a promise: optimism reuses the same evaluation and never draws it again.

    Attributes:
        payoffs: One payoff per distinct player.
    """

    payoffs: tuple[D, ...]

    def __add__(self, other: "Evaluation[D]") -> "Evaluation[D]":
        """Return the sum, player by player."""
        return Evaluation(tuple(a + b for a, b in zip(self.payoffs, other.payoffs, strict=True)))

    def __sub__(self, other: "Evaluation[D]") -> "Evaluation[D]":
        """Return the difference, player by player."""
        return Evaluation(tuple(a - b for a, b in zip(self.payoffs, other.payoffs, strict=True)))

    def __mul__(self, factor: float) -> "Evaluation[D]":
        """Return every player's payoff times `factor`."""
        return Evaluation(tuple(a * factor for a in self.payoffs))

    __rmul__ = __mul__


@dataclass(frozen=True, slots=True, eq=False)
class Prox(Generic[S]):
    """A realised proximal step.

    Attributes:
        strategy: The strategy reached.
        residual: Its distance from the specified proximal point; an exact zero for closed forms.
    """

    strategy: S
    residual: Bound


@runtime_checkable
class Space(Protocol[S, C]):
    """One player's strategies and their geometry."""

    def prox(self, payoff: C | None, anchors: Anchors[S]) -> Prox[S]:
        r"""Return :math:`\arg\max_\pi \langle g,\pi\rangle - \sum_i \tau_i KL(\pi\|\pi_i)`.

        A payoff of `None` is zero.
        """
        ...

    def divergence(self, p: S, q: S) -> Bound:
        """Return KL(p‖q) in nats, over contexts with their weights."""
        ...

    def mixture(self, weighted: Anchors[S]) -> S:
        """Return the strategy that plays each of the given ones with its normalised weight."""
        ...


@runtime_checkable
class Game(Protocol[S, D]):
    """Who plays, and what each player wants."""

    @property
    def spaces(self) -> tuple[Space[S, D], ...]:
        """One space per distinct player."""
        ...

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Strengths of the game's own KL pulls, one per distinct player, in payoff units."""
        ...

    @property
    def lipschitz(self) -> float:
        r"""L with :math:`\|F(z) - F(z')\|_\infty \le L \|z - z'\|_1` up to a constant per player.

        At least half the range of the payoffs: at most 1/2 for win probabilities.
        """
        ...

    @property
    def exact_steps(self) -> bool:
        """Whether `prox` returns proximal points; rates of algorithms hold only then."""
        ...

    def operator(self, profile: Profile[S], stream: Stream) -> Evaluation[D]:
        """Return every player's payoff against the profile."""
        ...

    def prox(
        self, evaluation: Evaluation[D] | None, anchors: Sequence[tuple[Profile[S], float]]
    ) -> Profile[S]:
        """Return each player's proximal point; the game adds its own reference as an anchor."""
        ...

    def mixture(self, weighted: Sequence[tuple[Profile[S], float]]) -> Profile[S]:
        """Return the profile in which each player mixes its strategies with these weights."""
        ...

    def start(self) -> Profile[S]:
        """Return the profile that runs start from by default: the references."""
        ...


@runtime_checkable
class Algorithm(Protocol[State]):
    """A method, written once for every space and game."""

    @property
    def keeps_equilibrium(self) -> bool:
        """Whether a step from the exact equilibrium stays there."""
        ...

    def init(self, game: Game[S, D], start: Profile[S]) -> State:
        """Return the state before the first step."""
        ...

    def step(self, game: Game[S, D], state: State, stream: Stream) -> State:
        """Return the state after one more step."""
        ...

    def profile(self, state: State) -> Profile[S]:
        """Return the profile that the method proposes in this state."""
        ...


@runtime_checkable
class Judge(Protocol[S]):
    """What certifies a profile of a given game."""

    def __call__(self, profile: Profile[S], /) -> Certificate[S]:
        """Return the certificate of the profile."""
        ...
