"""Nash-MD: mirror descent against a mixture of the current profile and the reference."""

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from nlhf.algorithms.rates import require_exact_steps
from nlhf.algorithms.steps import check_step_size, least_temperature
from nlhf.errors import HypothesisViolated
from nlhf.protocols import Game
from nlhf.results import Profile
from nlhf.streams import Stream

S = TypeVar("S")


@dataclass(frozen=True, slots=True, eq=False)
class Counted(Generic[S]):
    """An iterate and how many steps led to it.

    Attributes:
        current: The iterate z_t.
        steps: t.
    """

    current: Profile[S]
    steps: int


@dataclass(frozen=True, slots=True)
class NashMD:
    r"""A step against the geometric mixture of the current profile and the reference.

    With :math:`F` the payoffs of all players and the game adding its references as anchors,

    .. math::
        z_{t+1/2} = \mathrm{prox}(0, \{z_t: \sigma_t\}), \qquad
        z_{t+1} = \mathrm{prox}(F(z_{t+1/2}), \{z_t: \sigma_t\}), \qquad
        \sigma_t = 1/s_t - \tau:

    extragradient with a payoff of zero in the half step. The decaying step is
    :math:`s_t = 2/(\tau(t+2))`, that is :math:`\sigma_t = \tau t/2`.

    Guarantee: with the decaying step :math:`KL(z^*\|z_T) \le 8/(\tau^2(T+1))` for win
    probabilities (`nash-md-rate`). The proof gives 2 p L²/(τ²(T + 1)) with p the number of
    distinct players, 16 times less in self-play: one step satisfies
    (σ_t + τ) KL_{t+1} ≤ σ_t KL_t + p L² s_t/2 by Hoeffding's lemma. The start is forgotten at
    once, since σ_0 = 0.
    With a constant step s there is a **bias**: the fixed point is not the equilibrium but
    :math:`\pi \propto \mu e^{P\pi_m/\tau}` with :math:`\pi_m` the mixture, m = sτ, of
    exploitability at most m²/(32τ³) for win probabilities, whatever the step at fixed m
    (`nash-md-constant-step-bias`). So neither form keeps the equilibrium.
    Published as: Nash-MD (Munos et al. 2023).
    Symbols: their η_t is our s_t, the textbook step; their τ and μ are ours, and the strength of
    the current iterate is σ = 1/s − τ.

    Args:
        textbook_step: The constant step s ≤ 1/τ, in 1/payoff units; `None` is the decaying
            step.

    Raises:
        HypothesisViolated: If the step is not positive; when a run starts, if s > 1/τ or if the
            step decays and a temperature is zero.
    """

    textbook_step: float | None = None

    keeps_equilibrium: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_step_size(self.textbook_step)

    def init(self, game: Game[Any, Any], start: Profile[Any]) -> Counted[Any]:
        """Start at the given profile."""
        self.strength(game, 0)
        return Counted(start, 0)

    def step(self, game: Game[Any, Any], state: Counted[Any], stream: Stream) -> Counted[Any]:
        """Pull towards the reference, then step from the same point with the payoffs there."""
        anchor = [(state.current, self.strength(game, state.steps))]
        half = game.prox(None, anchor)
        return Counted(game.prox(game.operator(half, stream), anchor), state.steps + 1)

    def profile(self, state: Counted[Any]) -> Profile[Any]:
        """Return the last iterate."""
        return state.current

    def strength(self, game: Game[Any, Any], steps: int) -> float:
        """Return σ_t, the strength of the current iterate, in payoff units."""
        temperature = least_temperature(game)
        if self.textbook_step is not None:
            strength = 1.0 / self.textbook_step - temperature
            if strength < -1e-9 * temperature:
                raise HypothesisViolated(
                    f"textbook_step {self.textbook_step:g} gives the current iterate a negative "
                    "weight: Nash-MD needs textbook_step <= 1/temperature = "
                    f"{1.0 / temperature:.6g}",
                    "take a smaller one, or None for the decaying step",
                )
            return max(strength, 0.0)
        if temperature == 0.0:
            raise HypothesisViolated(
                "at temperature 0 the decaying step 2/(temperature (t+2)) is infinite: "
                "nash-md-rate needs temperature > 0",
                "give the game a positive temperature, or pass a constant textbook_step",
            )
        return temperature * steps / 2.0

    def divergence_after(self, game: Game[Any, Any], steps: int) -> float:
        """Return the proven bound on KL(z*‖z_T) after T ≥ 1 decaying steps, in nats.

        Raises:
            HypothesisViolated: If the step is constant, T < 1, a temperature is zero, or proximal
                steps are approximate.
        """
        if self.textbook_step is not None or steps < 1:
            raise HypothesisViolated(
                f"{self!r} after {steps} steps has no bound",
                "take the decaying step, textbook_step=None, and at least one step",
            )
        require_exact_steps(game)
        self.strength(game, 0)
        ratio = game.lipschitz / least_temperature(game)
        return 2.0 * len(game.temperatures) * ratio**2 / (steps + 1)
