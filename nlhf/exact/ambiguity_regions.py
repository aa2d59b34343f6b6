"""Ambiguity sets as regions for the interior-point method."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.errors import Unsupported
from nlhf.exact.interior_point import Curved, Region
from nlhf.numerics import exp_remainder
from nlhf.spaces.ambiguity import (
    Ambiguity,
    ChiSquareBall,
    ConditionalValueAtRisk,
    KLBall,
    TotalVariationBall,
    WholeSimplex,
)

_SMALL = 1 / 16
"""Radius over the least proportion up to which no weight of a ball is less than half of η."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """An ambiguity set as the image of a region: w = origin + directions · v.

    Attributes:
        region: Where v is.
        origin: Shape ``(U,)``.
        directions: Shape ``(U, variables)``.
    """

    region: Region
    origin: Float[np.ndarray, " group"]
    directions: Float[np.ndarray, "group variable"]

    def at(self, v: Float[np.ndarray, " variable"]) -> Float[np.ndarray, " group"]:
        """Return the group weights at a point of the region."""
        return self.origin + self.directions @ v


def weights_in(ambiguity: Ambiguity) -> Weights | None:
    """Return the set as the image of a region, or `None` if it is a single point, the centre.

    Raises:
        Unsupported: For a set of another type.
    """
    eta = ambiguity.centre.probabilities
    if len(eta) == 1:
        return None
    if isinstance(ambiguity, WholeSimplex):
        return _simplex(eta)
    if isinstance(ambiguity, ConditionalValueAtRisk):
        return None if ambiguity.level == 1.0 else _simplex(eta, cap=eta / ambiguity.level)
    if not isinstance(ambiguity, KLBall | ChiSquareBall | TotalVariationBall):
        raise Unsupported(
            f"{ambiguity!r} is not among the ambiguity sets that have an exact solver",
            "name an algorithm, such as nlhf.Extragradient(): it needs the set's projection only",
        )
    if ambiguity.radius == 0.0:
        return None
    if isinstance(ambiguity, TotalVariationBall):
        return _total_variation(eta, ambiguity.radius)
    divergence = isinstance(ambiguity, KLBall)
    if ambiguity.radius <= _SMALL * float(eta.min()):
        return _small_ball(eta, ambiguity.radius, _UnitDivergence if divergence else _UnitChiSquare)
    kind = _Divergence if divergence else _ChiSquare
    return _simplex(eta, curved=kind(eta, ambiguity.radius))


def _simplex(
    eta: Float[np.ndarray, " group"],
    cap: Float[np.ndarray, " group"] | None = None,
    curved: Curved | None = None,
) -> Weights:
    one = np.eye(len(eta))
    region = Region(
        upper=-one if cap is None else np.vstack([-one, one]),
        bound=np.zeros(len(eta)) if cap is None else np.append(np.zeros(len(eta)), cap),
        equal=np.ones((1, len(eta))),
        right=np.ones(1),
        inside=eta,
        curved=curved,
    )
    return Weights(region, np.zeros(len(eta)), one)


def _small_ball(
    eta: Float[np.ndarray, " group"],
    radius: float,
    kind: "type[_UnitDivergence] | type[_UnitChiSquare]",
) -> Weights:
    """Return w = η + √(ρη) v, where the set is nearly the unit ball, or its double, of v.

    Differences of weights, which are all that counts in a small ball, then keep their digits. No
    weight comes near 0, so nothing else needs to be asked.
    """
    scale = np.sqrt(radius * eta)
    region = Region(
        upper=np.zeros((0, len(eta))),
        bound=np.zeros(0),
        equal=np.sqrt(eta)[None],
        right=np.zeros(1),
        inside=np.zeros(len(eta)),
        curved=kind(np.sqrt(radius / eta)),
    )
    return Weights(region, eta, np.diag(scale))


def _total_variation(eta: Float[np.ndarray, " group"], radius: float) -> Weights:
    """Return w = η + p − m with p, m ≥ 0, m ≤ η and Σp = Σm = s ≤ ρ.

    Every inequality bounds a single variable, which keeps the systems well scaled: at its limit ρ,
    a bound on a sum would drown the curvature of all its terms.
    """
    count = len(eta)
    one, zero, none = np.eye(count), np.zeros((count, count)), np.zeros((count, 1))
    gains, losses = np.ones(count), np.zeros(count)
    least = np.minimum(eta, radius / count) / 2.0
    region = Region(
        upper=np.vstack(
            [
                -np.eye(2 * count, 2 * count + 1),
                np.hstack([zero, one, none]),
                np.eye(1, 2 * count + 1, 2 * count),
            ]
        ),
        bound=np.concatenate([np.zeros(2 * count), eta, [radius]]),
        equal=np.array([[*gains, *losses, -1.0], [*losses, *gains, -1.0]]),
        right=np.zeros(2),
        inside=np.concatenate([least, least, [least.sum()]]),
    )
    return Weights(region, eta, np.hstack([one, -one, none]))


@dataclass(frozen=True, slots=True, eq=False)
class _Divergence:
    """KL(w‖η) − ρ."""

    eta: Float[np.ndarray, "group"]
    radius: float

    def value(self, v: Float[np.ndarray, "group"]) -> float:
        with np.errstate(invalid="ignore"):  # a trial point outside the simplex
            return float((v * np.log(v / self.eta)).sum() - self.radius)

    def derivatives(
        self, v: Float[np.ndarray, "group"]
    ) -> tuple[Float[np.ndarray, "group"], Float[np.ndarray, "group group"]]:
        return np.log(v / self.eta) + 1.0, np.diag(1.0 / v)


@dataclass(frozen=True, slots=True, eq=False)
class _ChiSquare:
    """Σ (w − η)²/η − ρ."""

    eta: Float[np.ndarray, "group"]
    radius: float

    def value(self, v: Float[np.ndarray, "group"]) -> float:
        return float(((v - self.eta) ** 2 / self.eta).sum() - self.radius)

    def derivatives(
        self, v: Float[np.ndarray, "group"]
    ) -> tuple[Float[np.ndarray, "group"], Float[np.ndarray, "group group"]]:
        return 2.0 * (v - self.eta) / self.eta, np.diag(2.0 / self.eta)


@dataclass(frozen=True, slots=True, eq=False)
class _UnitDivergence:
    """KL(w‖η)/ρ − 1 for w = η (1 + x), x = √(ρ/η) v."""

    relative: Float[np.ndarray, " group"]

    def value(self, v: Float[np.ndarray, " group"]) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):  # a trial point outside the simplex
            logs = np.log1p(self.relative * v)
            # The terms η x, of which the sum is 0, are taken off so that nothing cancels.
            terms = (1.0 + self.relative * v) * exp_remainder(-logs) / self.relative**2
        return float(terms.sum() - 1.0)

    def derivatives(
        self, v: Float[np.ndarray, " group"]
    ) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, "group group"]]:
        x = self.relative * v
        return np.log1p(x) / self.relative, np.diag(1.0 / (1.0 + x))


@dataclass(frozen=True, slots=True, eq=False)
class _UnitChiSquare:
    """Σ (w − η)²/(η ρ) − 1 = ‖v‖² − 1 for w = η + √(ρη) v."""

    relative: Float[np.ndarray, " group"]

    def value(self, v: Float[np.ndarray, " group"]) -> float:
        return float(v @ v - 1.0)

    def derivatives(
        self, v: Float[np.ndarray, " group"]
    ) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, "group group"]]:
        return 2.0 * v, 2.0 * np.eye(len(v))
