r"""Exact equilibria of KL-regularised games on decision processes, by Newton on a branch.

Write θ for the statistics that the payoff depends on, in the scale of the payoff over
temperature, and z(θ) for the statistics of the soft best response to them. The equilibrium at
1/temperature scaled by :math:`s \in [0, 1]` solves

.. math:: F(\theta, s) = \theta - s\, z(\theta) = 0, \qquad
          \partial_\theta F = I - s\, V^\top C\, U,

with the payoff :math:`K = U V^\top` skew and C a covariance. The Jacobian has the eigenvalues of
:math:`I - s\,C^{1/2} K C^{1/2}`, identity plus skew: it is never singular, and one smooth branch
leads from the reference at s = 0 to the equilibrium at s = 1, as for matrix games. A product with
it is one sweep over the process; systems are solved by GMRES, or by elimination where they are
small.
"""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.exact.regularised import blas
from nlhf.exact.sequence_form import SequentialProblem, sequence_form
from nlhf.exact.soft_response import SoftResponses
from nlhf.numerics import EPSILON
from nlhf.spaces.policy import Policy

R = TypeVar("R")

_MAX_SYSTEMS = 2000
_MAX_MOVE = 1.0
"""KL divergence in nats between trajectories that one prediction may cause: beyond it the
covariance at the old point says nothing of the new one."""
_NEAR = 0.3
"""Local norm of a correction, and residual in nats, at which a point counts as on the branch."""
_FELT = 10.0
"""Nats by which what is left of the residual may still move a trajectory's payoff."""
_COLLAPSED = 1e-11
"""Step, relative to the way behind it, below which the branch counts as lost: it is followed
again from the reference, allowed a tenth of the nats."""
_SETTLED = 1e-8
"""Local norm of a correction below which rounding decides."""
_PATIENCE = 12
"""Corrections at one target."""
_ELIMINATED = 1 << 20
"""Numbers in all tangents of a process up to which the Jacobian is written out."""
_KRYLOV = 1e-8
"""Relative residual of a system: Newton corrections then contract by that much at best."""


@dataclass(frozen=True, slots=True, eq=False)
class SequentialEquilibrium:
    """What the branch ended in, not yet certified.

    Attributes:
        policy: The policy that both players use.
        converged: Whether the target was reached and no further step helped.
        iterations: Newton systems solved.
    """

    policy: Policy
    converged: bool
    iterations: int


@dataclass(frozen=True, slots=True, eq=False)
class _Point(Generic[R]):
    """A point near the branch: θ, the response to it, and how far along it stands."""

    theta: Float[np.ndarray, "statistic"]
    response: R
    reached: float


@dataclass(frozen=True, slots=True, eq=False)
class _Correction(Generic[R]):
    """One Newton correction, and what it tells.

    Attributes:
        point: The corrected point.
        size: Local norm of the correction, under the old and the new response.
        before: Residual at the old point, in nats of a trajectory's payoff.
        after: The same at the corrected point.
        missed: Local norm of the residual at the corrected point.
        steepness: One more than the largest payoff, in nats.
    """

    point: _Point[R]
    size: float
    before: float
    after: float
    missed: float
    steepness: float

    @property
    def near(self) -> bool:
        return self.size < _NEAR and self.after < _NEAR

    def done(self) -> bool:
        """Return whether no further correction at the last target would help."""
        floor = 32 * EPSILON * self.steepness
        rounded = max(1e-3, 64 * floor * self.steepness)
        stalled = self.size < _SETTLED and self.after < rounded and self.after >= self.before / 2
        return self.after <= floor or stalled


@runtime_checkable
class Responses(Protocol[R]):
    """The soft best responses that a branch is made of, and how they move."""

    @property
    def dimension(self) -> int:
        """The number of statistics."""
        ...

    @property
    def width(self) -> int:
        """How many numbers say how a response moves in one direction."""
        ...

    def to(self, statistics: Float[np.ndarray, "statistic"]) -> R:
        """Return the response to the payoffs that the statistics stand for."""
        ...

    def statistics(self, response: R) -> Float[np.ndarray, "statistic"]:
        """Return what the payoffs depend on, under a response."""
        ...

    def moved(
        self, response: R, statistics: Float[np.ndarray, "statistic direction"]
    ) -> tuple[Float[np.ndarray, "statistic direction"], Float[np.ndarray, "direction"]]:
        """Return how its statistics move with those responded to, and the payoffs' variances."""
        ...

    def size(self, statistics: Float[np.ndarray, "statistic"]) -> float:
        """Return a bound on the payoff of any trajectory, in nats."""
        ...

    def divergence(self, p: R, q: R) -> float:
        """Return KL(p‖q) between trajectories, in nats."""
        ...


