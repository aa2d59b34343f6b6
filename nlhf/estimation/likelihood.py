"""The Bradley-Terry log-likelihood of one prompt or of a stack of prompts, and its maximum."""

import numpy as np
from jaxtyping import Float

from nlhf.numerics import log_sigmoid, sigmoid

_NEAR = 1e-3
_SURE = 1.0
_POLISHING_STEPS = 3
_MOST_STEPS = 1000


class Likelihood:
    r"""The penalised log-likelihood of rewards and its derivatives, over any leading axes.

    .. math:: \sum_{i \ne j} w_{ij} \log \sigma(r_i - r_j) - \tfrac{\rho}{2} \|r\|^2

    Attributes:
        wins: w, with shape ``(..., n, n)``.
        compared: w + wᵀ.
        ridge: ρ.
    """

    def __init__(self, wins: Float[np.ndarray, "*batch n n"], ridge: float) -> None:
        self.wins, self.ridge = wins, ridge
        self.compared = wins + wins.swapaxes(-1, -2)

    def value(self, r: Float[np.ndarray, "*batch n"]) -> np.ndarray | np.float64:
        """Return the log-likelihood of the votes, in nats, without the penalty."""
        logs = log_sigmoid(_differences(r))
        votes: np.ndarray = np.asarray((self.wins * logs).sum(axis=(-1, -2)))
        return votes

    def penalised(self, r: Float[np.ndarray, "*batch n"]) -> np.ndarray | np.float64:
        """Return the log-likelihood less the penalty."""
        return np.asarray(self.value(r) - self.ridge / 2 * (r * r).sum(axis=-1))

    def score(self, r: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Return the gradient of the penalised log-likelihood, in votes."""
        return self._score(r, _losing(r))

    def information(self, r: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n n"]:
        """Return minus the Hessian of the penalised log-likelihood; singular if ρ is 0."""
        return self._information(_losing(r))

    def newton_step(self, r: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Return the Newton step, which is centred where r is."""
        losing = _losing(r)
        matrix = self._information(losing)
        # Curvature along the constants, to which the score of centred rewards is orthogonal.
        along = matrix.diagonal(axis1=-2, axis2=-1).mean(axis=-1)
        matrix += (np.where(along > 0, along, 1.0) / r.shape[-1])[..., None, None]
        step: np.ndarray = np.linalg.solve(matrix, self._score(r, losing)[..., None])[..., 0]
        return step

    def _score(self, r: np.ndarray, losing: np.ndarray) -> np.ndarray:
        missed = self.wins * losing
        total: np.ndarray = missed.sum(axis=-1) - missed.sum(axis=-2) - self.ridge * r
        return total

    def _information(self, losing: np.ndarray) -> np.ndarray:
        matrix: np.ndarray = -self.compared * losing * losing.swapaxes(-1, -2)
        every = np.arange(matrix.shape[-1])
        matrix[..., every, every] = self.ridge - matrix.sum(axis=-1)
        return matrix


def maximise(
    likelihood: Likelihood, start: Float[np.ndarray, "*batch n"]
) -> Float[np.ndarray, "*batch n"]:
    r"""Maximise the penalised log-likelihood by a damped Newton method, to about 1e-6 logits.

    A step d with s = max d - min d > 1 is taken in full or shortened to :math:`\log(1 + s)/s`,
    whichever gives the larger value. The shortened one is sure to make progress, and so is a full
    one with s ≤ 1, because the third derivative of the logistic loss is bounded by its second
    (F. Bach, Self-concordant analysis for logistic regression, Electronic Journal of Statistics 4,
    2010). The caller checks the score.
    """
    r = start
    for _ in range(_MOST_STEPS):
        step = likelihood.newton_step(r)
        spread = np.ptp(step, axis=-1, keepdims=True)
        full, longest = r + step, spread.max(initial=0.0)
        if longest > _SURE:
            spread = np.maximum(spread, _NEAR)
            short = r + np.log1p(spread) / spread * step
            better = np.asarray(likelihood.penalised(full) > likelihood.penalised(short))
            full = np.where(better[..., None], full, short)
        r = full
        if longest <= _NEAR:
            break
    return r


def polish(
    likelihood: Likelihood, r: Float[np.ndarray, "*batch n"]
) -> Float[np.ndarray, "*batch n"]:
    """Take a near maximum to rounding accuracy, by full Newton steps."""
    for _ in range(_POLISHING_STEPS):
        r = r + likelihood.newton_step(r)
    return r


def _differences(r: np.ndarray) -> np.ndarray:
    difference: np.ndarray = r[..., :, None] - r[..., None, :]
    return difference


def _losing(r: np.ndarray) -> np.ndarray:
    """Return the probability that i loses to j."""
    # Accurate relative to the result, however small: steps in a flat tail depend on it.
    return sigmoid(-_differences(r))
