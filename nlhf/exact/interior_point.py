r"""A primal-dual interior-point method for smooth convex functions of a few variables.

.. math:: \min_v f(v) \quad\text{s.t.}\quad Gv \le h,\ c(v) \le 0,\ Av = b,

with f known by gradients and Hessians, however they are computed (`Smooth`): the dual of MaxMin is
such a function of the group weights, and its value is that of a decision process. S. Boyd and
L. Vandenberghe, Convex Optimization, 2004, section 11.7.
"""

from dataclasses import dataclass, replace
from math import sqrt
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

_SHORTEN = 0.5
_DESCENT = 0.01
_INSIDE = 0.995
_SHORTEST = 1e-8
_UNCENTRAL = 1e4
"""Multipliers are kept within this factor of central ones, so that the steps stay of descent."""
_CENTRED = 0.5
"""An iterate is central if no residual is larger than this share of the barrier parameter."""


@runtime_checkable
class Smooth(Protocol):
    """A convex function that is known by its value and its first two derivatives."""

    def derivatives(
        self, v: Float[np.ndarray, " variable"]
    ) -> tuple[float, Float[np.ndarray, " variable"], Float[np.ndarray, "variable variable"]]:
        """Return the value, the gradient and the Hessian."""
        ...


@runtime_checkable
class Curved(Protocol):
    """A convex constraint c(v) ≤ 0 with two derivatives."""

    def value(self, v: Float[np.ndarray, " variable"]) -> float:
        """Return c(v)."""
        ...

    def derivatives(
        self, v: Float[np.ndarray, " variable"]
    ) -> tuple[Float[np.ndarray, " variable"], Float[np.ndarray, "variable variable"]]:
        """Return the gradient and the Hessian of c."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A convex set with a point inside.

    Attributes:
        upper: G, one row per linear inequality.
        bound: h.
        equal: A, one row per equation; of full rank.
        right: b.
        inside: A point with Av = b and strict inequalities.
        curved: c, or `None` for no such constraint.
    """

    upper: Float[np.ndarray, "inequality variable"]
    bound: Float[np.ndarray, " inequality"]
    equal: Float[np.ndarray, "equation variable"]
    right: Float[np.ndarray, " equation"]
    inside: Float[np.ndarray, " variable"]
    curved: Curved | None = None

    def slack(self, v: Float[np.ndarray, " variable"]) -> Float[np.ndarray, " constraint"]:
        """Return how far inside every constraint the point is; positive inside."""
        linear = self.bound - self.upper @ v
        return linear if self.curved is None else np.append(linear, -self.curved.value(v))


@dataclass(frozen=True, slots=True, eq=False)
class Iterate:
    """Where the method is.

    Attributes:
        point: v, strictly inside.
        multipliers: λ > 0, one per inequality.
        prices: ν, one per equation.
        iterations: Newton steps so far.
    """

    point: Float[np.ndarray, " variable"]
    multipliers: Float[np.ndarray, " constraint"]
    prices: Float[np.ndarray, " equation"]
    iterations: int = 0


def begin(region: Region, barrier: float) -> Iterate:
    """Return the point inside, with the multipliers that are central there at a barrier b."""
    slack = region.slack(region.inside)
    return Iterate(region.inside, barrier / slack, np.zeros(len(region.right)))


def centre(
    f: Smooth, region: Region, start: Iterate, barrier: float, *, least: float, most: int
) -> tuple[Iterate, bool]:
    """Return the point of the central path at a barrier parameter b, and whether it was reached.

    There ∇f + Gᵀλ + ... + Aᵀν = 0 and every λ·slack is b, so that f is within b times the number
    of inequalities of its minimum. Newton's method on these equations, with steps that keep
    inside and reduce the residuals.

    Args:
        f: What is minimised.
        region: Over what.
        start: An iterate inside, such as the central point of a similar problem.
        barrier: b > 0, in units of f.
        least: Residuals are not asked to be smaller than this: what rounding leaves of them.
        most: Newton steps after which it has failed.
    """
    at = start
    system = _Residuals.at(f, region, at)
    for _ in range(most):
        if system.largest(barrier) <= max(_CENTRED * barrier, least):
            return at, True
        moved = _step(f, region, at, system, barrier)
        if moved is None:
            break
        at, system = moved
    return at, system.largest(barrier) <= max(_CENTRED * barrier, least)