class _Branch(Generic[R]):
    """The walk along the branch of one game."""

    def __init__(self, responses: Responses[R]) -> None:
        self.responses = responses
        self.systems = 0

    def end(self, felt: float) -> tuple[_Point[R], bool]:
        """Follow the branch to s = 1; the last point, and whether it is the end."""
        base = self._point(np.zeros(self.responses.dimension), 0.0)
        slope = self.responses.statistics(base.response)
        size = np.sqrt(self._spread(base.response, slope))
        step = 1.0 / max(float(size), 1.0)
        while self.systems < _MAX_SYSTEMS and step > _COLLAPSED * base.reached:
            guess, step = self._predicted(base, slope, step)
            point, first, tries = self._corrected(guess, felt)
            if point is None:
                step /= 2
                continue
            if point.reached >= 1.0:
                return point, True
            slope = (point.theta - base.theta) / (point.reached - base.reached)
            step = (point.reached - base.reached) * _growth(first, tries)
            base = point
        return base, False

    def _predicted(
        self, base: _Point[R], slope: Float[np.ndarray, "statistic"], step: float
    ) -> tuple[_Point[R], float]:
        """Step along the secant, no further than the largest move allowed."""
        while True:
            target = 1.0 if step >= 1.0 - base.reached else base.reached + step
            guess = self._point(base.theta + (target - base.reached) * slope, target)
            moved = self.responses.divergence(guess.response, base.response)
            if moved <= _MAX_MOVE or step < _COLLAPSED * base.reached:
                return guess, step
            step = 0.7 * (target - base.reached)

    def _corrected(self, guess: _Point[R], felt: float) -> tuple[_Point[R] | None, float, int]:
        """Correct a prediction until it is on the branch; `None` if it does not get there.

        Also the size of the first correction, and the number of corrections.
        """
        point, sizes = guess, list[float]()
        for tries in range(1, _PATIENCE + 1):
            found = self._newton(point)
            sizes.append(found.size)
            settled = found.size < _SETTLED
            if guess.reached < 1.0:
                if found.near and (found.missed * found.steepness < felt or settled):
                    return found.point, sizes[0], tries
            elif found.done():
                return found.point, sizes[0], tries
            worse = tries > 1 and found.size > 0.9 * sizes[-2] and not settled
            if not found.size < 8.0 or worse:
                break
            point = found.point
        return None, sizes[0], len(sizes)

    def _newton(self, point: _Point[R]) -> _Correction[R]:
        self.systems += 1
        s, response = point.reached, point.response
        residual = point.theta - s * self.responses.statistics(response)
        change = self._solved(response, s, residual)
        new = self._point(point.theta - change, s)
        left = new.theta - s * self.responses.statistics(new.response)
        spread = max(self._spread(response, change), self._spread(new.response, change))
        return _Correction(
            point=new,
            size=_finite(np.sqrt(spread)),
            before=self.responses.size(residual),
            after=_finite(self.responses.size(left)),
            missed=_finite(np.sqrt(self._spread(new.response, left))),
            steepness=1.0 + self.responses.size(new.theta),
        )

    def _solved(
        self, response: R, s: float, right: Float[np.ndarray, "statistic"]
    ) -> Float[np.ndarray, "statistic"]:
        """Solve with the Jacobian I - s Vᵀ C U."""
        n = self.responses.dimension
        if n * self.responses.width <= _ELIMINATED:
            identity = np.eye(n)
            moved, _ = self.responses.moved(response, identity)
            with blas().limit(limits=1, user_api="blas"):
                return np.linalg.solve(identity - s * moved, right)
        from scipy.sparse.linalg import LinearOperator, gmres

        def product(direction: np.ndarray) -> np.ndarray:
            moved, _ = self.responses.moved(response, direction.reshape(n, 1))
            return np.asarray(direction.reshape(n) - s * moved[:, 0])

        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        # What is short of the tolerance after the last iteration, later corrections make good.
        solution, _ = gmres(operator, right, rtol=_KRYLOV, restart=min(n, 200), maxiter=3)
        return np.asarray(solution)

    def _point(self, theta: Float[np.ndarray, "statistic"], reached: float) -> _Point[R]:
        return _Point(theta, self.responses.to(theta), reached)

    def _spread(self, response: R, theta: Float[np.ndarray, "statistic"]) -> float:
        """Return the variance of a payoff over the trajectories of a response, in nats squared."""
        return float(self.responses.moved(response, theta[:, None])[1][0])


def solve_sequential(game: SequentialProblem) -> SequentialEquilibrium:
    r"""Return the unique equilibrium of a game on a decision process at positive temperature.

    .. math:: \pi = \arg\max_\rho P(\rho \succ \pi) - \tau KL(\rho\|\mu),

    by predictor-corrector Newton on the branch in 1/temperature from the reference. A system has
    as many unknowns as statistics that the payoff depends on: H·d for a step preference of rank
    d, as many as pairs of a state and an action, or leaves, for a dense one.

    Raises:
        HypothesisViolated: If the temperature is zero: the branch has no end there.
        Unsupported: For a token tree with contexts; its flat game has them.
    """
    if game.temperature <= 0.0:
        raise HypothesisViolated(
            f"the temperature is {game.temperature}: the branch needs a positive one",
            "use nlhf.solve(game), which solves temperature 0 by linear programming",
        )
    responses = SoftResponses(
        sequence_form(game), game.reference.log_probabilities, game.temperature
    )
    response, arrived, systems = follow(responses)
    return SequentialEquilibrium(Policy(response.log_policy), arrived, systems)


def follow(responses: Responses[R]) -> tuple[R, bool, int]:
    """Return the response at the end of the branch, whether it is the end, and systems solved."""
    branch = _Branch(responses)
    felt, arrived = _FELT, False
    with np.errstate(over="ignore", invalid="ignore"):
        while not arrived and branch.systems < _MAX_SYSTEMS:
            point, arrived = branch.end(felt)
            felt *= 0.1
    return point.response, arrived, branch.systems


def _growth(first: float, tries: int) -> float:
    """Return the factor of the next step: a prediction's error grows with its square."""
    wanted = float(np.clip(np.sqrt(2 * _NEAR / max(first, 1e-12)), 0.5, 8.0))
    return min(wanted, {1: 8.0, 2: 3.0, 3: 1.5}.get(tries, 0.7))


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else np.inf
