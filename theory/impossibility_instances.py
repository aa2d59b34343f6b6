"""Groups with linear rewards: definitions on raw arrays, and instances to draw.

Nothing is validated, so that hypotheses can be violated, and nothing is shared with the package's
own `impossibility`, with which one part of a claim compares.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from nlhf.numerics import EPSILON, log_normalise
from nlhf.theorems import Coordinates, Hypothesis

from .draws import Draws
from .instances import draw_weights

POOLED_TOLERANCE = 1e-11
"""How far the model of the pooled reward may be from the pooled preference."""

LONGEST = 2.0
"""Largest entry of a drawn feature difference; the least on the diagonal is a tenth of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Groups with proportions η, what they prefer, and a candidate φ* for the pooled reward.

    Attributes:
        features: ψ.
        pairs: The compared pairs; the differences z = ψ_i − ψ_j are those of the first from the
            second.
        law: ρ, the probability of each pair.
        parameters: φ_u.
        preferences: The probability p_u(z) that a group prefers the first of a pair.
        proportions: η.
        candidate: φ*.
        radius: D.
        beta: β, in the objective.
        policy_beta: β in the policies.
        log_reference: log μ.
    """

    features: Float[np.ndarray, "response feature"]
    pairs: Int[np.ndarray, "pair two"]
    law: Float[np.ndarray, "pair"]
    parameters: Float[np.ndarray, "group feature"]
    preferences: Float[np.ndarray, "group pair"]
    proportions: Float[np.ndarray, "group"]
    candidate: Float[np.ndarray, "feature"]
    radius: float
    beta: float
    policy_beta: float
    log_reference: Float[np.ndarray, "response"]

    @property
    def differences(self) -> Float[np.ndarray, "pair feature"]:
        """Z of every compared pair."""
        return self.features[self.pairs[:, 0]] - self.features[self.pairs[:, 1]]

    @property
    def pooled(self) -> Float[np.ndarray, "pair"]:
        """p* = Σ_u η_u p_u."""
        return self.proportions @ self.preferences

    @property
    def model(self) -> Float[np.ndarray, "pair"]:
        """σ(zᵀφ*)."""
        return logistic(self.differences @ self.candidate)

    @property
    def inexactness(self) -> float:
        """How far the model is from p*, as far as "pooled-bradley-terry" lets it be, and rounding.

        It is what the hypothesis leaves open, so it never excuses a violation without it.
        """
        off = float(np.abs(self.model - self.pooled).max())
        return min(off, POOLED_TOLERANCE) + 16 * EPSILON

    @property
    def imbalance(self) -> float:
        """The norm of the score, as far as "stationary" lets it be, and rounding."""
        allowed = POOLED_TOLERANCE * self.radius
        return min(float(np.linalg.norm(self.score)), allowed) + 64 * EPSILON * self.radius

    @property
    def score(self) -> Float[np.ndarray, "feature"]:
        """E_ρ z(σ(zᵀφ*) − p*), zero at the maximum-likelihood reward."""
        return self.differences.T @ (self.law * (self.model - self.pooled))


def logistic(x: np.ndarray) -> np.ndarray:
    """Return σ(x), to full relative accuracy in both tails."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0.0, small, 1.0) / (1.0 + small))


def distances(
    preferences: Float[np.ndarray, "group pair"], law: Float[np.ndarray, "pair"]
) -> Float[np.ndarray, "group group"]:
    """Return E_ρ|p_k − p_l| of every two groups."""
    return np.abs(preferences[:, None] - preferences[None]) @ law


def extremes(apart: Float[np.ndarray, "group group"]) -> tuple[tuple[int, float], ...]:
    """Return u and ε for the most diverse pair (u, j), in both orders."""
    pair = np.unravel_index(int(apart.argmax()), apart.shape)
    found = []
    for u, j in (pair, pair[::-1]):
        others = np.delete(apart[:, j], u)
        found.append((int(u), float(apart[u, j] - others.max(initial=0.0))))
    return tuple(found)


def largest_norm(features: Float[np.ndarray, "response feature"]) -> float:
    """Return max ‖ψ‖."""
    return float(np.linalg.norm(features, axis=1).max())


