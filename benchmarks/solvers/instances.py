"""Families of preference matrices and references, drawn from a named stream.

Each family is a function of a generator, the number of contexts X and of responses n, and returns
matrices of shape ``(X, n, n)`` with P + Pᵀ = 1.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from nlhf import LowRankPreference

Preferences = Float[np.ndarray, "context response response"]
Family = Callable[[np.random.Generator, int, int], Preferences]

NEAR_DETERMINISTIC = 1e-6
SMALLEST_REFERENCE = 1e-12
STEEPNESS = 10.0
"""Standard deviation of Bradley-Terry rewards, in nats."""
LEAN = 3.0
"""How far low-rank features lean towards a common direction, in their standard deviations."""


def uniform(rng: np.random.Generator, contexts: int, responses: int) -> Preferences:
    """Every pair's preference is uniform on [0, 1], independently."""
    return _complete(rng.uniform(size=(contexts, responses, responses)))


def tournament(rng: np.random.Generator, contexts: int, responses: int) -> Preferences:
    """Every pair has a sure winner: preferences 0 or 1."""
    return _complete(np.rint(rng.uniform(size=(contexts, responses, responses))))


def degenerate(rng: np.random.Generator, contexts: int, responses: int) -> Preferences:
    """Preferences 0, 1/2 or 1 among at most half as many responses, each then duplicated."""
    originals = (responses + 1) // 2
    base = _complete(rng.integers(0, 3, size=(contexts, originals, originals)) / 2.0)
    copies = rng.integers(originals, size=(contexts, responses))
    return base[np.arange(contexts)[:, None, None], copies[:, :, None], copies[:, None, :]]


def cycle(rng: np.random.Generator, contexts: int, responses: int) -> Preferences:
    """Each response beats the next half of a circle: no Condorcet winner for n >= 3, all odd."""
    ahead = (np.arange(responses)[None, :] - np.arange(responses)[:, None]) % responses
    strength = rng.uniform(0.0, 0.5, size=(contexts, responses, responses))
    return _complete(np.where(2 * ahead < responses, 0.5 + strength, 0.5 - strength))


def near_deterministic(rng: np.random.Generator, contexts: int, responses: int) -> Preferences:
    """A tournament in which the loser still wins up to one time in a million."""
    sure = rng.uniform(size=(contexts, responses, responses)) < 0.5
    upset = NEAR_DETERMINISTIC * rng.uniform(size=sure.shape)
    return _complete(np.where(sure, 1.0 - upset, upset))


def bradley_terry(rng: np.random.Generator, contexts: int, responses: int) -> Preferences:
    """Bradley-Terry with rewards of standard deviation 10: steep and transitive."""
    reward = STEEPNESS * rng.standard_normal((contexts, responses))
    return _complete(1.0 / (1.0 + np.exp(reward[:, None, :] - reward[:, :, None])))


def all_ties(rng: np.random.Generator, contexts: int, responses: int) -> Preferences:
    """Everyone is indifferent between everything: the equilibrium is the reference."""
    return np.full((contexts, responses, responses), 0.5)


FAMILIES: Mapping[str, Family] = {
    family.__name__: family
    for family in (
        uniform,
        tournament,
        degenerate,
        cycle,
        near_deterministic,
        bradley_terry,
        all_ties,
    )
}


def uniform_reference(
    rng: np.random.Generator, contexts: int, responses: int
) -> Float[np.ndarray, "context response"]:
    """Every response is equally likely."""
    return np.full((contexts, responses), 1.0 / responses)


def spread_reference(
    rng: np.random.Generator, contexts: int, responses: int
) -> Float[np.ndarray, "context response"]:
    """Log-uniform between 1e-12 and 1, then normalised."""
    mu = np.exp(rng.uniform(np.log(SMALLEST_REFERENCE), 0.0, size=(contexts, responses)))
    return mu / mu.sum(axis=-1, keepdims=True)


def tiny_reference(
    rng: np.random.Generator, contexts: int, responses: int
) -> Float[np.ndarray, "context response"]:
    """All mass but 1e-12 each on one response, drawn at random."""
    mu = np.full((contexts, responses), SMALLEST_REFERENCE)
    mu[np.arange(contexts), rng.integers(responses, size=contexts)] = 1.0
    return mu / mu.sum(axis=-1, keepdims=True)


REFERENCES: Mapping[
    str, Callable[[np.random.Generator, int, int], Float[np.ndarray, "context response"]]
] = {draw.__name__: draw for draw in (uniform_reference, spread_reference, tiny_reference)}


def low_rank(rng: np.random.Generator, responses: int, rank: int) -> LowRankPreference:
    """Features on the unit sphere and a skew form of norm 1/2: |P − 1/2| ≤ 1/2, as large as can be.

    The form rotates pairs of coordinates by a right angle. The features lean towards a common
    direction: were they symmetric about 0, the reference itself would be the equilibrium.

    Args:
        rng: Where the features come from.
        responses: n.
        rank: d, even.
    """
    features = rng.standard_normal((responses, rank)) + LEAN * np.eye(rank)[0]
    features /= np.sqrt(np.einsum("id,id->i", features, features))[:, None]
    turn = np.array([[0.0, 0.5], [-0.5, 0.0]])
    return LowRankPreference(features, np.kron(np.eye(rank // 2), turn))


def _complete(upper: Preferences) -> Preferences:
    """Keep what is above the diagonal; the rest follows from P + Pᵀ = 1."""
    above = np.triu(upper, 1)
    p = above + np.swapaxes(np.triu(1.0 - upper, 1), -1, -2)
    diagonal = np.arange(p.shape[-1])
    p[..., diagonal, diagonal] = 0.5
    return np.asarray(p)
