"""Rankings of single responses by a welfare of the groups' utilities."""

import numpy as np
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.numerics import log_of
from nlhf.results import float_array
from nlhf.social_choice.distortion import average_utility
from nlhf.social_choice.outcomes import SCORE_TOLERANCE, Ranking, ranked_by

LEXICOGRAPHIC = "utilities of the groups, each group counted once, worst first; rounded to 1e-9"


def utilitarian(utilities: ArrayLike, proportions: ArrayLike | None = None) -> Ranking:
    """Return the order by average utility, groups in proportion to their size.

    Args:
        utilities: Shape ``(U, n)``.
        proportions: η, shape ``(U,)``; equal by default.

    Raises:
        InvalidProblem: The utilities are not finite, or η is no distribution.
    """
    return ranked_by(average_utility(utilities, proportions))


def nash_welfare(utilities: ArrayLike, proportions: ArrayLike | None = None) -> Ranking:
    r"""Return the order by :math:`\sum_u \eta_u \log u(x)`.

    It does not depend on the units of the groups' utilities, only on where their zeros are.

    Args:
        utilities: Shape ``(U, n)``, at least 0; a response at 0 for a group is last.
        proportions: η, shape ``(U,)``; equal by default.

    Raises:
        InvalidProblem: A utility is negative or not finite, or η is no distribution.
    """
    u = float_array("the utilities", utilities)
    average_utility(u, proportions)
    if u.min() < 0.0:
        raise InvalidProblem(
            f"the least utility is {u.min():g}", "subtract every group's zero: its worst outcome"
        )
    eta = np.full(len(u), 1.0 / len(u)) if proportions is None else np.asarray(proportions)
    weighed = eta > 0.0
    return ranked_by(np.asarray(eta[weighed] @ log_of(u[weighed])))


def leximin(utilities: ArrayLike) -> Ranking:
    """Return the order by the worst-off group, ties by the next worst-off, and so on.

    Args:
        utilities: Shape ``(U, n)``, comparable between groups.

    Raises:
        InvalidProblem: The utilities are not finite.
    """
    average_utility(utilities)
    u = np.sort(float_array("the utilities", utilities), axis=0)
    # Utilities in units of the tolerance, so that comparison of tuples is transitive.
    steps = np.rint(u / SCORE_TOLERANCE)
    keys = [tuple(column) for column in steps.T.tolist()]
    levels = [
        tuple(item for item, own in enumerate(keys) if own == key)
        for key in sorted(set(keys), reverse=True)
    ]
    return Ranking(tuple(levels), (LEXICOGRAPHIC,))
