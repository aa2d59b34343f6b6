r"""How many steps a linear rate needs for a certified duality gap.

Take a zero-sum game whose players have temperatures of at least τ > 0 and payoffs that are
L-Lipschitz (`Game.lipschitz`), and let D_k = KL(z*‖z_k), the sum over the distinct players. Three
facts turn the rates of D_k into rates of the duality gap; none needs the form of the strategies.

1. *Gap and divergences.* The regularised value of a player, V(g) = max_π ⟨g,π⟩ − τ KL(π‖μ), is
   smooth: V(g* + δ) ≤ V(g*) + ⟨δ,π*⟩ + ‖δ‖²/(2τ), where ‖δ‖ is half the range of δ; and
   V(g*) − ⟨g*,π⟩ + τ KL(π‖μ) = τ KL(π‖π*). The payoffs being bilinear and zero-sum, the linear
   terms cancel over the players, so with Pinsker's inequality

   .. math:: \mathrm{gap}(z) \le \sum_i \tau_i KL(z_i\|z_i^*) + \tfrac{L^2}{\tau} KL(z^*\|z).

2. *The reverse divergence.* The inequality behind each rate still holds with the term
   τ KL(z_{k+1}‖z*) on its left-hand side. For mirror descent with η ≤ τ/L² it reads

   .. math::
       \tfrac1\eta KL(z^*\|z_{k+1}) + \sum_i \tau_i KL(z_{k+1,i}\|z_i^*) \le \tfrac1\eta D_k,

   and the left-hand side is at least the right-hand side of 1, since 1/η ≥ L²/τ: the gap of
   z_{k+1} is at most D_k/η. For extragradient with η ≤ 1/L, with h the half step,

   .. math::
       (\tfrac1\eta+\tau) D_{k+1} + \tfrac\tau2\|z_{k+1}-h\|_1^2 \le \tfrac1\eta D_k
       \quad\text{and}\quad
       \tau KL(z_{k+1}\|z^*) + (\tfrac1\eta+\tau) D_{k+1}
       \le \tfrac1\eta D_k + L \|z_{k+1}-h\|_1 \|z^*-z_{k+1}\|_1,

   so the gap of z_{k+1} is at most D_k (1 + ηL²/(τ(1 + ητ)))/η. For optimistic mirror descent
   with η ≤ (√2 − 1)/L and Φ its potential,

   .. math::
       (\sqrt2-1+\eta\tau) KL(z^*\|z_k) + \eta\tau KL(z_k\|z^*) \le \Phi_k,

   so the gap of z_k is at most Φ_k max(1, ηL²/(τ(√2 − 1 + ητ)))/η.

3. *The start.* From the references, D_0 ≤ Σ_i min(2L/τ_i, L²/(2τ_i²)): the first as
   τ(KL(π*‖μ) + KL(μ‖π*)) ≤ ⟨g*, π* − μ⟩, the second as V is smooth.

In self-play one policy stands for two players, and the gap is twice its exploitability.
"""

from dataclasses import dataclass
from math import ceil, inf, log
from typing import Any, Protocol, runtime_checkable

from nlhf.errors import HypothesisViolated
from nlhf.protocols import Game


@dataclass(frozen=True, slots=True)
class LinearRate:
    r"""What a linear rate promises, with :math:`D_k = KL(z^*\|z_k)`.

    Attributes:
        contraction: q < 1, the factor per step.
        divergence: C with :math:`D_k \le C q^k D_0`.
        gap: M, in payoff units, with duality gap of :math:`z_k \le M q^{k-1} D_0` for k ≥ 1.
    """

    contraction: float
    divergence: float
    gap: float

    def iterations(self, gap: float, divergence: float) -> int:
        """Return the number of steps after which the duality gap is at most `gap`.

        Args:
            gap: The duality gap wanted, positive, in payoff units.
            divergence: A bound on D_0, in nats.

        Raises:
            HypothesisViolated: If the gap is not positive or the divergence negative or infinite.
        """
        if not (gap > 0.0 and 0.0 <= divergence < inf):
            raise HypothesisViolated(
                f"a gap of {gap} from a divergence of {divergence} is not promised",
                "ask for a positive gap, from a start of finite divergence",
            )
        excess = self.gap * divergence / gap
        return 1 if excess <= 1.0 else 1 + ceil(log(excess) / -log(self.contraction))


@runtime_checkable
class ConvergesLinearly(Protocol):
    """A method with a linear rate."""

    def rate(self, game: Game[Any, Any]) -> LinearRate:
        """Return what is proven of the method in this game."""
        ...


def linear_rate(
    game: Game[Any, Any], step_size: float, *, divergence: float, gap: float
) -> LinearRate:
    """Return the rate with factor 1/(1 + ητ) per step.

    Args:
        game: The game, for its temperatures and its number of distinct players.
        step_size: η.
        divergence: C of `LinearRate`.
        gap: M of `LinearRate` where every player has a strategy of its own.

    Raises:
        HypothesisViolated: If a temperature is zero, or proximal steps are approximate.
    """
    require_exact_steps(game)
    temperature = min(game.temperatures)
    if temperature == 0.0:
        raise HypothesisViolated(
            "at temperature 0 no rate of the last iterate is known",
            "give the game a positive temperature, or average the iterates",
        )
    alike = 2 / len(game.temperatures)
    return LinearRate(1.0 / (1.0 + step_size * temperature), divergence, alike * gap)


def require_exact_steps(game: Game[Any, Any]) -> None:
    """Raise `HypothesisViolated` if the game's proximal steps are approximate."""
    if not game.exact_steps:
        raise HypothesisViolated(
            "no rate is proven where proximal steps are approximate, as this game's are",
            "realise them exactly (SoftBellman), or go by the certificate alone",
        )


def divergence_from_reference(game: Game[Any, Any]) -> float:
    """Return an upper bound on KL(z*‖references), in nats, over all distinct players.

    Raises:
        HypothesisViolated: If a temperature is zero: there is no bound then.
    """
    if min(game.temperatures) == 0.0:
        raise HypothesisViolated(
            "at temperature 0 the equilibrium may be at any distance from the reference",
            "give the divergence, for instance log n from a uniform reference",
        )
    ratios = [game.lipschitz / temperature for temperature in game.temperatures]
    return sum(min(2.0 * r, r * r / 2.0) for r in ratios)


def promised_iterations(
    game: Game[Any, Any],
    algorithm: ConvergesLinearly,
    gap: float,
    divergence: float | None = None,
) -> int:
    """Return how many steps are proven to bring the duality gap down to `gap`.

    Args:
        game: A game with positive temperatures.
        algorithm: A method with a linear rate, its step size within the proven range.
        gap: The duality gap wanted, positive, in payoff units.
        divergence: A bound on KL(z*‖z_0), in nats; `None` means a start at the references.

    Raises:
        HypothesisViolated: If a temperature is zero, the step size is not proven, proximal steps
            are approximate, the gap is not positive, or the divergence is negative or infinite.
    """
    if divergence is None:
        divergence = divergence_from_reference(game)
    return algorithm.rate(game).iterations(gap, divergence)
