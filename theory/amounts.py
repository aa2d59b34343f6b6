"""How many synthetic comparisons to add to human ones."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances

LEAST_GAIN = 1 / 4
"""The best amount of synthetic data leaves 1 − 1/(4B) of the error."""

_TOLERANCE = 1e-9
_STEP = 1e-40
_FAR = 1e12
"""As many synthetic comparisons as stand for infinitely many."""

Vector = Float[np.ndarray, "row"]
Square = Float[np.ndarray, "row row"]
Points = Float[np.ndarray, "point row"]
Law = Float[np.ndarray, "point"]


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Human and synthetic comparisons, by what each adds to the gradient at the truth.

    Attributes:
        human: Values of a human comparison's score.
        human_law: Their probabilities.
        synthetic: Values of a synthetic one's score.
        synthetic_law: Their probabilities.
        coupling: By how much a synthetic score moves with the mean of the human ones.
        hessians: I_D and I_P, the curvatures of the two losses.
        error: Σ_π, the error that counts.
        counts: m, and a number M of synthetic comparisons to enumerate.
        amount: Any M, not necessarily whole.
    """

    human: Points
    human_law: Law
    synthetic: Points
    synthetic_law: Law
    coupling: Square
    hessians: tuple[Square, Square]
    error: Square
    counts: tuple[int, int]
    amount: float


def moments(points: Points, law: Law) -> tuple[Vector, Square]:
    """Return the mean and the covariance."""
    centre = law @ points
    return centre, (points - centre).T @ (law[:, None] * (points - centre))


def formula(instance: Mixture, amount: float) -> float:
    """Return tr{Σ_π A(mI_D + MI_P + M²bbᵀ)A} with A = (mI_D + MI_P)⁻¹."""
    human, synthetic = instance.hessians
    bias, _ = moments(instance.synthetic, instance.synthetic_law)
    curvature = instance.counts[0] * human + amount * synthetic
    inverse = np.linalg.inv(curvature)
    inner = curvature + amount**2 * np.outer(bias, bias)
    return float(np.trace(instance.error @ inverse @ inner @ inverse))


def expected(instance: Mixture, amount: Any) -> Any:
    """Return the mean squared error from the moments of the scores, for any complex amount."""
    m, (first, second) = instance.counts[0], instance.hessians
    centre, human = moments(instance.human, instance.human_law)
    bias, noise = moments(instance.synthetic, instance.synthetic_law)
    both = m * np.eye(len(bias)) + amount * instance.coupling
    middle = both @ centre + amount * bias
    second_moment = both @ human @ both.T / m + amount * noise + np.outer(middle, middle)
    inverse = np.linalg.inv(m * first + amount * second)
    return np.trace(instance.error @ inverse @ second_moment @ inverse)


def enumerated(instance: Mixture) -> float:
    """Return the mean squared error as a sum over everything that can be observed."""
    (m, more), (first, second) = instance.counts, instance.hessians
    inverse = np.linalg.inv(m * first + more * second)
    sides = [range(len(instance.human_law))] * m + [range(len(instance.synthetic_law))] * more
    outcomes = np.array(list(product(*sides)))
    ours = instance.human[outcomes[:, :m]].sum(axis=1)
    theirs = instance.synthetic[outcomes[:, m:]].sum(axis=1)
    theirs = theirs + more * (ours / m) @ instance.coupling.T
    chances = np.prod(instance.human_law[outcomes[:, :m]], axis=1)
    chances = chances * np.prod(instance.synthetic_law[outcomes[:, m:]], axis=1)
    error = (ours + theirs) @ inverse.T
    return float(chances @ np.einsum("ki,ij,kj->k", error, instance.error, error))


def bias_ratio(instance: Mixture) -> float:
    """Return B = m I_D b²/I_P² of a single parameter: the error of many over that of none."""
    bias, _ = moments(instance.synthetic, instance.synthetic_law)
    human, synthetic = (float(hessian[0, 0]) for hessian in instance.hessians)
    return instance.counts[0] * human * float(bias[0]) ** 2 / synthetic**2


def _how_much(instance: Mixture) -> Margin:
    m, (first, second) = instance.counts[0], instance.hessians
    inverse, other = np.linalg.inv(first), np.linalg.inv(second)
    bias, _ = moments(instance.synthetic, instance.synthetic_law)
    none = float(np.trace(instance.error @ inverse)) / m
    many = float((other @ bias) @ instance.error @ (other @ bias))
    fall = float(np.trace(instance.error @ inverse @ second @ inverse)) / m**2
    found = float(expected(instance, 1j * _STEP).imag) / _STEP
    exact, claimed = enumerated(instance), formula(instance, float(instance.counts[1]))
    condition = float(np.linalg.cond(first) + np.linalg.cond(second))
    tight = 256.0 * EPSILON * condition

    def equal(lhs: float, rhs: float, rounding: float) -> Margin:
        scale = abs(rhs) + none
        return Margin.equal(lhs, rhs, scale=scale, rounding=rounding * scale)

    parts = {
        "formula": equal(exact, claimed, tight),
        "infinitely many": equal(float(expected(instance, _FAR)), many, 1e-6),
        "a few help": Margin.equal(
            found, -fall, scale=fall, rounding=tight * (fall + none * condition)
        ),
    }
    if len(bias) == 1:
        ratio = bias_ratio(instance)
        least = none * (1.0 - LEAST_GAIN / ratio if ratio > 0.5 else ratio)
        parts["best amount"] = Margin.at_most(
            least, float(expected(instance, instance.amount)), scale=none, rounding=tight * none
        )
    return Margin.every(parts)


