r"""The branch of equilibria from the references to the target temperatures.

Write z for all players' distributions and θ for their log-ratios to the references. The
equilibrium at 1/temperature scaled by :math:`s \in [0, 1]` solves

.. math:: F(\theta, s) = \theta - s K z(\theta) = 0, \qquad
          \partial_\theta F = I - s K C(z),

with K skew, so the Jacobian is never singular and one smooth branch leads from θ = 0 at s = 0 to
the target at s = 1. Each iteration makes one Newton correction in every unfinished context; a
context whose correction contracts moves on along the tangent, one whose correction does not goes
back and halves its step. The step, the target and the acceptance are all per context.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from nlhf.exact.blocks import Blocks
from nlhf.exact.systems import NewtonSystem
from nlhf.numerics import EPSILON

_MAX_ITERATIONS = 2000
_MAX_MOVE = 0.5
"""Largest total variation of one prediction or correction: beyond it the covariance at the old
point says nothing of the new one, and an action can overtake unseen."""
_NEAR = 0.3
"""Local norm of a correction, and largest residual in nats, at which a point counts as on the
branch. The residual is unweighted: a weighted one is blind to actions that have underflowed."""
_FELT = 10.0
"""Nats by which the rest of the residual may still move any action's payoff at an accepted point.
At a low temperature a small error in the played actions is a large one in all others: a point
accepted too early leads off the branch, and no step from there is small enough."""
_COLLAPSED = 1e-11
"""Step, relative to the way behind it, that tells of such a point: the context sets out again from
the references, allowed a tenth of the nats."""
_SETTLED = 1e-8
"""Local norm of a correction below which rounding decides, and nothing more can be asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class BranchEnd:
    """Where the branch was left.

    Attributes:
        log_ratios: θ, shape ``(X, N)``.
        converged: Whether the context arrived at the target and stopped improving there.
        iterations: Newton systems solved per context.
    """

    log_ratios: Float[np.ndarray, "context action"]
    converged: Bool[np.ndarray, "context"]
    iterations: Int[np.ndarray, "context"]


@dataclass(slots=True, eq=False)
class _Walk:
    """Where every context stands. Arrays over contexts; the last accepted point is `base`."""

    base: Float[np.ndarray, "context action"]
    tangent: Float[np.ndarray, "context action"]
    reached: Float[np.ndarray, "context"]
    step: Float[np.ndarray, "context"]
    theta: Float[np.ndarray, "context action"]
    target: Float[np.ndarray, "context"]
    size: Float[np.ndarray, "context"]
    tries: Int[np.ndarray, "context"]
    iterations: Int[np.ndarray, "context"]
    done: Bool[np.ndarray, "context"]
    felt: Float[np.ndarray, "context"]


@dataclass(slots=True, eq=False)
class _Correction:
    """One Newton correction of some contexts, and what it tells of them.

    Attributes:
        theta: The corrected point.
        tangent: The branch's direction, where the target is not the last.
        size: Local norm of the correction, under the old and the new distribution.
        moved: Total variation between the two.
        before: Largest residual, in nats, at the old point.
        after: The same at the corrected point.
        missed: Local norm of the residual at the corrected point.
    """

    theta: Float[np.ndarray, "active action"]
    tangent: Float[np.ndarray, "active action"]
    size: Float[np.ndarray, "active"]
    moved: Float[np.ndarray, "active"]
    before: Float[np.ndarray, "active"]
    after: Float[np.ndarray, "active"]
    missed: Float[np.ndarray, "active"]


