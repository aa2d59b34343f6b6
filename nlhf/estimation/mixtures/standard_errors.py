"""Standard errors of a mixture of raters."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.estimation.mixtures.ballots import RaterGroups
from nlhf.estimation.mixtures.fitting import RaterMixture
from nlhf.estimation.mixtures.rewards import Parameters, Tabular
from nlhf.estimation.mixtures.steps import Assignment, Model
from nlhf.estimation.mixtures.weights import Coefficients, spread
from nlhf.numerics import sigmoid

MOST_PARAMETERS = 8000
"""Of all groups together; the information is a dense matrix of that size."""

Square = Float[np.ndarray, "entry entry"]


@dataclass(frozen=True, slots=True, eq=False)
class MixtureErrors:
    """How precisely the votes determine a mixture of raters, near the mixture found.

    Attributes:
        covariance: Of the parameters, group after group, then of the coefficients, row after row;
            tabular rewards centred within prompts, and coefficients over groups.
        rewards: Standard errors, of rewards centred within their prompt, in logits.
        parameters: Standard errors of the parameters.
        proportions: Standard errors of the mean prior weights of the groups, by the delta method.
    """

    covariance: Square
    rewards: Float[np.ndarray, "group item"]
    parameters: Parameters
    proportions: Float[np.ndarray, " group"]


def standard_errors(mixture: RaterMixture) -> MixtureErrors:
    r"""Return standard errors from the observed information of the marginal likelihood.

    .. math:: H = -\nabla^2 \Big[ \sum_h \log \sum_u \eta_u \prod_{D_h} \sigma
        - \tfrac\rho2 |\phi|^2 \Big] = \mathbb E[I_{complete} \mid D] + \rho I
        - \sum_h \mathrm{Cov}[s_h \mid D]

    by Louis's identity (T. A. Louis, JRSS B 44, 1982), with s the score of a rater's votes together
    with its group. The covariance is the inverse of H on the subspace where centred rewards lie.
    With the penalty in H, these are the standard deviations of Laplace's approximation to the
    posterior under the prior N(0, 1/ρ); for a ridge of 0, or as votes grow, they are the
    standard errors of maximum likelihood. They do not know of other local maxima, and, ties counted
    half being a pseudo-likelihood, are too large where there are many ties.

    Raises:
        HypothesisViolated: The assignment is hard, so there is no likelihood of which the mixture
            is a maximum; the mixture is no strict local maximum; or there are more than
            `MOST_PARAMETERS` parameters.
    """
    if mixture.assignment is Assignment.HARD:
        raise HypothesisViolated(
            "standard errors of a hard assignment: it is taken as certain, and they would be too "
            "small",
            "fit with Assignment.SOFT, from which there are standard errors",
        )
    if mixture.parameters.size > MOST_PARAMETERS:
        raise HypothesisViolated(
            f"{mixture.parameters.size} parameters, more than {MOST_PARAMETERS}: their information "
            "is a dense matrix",
            "describe responses by features, or fit again to resampled raters",
        )
    model = mixture.model
    gamma = mixture.responsibilities[model.ballots.present]
    matrix = information(model, mixture.parameters, mixture.coefficients, gamma)
    covariance = _inverse(matrix, _gauge(model, mixture.coefficients, len(mixture.parameters)))
    return _errors(mixture, covariance)


def information(
    model: Model, parameters: Parameters, coefficients: Coefficients, responsibilities: RaterGroups
) -> Square:
    """Return H, given the responsibilities of the raters with votes."""
    ballots, design, ridge = model.ballots, model.rewards.design, model.rewards.ridge
    groups, count = parameters.shape
    gamma, z = responsibilities, model.weights.covariates[ballots.present]
    cast = ballots.cast[np.flatnonzero(ballots.present)]
    lost = sigmoid(-model.rewards.differences(parameters))
    wins = np.ascontiguousarray((cast.T @ gamma).T)
    total, rows = groups * count, z.shape[1]
    matrix = np.zeros((total + rows * groups,) * 2)
    scores = [cast @ (design.contrast * one[:, None]) for one in lost]
    for u in range(groups):
        mine = slice(u * count, (u + 1) * count)
        curvature = wins[u] * lost[u] * (1.0 - lost[u])
        matrix[mine, mine] = _dense(design.contrast.T @ (design.contrast * curvature[:, None]))
        matrix[mine, mine] += ridge * np.eye(count)
        for v in range(groups):
            both = (float(u == v) - gamma[:, v]) * gamma[:, u]
            other = slice(v * count, (v + 1) * count)
            matrix[mine, other] -= _dense(scores[u].T @ (scores[v] * both[:, None]))
            cross = scores[u].T @ (z * both[:, None])
            matrix[mine, total + v :: groups] = -cross
            matrix[total + v :: groups, mine] = -cross.T
    matrix[total:, total:] = model.weights.information(coefficients) - spread(z, gamma)
    return matrix


def _gauge(model: Model, coefficients: Coefficients, groups: int) -> Float[np.ndarray, "entry k"]:
    """Return orthonormal directions that change no probability."""
    design, rows = model.rewards.design, len(coefficients)
    count = design.parameters
    free = np.zeros((count, 0))
    if isinstance(design, Tabular):
        prompts = np.arange(int(design.block_of_parameter[-1]) + 1)
        free = (design.block_of_parameter[:, None] == prompts).astype(np.float64)
        free = free[:, free.any(axis=0)]
        free /= np.sqrt(free.sum(axis=0))
    equal = np.kron(np.eye(rows), np.full((groups, 1), groups**-0.5))
    columns = groups * free.shape[1]
    directions = np.zeros((groups * count + rows * groups, columns + rows))
    directions[: groups * count, :columns] = np.kron(np.eye(groups), free)
    directions[groups * count :, columns:] = equal
    return directions


def _inverse(matrix: Square, gauge: Float[np.ndarray, "entry k"]) -> Square:
    """Return the inverse on the complement of the gauge directions, which it keeps apart."""
    from scipy.linalg import cho_solve, cholesky, eigvalsh

    scale = float(np.trace(matrix)) / len(matrix)
    try:
        factor = cholesky(matrix + scale * (gauge @ gauge.T), lower=True)
        smallest = float(np.min(np.diag(factor))) ** 2
    except np.linalg.LinAlgError:
        smallest = 0.0
    if not smallest > 1e-12 * scale:
        lowest = float(eigvalsh(matrix + scale * (gauge @ gauge.T), subset_by_index=[0, 0])[0])
        raise HypothesisViolated(
            f"the observed information has the eigenvalue {lowest:.3g} where the mean is "
            f"{scale:.3g}: the mixture is no strict local maximum, and something in it is not "
            "determined by the votes",
            "ask for fewer groups or a larger ridge, or more restarts; see the diagnostics",
        )
    inverse: np.ndarray = cho_solve((factor, True), np.eye(len(matrix)))
    inverse -= gauge @ (gauge.T @ inverse)
    inverse -= (inverse @ gauge) @ gauge.T
    return inverse


def _errors(mixture: RaterMixture, covariance: Square) -> MixtureErrors:
    model, (groups, count) = mixture.model, mixture.parameters.shape
    total = groups * count
    variances = np.maximum(np.diag(covariance), 0.0)
    parameters = np.sqrt(variances[:total]).reshape(groups, count)
    rewards = parameters
    if not isinstance(model.rewards.design, Tabular):
        rewards = np.stack(
            [
                _of_linear(
                    mixture, covariance[u * count : (u + 1) * count][:, u * count : (u + 1) * count]
                )
                for u in range(groups)
            ]
        )
    present = model.ballots.present
    z, eta = model.weights.covariates[present], mixture.weights[present]
    # d mean(η_u) / d β_dv = mean of z_d η_u (1{u = v} - η_v)
    slopes = np.einsum("hd,hu,huv->udv", z, eta, np.eye(groups) - eta[:, None, :]) / len(z)
    flat = slopes.reshape(groups, -1)
    proportions = np.sqrt(np.maximum(np.diag(flat @ covariance[total:, total:] @ flat.T), 0.0))
    return MixtureErrors(covariance, rewards, parameters, proportions)


def _of_linear(mixture: RaterMixture, covariance: Square) -> Float[np.ndarray, " item"]:
    """Return the standard errors of linear rewards, centred within their prompts."""
    features = mixture.model.rewards.design.rewards(np.eye(len(covariance))).T
    sizes = np.diff(mixture.offsets)
    starts = mixture.offsets[:-1][sizes > 0]
    means = np.add.reduceat(features, starts, axis=0) / sizes[sizes > 0][:, None]
    centred = features - np.repeat(means, sizes[sizes > 0], axis=0)
    return np.sqrt(np.maximum(((centred @ covariance) * centred).sum(axis=1), 0.0))


def _dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())
