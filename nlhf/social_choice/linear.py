"""Rules on ranking profiles: by scores, by a Bradley-Terry reward, and leximax-Copeland."""

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated, SolverFailed
from nlhf.numerics import EPSILON
from nlhf.social_choice.feasible import Direction, orders, separates
from nlhf.social_choice.outcomes import Ranking, ranked_by
from nlhf.social_choice.pairwise import borda_scores, copeland_scores
from nlhf.social_choice.profiles import RankingProfile

BY_INDEX = "among responses of equal Copeland score, whatever the votes, the lower index goes first"
TIES_AS_HALF = "a tie counts half in the Copeland score"

_STEPS = 200
_SCORE = 1e-12
"""Largest derivative of the mean log-likelihood that is taken as zero, per unit of features."""


def borda_ranking(profile: RankingProfile) -> Ranking:
    """Return the order by Borda count; it need not be feasible."""
    return ranked_by(borda_scores(profile.preference))


def copeland_ranking(profile: RankingProfile) -> Ranking:
    """Return the order by Copeland score; it need not be feasible."""
    return ranked_by(copeland_scores(profile.preference), TIES_AS_HALF)


def bradley_terry_ranking(profile: RankingProfile) -> Ranking:
    r"""Return the order by the linear Bradley-Terry reward of greatest likelihood.

    Every pair of responses is compared by everybody:

    .. math:: \max_\theta \sum_{a \ne b} P(a, b) \log\sigma(\langle\theta, x_a - x_b\rangle).

    Raises:
        HypothesisViolated: No finite maximum exists.
        SolverFailed: The score at the solver's answer is not zero.
    """
    theta = fit_linear(profile.preference, profile.features)
    return ranked_by(profile.features @ theta)


def fit_linear(
    preference: Float[np.ndarray, "n n"], features: Float[np.ndarray, "n feature"]
) -> Direction:
    """Return θ of greatest likelihood, of least norm among several, by a damped Newton method.

    A step whose largest change of a reward difference is s is scaled by log(1 + s)/s: the
    likelihood is then sure to rise.

    Raises:
        HypothesisViolated: No finite maximum exists.
        SolverFailed: The score at the answer is not zero.
    """
    winners, losers = np.nonzero((preference > 0.0) & ~np.eye(len(features), dtype=bool))
    share, x = preference[winners, losers], features[winners] - features[losers]
    if separates(x):
        raise HypothesisViolated(
            "no finite reward has the greatest likelihood: some linear reward contradicts no vote",
            "use a rule that needs no likelihood, such as leximax_copeland",
        )
    theta = np.zeros(features.shape[1])
    size = max(float(np.abs(x).max()), EPSILON) * share.sum()
    for _ in range(_STEPS):
        losing = 1.0 / (1.0 + np.exp(x @ theta))
        score = x.T @ (share * losing)
        if np.abs(score).max() <= _SCORE * size:
            return theta
        information = (x.T * (share * losing * (1.0 - losing))) @ x
        step = np.linalg.lstsq(information, score, rcond=None)[0]
        change = float(np.abs(x @ step).max())
        theta = theta + step * (np.log1p(change) / change if change > 1e-3 else 1.0)
    raise SolverFailed(
        f"the score is {np.abs(score).max():.3g} after {_STEPS} Newton steps",
        "scale the features to a common size",
        solver="damped Newton",
        status="score not zero",
    )


def leximax_copeland(profile: RankingProfile) -> Ranking:
    """Return the leximax-Copeland ranking subject to Pareto optimality.

    Among the feasible rankings that put a above b wherever everybody does: the response of the
    highest Copeland score that one of them puts first, then of the highest score that one of those
    puts second, and so on. It satisfies Pareto optimality, pairwise majority consistency,
    majority consistency and winner monotonicity (L. Ge and others, "Axioms for AI Alignment from
    Human Feedback", 2024, Theorem 4.3). O(n²) linear programs. Ties of Copeland scores are broken
    by index, the same for all votes, which monotonicity needs; so it is not neutral.

    Raises:
        SolverFailed: A linear program fails.
    """
    scores = copeland_scores(profile.preference)
    unanimous = profile.unanimous()
    left = [int(item) for item in np.argsort(-scores, kind="stable")]
    done: list[int] = []
    while left:
        for item in left:
            rest = [other for other in left if other != item]
            chain = list(zip(done, [*done, item][1:], strict=True))
            if orders(profile.features, [*unanimous, *chain, *((item, b) for b in rest)]) is None:
                continue
            done.append(item)
            left = rest
            break
        else:
            raise SolverFailed(
                f"no feasible response for place {len(done)}, though every vote is feasible",
                "scale the features: their differences are too unequal in size",
                solver="HiGHS",
                status="infeasible",
            )
    return Ranking(tuple((item,) for item in done), (BY_INDEX, TIES_AS_HALF), scores)