def follow_branch(
    system: NewtonSystem, log_reference: Float[np.ndarray, "context action"]
) -> BranchEnd:
    """Follow the branch of every context to s = 1.

    Args:
        system: The payoff operators K of all contexts, over temperature.
        log_reference: Log-probabilities of the references, players side by side.

    Returns:
        The log-ratios at the end; `converged` is False where 2,000 iterations did not suffice.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        walk = _begin(system, log_reference)
        for _ in range(_MAX_ITERATIONS):
            active = np.flatnonzero(~walk.done)
            if not active.size:
                break
            correction = _correct(system, log_reference[active], walk, active)
            _decide(system.blocks, log_reference, walk, active, correction)
            collapsed = walk.step[active] < _COLLAPSED * walk.reached[active]
            astray = active[collapsed & (walk.target[active] < 1.0)]
            if astray.size:
                walk.felt[astray] *= 0.1
                _set_out(system, log_reference, walk, astray)
    return BranchEnd(walk.theta, walk.done, walk.iterations)


def _begin(system: NewtonSystem, log_reference: Float[np.ndarray, "context action"]) -> _Walk:
    contexts = log_reference.shape[0]
    nothing = np.zeros_like(log_reference)
    walk = _Walk(
        base=nothing.copy(),
        tangent=nothing.copy(),
        reached=np.zeros(contexts),
        step=np.zeros(contexts),
        theta=nothing.copy(),
        target=np.zeros(contexts),
        size=np.full(contexts, np.inf),
        tries=np.zeros(contexts, dtype=int),
        iterations=np.zeros(contexts, dtype=int),
        done=np.zeros(contexts, dtype=bool),
        felt=np.full(contexts, _FELT),
    )
    _set_out(system, log_reference, walk, np.arange(contexts))
    return walk


def _set_out(
    system: NewtonSystem,
    log_reference: Float[np.ndarray, "context action"],
    walk: _Walk,
    which: Int[np.ndarray, "active"],
) -> None:
    """Predict the first point of some contexts from their references, where the branch begins."""
    z = system.blocks.softmax(log_reference[which])
    tangent = system.product(z, which)
    size = np.sqrt((z * system.blocks.centre(z, tangent) ** 2).sum(axis=-1))
    walk.base[which] = 0.0
    walk.tangent[which] = tangent
    walk.reached[which] = 0.0
    walk.step[which] = 1.0 / np.maximum(size, 1.0)
    _predict(system.blocks, log_reference, walk, which)


def _correct(
    system: NewtonSystem,
    log_reference: Float[np.ndarray, "active action"],
    walk: _Walk,
    active: Int[np.ndarray, "active"],
) -> _Correction:
    """Make one Newton correction at the target, with the tangent where it will be needed."""
    blocks, theta, s = system.blocks, walk.theta[active], walk.target[active]
    z = blocks.softmax(log_reference + theta)
    slope = system.product(z, active)
    residual = theta - s[:, None] * slope
    # At the target no tangent is needed: a right-hand side of zeros costs next to nothing.
    last = s >= 1.0
    wanted = (residual,) if last.all() else (residual, np.where(last[:, None], 0.0, slope))
    newton, *rest = system.solve(z, s, wanted, active)
    tangent = rest[0] if rest else np.zeros_like(theta)
    corrected = theta - newton
    z_new = blocks.softmax(log_reference + corrected)
    left = corrected - s[:, None] * system.product(z_new, active)
    spread = [(w * blocks.centre(w, newton) ** 2).sum(axis=-1) for w in (z, z_new)]
    missed = np.sqrt((z_new * blocks.centre(z_new, left) ** 2).sum(axis=-1))
    return _Correction(
        theta=corrected,
        tangent=tangent,
        size=_finite(np.sqrt(np.maximum(*spread))),
        moved=_finite(blocks.moved(z, z_new)),
        before=np.abs(residual).max(axis=-1),
        after=_finite(np.abs(left).max(axis=-1)),
        missed=_finite(missed),
    )


def _decide(
    blocks: Blocks,
    log_reference: Float[np.ndarray, "context action"],
    walk: _Walk,
    active: Int[np.ndarray, "active"],
    correction: _Correction,
) -> None:
    """Finish, move on, go back or keep correcting, context by context."""
    size, moved, after = correction.size, correction.moved, correction.after
    walk.iterations[active] += 1
    walk.tries[active] += 1
    last = walk.target[active] >= 1.0
    # θ is payoffs over temperature: its size is also how much of an error in z it multiplies.
    steepness = 1.0 + np.abs(correction.theta).max(axis=-1)
    floor = 32 * EPSILON * steepness
    settled = size < _SETTLED
    rounded = np.maximum(1e-3, 64 * floor * steepness)
    stalled = settled & (after < rounded) & (after >= 0.5 * correction.before)
    done = last & ((after <= floor) | stalled)
    near = (size < _NEAR) & (after < _NEAR) & (moved < _MAX_MOVE)
    onward = ~last & near & ((correction.missed * steepness < walk.felt[active]) | settled)
    contracts = (walk.tries[active] == 1) | (size < 0.9 * walk.size[active]) | settled
    back = ~done & ~onward & ~((moved < _MAX_MOVE) & (size < 8.0) & contracts)

    kept = active[~back]
    walk.theta[kept] = correction.theta[~back]
    walk.size[kept] = size[~back]
    walk.done[active[done]] = True

    move = active[onward]
    if move.size:
        walk.step[move] *= _growth(walk.tries[move], size[onward])
        walk.base[move] = correction.theta[onward]
        walk.tangent[move] = correction.tangent[onward]
        walk.reached[move] = walk.target[move]
        _predict(blocks, log_reference, walk, move)
    retry = active[back]
    if retry.size:
        walk.step[retry] *= 0.5
        _predict(blocks, log_reference, walk, retry)


def _growth(
    tries: Int[np.ndarray, "active"], size: Float[np.ndarray, "active"]
) -> Float[np.ndarray, "active"]:
    """Return the factor of the next step: a prediction's error grows with its square."""
    wanted = np.clip(np.sqrt(2 * _NEAR / np.maximum(size, 1e-12)), 0.5, 8.0)
    allowed = np.select([tries <= 1, tries == 2, tries == 3], [8.0, 3.0, 1.5], 0.7)
    return np.minimum(wanted, allowed)


def _predict(
    blocks: Blocks,
    log_reference: Float[np.ndarray, "context action"],
    walk: _Walk,
    which: Int[np.ndarray, "active"],
) -> None:
    """Step along the tangent, no further than the largest move allowed."""
    base, tangent, reached = walk.base[which], walk.tangent[which], walk.reached[which]
    step = np.minimum(walk.step[which], 1.0 - reached)
    origin = blocks.softmax(log_reference[which] + base)
    while True:
        theta = base + step[:, None] * tangent
        far = blocks.moved(origin, blocks.softmax(log_reference[which] + theta)) > _MAX_MOVE
        if not far.any():
            break
        step = np.where(far, 0.7 * step, step)
    whole = step >= 1.0 - reached
    walk.step[which] = step
    walk.theta[which] = theta
    walk.target[which] = np.where(whole, 1.0, reached + step)
    walk.size[which] = np.inf
    walk.tries[which] = 0


def _finite(values: Float[np.ndarray, "active"]) -> Float[np.ndarray, "active"]:
    return np.where(np.isfinite(values), values, np.inf)
