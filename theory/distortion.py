"""Distortion: how much average utility the maximal lottery of the votes may lose."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.numerics import EPSILON
from nlhf.social_choice.distortion import worst_family
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .draws import Draws, instances
from .social_choice import EQUILIBRIUM, Matrix, Vector, allowed, gain, sound

BLUNTEST, SHARPEST = 0.1, 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Electorate:
    """Groups with utilities, the preference that is seen of them, and a lottery.

    Attributes:
        utilities: u.
        proportions: η.
        sharpness: β.
        preference: P.
        lottery: π.
    """

    utilities: Float[np.ndarray, "group response"]
    proportions: Float[np.ndarray, "group"]
    sharpness: float
    preference: Matrix
    lottery: Vector


def votes(electorate: Electorate) -> Matrix:
    """Return Σ_u η_u σ(β(u(x) − u(y)))."""
    u = electorate.utilities
    odds = np.exp(electorate.sharpness * (u[:, None, :] - u[:, :, None]))
    return np.einsum("u,uxy->xy", electorate.proportions, 1.0 / (1.0 + odds))


def is_logistic(electorate: Electorate) -> bool:
    """Return whether the preference is that of the utilities, to rounding."""
    off = np.abs(electorate.preference - votes(electorate))
    return bool(off.max() <= 16 * EPSILON * (1.0 + electorate.sharpness))


def is_unit(electorate: Electorate) -> bool:
    """Return whether all utilities lie in [0, 1]."""
    return bool(electorate.utilities.min() >= 0.0 and electorate.utilities.max() <= 1.0)


def _distortion(electorate: Electorate) -> Margin:
    """Margin in utility: a gain e of deviations and rounding of P cost e / (tanh(β/2)/2)."""
    average = electorate.proportions @ electorate.utilities
    best, reached = float(average.max()), float(average @ electorate.lottery)
    beta = electorate.sharpness
    bound = 0.5 * beta / np.tanh(0.5 * beta)
    off = allowed(electorate.preference, electorate.lottery)
    off += 32 * EPSILON * (1.0 + beta) * len(average)
    return Margin.at_most(
        best,
        bound * reached,
        scale=max(best, abs(reached), EPSILON),
        rounding=off / (0.5 * np.tanh(0.5 * beta)),
    )


def elected(
    utilities: Float[np.ndarray, "group response"],
    proportions: Float[np.ndarray, "group"],
    sharpness: float,
    seen: float | None = None,
) -> Electorate:
    """Return the maximal lottery of votes of a sharpness, which may be another than the stated."""
    blank = np.zeros((utilities.shape[1],) * 2)
    shown = Electorate(utilities, proportions, seen or sharpness, blank, blank[0])
    preference = votes(shown)
    preference = (preference + (1.0 - preference.T)) / 2.0
    lottery = np.asarray(nlhf.solve(nlhf.PreferenceGame(preference)).policy)
    return Electorate(utilities, proportions, sharpness, preference, lottery)


def near_worst(sharpness: float, low: float = 0.01, slack: float = 1e-4) -> Electorate:
    """Return a member of the family that attains the bound as `low` and `slack` vanish."""
    return elected(*worst_family(sharpness, low, slack), sharpness)


def _draw_sharpness(draws: Draws) -> float:
    return draws.logarithmic(BLUNTEST, SHARPEST)


def _draw_groups(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    groups, responses = 1 + draws.whole(2), draws.one_of((2, 2, 3, 4))
    few = draws.one_of(((0.0, 1.0, 0.1), (0.0, 1.0, 0.01, 0.5), tuple(np.arange(21) / 20)))
    utilities = np.array([[draws.one_of(few) for _ in range(responses)] for _ in range(groups)])
    raw = np.array([1.0 + draws.whole(30) for _ in range(groups)])
    return utilities, raw / raw.sum()


def _draw_elected(draws: Draws) -> Electorate:
    if draws.chance(4):
        found = near_worst(_draw_sharpness(draws), draws.logarithmic(0.003, 1.0))
    else:
        found = elected(*_draw_groups(draws), _draw_sharpness(draws))
    return sound(EQUILIBRATED, found)


def _draw_wide(draws: Draws) -> Electorate:
    """Draw utilities up to 5, or below 0."""
    beta, low = draws.logarithmic(1.0, 5.0), draws.logarithmic(0.01, 0.1)
    utilities, proportions = worst_family(5.0 * beta, low, 1e-4)
    if draws.chance(4):
        return elected(utilities - 0.1, proportions, beta)
    return elected(5.0 * utilities, proportions, beta)


def _draw_sharper(draws: Draws) -> Electorate:
    """Draw votes that are four times as sharp as stated."""
    beta, low = draws.logarithmic(1.0, 7.0), draws.logarithmic(0.01, 0.1)
    return elected(*worst_family(4.0 * beta, low, 1e-4), beta, 4.0 * beta)


def _draw_arbitrary(draws: Draws) -> Electorate:
    """Draw a lottery that chooses one response for certain."""
    base = elected(*_draw_groups(draws), _draw_sharpness(draws))
    chosen = draws.whole(base.lottery.size - 1)
    sure = np.eye(base.lottery.size)[chosen]
    return Electorate(base.utilities, base.proportions, base.sharpness, base.preference, sure)


def _vector(electorate: Electorate) -> Float[np.ndarray, "coordinate"]:
    logs = np.log([electorate.sharpness, *electorate.proportions])
    return np.concatenate([electorate.utilities.ravel(), logs])


def _at(electorate: Electorate, vector: Float[np.ndarray, "coordinate"]) -> Electorate:
    cells = electorate.utilities.size
    utilities = np.clip(vector[:cells], 0.0, 1.0).reshape(electorate.utilities.shape)
    sharpness = float(np.exp(np.clip(vector[cells], np.log(BLUNTEST), np.log(SHARPEST))))
    raw = np.exp(np.clip(vector[cells + 1 :], -12.0, 0.0))
    return elected(utilities, raw / raw.sum(), sharpness)


EQUILIBRATED: Hypothesis[Electorate] = Hypothesis(
    "equilibrium",
    r"\max_a (P\pi)(a) = \tfrac12",
    lambda electorate: gain(electorate.preference, electorate.lottery) <= EQUILIBRIUM,
)

DISTORTION = Theorem(
    key="distortion",
    statement=(
        r"\max_x U(x) \le \tfrac\beta2\coth\tfrac\beta2\; U(\pi) for the average utility"
        r" U = \sum_u \eta_u u and the maximal lottery \pi of"
        r" P(x,y) = \sum_u \eta_u \sigma(\beta(u(x)-u(y))); no smaller factor will do"
    ),
    sources=(Citation("golz2025", "as commonly stated"),),
    hypotheses=(
        Hypothesis("unit", r"0 \le u \le 1", is_unit),
        Hypothesis("logistic", r"P(x,y) = \sum_u \eta_u\sigma(\beta(u(x)-u(y)))", is_logistic),
        EQUILIBRATED,
    ),
    margin=_distortion,
    instances=instances(_draw_elected),
    controls={
        "unit": instances(_draw_wide),
        "logistic": instances(_draw_sharper),
        "equilibrium": instances(_draw_arbitrary),
    },
    sharp=tuple(near_worst(beta, 0.03 / max(beta, 3.0)) for beta in (0.5, 1.0, 3.0, 10.0, 30.0)),
    coordinates=Coordinates(_vector, _at),
)

ALL = (DISTORTION,)