def _is_information(instance: Mixture) -> bool:
    """Return whether curvatures are covariances of scores, as for labels that are true."""
    laws = ((instance.human, instance.human_law), (instance.synthetic, instance.synthetic_law))
    return all(
        bool(np.abs(moments(*law)[1] - hessian).max() <= _TOLERANCE)
        for law, hessian in zip(laws, instance.hessians, strict=True)
    )


def _draw_scores(draws: Draws, width: int, bias: float) -> tuple[Points, Law]:
    points = np.eye(width + 1, width) * 2.0 + np.asarray(draws.array((width + 1, width), -0.7, 0.7))
    law = np.asarray(draws.array((width + 1,), 0.2, 1.0))
    law = law / law.sum()
    shift = bias * np.asarray(draws.array((width,), -1.0, 1.0))
    return points - law @ points + shift, law


def _draw_mixture(draws: Draws, biased: bool = False, loud: bool = False) -> Mixture:
    width = draws.one_of((1, 1, 2))
    human, human_law = _draw_scores(draws, width, 0.0)
    synthetic, law = _draw_scores(draws, width, draws.one_of((0.1, 1.0)))
    hessians = (moments(human, human_law)[1], moments(synthetic, law)[1])
    root = np.eye(width) + np.asarray(draws.array((width, width), -0.4, 0.4))
    coupling = np.zeros((width, width))
    counts = (1 + draws.whole(2), 1 + draws.whole(1))
    amount = draws.logarithmic(0.01, 100.0)
    if biased:
        human = human + draws.between(0.3, 1.0)
    if loud:
        hessians = (hessians[0], draws.logarithmic(1.5, 6.0) * hessians[1])
    return Mixture(
        human, human_law, synthetic, law, coupling, hessians, root @ root.T, counts, amount
    )


def _draw_coupled(draws: Draws) -> Mixture:
    """Draw synthetic scores that move with the human ones.

    For one parameter they move against them, at the amount that is best without that: it takes
    some of the human noise away, and the error is less than the least.
    """
    plain, share = _draw_mixture(draws), draws.between(0.2, 1.0)
    width, m = len(plain.error), plain.counts[0]
    if width > 1:
        return replace(plain, coupling=draws.one_of((-1.0, 1.0)) * share * np.eye(width))
    (human,), (synthetic,) = (hessian[0] for hessian in plain.hessians)
    ratio = draws.between(1.0, 3.0)
    shift = synthetic * np.sqrt(ratio / (m * human)) - plain.synthetic_law @ plain.synthetic
    amount = float(m * human / ((2.0 * ratio - 1.0) * synthetic))
    coupling = -share * min(1.0, m / amount) * np.eye(1)
    return replace(plain, synthetic=plain.synthetic + shift, coupling=coupling, amount=amount)


def at_the_best() -> Mixture:
    """Return one human comparison and a single parameter whose best M is 1: B = 1."""
    human, synthetic, half = np.array([[1.0], [-1.0]]), np.array([[2.0], [0.0]]), np.full(2, 0.5)
    one, none = np.eye(1), np.zeros((1, 1))
    return Mixture(human, half, synthetic, half, none, (one, one), one, (1, 1), 1.0)


HOW_MUCH = Theorem(
    key="how-much-synthetic",
    statement=(
        r"\hat w - w^* = A(\sum s_i + \sum\tilde s_j), A = (mI_D+MI_P)^{-1}, scores independent"
        r" with means 0, b and covariances I_D, I_P: E|\hat w-w^*|^2_\Sigma = tr\{\Sigma A(mI_D +"
        r" MI_P + M^2bb^\top)A\} \to |I_P^{-1}b|_\Sigma^2 as M \to \infty; its derivative at M=0 is"
        r" -tr(\Sigma I_D^{-1}I_PI_D^{-1})/m^2 < 0 whatever b is; for one parameter, with B ="
        r" mI_Db^2/I_P^2, the least error is 1-1/(4B) of that at M=0 at M = mI_D/((2B-1)I_P) if"
        r" 2B > 1, and otherwise B of it, as M \to \infty"
    ),
    sources=(
        Citation("lang2024", "Section 4.2, training on both sets"),
        Citation("zhao2024", "two-stage sampling, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis(
            "independent",
            r"\tilde s does not depend on s",
            lambda x: not x.coupling.any(),
        ),
        Hypothesis(
            "unbiased",
            r"E s = 0",
            lambda x: bool(np.abs(moments(x.human, x.human_law)[0]).max() <= _TOLERANCE),
        ),
        Hypothesis("information", r"Cov(s) = I_D, Cov(\tilde s) = I_P", _is_information),
    ),
    margin=_how_much,
    instances=instances(_draw_mixture),
    controls={
        "independent": instances(_draw_coupled),
        "unbiased": instances(lambda draws: _draw_mixture(draws, biased=True)),
        "information": instances(lambda draws: _draw_mixture(draws, loud=True)),
    },
    sharp=(at_the_best(),),
    constants={"least gain": LEAST_GAIN},
)

ALL = (HOW_MUCH,)
