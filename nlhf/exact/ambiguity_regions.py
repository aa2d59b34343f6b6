"""Ambiguity sets as regions for the interior-point method."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.errors import Unsupported
from nlhf.exact.interior_point import Curved, Region
from nlhf.spaces.ambiguity import (
    Ambiguity,
    ChiSquareBall,
    ConditionalValueAtRisk,
    KLBall,
    TotalVariationBall,
    WholeSimplex,
)


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
    kind = _Divergence if isinstance(ambiguity, KLBall) else _ChiSquare
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


def _total_variation(eta: Float[np.ndarray, " group"], radius: float) -> Weights:
    """Return w = η + p − m with p, m ≥ 0, m ≤ η and Σp = Σm ≤ ρ.

    Every inequality but one bounds a single variable, which keeps the systems well scaled.
    """
    count = len(eta)
    one, zero = np.eye(count), np.zeros((count, count))
    mass = np.append(np.ones(count), np.zeros(count))
    least = np.minimum(eta, radius / count) / 2.0
    region = Region(
        upper=np.vstack([-np.eye(2 * count), np.hstack([zero, one]), mass]),
        bound=np.concatenate([np.zeros(2 * count), eta, [radius]]),
        equal=(2.0 * mass - 1.0)[None, :],
        right=np.zeros(1),
        inside=np.append(least, least),
    )
    return Weights(region, eta, np.hstack([one, -one]))


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
