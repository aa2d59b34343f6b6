"""Rules made to break axioms, and the instances on which published ones do."""

import numpy as np

from nlhf.social_choice.outcomes import Lottery, Ranking, ranked_by
from nlhf.social_choice.profiles import RankingProfile

EPSILON, DELTA, SHARE = 0.05, 0.3, 0.7
A, B, C, A1, B1, C1 = range(6)
SIX = RankingProfile.of(
    [[A, A1, B, B1, C1, C], [C1, C, B1, B, A1, A]],
    [SHARE, 1 - SHARE],
    [
        [2, 1],
        [1, 1],
        [0, 0],
        [2 - EPSILON, 1],
        [1 - EPSILON, 1],
        [-EPSILON, DELTA * EPSILON],
    ],
)
"""The six candidates of Ge and others."""

RUNOFF = RankingProfile.of(
    [[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 0, 1]], np.array([6, 2, 4, 5]) / 17
)
"""Response 0 wins by instant runoff, and loses when two of 17 voters move it up."""


def lowest_index(preference: np.ndarray) -> Lottery:
    return Lottery(np.eye(len(preference))[0])


def uniform(preference: np.ndarray) -> Lottery:
    return Lottery(np.full(len(preference), 1 / len(preference)))


def dictator(profile: RankingProfile) -> Ranking:
    return Ranking(tuple((int(item),) for item in profile.rankings[0]))


def index_order(profile: RankingProfile) -> Ranking:
    return Ranking(tuple((item,) for item in range(profile.rankings.shape[1])))


def reversed_when_many(profile: RankingProfile) -> Ranking:
    sign = 1.0 if len(profile.rankings) < 4 else -1.0
    return ranked_by(sign * profile.preference.mean(axis=1))


def indifferent(profile: RankingProfile) -> Ranking:
    return ranked_by(np.zeros(profile.rankings.shape[1]))


def upside_down(profile: RankingProfile) -> Ranking:
    return ranked_by(-profile.preference.mean(axis=1))


def instant_runoff(profile: RankingProfile) -> Ranking:
    """The last of every round is put below the rest; the higher index loses ties."""
    left, out = set(range(profile.rankings.shape[1])), []
    while left:
        counts = dict.fromkeys(left, 0.0)
        for vote, weight in zip(profile.rankings.tolist(), profile.weights, strict=True):
            counts[next(item for item in vote if item in left)] += weight
        last = min(left, key=lambda item: (counts[item], -item))
        left.remove(last)
        out.append(last)
    return Ranking(tuple((item,) for item in reversed(out)))