@dataclass(frozen=True, slots=True, eq=False)
class _Residuals:
    """Derivatives and residuals at an iterate."""

    value: float
    slack: np.ndarray
    normals: np.ndarray
    hessian: np.ndarray
    dual: np.ndarray
    primal: np.ndarray
    multipliers: np.ndarray

    @classmethod
    def at(cls, f: Smooth, region: Region, z: Iterate) -> "_Residuals":
        value, gradient, hessian = f.derivatives(z.point)
        normals = region.upper
        if region.curved is not None:
            normal, curvature = region.curved.derivatives(z.point)
            normals = np.vstack([normals, normal])
            hessian = hessian + z.multipliers[-1] * curvature
        return cls(
            value=value,
            slack=region.slack(z.point),
            normals=normals,
            hessian=hessian,
            dual=gradient + normals.T @ z.multipliers + region.equal.T @ z.prices,
            primal=region.equal @ z.point - region.right,
            multipliers=z.multipliers,
        )

    def largest(self, barrier: float) -> float:
        off_centre = self.multipliers * self.slack - barrier
        return max(float(np.abs(r).max()) for r in (self.dual, off_centre, self.primal))

    def norm(self, barrier: float) -> float:
        off_centre = self.multipliers * self.slack - barrier
        return sqrt(sum(float(r @ r) for r in (self.dual, off_centre, self.primal)))

    def merit(self, barrier: float) -> float:
        return self.value - barrier * float(np.log(self.slack).sum())


def _step(
    f: Smooth, region: Region, at: Iterate, system: _Residuals, barrier: float
) -> tuple[Iterate, _Residuals] | None:
    """Return the iterate after one Newton step, or `None` if no step makes progress.

    Progress is a decrease of the barrier function, for which the step is a descent direction, or,
    where its rounding hides that, of the residuals.
    """
    try:
        dv, dl, dn = _direction(region, system, barrier)
    except np.linalg.LinAlgError:
        return None
    merit, norm = system.merit(barrier), system.norm(barrier)
    slope = float(
        (system.dual + system.normals.T @ (barrier / system.slack - system.multipliers)) @ dv
    )
    length = 1.0
    while length > _SHORTEST:
        point = at.point + length * dv
        slack = region.slack(point)
        if (slack > (1.0 - _INSIDE) * system.slack).all():
            central = barrier / slack
            moved = replace(
                at,
                point=point,
                multipliers=np.clip(
                    at.multipliers + length * dl, central / _UNCENTRAL, central * _UNCENTRAL
                ),
                prices=at.prices + length * dn,
                iterations=at.iterations + 1,
            )
            found = _Residuals.at(f, region, moved)
            lower = found.merit(barrier) <= merit + _DESCENT * length * slope
            if lower or found.norm(barrier) <= (1.0 - _DESCENT * length) * norm:
                return moved, found
        length *= _SHORTEN
    return None


def _direction(
    region: Region, system: _Residuals, barrier: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    slack, normals, multipliers = system.slack, system.normals, system.multipliers
    equations = len(region.right)
    matrix = system.hessian + (normals.T * (multipliers / slack)) @ normals
    # Curvatures differ by twenty orders of magnitude: variables are scaled to have the same one.
    scale = 1.0 / np.sqrt(matrix.diagonal())
    variables = len(matrix)
    full = np.zeros((variables + equations,) * 2)
    full[:variables, :variables] = matrix * np.outer(scale, scale)
    full[variables:, :variables] = equal = region.equal * scale
    full[:variables, variables:] = equal.T
    centring = barrier / slack - multipliers
    right = -np.append(scale * (system.dual + normals.T @ centring), system.primal)
    solution = np.linalg.solve(full, right)
    dv = scale * solution[: len(matrix)]
    dl = centring + multipliers / slack * (normals @ dv)
    return dv, dl, solution[len(matrix) :]
