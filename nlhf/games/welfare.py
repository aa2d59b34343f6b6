r"""Welfares: concave increasing functions of what the groups get, with their conjugates.

A policy of largest welfare less its KL price is found in the groups' weights alone:

.. math:: \max_\pi \varphi(U(\pi)) - \tau KL(\pi\|\mu)
          = \min_w \Big(\max_\pi \langle w, U(\pi)\rangle - \tau KL(\pi\|\mu)\Big) + \varphi^*(w),
          \qquad \varphi^*(w) = \sup_v \varphi(v) - \langle w, v\rangle,

and at the optimum w are the marginal welfares ∇φ(U(π)): the exchange rates between groups.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.numerics import EPSILON, log_normalise, log_sum_exp
from nlhf.results import float_array, read_only
from nlhf.spaces.policy import Policy


@runtime_checkable
class Welfare(Protocol):
    """A concave increasing function φ of the groups' utilities."""

    @property
    def groups(self) -> int:
        """U."""
        ...

    def value(self, utilities: Float[np.ndarray, "group"]) -> float:
        """Return φ(v), `-inf` outside its domain."""
        ...

    def gradient(self, utilities: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        """Return ∇φ(v), the marginal welfare of every group."""
        ...

    def rounding(self, utilities: Float[np.ndarray, "group"], error: float) -> float:
        """Return how far an error of every utility moves the gradient, summed over groups."""
        ...

    def bounds(
        self, least: Float[np.ndarray, "group"], half_range: Float[np.ndarray, "group"]
    ) -> tuple[float, float]:
        """Return bounds on half the range of Σ_u φ_u r_u, and on its change per distance.

        Args:
            least: The least utility of every group under any policy.
            half_range: Half the range of every group's rewards.
        """
        ...


class NashWelfare:
    r"""The Nash bargaining solution, :math:`\varphi(v) = \sum_u \eta_u \log(v_u - d_u)`.

    Nash, 1950, The bargaining problem; with proportions, the asymmetric solution. At temperature 0
    the policy does not depend on the units or origin of a group's utility, if its d goes along;
    the price of KL ties units together.

    Args:
        disagreement: d, what every group has without an agreement, shape ``(U,)``, in the units of
            its utility.
        proportions: η, of full support; uniform by default.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range.
    """

    def __init__(self, disagreement: ArrayLike, proportions: ArrayLike | None = None) -> None:
        d = np.atleast_1d(float_array("the disagreement utilities", disagreement))
        if d.ndim != 1 or not np.isfinite(d).all():
            raise InvalidProblem(
                f"the disagreement utilities are {d.tolist()}", "pass one finite number per group"
            )
        self.disagreement = read_only(d)
        self.proportions = _proportions(proportions, len(d))

    def __repr__(self) -> str:
        return f"NashWelfare({self.groups} groups)"

    @property
    def groups(self) -> int:
        """U."""
        return len(self.disagreement)

    def value(self, utilities: Float[np.ndarray, "group"]) -> float:
        """Return φ(v), `-inf` if a group has no more than without an agreement."""
        gain = utilities - self.disagreement
        if gain.min() <= 0.0:
            return -np.inf
        return float(self.proportions @ np.log(gain))

    def gradient(self, utilities: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        """Return η/(v − d).

        Raises:
            HypothesisViolated: If a group has no more than without an agreement.
        """
        gain = utilities - self.disagreement
        if gain.min() <= 0.0:
            u = int(np.argmin(gain))
            raise HypothesisViolated(
                f"group {u} gets {utilities[u]:.6g}, no more than {self.disagreement[u]:.6g} "
                "without an agreement, where the Nash welfare has no gradient",
                "start from a policy that gives every group more, take smaller steps, or solve "
                "exactly with nlhf.solve(game)",
            )
        return self.proportions / gain

    def rounding(self, utilities: Float[np.ndarray, "group"], error: float) -> float:
        """Return Σ η e/(v − d)², of first order in the error e."""
        gain = utilities - self.disagreement
        return float((self.proportions / gain * (error / gain + 2 * EPSILON)).sum())

    def conjugate_derivatives(
        self, weights: Float[np.ndarray, "group"]
    ) -> tuple[Float[np.ndarray, "group"], Float[np.ndarray, "group"]]:
        """Return the gradient −η/w − d and the Hessian's diagonal η/w² of φ*(w)."""
        eta = self.proportions
        return -eta / weights - self.disagreement, eta / weights**2

    def bounds(
        self, least: Float[np.ndarray, "group"], half_range: Float[np.ndarray, "group"]
    ) -> tuple[float, float]:
        """Return bounds, finite if every policy gives every group more than d."""
        gain = least - self.disagreement
        if gain.min() <= 0.0:
            return np.inf, np.inf
        relative = half_range / gain
        return float(self.proportions @ relative), float(self.proportions @ relative**2)


class SoftMinimum:
    r"""The soft minimum, :math:`\varphi(v) = -\kappa \log \sum_u \eta_u e^{-v_u/\kappa}`.

    It is :math:`\min_w \langle w, v\rangle + \kappa KL(w\|\eta)`: the welfare that MaxMin with a
    group temperature κ maximises. κ → 0 is the worst group, κ → ∞ the average.

    Args:
        temperature: κ > 0, in the units of the utilities.
        proportions: η, of full support.

    Raises:
        InvalidProblem: If the temperature is not positive, or η not a distribution of full support.
    """

    def __init__(self, temperature: float, proportions: ArrayLike) -> None:
        if not (isinstance(temperature, int | float | np.number) and 0.0 < temperature < np.inf):
            raise InvalidProblem(
                f"the temperature of the soft minimum is {temperature!r}",
                "pass a positive number, or use MaxMinGame for the minimum itself",
            )
        self.temperature = float(temperature)
        self.proportions = _proportions(proportions, None)

    def __repr__(self) -> str:
        return f"SoftMinimum({self.groups} groups, temperature={self.temperature:g})"

    @property
    def groups(self) -> int:
        """U."""
        return len(self.proportions)

    def value(self, utilities: Float[np.ndarray, "group"]) -> float:
        """Return φ(v)."""
        return -self.temperature * float(log_sum_exp(self._logits(utilities)))

    def gradient(self, utilities: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        """Return the weights ∝ η e^{-v/κ}."""
        return np.exp(log_normalise(self._logits(utilities)))

    def rounding(self, utilities: Float[np.ndarray, "group"], error: float) -> float:
        """Return 2e/κ for an error e, and the rounding of the exponents."""
        size = error + 4 * EPSILON * float(np.abs(utilities).max())
        return 2.0 * size / self.temperature + 4 * EPSILON * self.groups

    def bounds(
        self, least: Float[np.ndarray, "group"], half_range: Float[np.ndarray, "group"]
    ) -> tuple[float, float]:
        """Return R and R²/κ, R being the largest half range."""
        largest = float(half_range.max())
        return largest, largest**2 / self.temperature

    def _logits(self, utilities: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        return np.asarray(np.log(self.proportions) - utilities / self.temperature)


def _proportions(proportions: ArrayLike | None, groups: int | None) -> Float[np.ndarray, "group"]:
    eta = Policy.of(
        np.full(groups or 1, 1.0 / (groups or 1)) if proportions is None else proportions
    )
    p = eta.probabilities
    if p.ndim != 1 or groups not in (None, p.size) or p.min() <= 0.0:
        raise InvalidProblem(
            f"the proportions have shape {p.shape} and minimum {p.min():g}"
            + (f", with {groups} groups" if groups else ""),
            "pass one positive proportion per group",
        )
    return p
