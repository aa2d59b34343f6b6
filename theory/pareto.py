"""Six responses on which a Bradley-Terry reward reverses what everybody agrees on."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .draws import Draws, instances
from .enclosures import exponential

A, B, C, A1, B1, C1 = range(6)
MAJORITY = (A, A1, B, B1, C1, C)
MINORITY = (C1, C, B1, B, A1, A)
SMALL = 5
"""The offset is at most (2p − 1)(1 − p)/5."""

Direction = Float[np.ndarray, "feature"]
Number = TypeVar("Number", float, Fraction)


@dataclass(frozen=True, slots=True)
class SixResponses:
    r"""The instance of Ge and others: three responses, each with a copy beside it.

    Attributes:
        share: p, of the electorate that votes a ≻ a′ ≻ b ≻ b′ ≻ c′ ≻ c; the rest votes
            c′ ≻ c ≻ b′ ≻ b ≻ a′ ≻ a.
        offset: ε, how far a copy is from its original.
        slope: δ, of the direction in which the copy of c lies.
    """

    share: float
    offset: float
    slope: float

    def features(self) -> Float[np.ndarray, "response feature"]:
        """Return x, the rows a, b, c, a′, b′, c′."""
        return np.array([[float(v) for v in row] for row in rows(self.offset, self.slope)])

    def preference(self) -> Float[np.ndarray, "response response"]:
        """Return P; every entry is p, 1 − p, 0, 1 or 1/2."""
        p = np.full((6, 6), 0.5)
        for i in range(6):
            for j in range(6):
                if i != j:
                    first = self.share if MAJORITY.index(i) < MAJORITY.index(j) else 0.0
                    other = 1.0 - self.share if MINORITY.index(i) < MINORITY.index(j) else 0.0
                    p[i, j] = 1.0 if first and other else first + other
        return p


def rows(offset: Number, slope: Number) -> tuple[tuple[Number | int, Number | int], ...]:
    """Return the features, in the arithmetic of the arguments."""
    return (
        (2, 1),
        (1, 1),
        (0, 0),
        (2 - offset, 1),
        (1 - offset, 1),
        (-offset, slope * offset),
    )


def fitted(instance: SixResponses) -> tuple[Direction, float]:
    """Return θ of greatest likelihood by Newton's method, and a bound on its error.

    The bound is twice the last Newton step that the remaining score would make.
    """
    x, p = instance.features(), instance.preference()
    differences = (x[:, None, :] - x[None, :, :])[~np.eye(6, dtype=bool)]
    shares = p[~np.eye(6, dtype=bool)]
    theta = np.zeros(2)
    step = np.ones(2)
    for _ in range(60):
        losing = 1.0 / (1.0 + np.exp(differences @ theta))
        score = differences.T @ (shares * losing)
        curvature = shares * losing * (1.0 - losing)
        information = (differences.T * curvature) @ differences
        step = np.linalg.solve(information, score)
        change = float(np.abs(differences @ step).max())
        theta = theta + step * (np.log1p(change) / change if change > 1e-3 else 1.0)
        if change < 1e-13:
            break
    rounding = 400 * EPSILON * float(np.abs(np.linalg.inv(information)).sum())
    return theta, 2.0 * float(np.abs(step).sum()) + rounding


def _bt_fails_pareto(instance: SixResponses) -> Margin:
    """Margins: the reward of c less that of c′ in units of ε; and votes' advantages, likewise."""
    theta, off = fitted(instance)
    reversed_by = float(theta[0] - instance.slope * theta[1])
    x = instance.features()
    witnesses = ((np.array([instance.slope, 2.0]), MAJORITY), (np.array([-1.0, 0.0]), MINORITY))
    least = min(
        float((x[i] - x[j]) @ witness) for witness, order in witnesses for i, j in pairwise(order)
    )
    return Margin.every(
        {
            "reversed": Margin.at_most(
                0.0,
                reversed_by,
                scale=float(np.abs(theta).sum()) + off,
                rounding=(1.0 + abs(instance.slope)) * off,
            ),
            "feasible": Margin.at_most(0.0, least, scale=instance.offset, rounding=16 * EPSILON),
        }
    )


def is_small(instance: SixResponses) -> bool:
    """Return whether 0 < ε ≤ |2p − 1| min(p, 1 − p)/5."""
    p = instance.share
    return 0.0 < instance.offset <= abs(2.0 * p - 1.0) * min(p, 1.0 - p) / SMALL


def _draw_six(draws: Draws) -> SixResponses:
    share = draws.between(0.505, 0.995)
    largest = abs(2.0 * share - 1.0) * (1.0 - share) / SMALL
    return SixResponses(
        share, 0.99 * largest * draws.logarithmic(1e-3, 1.0), draws.between(0.001, 1.0)
    )


def _draw_minority(draws: Draws) -> SixResponses:
    base = _draw_six(draws)
    return SixResponses(1.0 - base.share, base.offset, base.slope)


def _draw_far(draws: Draws) -> SixResponses:
    return SixResponses(
        draws.between(0.501, 0.55), draws.between(0.2, 0.45), draws.between(0.7, 1.0)
    )


def _draw_falling(draws: Draws) -> SixResponses:
    base = _draw_six(draws)
    return SixResponses(base.share, base.offset, -draws.between(0.01, 1.0))


