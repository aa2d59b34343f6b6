"""The proximal point method: an inner method whose anchor moves to where it has got."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, TypeVar

from nlhf.algorithms.extragradient import Extragradient
from nlhf.errors import HypothesisViolated
from nlhf.protocols import Algorithm, Dual, Evaluation, Game, Space
from nlhf.results import Profile
from nlhf.streams import Stream

S = TypeVar("S")
D = TypeVar("D", bound=Dual)


@dataclass(frozen=True, slots=True, eq=False)
class Anchored(Generic[S, D]):
    """A game with one more anchor.

    Attributes:
        game: The game.
        magnet: The further anchor.
        strength: Its strength, in payoff units.
    """

    game: Game[S, D]
    magnet: Profile[S]
    strength: float

    @property
    def spaces(self) -> tuple[Space[S, D], ...]:
        """One space per distinct player."""
        return self.game.spaces

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures of the game, each with the strength of the magnet."""
        return tuple(temperature + self.strength for temperature in self.game.temperatures)

    @property
    def lipschitz(self) -> float:
        """That of the game: an anchor is no payoff."""
        return self.game.lipschitz

    @property
    def exact_steps(self) -> bool:
        """Whether those of the game are."""
        return self.game.exact_steps

    def operator(self, profile: Profile[S], stream: Stream) -> Evaluation[D]:
        """Return every player's payoff against the profile."""
        return self.game.operator(profile, stream)

    def prox(
        self, evaluation: Evaluation[D] | None, anchors: Sequence[tuple[Profile[S], float]]
    ) -> Profile[S]:
        """Return each player's proximal point, references and magnet among the anchors."""
        return self.game.prox(evaluation, [*anchors, (self.magnet, self.strength)])

    def mixture(self, weighted: Sequence[tuple[Profile[S], float]]) -> Profile[S]:
        """Return the profile in which each player mixes its strategies with these weights."""
        return self.game.mixture(weighted)

    def start(self) -> Profile[S]:
        """Return the magnet."""
        return self.magnet


@dataclass(frozen=True, slots=True, eq=False)
class Magnetised(Generic[S]):
    """The state of the proximal point method.

    Attributes:
        magnet: The further anchor of the inner method.
        inner: The state of the inner method.
        steps: Its steps since the magnet moved.
    """

    magnet: Profile[S]
    inner: Any
    steps: int


@dataclass(frozen=True, slots=True)
class ProximalPoint:
    r"""An inner method on the game with a further anchor, which is moved to where it has got.

    With z the magnet, σ its strength, and the game adding its own references as anchors, the
    inner method seeks the equilibrium of the game with the magnet,

    .. math:: z_{j+1} \approx z \;\text{ with }\; z = \mathrm{prox}(F(z), \{z_j: \sigma\}),

    and after `inner_steps` of its steps the magnet moves there. One step of this method is one
    step of the inner one, so that certificates see them all.

    Guarantee: if the inner games are solved, KL(z*‖z_{j+1}) ≤ KL(z*‖z_j) − KL(z_{j+1}‖z_j) for
    every equilibrium z* of the game (`comal-decrease`); the last iterate converges at temperature
    0 too. Solved inner games are what the inner method's rate promises for enough inner steps.
    Published as: COMAL (Liu et al. 2024), at temperature 0; with `MirrorDescent` inside, MPO with
    its magnet resets (Wang et al. 2024).
    Symbols: COMAL's τ, MPO's and magnetic mirror descent's α are our strength σ.

    Args:
        inner: The method that runs between two moves of the magnet.
        strength: σ > 0, in payoff units.
        inner_steps: Its steps between two moves, at least 1.

    Raises:
        HypothesisViolated: If the strength is not positive or there is no inner step.
    """

    inner: Algorithm[Any] = field(default_factory=Extragradient)
    strength: float = 0.1
    inner_steps: int = 50

    def __post_init__(self) -> None:
        if not 0.0 < self.strength < inf:
            raise HypothesisViolated(
                f"strength is {self.strength}", "pass a positive finite number, in payoff units"
            )
        if not (isinstance(self.inner_steps, int) and self.inner_steps >= 1):
            raise HypothesisViolated(
                f"inner_steps is {self.inner_steps!r}", "pass a whole number of at least 1"
            )

    @property
    def keeps_equilibrium(self) -> bool:
        """Whether the method inside does."""
        return self.inner.keeps_equilibrium

    def init(self, game: Game[Any, Any], start: Profile[Any]) -> Magnetised[Any]:
        """Start at the given profile, which is the first magnet."""
        return self._restart(game, start)

    def step(self, game: Game[Any, Any], state: Magnetised[Any], stream: Stream) -> Magnetised[Any]:
        """Make one inner step; after the last of them, move the magnet."""
        inner = self.inner.step(Anchored(game, state.magnet, self.strength), state.inner, stream)
        if state.steps + 1 < self.inner_steps:
            return Magnetised(state.magnet, inner, state.steps + 1)
        return self._restart(game, self.inner.profile(inner))

    def profile(self, state: Magnetised[Any]) -> Profile[Any]:
        """Return what the inner method proposes."""
        return self.inner.profile(state.inner)

    def _restart(self, game: Game[Any, Any], magnet: Profile[Any]) -> Magnetised[Any]:
        inner = self.inner.init(Anchored(game, magnet, self.strength), magnet)
        return Magnetised(magnet, inner, 0)