BRADLEY_TERRY = Hypothesis[Crowd](
    "bradley-terry",
    r"p_u(z) = \sigma(z^\top\phi_u)",
    lambda x: bool(
        np.abs(logistic(x.parameters @ x.differences.T) - x.preferences).max() <= 4 * EPSILON
    ),
)
POOLED = Hypothesis[Crowd](
    "pooled-bradley-terry",
    r"\sum_u\eta_u p_u(z) = \sigma(z^\top\phi^*)",
    lambda x: bool(np.abs(x.model - x.pooled).max() <= POOLED_TOLERANCE),
)
BOUNDED = Hypothesis[Crowd](
    "bounded",
    r"\|\psi\| \le D",
    lambda x: largest_norm(x.features) <= x.radius * (1.0 + 4 * EPSILON),
)
STATIONARY = Hypothesis[Crowd](
    "stationary",
    r"E_\rho[z(\sigma(z^\top\phi^*) - p^*(z))] = 0",
    lambda x: bool(np.abs(x.score).max() <= POOLED_TOLERANCE * x.radius),
)


def solved(crowd: Crowd) -> Crowd:
    """Return the crowd with φ* such that the pooled model is exact, for independent z."""
    rewards = crowd.parameters @ crowd.differences.T
    for_first, for_second = (crowd.proportions @ logistic(sign * rewards) for sign in (1.0, -1.0))
    odds = np.log(for_first) - np.log(for_second)
    return replace(crowd, candidate=np.linalg.solve(crowd.differences, odds))


def crowd_of(
    features: Float[np.ndarray, "response feature"],
    pairs: Int[np.ndarray, "pair two"],
    law: Float[np.ndarray, "pair"],
    parameters: Float[np.ndarray, "group feature"],
    proportions: Float[np.ndarray, "group"],
    beta: float = 1.0,
    log_reference: Float[np.ndarray, "response"] | None = None,
) -> Crowd:
    """Return a crowd that satisfies every hypothesis but for φ*, which is 0."""
    n = len(features)
    even = np.full(n, -np.log(n))
    z = features[pairs[:, 0]] - features[pairs[:, 1]]
    return Crowd(
        features=features,
        pairs=pairs,
        law=law,
        parameters=parameters,
        preferences=logistic(parameters @ z.T),
        proportions=proportions,
        candidate=np.zeros(features.shape[1]),
        radius=largest_norm(features),
        beta=beta,
        policy_beta=beta,
        log_reference=even if log_reference is None else log_reference,
    )


def two_responses(
    first: float, second: float, share: float, beta: float = 1.0, half: float = 0.5
) -> Crowd:
    """Return two groups and the responses ±half; `share` is that of the first group."""
    features, pair = np.array([[-half], [half]]), np.array([[1, 0]])
    parameters = np.array([[first], [second]])
    return solved(
        crowd_of(features, pair, np.ones(1), parameters, np.array([share, 1.0 - share]), beta)
    )


def draw_tree(draws: Draws) -> Crowd:
    """Draw responses of which a tree is compared: independent z, so any mixture is exact.

    Distances, norms and policies do not change if features and parameters are rotated together,
    so the differences along the tree may be a lower triangular matrix.
    """
    d = draws.one_of((1, 1, 2, 2, 3))
    groups, extra = draws.one_of((2, 2, 3, 4)), draws.one_of((0, 0, 1, 2))
    lower = np.tril(draws.array((d, d), -LONGEST, LONGEST), -1)
    lower += np.diag(draws.array((d,), LONGEST / 10, LONGEST))
    parents = [draws.whole(k) for k in range(d)]
    features = _planted(draws.array((d,), -1.0, 1.0), lower, parents)
    features = np.concatenate([features, draws.array((extra, d), -2.0, 2.0)])
    pairs = np.array([(k + 1, parent) for k, parent in enumerate(parents)])
    apart = draws.one_of((3.0, 1.0, 0.01))
    parameters = draws.array((1, d), -1.0, 1.0) + draws.array((groups, d), -apart, apart)
    law = draw_weights(draws, d)
    proportions = draw_shares(draws, groups)
    reference = log_normalise(draws.array((len(features),), -3.0, 0.0))
    beta = draws.logarithmic(0.05, 10.0)
    return solved(crowd_of(features, pairs, law, parameters, proportions, beta, reference))


