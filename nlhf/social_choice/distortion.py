"""Distortion: what is lost in average utility when only comparisons are seen."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.numerics import PROBABILITY_TOLERANCE
from nlhf.results import float_array
from nlhf.spaces.policy import Policy

Utilities = Float[np.ndarray, "group response"]


def preference_of_utilities(
    utilities: ArrayLike, sharpness: float, proportions: ArrayLike | None = None
) -> Float[np.ndarray, "response response"]:
    r"""Return :math:`P(x, y) = \sum_u \eta_u\,\sigma(\beta(u(x) - u(y)))`.

    Args:
        utilities: u, shape ``(U, n)``.
        sharpness: β > 0, of the votes, per unit of utility.
        proportions: η, shape ``(U,)``; equal by default.

    Raises:
        InvalidProblem: The utilities are not finite, β is not positive, or η is no distribution.
    """
    u, eta = _checked(utilities, proportions)
    _check_sharpness(sharpness)
    rows, columns = np.triu_indices(u.shape[1], 1)
    chance = 0.5 + 0.5 * np.tanh(0.5 * sharpness * (u[:, rows] - u[:, columns]))
    p = np.full((u.shape[1],) * 2, 0.5)
    p[rows, columns] = eta @ chance
    p[columns, rows] = 1.0 - p[rows, columns]
    return p


def average_utility(
    utilities: ArrayLike, proportions: ArrayLike | None = None
) -> Float[np.ndarray, " response"]:
    """Return Σ_u η_u u(x) for every response.

    Raises:
        InvalidProblem: The utilities are not finite, or η is no distribution.
    """
    u, eta = _checked(utilities, proportions)
    return np.asarray(eta @ u)


def distortion(
    lottery: ArrayLike,
    utilities: ArrayLike,
    proportions: ArrayLike | None = None,
) -> float:
    r"""Return :math:`\max_x U(x) / U(\pi)` for the average utility U.

    It is 1 where nothing has any utility, and infinite where only the lottery has none.

    Args:
        lottery: π, shape ``(n,)``.
        utilities: u ≥ 0, shape ``(U, n)``.
        proportions: η, shape ``(U,)``; equal by default.

    Raises:
        InvalidProblem: A utility is negative or not finite, η or π is no distribution, or the
            shapes do not fit.
    """
    chances = Policy.of(lottery).probabilities
    average = average_utility(utilities, proportions)
    u = float_array("the utilities", utilities)
    if u.min() < 0.0 or chances.shape != average.shape:
        raise InvalidProblem(
            f"utilities from {u.min():g} for {average.size} responses, "
            f"a lottery of shape {chances.shape}",
            "a ratio of utilities needs utilities of at least 0; give one probability per response",
        )
    best, reached = float(average.max()), float(average @ chances)
    if best == 0.0:
        return 1.0
    return best / reached if reached > 0.0 else float("inf")


def nash_distortion_bound(sharpness: float) -> float:
    r"""Return :math:`\frac\beta2 \coth\frac\beta2`, at most the distortion of a maximal lottery.

    For utilities in [0, 1] and votes of sharpness β. No rule that sees P alone does better (P.
    Gölz, N. Haghtalab, K. Yang, 2025); the ledger has a proof of the bound.

    Raises:
        InvalidProblem: β is not positive.
    """
    _check_sharpness(sharpness)
    return float(0.5 * sharpness / np.tanh(0.5 * sharpness))


def worst_family(
    sharpness: float, low: float, slack: float = 1e-6
) -> tuple[Utilities, Float[np.ndarray, " group"]]:
    r"""Return utilities and proportions whose maximal lottery is nearly the worst possible.

    A share η has utility 1 for response 0 and none for response 1, the rest has none for response 0
    and a little, `low`, for response 1. η is just below where the majority turns, at odds
    :math:`\tanh(\beta a/2)/\tanh(\beta/2)`; so response 1 is chosen, and the distortion is
    :math:`\frac{\tanh(\beta a/2)}{a\tanh(\beta/2)}(1 - s)`, the bound as a and s go to 0.

    Args:
        sharpness: β.
        low: a, in (0, 1].
        slack: s, the relative distance of the odds from where the majority turns, in (0, 1).

    Raises:
        InvalidProblem: An argument is out of range.
    """
    _check_sharpness(sharpness)
    if not (0.0 < low <= 1.0 and 0.0 < slack < 1.0):
        raise InvalidProblem(
            f"low {low:g} and slack {slack:g}", "give 0 < low <= 1 and 0 < slack < 1"
        )
    odds = np.tanh(0.5 * sharpness * low) / np.tanh(0.5 * sharpness) * (1.0 - slack)
    share = odds / (1.0 + odds)
    return np.array([[1.0, 0.0], [0.0, low]]), np.array([share, 1.0 - share])


def _check_sharpness(sharpness: float) -> None:
    number = isinstance(sharpness, int | float | np.number)
    if not (number and 0.0 < sharpness < np.inf):
        raise InvalidProblem(f"the sharpness is {sharpness!r}", "give a positive number")


def _checked(
    utilities: ArrayLike, proportions: ArrayLike | None
) -> tuple[Utilities, Float[np.ndarray, " group"]]:
    u = float_array("the utilities", utilities)
    if u.ndim != 2 or 0 in u.shape or not np.isfinite(u).all():
        raise InvalidProblem(
            f"utilities of shape {u.shape}", "give finite utilities of shape (groups, responses)"
        )
    eta = np.full(len(u), 1.0 / len(u))
    if proportions is not None:
        eta = float_array("the proportions", proportions)
    if (
        eta.shape != (len(u),)
        or not (eta >= 0.0).all()
        or abs(float(eta.sum()) - 1.0) > PROBABILITY_TOLERANCE
    ):
        raise InvalidProblem(
            f"proportions of shape {eta.shape} with sum {eta.sum():.12g} for {len(u)} groups",
            "give one share of at least 0 per group, with sum 1 (tolerance 1e-9)",
        )
    return u, eta
