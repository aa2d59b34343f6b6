"""A preference of rank four in which a score and a circle of tastes are mixed, as an example."""

import numpy as np
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.games.preference import LowRankPreference
from nlhf.results import float_array


def scored_cycle(score: ArrayLike, phase: ArrayLike, cycle: float = 0.5) -> LowRankPreference:
    r"""Return a preference that is partly a score and partly a circle.

    .. math:: P_{ij} = \tfrac12 + \tfrac{1-c}{2}(s_i - s_j) + \tfrac{c}{2}\sin(\theta_i-\theta_j).

    The first part is what a reward can represent. The second is a wheel on which everybody loses
    to whoever is a little ahead, so that no reward can. It has rank four.

    Args:
        score: s in [0, 1], one number per response; for steps of a Markov decision process one
            per state and action, shape ``(S, A)`` or ``(S·A,)``.
        phase: θ in radians, of the same shape.
        cycle: c in [0, 1], the weight of the circle.

    Raises:
        InvalidProblem: If shapes differ, a score or the weight leaves [0, 1], or a number is not
            finite.
    """
    s, theta = float_array("the score", score), float_array("the phase", phase)
    if s.shape != theta.shape or s.size == 0:
        raise InvalidProblem(
            f"scores have shape {s.shape} and phases {theta.shape}", "pass one of each per response"
        )
    if not ((s >= 0.0) & (s <= 1.0)).all() or not np.isfinite(theta).all():
        raise InvalidProblem(
            f"scores range from {s.min():g} to {s.max():g}, phases from {theta.min():g} to "
            f"{theta.max():g}",
            "scale scores to [0, 1] and give finite phases",
        )
    if not 0.0 <= cycle <= 1.0:
        raise InvalidProblem(f"cycle is {cycle!r}", "pass a weight from 0 to 1")
    s, theta = s.reshape(-1), theta.reshape(-1)
    # Scaled so that |features|² ≤ 1 and |skew| = 1/2: no entry of P can leave [0, 1].
    level, wheel = np.sqrt(2.0 * (1.0 - cycle)), np.sqrt(cycle)
    features = np.stack(
        [
            level * (s - 0.5),
            np.full(s.shape, level / 2.0),
            wheel * np.sin(theta),
            wheel * np.cos(theta),
        ],
        axis=1,
    )
    turn = np.array([[0.0, 0.5], [-0.5, 0.0]])
    nothing = np.zeros((2, 2))
    return LowRankPreference(features, np.block([[turn, nothing], [nothing, turn]]))
