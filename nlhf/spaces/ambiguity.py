r"""Ambiguity sets: the weights of the groups that a robust policy must be prepared for.

Each is a convex set W of distributions over groups that contains the proportions η of the
population. The player who chooses the weights needs two things of it:

* the *projection* of a tilt q, :math:`\arg\min_{w \in W} KL(w\|q)`, which is its proximal step;
  it is unique, and satisfies :math:`KL(z\|q) \ge KL(z\|w) + KL(w\|q)` for every z in W;
* the *largest* mean :math:`\max_{w \in W} \langle g, w\rangle`, its unregularised best response.

Both are exact: closed forms, sorting, or a scalar root found to the last digits. Errors of weights
are a few roundings of 1, whatever the range of the tilt or payoff.
"""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.numerics import PROBABILITY_TOLERANCE, expectation, kl_divergence, log_of
from nlhf.spaces.filling import cap, drain, fill, stretch, transfer
from nlhf.spaces.policy import Policy
from nlhf.spaces.tempering import chi_square, flattened, range_of, relative_to, tempered

_GONE = 1e15
"""How far below the others a tilt of -inf is put: what is left of it is less than rounding."""


@runtime_checkable
class Ambiguity(Protocol):
    """A convex set W of group weights around the proportions η of the population."""

    @property
    def centre(self) -> Policy:
        """η, of full support."""
        ...

    def project(self, log_tilt: Float[np.ndarray, "group"]) -> Policy:
        r"""Return :math:`\arg\min_{w \in W} KL(w\|q)` for q proportional to exp(log_tilt)."""
        ...

    def largest(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        """Return the w in W of largest ⟨g, w⟩; of several, the one of least KL(w‖η)."""
        ...

    def support(self, payoff: Float[np.ndarray, "group"]) -> float:
        """Return the support function, the largest ⟨g, w⟩ over W."""
        ...

    def excess(self, policy: Policy) -> float:
        """Return by how much w breaks the constraint of W, 0 inside."""
        ...


class _AroundProportions(ABC):
    """What all sets share: checked proportions and arguments, and the support function."""

    def __init__(self, proportions: ArrayLike | Policy) -> None:
        self.centre = (
            proportions.checked() if isinstance(proportions, Policy) else Policy.of(proportions)
        )
        logs = self.centre.log_probabilities
        if logs.ndim != 1:
            raise InvalidProblem(
                f"the proportions have shape {logs.shape}", "pass one number per group, shape (U,)"
            )
        if np.isneginf(logs).any():
            raise InvalidProblem(
                f"the proportion of group {int(np.argmin(logs))} is 0",
                "leave out a group that nobody belongs to, or give it a positive proportion",
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.centre.log_probabilities.size} groups{self._size()})"

    @property
    def proportions(self) -> Float[np.ndarray, "group"]:
        """η, shape ``(U,)``."""
        return self.centre.probabilities

    def project(self, log_tilt: Float[np.ndarray, "group"]) -> Policy:
        r"""Return :math:`\arg\min_{w \in W} KL(w\|q)` for q proportional to exp(log_tilt).

        Args:
            log_tilt: log q up to a constant; `-inf` stands for the limit of ever smaller q, which
                gives a group no weight where W allows that.

        Raises:
            InvalidProblem: If the shape is not that of η, an entry is `nan` or `+inf`, or all are
                `-inf`.
        """
        gone = np.isneginf(log_tilt)
        self._check("tilt", np.where(gone, 0.0, log_tilt) if not gone.all() else log_tilt)
        tilt = Policy.proportional(log_tilt)
        if self.excess(tilt) <= 0.0:
            return tilt
        if gone.any():
            log_tilt = np.where(gone, log_tilt[~gone].min() - _GONE, log_tilt)
        return Policy.proportional(self._project(log_tilt))

    def largest(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        r"""Return the w in W of largest ⟨g, w⟩; of several, the one of least KL(w‖η).

        It is the limit of the projections of :math:`\eta\,e^{g/\kappa}` as κ → 0.

        Raises:
            InvalidProblem: If the shape is not that of η or an entry is not finite.
        """
        self._check("payoff", payoff)
        relative, spread = range_of(payoff)
        return self.centre if spread == 0.0 else self._largest(relative)

    def support(self, payoff: Float[np.ndarray, "group"]) -> float:
        """Return the support function, the largest ⟨g, w⟩ over W.

        Raises:
            InvalidProblem: As `largest`.
        """
        return float(expectation(self.largest(payoff).log_probabilities, payoff))

    @abstractmethod
    def excess(self, policy: Policy) -> float:
        """Return by how much w breaks the constraint of W, 0 inside."""

    @abstractmethod
    def _project(self, log_tilt: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        """Return log w for a tilt outside W."""

    @abstractmethod
    def _largest(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        """Return the maximiser for payoffs between -1 and 0, both attained."""

    def _size(self) -> str:
        return ""

    def _check(self, name: str, values: np.ndarray) -> None:
        if values.shape != self.proportions.shape:
            raise InvalidProblem(
                f"the {name} has shape {values.shape}, the proportions {self.proportions.shape}",
                "pass one number per group",
            )
        if not np.isfinite(values).all():
            group = int(np.argmin(np.isfinite(values)))
            raise InvalidProblem(
                f"the {name} of group {group} is {values[group]}", "pass finite numbers"
            )


class _Ball(_AroundProportions):
    """A ball of finite radius; of radius 0, it is the proportions alone."""

    def __init__(self, proportions: ArrayLike | Policy, radius: float) -> None:
        super().__init__(proportions)
        if not (isinstance(radius, int | float | np.number) and 0.0 <= radius < np.inf):
            raise InvalidProblem(
                f"the radius is {radius!r}",
                "pass a finite number of at least 0, or use WholeSimplex for no limit",
            )
        self.radius = float(radius)

    def _size(self) -> str:
        return f", radius {self.radius:g}"


class WholeSimplex(_AroundProportions):
    """All weights: the worst case is the worst group.

    Args:
        proportions: η, which only serves as the reference of the group player.

    Raises:
        InvalidProblem: If η is not a distribution of full support.
    """

    def excess(self, policy: Policy) -> float:
        """Return 0: every distribution is inside."""
        return 0.0

    def _project(self, log_tilt: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        return log_tilt

    def _largest(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        return Policy.proportional(np.where(payoff == 0.0, self.centre.log_probabilities, -np.inf))


class KLBall(_Ball):
    r"""The weights with KL(w‖η) ≤ ρ, in nats.

    The projection is :math:`w \propto \eta\,(q/\eta)^s` and the largest mean is attained at
    :math:`w \propto \eta\,e^{s g}`, with the s at which the divergence is ρ.

    Args:
        proportions: η.
        radius: ρ ≥ 0. From max(-log η) nats on, the ball is the whole simplex.

    Raises:
        InvalidProblem: If η is not a distribution of full support, or ρ is negative or infinite.
    """

    def excess(self, policy: Policy) -> float:
        """Return KL(w‖η) − ρ in nats, 0 inside."""
        divergence = kl_divergence(policy.log_probabilities, self.centre.log_probabilities)
        return max(float(divergence) - self.radius, 0.0)

    def _project(self, log_tilt: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        if self.radius == 0.0:
            return self.centre.log_probabilities
        relative = relative_to(self.centre.log_probabilities, log_tilt)
        direction, spread = range_of(relative)
        return tempered(direction, self.centre.log_probabilities, self.radius, spread)

    def _largest(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        if self.radius == 0.0:
            return self.centre
        logs = tempered(payoff, self.centre.log_probabilities, self.radius, np.inf)
        return Policy.proportional(logs)


class ChiSquareBall(_Ball):
    r"""The weights with :math:`\sum_u (w_u - \eta_u)^2/\eta_u \le \rho`.

    The projection is :math:`w \propto \eta\,\omega(\log(q/\eta) + \theta)` with Wright's function
    ω + log ω = x (Lambert's, of eˣ) and the θ at which the divergence is ρ; the largest mean is
    attained at :math:`w \propto \eta\,(g - \nu)_+`, in closed form after sorting.

    Args:
        proportions: η.
        radius: ρ ≥ 0. From max(1/η) - 1 on, the ball is the whole simplex.

    Raises:
        InvalidProblem: If η is not a distribution of full support, or ρ is negative or infinite.
    """

    def excess(self, policy: Policy) -> float:
        """Return the divergence less ρ, 0 inside."""
        divergence = chi_square(policy.log_probabilities, self.centre.log_probabilities)
        return max(divergence - self.radius, 0.0)

    def _project(self, log_tilt: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        if self.radius == 0.0:
            return self.centre.log_probabilities
        relative = relative_to(self.centre.log_probabilities, log_tilt)
        return flattened(relative, self.centre.log_probabilities, self.radius)

    def _largest(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        if self.radius == 0.0:
            return self.centre
        return Policy.proportional(log_of(stretch(payoff, self.proportions, self.radius)))


class TotalVariationBall(_Ball):
    r"""The weights with :math:`\tfrac12 \sum_u |w_u - \eta_u| \le \rho`.

    The projection is w = median(A q, η, B q), and the largest mean is attained by moving mass ρ
    from the lowest payoffs to the highest; both by sorting.

    Args:
        proportions: η.
        radius: ρ ≥ 0. From 1 - min(η) on, the ball is the whole simplex.

    Raises:
        InvalidProblem: If η is not a distribution of full support, or ρ is negative or infinite.
    """

    def excess(self, policy: Policy) -> float:
        """Return the total variation distance less ρ, 0 inside."""
        distance = 0.5 * float(np.abs(policy.probabilities - self.proportions).sum())
        return max(distance - self.radius, 0.0)

    def _project(self, log_tilt: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        if self.radius == 0.0:
            return self.centre.log_probabilities
        return transfer(log_tilt, self.centre.log_probabilities, self.radius)

    def _largest(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        return Policy.proportional(log_of(drain(payoff, self.proportions, self.radius)))


class ConditionalValueAtRisk(_AroundProportions):
    r"""The weights with w ≤ η/α: the worst case is the mean over the worst share α of people.

    The projection is w = min(A q, η/α), and the largest mean is attained by filling from the
    highest payoff down; both by sorting.

    Args:
        proportions: η.
        level: α in (0, 1]. 1 is the proportions alone; up to min(η), the whole simplex.

    Raises:
        InvalidProblem: If η is not a distribution of full support, or α not in (0, 1].
    """

    def __init__(self, proportions: ArrayLike | Policy, level: float) -> None:
        super().__init__(proportions)
        if not (isinstance(level, int | float | np.number) and 0.0 < level <= 1.0):
            raise InvalidProblem(
                f"the level is {level!r}",
                "pass the share of people that counts, more than 0 and at most 1",
            )
        self.level = float(level)

    def excess(self, policy: Policy) -> float:
        """Return the largest w − η/α, 0 inside."""
        return max(float((policy.probabilities - self.proportions / self.level).max()), 0.0)

    def _project(self, log_tilt: Float[np.ndarray, "group"]) -> Float[np.ndarray, "group"]:
        if self.level == 1.0:
            return self.centre.log_probabilities
        return cap(log_tilt, self.centre.log_probabilities, self.level)

    def _largest(self, payoff: Float[np.ndarray, "group"]) -> Policy:
        return Policy.proportional(log_of(fill(payoff, self.proportions, self.level)))

    def _size(self) -> str:
        return f", level {self.level:g}"


def require_inside(ambiguity: Ambiguity, weights: Policy) -> None:
    """Raise `InvalidProblem` if group weights are outside the set by more than 1e-9."""
    excess = ambiguity.excess(weights)
    if excess > PROBABILITY_TOLERANCE:
        raise InvalidProblem(
            f"the group weights {np.round(weights.probabilities, 6).tolist()} are outside "
            f"{ambiguity!r} by {excess:.3g} (tolerance {PROBABILITY_TOLERANCE:g})",
            "pass weights inside it, such as those of its centre",
        )


def checked_ambiguity(
    ambiguity: Ambiguity | None, proportions: ArrayLike | Policy | None, groups: int
) -> Ambiguity:
    """Return the ambiguity set of a game of so many groups, by default the whole simplex.

    Raises:
        InvalidProblem: If the proportions are given twice, or are not one per group.
        Unsupported: If the set is none.
    """
    if ambiguity is not None and (
        isinstance(ambiguity, type) or not isinstance(ambiguity, Ambiguity)
    ):
        raise Unsupported(
            f"the ambiguity set is {ambiguity!r}",
            "pass one with its proportions and size, such as KLBall(proportions, 0.1); proportions "
            "alone go by that name",
        )
    if ambiguity is None:
        ambiguity = WholeSimplex(
            np.full(groups, 1 / groups) if proportions is None else proportions
        )
    elif proportions is not None:
        raise InvalidProblem(
            f"proportions are given twice, in {ambiguity!r} too", "pass them to the set only"
        )
    size = ambiguity.centre.log_probabilities.size
    if size != groups:
        raise InvalidProblem(
            f"there are {groups} groups and {size} proportions", "give one proportion per group"
        )
    return ambiguity
