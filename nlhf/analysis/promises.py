"""What theorems promise of a method in a game, next to which its run can be laid."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from nlhf.algorithms.average import Average
from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.loop import StopRule
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.optimistic import OptimisticMirrorDescent
from nlhf.algorithms.rates import ConvergesLinearly, divergence_from_reference
from nlhf.errors import HypothesisViolated
from nlhf.games.preference import PreferenceGame
from nlhf.protocols import Algorithm, Game
from nlhf.results import read_only

OPTIMISTIC_STEP = 0.5
"""η of the optimistic average at temperature 0."""

_UNPREPARED = 0.14
"""Times 1/T: what playing the start without a prediction costs the optimistic average."""

_POINTS = 200

_LINEAR_RATES: dict[type, str] = {
    MirrorDescent: "mirror-descent-linear",
    Extragradient: "extragradient-linear",
    OptimisticMirrorDescent: "optimistic-linear",
}


@dataclass(frozen=True, slots=True, eq=False)
class Promise:
    """What is proven of a method in a game, for a start at the references.

    Attributes:
        theorem: Key of the statement in the ledger of theorems; `None` for a rate that a method
            states of itself.
        says: The statement with the numbers of this game.
        contraction: The factor per iteration of a linear rate, else `None`.
        until: Iterations that are proven to reach the gap that was asked for, if any are.
        iterations: Points k ≥ 1 at which the proven bound of the gap is listed; none if the
            statement bounds something else.
        gaps: The duality gap after these iterations is at most this, in payoff units.
    """

    theorem: str | None
    says: str
    contraction: float | None
    until: int | None
    iterations: Int[np.ndarray, "point"]
    gaps: Float[np.ndarray, "point"]


def promise(game: Game[Any, Any], algorithm: Algorithm[Any], stop: StopRule) -> Promise | None:
    """Return what is proven of the method in this game, or `None` where nothing is."""
    try:
        if isinstance(algorithm, ConvergesLinearly):
            return _linear(game, algorithm, stop)
        if isinstance(algorithm, NashMD):
            return _decaying(game, algorithm)
    except HypothesisViolated:  # outside the hypotheses nothing is promised
        return None
    if isinstance(algorithm, Average):
        return _averaged(game, algorithm.inner, stop)
    return None


def averaging_step(game: PreferenceGame, stop: StopRule) -> float:
    """Return √(D/T), the step of the averaged mirror descent over a whole run at temperature 0."""
    return sqrt(_farthest(game) / (stop.max_iterations + 1)) or 1.0


def _linear(game: Game[Any, Any], algorithm: ConvergesLinearly, stop: StopRule) -> Promise:
    rate, start = algorithm.rate(game), divergence_from_reference(game)
    until = rate.iterations(stop.gap, start) if stop.gap > 0.0 else None
    points = read_only(np.union1d(_points(stop), until or 1).astype(np.int64))
    return Promise(
        theorem=_LINEAR_RATES.get(type(algorithm)),
        says=f"gap <= {rate.gap * start:.3g} x {rate.contraction:.6g}^(k-1)",
        contraction=rate.contraction,
        until=until,
        iterations=points,
        gaps=read_only(rate.gap * start * rate.contraction ** (points - 1.0)),
    )


def _decaying(game: Game[Any, Any], algorithm: NashMD) -> Promise:
    nothing = read_only(np.empty(0))
    return Promise(
        theorem="nash-md-rate",
        says=f"KL <= {2.0 * algorithm.divergence_after(game, 1):.3g}/(k+1)",
        contraction=None,
        until=None,
        iterations=read_only(np.empty(0, dtype=np.int64)),
        gaps=nothing,
    )


def _averaged(game: Game[Any, Any], inner: Algorithm[Any], stop: StopRule) -> Promise | None:
    """Return what is proven of averages: of k + 1 proposals, at temperature 0."""
    if not isinstance(game, PreferenceGame) or game.temperature > 0.0:
        return None
    points, farthest = _points(stop), _farthest(game)
    count = points + 1.0
    if isinstance(inner, MirrorDescent) and inner.step_size is not None:
        eta = inner.step_size
        bias = eta * game.lipschitz**2
        theorem = "sppo-average"
        says = f"gap <= {2.0 * farthest / eta:.3g}/(k+1) + {bias:.3g}"
        gaps = 2.0 * farthest / (eta * count) + bias
    elif isinstance(inner, OptimisticMirrorDescent) and inner.step_size == OPTIMISTIC_STEP:
        theorem = "onpo-average"
        says = f"gap <= {4.0 * farthest + _UNPREPARED:.3g}/(k+1)"
        gaps = (4.0 * farthest + _UNPREPARED) / count
    else:
        return None
    return Promise(theorem, says, None, None, points, read_only(gaps))


def _farthest(game: PreferenceGame) -> float:
    """Return D, the largest KL of any policy from the reference: max log 1/μ."""
    return float(-game.reference.log_probabilities.min())


def _points(stop: StopRule) -> Int[np.ndarray, "point"]:
    last = max(stop.max_iterations, 1)
    return read_only(np.unique(np.geomspace(1.0, last, _POINTS).round().astype(np.int64)))
