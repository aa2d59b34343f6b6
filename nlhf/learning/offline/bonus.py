"""Pessimistic equilibria with an uncertainty bonus, which their competitors are given."""

import time

import numpy as np

from nlhf.certificates import certify
from nlhf.estimation.classes.models import Confidence
from nlhf.exact.matrix_game import solve_matrix_game
from nlhf.exact.regularised import solve_regularised
from nlhf.exact.zero_sum_sequential import solve_zero_sum_sequential
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.games.zero_sum_markov import ZeroSumMarkovGame
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.offline.planes import PlaneSearch
from nlhf.learning.offline.solutions import PessimisticSolution, checked_accuracy
from nlhf.learning.settings import Setting
from nlhf.results import Provenance
from nlhf.spaces.policy import Policy


def plan_with_bonus(
    setting: Setting, confidence: Confidence, *, accuracy: float = 1e-8
) -> PessimisticSolution:
    r"""Return the policy of the largest pessimistic value under a payoff less its uncertainty.

    .. math:: \max_\pi \min_\rho\ (\hat T - W)(\pi, \rho) - \tau KL(\pi\|\mu) + \tau KL(\rho\|\mu)

    with W the width of the confidence set, cut where no payoff of the class is lower. The payoff is
    no longer skew, since both sides lose what is uncertain: it is a zero-sum game of two players,
    of whom only the first is returned.

    Guarantee: on the event of the confidence set, of probability at least 1 - δ, the policy
    secures its pessimistic value in the true game, and with :math:`W = \beta\Gamma` its
    exploitability is at most :math:`2 \beta \max_\rho E\,\Gamma(\pi^*, \rho)` (pelhf-bonus).

    Args:
        setting: Where the policy acts.
        confidence: The estimate and its width.
        accuracy: On a decision process at temperature 0, how far from the largest pessimistic
            value the policy's may be, in payoff units; everything else is solved to rounding.

    Raises:
        HypothesisViolated: If the accuracy is negative or no number.
    """
    start = time.perf_counter()
    checked_accuracy(accuracy)
    payoff = confidence.lowest
    if setting.temperature > 0.0 or isinstance(setting, BanditSetting):
        policy, short, iterations = _solved(setting.zero_sum(payoff))
        method = "exact zero-sum game of the estimate less its width"
    else:
        search = PlaneSearch(setting, payoff[None], np.zeros(1, dtype=np.int64), setting.reference)
        search.run(accuracy)
        policy, short, iterations = search.best, search.gap, search.rounds
        method = f"{search.method}, under the estimate less its width"
    provenance = Provenance(
        method=method, iterations=iterations, seconds=time.perf_counter() - start
    )
    return PessimisticSolution.judged(setting, confidence, policy, short, provenance)


def _solved(game: ZeroSumGame | ZeroSumMarkovGame) -> tuple[Policy, float, int]:
    """Return the row player's policy, what the duality gap leaves open, and the steps taken."""
    if isinstance(game, ZeroSumMarkovGame):
        sequential = solve_zero_sum_sequential(game)
        profile, iterations = sequential.profile, sequential.iterations
    elif min(game.temperatures) > 0.0:
        regularised = solve_regularised(game)
        profile, iterations = regularised.profile, int(regularised.iterations.max())
    else:
        selection = solve_matrix_game(game)
        profile, iterations = selection.profile, selection.iterations
    return profile[0], certify(game, profile).bound.high, iterations
