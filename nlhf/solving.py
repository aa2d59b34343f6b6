"""`solve`: one call for exact equilibria and for every algorithm, always certified."""

import time
import warnings
from typing import Any

from nlhf.algorithms.loop import StopRule, iterate
from nlhf.certificates import certify
from nlhf.errors import Approximate, Unsupported
from nlhf.exact.matrix_game import MAXIMUM_ENTROPY, VERTEX, solve_matrix_game
from nlhf.exact.regularised import solve_regularised
from nlhf.games.preference import SelfPlayGame
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.protocols import Algorithm
from nlhf.results import Certificate, Profile, Provenance, Solution, Stop
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream


def solve(
    game: SelfPlayGame | ZeroSumGame,
    algorithm: Algorithm[Any] | None = None,
    *,
    stop: StopRule | None = None,
    stream: Stream | None = None,
) -> Solution[Policy]:
    """Return an equilibrium of the game together with its certificate.

    Args:
        game: A preference game, a log-odds game or a zero-sum game.
        algorithm: `None` solves exactly: by the Newton branch at positive temperatures, by linear
            programming with maximum-entropy selection at temperature 0. Otherwise the algorithm
            is run until `stop`.
        stop: When to end a run of an algorithm; by default at a duality gap of 1e-8 or after
            10,000 steps. An exact solution takes none.
        stream: Randomness of the algorithm; `Stream(0)` by default.

    Returns:
        The solution. Its certificate is computed from the game alone, by `certify`.

    Raises:
        Unsupported: If one temperature is zero and another is not, or if `stop` or `stream` is
            given without an algorithm.
        SolverFailed: If the linear program of a game at temperature 0 cannot be solved.
    """

    def judge(profile: Profile[Policy]) -> Certificate[Policy]:
        return certify(game, profile)

    if algorithm is not None:
        return iterate(
            game, algorithm, judge, stop or StopRule(), stream if stream is not None else Stream(0)
        )
    if stop is not None or stream is not None:
        raise Unsupported(
            "stop and stream belong to an algorithm; the exact solver has neither",
            "name an algorithm, or drop them",
        )
    return _solve_exactly(game)


def _solve_exactly(game: SelfPlayGame | ZeroSumGame) -> Solution[Policy]:
    start = time.perf_counter()
    if min(game.temperatures) > 0.0:
        equilibrium = solve_regularised(game)
        finished = bool(equilibrium.converged.all())
        if not finished:
            stuck = [int(i) for i in (~equilibrium.converged).nonzero()[0]]
            warnings.warn(
                f"the branch stalled in contexts {stuck[:10]} ({len(stuck)} in all): "
                "see the certificate for what was reached",
                Approximate,
                stacklevel=3,
            )
        return Solution(
            profile=equilibrium.profile,
            certificate=certify(game, equilibrium.profile),
            stop=Stop.SOLVER if finished else Stop.STALLED,
            provenance=Provenance(
                method="predictor-corrector Newton on the branch in 1/temperature",
                iterations=int(equilibrium.iterations.max()),
                seconds=time.perf_counter() - start,
            ),
        )
    if max(game.temperatures) > 0.0:
        raise Unsupported(
            f"temperatures are {game.temperatures}: one is zero and the other is not",
            "make both positive or both zero",
        )
    selection = solve_matrix_game(game)
    if selection.unselected:
        warnings.warn(
            f"the maximum-entropy selection failed in contexts {list(selection.unselected[:10])} "
            f"({len(selection.unselected)} in all): a vertex of the linear program is returned "
            "there, see the certificate for its gap",
            Approximate,
            stacklevel=3,
        )
    return Solution(
        profile=selection.profile,
        certificate=certify(game, selection.profile),
        stop=Stop.STALLED if selection.unselected else Stop.SOLVER,
        provenance=Provenance(
            method="linear programming (HiGHS) and maximum-entropy selection",
            choices=(MAXIMUM_ENTROPY, VERTEX) if selection.unselected else (MAXIMUM_ENTROPY,),
            iterations=selection.iterations,
            seconds=time.perf_counter() - start,
        ),
    )
