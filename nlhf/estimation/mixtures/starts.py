"""Where a run of EM starts: raters clustered by what the pooled rewards do not explain of them."""

import numpy as np
from jaxtyping import Float, Int

from nlhf.estimation.mixtures.ballots import RaterGroups
from nlhf.estimation.mixtures.rewards import Parameters
from nlhf.estimation.mixtures.steps import Model, Point
from nlhf.numerics import sigmoid

_EXTRA_DIRECTIONS = 4
_POWERS = (8, 2, 0)
_ROUNDS = 30
_CERTAINTY = 0.9
_NEWTON_STEPS = 3


def first_point(
    model: Model, pooled: Parameters, groups: int, number: int, generator: np.random.Generator
) -> Point:
    r"""Return a start drawn at random.

    A rater's residual is the gradient of the log-likelihood of its votes at the pooled parameters,
    over the root of their number. Residuals are projected on the leading left singular directions
    of a random sketch (Halko, Martinsson and Tropp, SIAM Review 53, 2011), which under a mixture
    are those along which groups differ, and clustered by k-means from centres that are drawn by
    k-means++. The sketch is sharpened by 8, 2 or no power iterations, by the number of the start in
    turn: sharp ones find groups that everybody belongs to, blunt ones differ more among themselves.
    Every rater begins in its cluster with 0.9 and anywhere with 0.1.
    """
    if groups == 1:
        return model.expect(pooled, np.zeros((model.weights.covariates.shape[1], 1)))
    places = _sketch(model, pooled, groups, _POWERS[number % len(_POWERS)], generator)
    nearest = _cluster(places, groups, generator)
    gamma = np.full((len(model.ballots.votes), groups), (1 - _CERTAINTY) / groups)
    gamma[np.flatnonzero(model.ballots.present), nearest] += _CERTAINTY
    gamma /= gamma.sum(axis=1, keepdims=True)
    wins = model.ballots.by_side(gamma)
    parameters = np.repeat(pooled, groups, axis=0)
    for _ in range(_NEWTON_STEPS):
        parameters, _ = model.rewards.ascend(wins, parameters)
    flat = np.zeros((model.weights.covariates.shape[1], groups))
    return model.expect(parameters, model.weights.ascend(gamma, flat))


def pooled_parameters(model: Model, steps: int = 100) -> Parameters:
    """Return the parameters of one group, near enough to start from."""
    ballots = model.ballots
    wins = ballots.by_side(np.ones((len(ballots.votes), 1)))
    parameters = np.zeros((1, model.rewards.design.parameters))
    for _ in range(steps):
        moved, _ = model.rewards.ascend(wins, parameters)
        small = bool(abs(moved - parameters).max(initial=0.0) <= 1e-6)
        parameters = moved
        if small:
            break
    return parameters


def _sketch(
    model: Model, pooled: Parameters, groups: int, powers: int, generator: np.random.Generator
) -> Float[np.ndarray, "annotator direction"]:
    """Return the residuals of the raters with votes, along random leading directions."""
    ballots = model.ballots
    missed = sigmoid(-model.rewards.differences(pooled))[0]
    scaled = model.rewards.design.contrast * missed[:, None]
    root = np.sqrt(ballots.votes[ballots.present])[:, None]
    cast = ballots.cast[np.flatnonzero(ballots.present)]
    back = cast.T.tocsr()
    parameters = model.rewards.design.parameters
    count = min(groups + _EXTRA_DIRECTIONS, parameters, len(root))
    directions = generator.normal(size=(parameters, count))
    for _ in range(powers):
        along = (cast @ (scaled @ directions)) / root
        directions = np.linalg.qr(scaled.T @ (back @ (along / root)))[0]
    along = (cast @ (scaled @ directions)) / root
    left, values, _ = np.linalg.svd(along, full_matrices=False)
    most = max(1, groups - 1)
    places: np.ndarray = (left * values)[:, :most]
    return places


def _cluster(
    places: Float[np.ndarray, "annotator direction"], groups: int, generator: np.random.Generator
) -> Int[np.ndarray, " annotator"]:
    """Return the clusters of k-means from centres drawn by k-means++."""
    centres = places[[generator.integers(len(places))]]
    while len(centres) < groups:
        near = _squares(places, centres).min(axis=1)
        total = float(near.sum())
        law = near / total if total > 0 else None
        centres = np.concatenate([centres, places[[generator.choice(len(places), p=law)]]])
    nearest = np.zeros(len(places), dtype=np.int64)
    for _ in range(_ROUNDS):
        nearest = _squares(places, centres).argmin(axis=1)
        member: RaterGroups = (nearest[:, None] == np.arange(groups)).astype(np.float64)
        sizes = member.sum(axis=0)[:, None]
        centres = np.where(sizes > 0, member.T @ places / np.maximum(sizes, 1.0), centres)
    return nearest


def _squares(places: np.ndarray, centres: np.ndarray) -> np.ndarray:
    squares: np.ndarray = (
        (places**2).sum(axis=1)[:, None] - 2 * places @ centres.T + (centres**2).sum(axis=1)
    )
    return np.maximum(squares, 0.0)