def _vector(instance: SixResponses) -> Float[np.ndarray, "coordinate"]:
    return np.array([instance.share, np.log(max(instance.offset, 1e-12)), instance.slope])


def _at(_: SixResponses, vector: Float[np.ndarray, "coordinate"]) -> SixResponses:
    share = float(np.clip(vector[0], 0.501, 0.999))
    largest = (2.0 * share - 1.0) * (1.0 - share) / SMALL
    offset = float(np.exp(np.clip(vector[1], np.log(largest) - 7.0, np.log(largest) - EPSILON)))
    return SixResponses(share, min(offset, largest), float(np.clip(vector[2], 1e-3, 1.0)))


BT_FAILS_PARETO = Theorem(
    key="bt-fails-pareto",
    statement=(
        r"x_a=(2,1), x_b=(1,1), x_c=(0,0), x_{a'}=x_a-(\varepsilon,0),"
        r" x_{b'}=x_b-(\varepsilon,0), x_{c'}=x_c+(-\varepsilon,\delta\varepsilon); a share p votes"
        r" a, a', b, b', c', c in this order, the rest c', c, b', b, a', a, both feasible: the"
        r" Bradley-Terry reward of greatest likelihood puts c above c', against everybody"
        r" and against the feasible ranking of the majority"
    ),
    sources=(Citation("ge2024", "Theorem 3.1, the witness of its footnote 7 corrected"),),
    hypotheses=(
        Hypothesis("majority", r"\tfrac12 < p < 1", lambda x: 0.5 < x.share < 1.0),
        Hypothesis("slope", r"0 < \delta \le 1", lambda x: 0.0 < x.slope <= 1.0),
        Hypothesis("small", r"0 < \varepsilon \le |2p-1|\min(p,1-p)/5", is_small),
    ),
    margin=_bt_fails_pareto,
    instances=instances(_draw_six),
    controls={
        "majority": instances(_draw_minority),
        "slope": instances(_draw_falling),
        "small": instances(_draw_far),
    },
    sharp=(SixResponses(0.7, 0.01, 1e-4),),
    constants={"small": SMALL},
    coordinates=Coordinates(_vector, _at),
)

ALL = (BT_FAILS_PARETO,)


def sigmoid_bounds(x: Fraction) -> tuple[Fraction, Fraction]:
    """Return rational bounds of σ(x)."""
    low, high = exponential(abs(x))
    if x >= 0:
        return low / (1 + low), high / (1 + high)
    return 1 / (1 + high), 1 / (1 + low)


def _line_minimum(share: float, along: list[float]) -> Fraction:
    """Return s with Σ d (σ(s d) − p) = 0, by bisection in floating point."""
    d = np.array(along)
    low, high = -100.0, 100.0
    for _ in range(70):
        s = (low + high) / 2
        rising = float(d @ (0.5 + 0.5 * np.tanh(0.5 * s * d) - share)) > 0
        low, high = (low, s) if rising else (s, high)
    return Fraction(low)


def certify_side(share: Fraction, offset: Fraction, slope: Fraction) -> int:
    r"""Return on which side the reward of greatest likelihood is, in rational arithmetic.

    1 if it certainly puts c above c′, −1 if certainly c′ above c, 0 if the bounds leave it open.
    c and c′ are tied on the line θ = s(δ, 1). The loss is convex, so its minimum lies where the
    loss decreases at the line's own minimum s*, across the line. s* is guessed in floating point,
    and the guess is proved to be within 2⁻³⁰.
    """
    x = rows(offset, slope)
    along, across = (slope, Fraction(1)), (Fraction(1), -slope)

    def project(i: int, j: int, axis: tuple[Fraction, Fraction]) -> Fraction:
        (a, b), (c, d) = x[i], x[j]
        return (Fraction(a) - Fraction(c)) * axis[0] + (Fraction(b) - Fraction(d)) * axis[1]

    pairs = [
        (project(i, j, along), project(i, j, across))
        for place, i in enumerate(MAJORITY)
        for j in MAJORITY[place + 1 :]
        if (i, j) != (C1, C)
    ]

    def slope_along(s: Fraction) -> tuple[Fraction, Fraction]:
        bounds = [(d, sigmoid_bounds(s * d)) for d, _ in pairs]
        low = sum((min(d * (lo - share), d * (hi - share)) for d, (lo, hi) in bounds), Fraction(0))
        high = sum((max(d * (lo - share), d * (hi - share)) for d, (lo, hi) in bounds), Fraction(0))
        return low, high

    guess = _line_minimum(float(share), [float(d) for d, _ in pairs])
    below, above = guess - Fraction(1, 2**30), guess + Fraction(1, 2**30)
    if not (slope_along(below)[1] < 0 < slope_along(above)[0]):
        return 0
    least = greatest = -project(C1, C, across) / 2  # everybody's vote, at a tie
    for d, across_d in pairs:
        ends = [*sigmoid_bounds(below * d), *sigmoid_bounds(above * d)]
        values = [across_d * (end - share) for end in ends]
        least, greatest = least + min(values), greatest + max(values)
    return 1 if greatest < 0 else -1 if least > 0 else 0