def draw_mirrored(draws: Draws) -> Crowd:
    """Draw groups in opposite couples of equal size: the pooled preference is 1/2, and φ* = 0."""
    d, couples = draws.one_of((1, 2, 3)), draws.one_of((1, 2))
    n = d + draws.one_of((1, 2))
    one = draws.array((couples, d), -2.0, 2.0)
    half = draw_shares(draws, couples) / 2
    lower = np.tril(draws.array((d, d), -LONGEST, LONGEST), -1) + np.eye(d)
    features = _planted(draws.array((d,), -1.0, 1.0), lower, [0] * d)
    features = np.concatenate([features, draws.array((n - d - 1, d), -2.0, 2.0)])
    pairs = np.argwhere(np.triu(np.ones((n, n)), 1) > 0.0)
    law = draw_weights(draws, len(pairs))
    parameters, proportions = np.concatenate([one, -one]), np.concatenate([half, half])
    beta = draws.logarithmic(0.05, 10.0)
    return crowd_of(features, pairs, law, parameters, proportions, beta)


def draw_crowd(draws: Draws) -> Crowd:
    """Draw a crowd whose pooled model is exact."""
    return draw_mirrored(draws) if draws.chance(6) else draw_tree(draws)


def draw_shares(draws: Draws, groups: int) -> Float[np.ndarray, "group"]:
    """Draw proportions, some of them small."""
    raw = np.exp(draws.array((groups,), -4.0, 0.0))
    return raw / raw.sum()


def _planted(
    root: Float[np.ndarray, "feature"],
    lower: Float[np.ndarray, "pair feature"],
    parents: list[int],
) -> Float[np.ndarray, "response feature"]:
    rows = [root]
    for step, parent in zip(lower, parents, strict=True):
        rows.append(rows[parent] + step)
    return np.array(rows)


def is_tree(crowd: Crowd) -> bool:
    """Return whether the differences are those of a drawn tree."""
    d = len(crowd.candidate)
    children, parents = crowd.pairs.T
    return len(children) == d and bool(
        (children == np.arange(d) + 1).all() and (parents < children).all()
    )


def _vector(crowd: Crowd) -> Float[np.ndarray, "coordinate"]:
    """Return coordinates of a tree; a crowd of another kind has none and is not searched from."""
    if not is_tree(crowd):
        return np.empty(0)
    d = len(crowd.candidate)
    parts = (
        crowd.features[0],
        crowd.differences[np.tril_indices(d)],
        crowd.features[d + 1 :],
        crowd.parameters,
        np.log(crowd.proportions),
        crowd.log_reference,
        np.log([crowd.beta]),
    )
    return np.concatenate([np.ravel(part) for part in parts])


def _at(crowd: Crowd, vector: Float[np.ndarray, "coordinate"]) -> Crowd:
    d, (groups, n) = len(crowd.candidate), (len(crowd.parameters), len(crowd.features))
    sizes = np.cumsum([d, d * (d + 1) // 2, (n - d - 1) * d, groups * d, groups, n])
    root, steps, extra, parameters, shares, reference, beta = np.split(vector, sizes)
    lower = np.zeros((d, d))
    lower[np.tril_indices(d)] = np.clip(steps, -LONGEST, LONGEST)
    np.fill_diagonal(lower, np.clip(np.abs(np.diag(lower)), LONGEST / 10, LONGEST))
    features = _planted(np.clip(root, -2.0, 2.0), lower, crowd.pairs[:, 1].tolist())
    features = np.concatenate([features, np.clip(extra, -4.0, 4.0).reshape(-1, d)])
    return solved(
        crowd_of(
            features,
            crowd.pairs,
            crowd.law,
            np.clip(parameters, -4.0, 4.0).reshape(groups, d),
            np.exp(log_normalise(np.clip(shares, -10.0, 0.0))),
            float(np.exp(np.clip(beta[0], np.log(0.05), np.log(10.0)))),
            log_normalise(np.clip(reference, -5.0, 0.0)),
        )
    )


COORDINATES = Coordinates(_vector, _at)
