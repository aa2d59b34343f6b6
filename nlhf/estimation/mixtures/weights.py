"""The prior weights of the groups, alike for all raters or dependent on what is known of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from nlhf.estimation.mixtures.ballots import RaterGroups
from nlhf.numerics import log_normalise

Coefficients = Float[np.ndarray, "covariate group"]
_TINY = 1e-300
_HALVINGS = 60
_FLOOR = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    r"""Group weights of a multinomial logit, :math:`\log\eta_u(z) = z^\top\beta_u` + constant.

    The first covariate is the constant 1. Without others, η is the same for all raters and is
    stepped in closed form. The other coefficients have the penalty (ρ/2) |β|², the first none.

    Attributes:
        covariates: z, one row a rater.
        present: The raters with votes; the others do not count.
        ridge: ρ.
    """

    covariates: Float[np.ndarray, "annotator covariate"]
    present: Bool[np.ndarray, " annotator"]
    ridge: float

    @property
    def alike(self) -> bool:
        """Whether all raters have the same prior weights."""
        return self.covariates.shape[1] == 1

    def logs(self, coefficients: Coefficients) -> RaterGroups:
        """Return the logarithms of every rater's prior weights, or one row for all."""
        rows = self.covariates[:1] if self.alike else self.covariates
        return log_normalise(rows @ coefficients)

    def penalty(self, coefficients: Coefficients) -> float:
        """Return the penalty of all coefficients but the first."""
        return self.ridge / 2 * float((coefficients[1:] ** 2).sum())

    def score(self, responsibilities: RaterGroups, coefficients: Coefficients) -> Coefficients:
        """Return the gradient of the expected log-weight less the penalty, in raters."""
        missed = (responsibilities - np.exp(self.logs(coefficients)))[self.present]
        gradient = self.covariates[self.present].T @ missed
        gradient[1:] -= self.ridge * coefficients[1:]
        return gradient

    def ascend(self, responsibilities: RaterGroups, coefficients: Coefficients) -> Coefficients:
        """Return coefficients at which the expected log-weight less the penalty is not lower."""
        gamma = responsibilities[self.present]
        if self.alike:
            return np.log(np.maximum(gamma.mean(axis=0, keepdims=True), _TINY))
        matrix = self.information(coefficients) + self._gauge(coefficients)
        # The constant of a group that nobody belongs to has no curvature left.
        matrix += _FLOOR * len(self.present) * np.eye(len(matrix))
        step = np.linalg.solve(
            matrix,
            self.score(responsibilities, coefficients).ravel(),
        ).reshape(coefficients.shape)
        before = self._expected(gamma, coefficients)
        for _ in range(_HALVINGS):
            if self._expected(gamma, coefficients + step) >= before:
                return coefficients + step
            step = step / 2
        return coefficients

    def information(self, coefficients: Coefficients) -> Float[np.ndarray, "entry entry"]:
        """Return minus the Hessian, the coefficients in row order; singular along equal changes."""
        logs = np.broadcast_to(self.logs(coefficients), (len(self.covariates), len(coefficients.T)))
        matrix = spread(self.covariates[self.present], np.exp(logs[self.present]))
        rows, groups = coefficients.shape
        penalised = np.arange(groups, rows * groups)
        matrix[penalised, penalised] += self.ridge
        return matrix

    def _gauge(self, coefficients: Coefficients) -> np.ndarray:
        """Return curvature along equal changes of all groups, which alter no weight."""
        rows, groups = coefficients.shape
        return np.kron(np.eye(rows), np.full((groups, groups), len(self.present) / groups))

    def _expected(self, gamma: RaterGroups, coefficients: Coefficients) -> float:
        logs = log_normalise(self.covariates[self.present] @ coefficients)
        return float((gamma * logs).sum()) - self.penalty(coefficients)


def spread(
    covariates: Float[np.ndarray, "annotator covariate"], probabilities: RaterGroups
) -> Float[np.ndarray, "entry entry"]:
    r"""Return :math:`\sum_h z_h z_h^\top \otimes (\mathrm{diag}(p_h) - p_h p_h^\top)`."""
    rows, groups = covariates.shape[1], probabilities.shape[1]
    each = (covariates[:, :, None] * probabilities[:, None, :]).reshape(len(covariates), -1)
    matrix = -(each.T @ each).reshape(rows, groups, rows, groups)
    own = np.einsum("hd,he,hu->deu", covariates, covariates, probabilities, optimize=True)
    every = np.arange(groups)
    matrix[:, every, :, every] += own.transpose(2, 0, 1)
    return matrix.reshape(rows * groups, rows * groups)
