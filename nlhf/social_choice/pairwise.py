"""Rules on pairwise preferences: Condorcet, Borda, Copeland and maximal lotteries."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.data.counts import WinCounts
from nlhf.errors import Unsupported
from nlhf.estimation.tabular import Completion, estimate_preferences
from nlhf.games.majority import majority_graph
from nlhf.games.payoffs import DensePayoff
from nlhf.games.preference import PreferenceGame, checked_preference
from nlhf.social_choice.outcomes import Lottery, top_of
from nlhf.solving import solve

Pairwise = ArrayLike | PreferenceGame | WinCounts
"""What the rules of this module take."""


def preference_of(source: Pairwise) -> Float[np.ndarray, "n n"]:
    """Return the preference matrix P of one prompt.

    Args:
        source: P itself, shape ``(n, n)``; a game of one prompt; or win counts, whose shares are
            taken with ties as half, unsmoothed.

    Raises:
        InvalidProblem: P is no preference matrix.
        InvalidData: A pair was never compared.
        Unsupported: There are several prompts.
    """
    if isinstance(source, WinCounts):
        return estimate_preferences(source).complete(Completion.ERROR)
    if isinstance(source, PreferenceGame):
        payoff = source.payoff
        if not isinstance(payoff, DensePayoff):
            raise Unsupported(
                f"the payoff is a {type(payoff).__name__}",
                "write the preference out: features @ skew @ features.T + 1/2",
            )
        matrix = payoff.matrix
    else:
        matrix = checked_preference(source)
    if matrix.ndim != 2:
        raise Unsupported(
            f"the preference has shape {matrix.shape}: {len(matrix)} prompts",
            "apply the rule prompt by prompt: a vote on one prompt is none on another",
        )
    return matrix


def condorcet_winner(source: Pairwise) -> int | None:
    """Return the response that more than half prefer to every other one, if there is one."""
    return next(iter(majority_graph(preference_of(source)).condorcet_winners), None)


def borda_scores(source: Pairwise) -> Float[np.ndarray, " response"]:
    r"""Return :math:`BC(a) = \frac1n \sum_b P(a, b)`, the chance to beat a random response.

    The sum includes a itself, with 1/2.
    """
    return np.asarray(preference_of(source).mean(axis=1))


def copeland_scores(source: Pairwise) -> Float[np.ndarray, " response"]:
    """Return how many responses each one beats by majority, ties counted half."""
    beats = majority_graph(preference_of(source)).beats
    others = len(beats) - 1
    return np.asarray((others + beats.sum(axis=1) - beats.sum(axis=0)) / 2.0)


def borda(source: Pairwise) -> Lottery:
    """Return the uniform lottery over the responses of the highest Borda count."""
    return top_of(borda_scores(source))


def copeland(source: Pairwise) -> Lottery:
    """Return the uniform lottery over the responses of the highest Copeland score."""
    return top_of(copeland_scores(source))


def maximal_lottery(source: Pairwise) -> Lottery:
    r"""Return a lottery that at least half prefer, on average, to any other one.

    It solves :math:`\max_\pi \min_\rho \pi^\top P \rho`: the equilibrium of the preference game at
    temperature 0 (P. C. Fishburn, 1984), whatever the temperature of a game that is given. Among
    several, the one of least KL to the reference, which is uniform unless a game says otherwise;
    so without ties in the preferences it does not depend on the reference.

    Returns:
        The lottery, with the duality gap of the game as its certificate.
    """
    reference = source.reference if isinstance(source, PreferenceGame) else None
    solution = solve(PreferenceGame(preference_of(source), reference))
    return Lottery(solution.policy, solution.provenance.choices, solution.certificate)
