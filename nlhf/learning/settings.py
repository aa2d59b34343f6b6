"""What learning needs to know of where policies act: bandits and decision processes alike."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.data.preference_data import Pairs
from nlhf.games.maxmin import MaxMinGame
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.games.zero_sum_markov import ZeroSumMarkovGame
from nlhf.results import Bound, Units
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream


@runtime_checkable
class Setting(Protocol):
    r"""Where policies act, how outcomes are compared, and what KL costs.

    A policy has *visits* ψ, a distribution over the m outcomes of each of L stages. A table T of
    payoffs, skew or not, pays

    .. math:: T(\pi, \rho) = \sum_l \omega_l\, \psi_l(\pi)^\top T_l\, \psi_l(\rho), \qquad
              J(\pi, \rho) = T(\pi, \rho) - \tau KL(\pi\|\mu) + \tau KL(\rho\|\mu).

    With T skew the game is symmetric and its value is 0: a policy π secures
    :math:`J(\pi, \dagger) = \min_\rho J(\pi, \rho) \le 0` and its exploitability is
    :math:`-J(\pi, \dagger)`.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """(L, m), the numbers of stages and of outcomes."""
        ...

    @property
    def stage_weights(self) -> Float[np.ndarray, " stage"]:
        """ω, which sum to 1."""
        ...

    @property
    def temperature(self) -> float:
        """τ ≥ 0, in units of the payoff."""
        ...

    @property
    def reference(self) -> Policy:
        """μ."""
        ...

    @property
    def space(self) -> Any:
        """The policies: a `Space` that can say what the best deviation from one gains."""
        ...

    def visits(self, policy: Policy) -> Float[np.ndarray, "stage outcome"]:
        """Return ψ(π)."""
        ...

    def divergence(self, policy: Policy) -> float:
        """Return KL(π‖μ) in nats, between trajectories, averaged over prompts."""
        ...

    def best(
        self, values: Float[np.ndarray, "stage outcome"], temperature: float | None = None
    ) -> Policy:
        r"""Return the policy of largest :math:`\sum_l \omega_l \langle\psi_l, v_l\rangle - t KL`.

        Args:
            values: v, what every outcome is worth at every stage.
            temperature: t, the price of KL to μ; τ by default, 0 for none.
        """
        ...

    def conceded(
        self, values: Float[np.ndarray, "model stage outcome"]
    ) -> Float[np.ndarray, " model"]:
        r"""Return what any reply can bring the values down to, its KL paid, for every model.

        .. math:: \min_\rho \sum_l \omega_l \langle\psi_l(\rho), v_{kl}\rangle
                  + \tau KL(\rho\|\mu)
        """
        ...

    def reached(
        self, values: Float[np.ndarray, "model stage outcome"]
    ) -> Float[np.ndarray, " model"]:
        r"""Return :math:`\max_\rho \sum_l \omega_l \langle\psi_l(\rho), v_{kl}\rangle`, KL free."""
        ...

    def exploitability(
        self, table: Float[np.ndarray, "stage outcome outcome"], policy: Policy, units: Units
    ) -> Bound:
        """Return the exploitability of a policy under skew payoffs, exact up to rounding."""
        ...

    def solve(self, table: Float[np.ndarray, "stage outcome outcome"]) -> Policy:
        """Return the policy of the symmetric equilibrium under skew payoffs."""
        ...

    def maxmin(self, planes: Sequence[Float[np.ndarray, "stage outcome"]]) -> MaxMinGame:
        r"""Return the game of a policy that is paid by the worst of several planes.

        A plane v pays :math:`\sum_l \omega_l \langle\psi_l, v_l\rangle`.
        """
        ...

    def zero_sum(
        self, table: Float[np.ndarray, "stage outcome outcome"]
    ) -> ZeroSumGame | ZeroSumMarkovGame:
        """Return the two-player game of any payoffs; both players pay τ for KL to μ."""
        ...

    def draw(self, first: Policy, second: Policy, count: int, stream: Stream) -> Pairs:
        """Return so many independent pairs of what two policies do."""
        ...
