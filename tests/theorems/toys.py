"""Toy statements about points of the unit square, true and false."""

from dataclasses import dataclass, replace
from math import exp

import numpy as np
from hypothesis import strategies as st

from nlhf.theorems import Citation, Coordinates, Expected, Hypothesis, Margin, Theorem

STEPS = 10**6


@dataclass(frozen=True)
class Point:
    x: float
    y: float


@st.composite
def points(draw, low: float = 0.0, high: float = 1.0):
    x, y = (draw(st.integers(2**80, 2**80 + STEPS)) - 2**80 for _ in range(2))
    return Point(low + (high - low) * x / STEPS, low + (high - low) * y / STEPS)


def inside(point: Point) -> bool:
    return 0.0 <= point.x <= 1.0 and 0.0 <= point.y <= 1.0


def product_margin(point: Point) -> Margin:
    return Margin.at_most(point.x * point.y, 1.0, scale=1.0, rounding=1e-15)


TRUE = Theorem(
    key="product",
    statement=r"xy \le 1",
    sources=(Citation("nobody", "a toy"),),
    hypotheses=(Hypothesis("square", r"x, y \in [0, 1]", inside),),
    margin=product_margin,
    instances=points(),
    controls={"square": points(1.001, 3.0)},
    coordinates=Coordinates(
        lambda point: np.array([point.x, point.y]),
        lambda _, vector: Point(float(vector[0]), float(vector[1])),
    ),
)


def bump_margin(point: Point) -> Margin:
    """1 − 1.0001 e^{−d²/0.02} ≥ 0 fails within 0.0014 of (0.3, 0.7): a share 6e-6 of the square."""
    distance = (point.x - 0.3) ** 2 + (point.y - 0.7) ** 2
    return Margin.at_most(1.0001 * exp(-distance / 0.02), 1.0, scale=1.0, rounding=1e-15)


FALSE = replace(TRUE, key="bump", statement=r"1.0001 e^{-d^2/0.02} \le 1", margin=bump_margin)


def with_margin(function) -> Theorem:
    return replace(TRUE, key="changed", margin=function, controls={"square": points(1.001, 3.0)})


__all__ = ["FALSE", "STEPS", "TRUE", "Expected", "Point", "bump_margin", "points", "with_margin"]
