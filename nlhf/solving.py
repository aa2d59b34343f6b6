"""`solve`: one call for exact equilibria and for every algorithm, always certified."""

import reprlib
import time
import warnings
from pathlib import Path
from typing import Any

from nlhf.algorithms.checkpoint import Checkpoint
from nlhf.algorithms.loop import Observe, StopRule, iterate
from nlhf.certificates import certify
from nlhf.errors import Approximate, Unsupported
from nlhf.exact.convex_maxmin import solve_convex_maxmin
from nlhf.exact.group_robust import solve_group_robust
from nlhf.exact.matrix_game import MAXIMUM_ENTROPY, VERTEX, solve_matrix_game
from nlhf.exact.maxmin import solve_maxmin
from nlhf.exact.regularised import solve_regularised
from nlhf.exact.sequence_form import tree_policy
from nlhf.exact.sequence_program import (
    OPTIMAL_VERTEX,
    UNSEEN_REFERENCE,
    solve_sequential_vertex,
)
from nlhf.exact.sequential import solve_sequential
from nlhf.exact.utility import solve_utility
from nlhf.exact.zero_sum_sequential import solve_zero_sum_sequential
from nlhf.games.group_robust import GroupRobustGame
from nlhf.games.markov import MarkovGame
from nlhf.games.maxmin import MaxMinGame
from nlhf.games.preference import SelfPlayGame
from nlhf.games.trajectory import TrajectoryGame
from nlhf.games.utility import UtilityGame
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.games.zero_sum_markov import ZeroSumMarkovGame
from nlhf.protocols import Algorithm
from nlhf.results import Certificate, Profile, Provenance, Solution, Stop
from nlhf.spaces.policy import Policy
from nlhf.spaces.tree import TokenTree
from nlhf.streams import Stream

Solvable = (
    SelfPlayGame
    | ZeroSumGame
    | TrajectoryGame
    | MarkovGame
    | ZeroSumMarkovGame
    | MaxMinGame
    | UtilityGame
    | GroupRobustGame
)
"""The games that have an exact solver."""

_REACHED = "see the certificate for what was reached"
_SEQUENTIAL_BRANCH = "predictor-corrector Newton on the branch in 1/temperature, in sequence form"
_DUAL_OVER_GROUPS = "interior-point Newton on the dual over groups"


def solve(
    game: Solvable,
    algorithm: Algorithm[Any] | None = None,
    *,
    stop: StopRule | None = None,
    stream: Stream | None = None,
    start: object | None = None,
    observe: Observe | None = None,
    checkpoint: Checkpoint | Path | str | None = None,
) -> Solution[Policy]:
    """Return an equilibrium of the game together with its certificate.

    Args:
        game: A preference game, a log-odds game, a zero-sum game, a preference game on a token
            tree or a Markov decision process, a MaxMin game, one with a general utility, or, at
            positive temperatures, a group-robust game or a zero-sum game on a Markov decision
            process.
        algorithm: `None` solves exactly: by the Newton branch at positive temperatures, by linear
            programming at temperature 0, with maximum-entropy selection where responses are
            chosen at once and a vertex on decision processes; MaxMin, welfare and group-robust
            games by their duals over groups. Otherwise the algorithm is run until `stop`. The
            other arguments are for an algorithm only.
        stop: When to end a run; by default at a duality gap of 1e-8, after 10,000 steps, or when
            the gap no longer falls.
        stream: Randomness of the algorithm; `Stream(0)` by default.
        start: Where to start, as `game.as_profile` takes it; the references by default.
        observe: Called with every judged iteration, as it is judged.
        checkpoint: Where to save the run, and to resume it from; a path will do. Resume only
            files you trust.

    Returns:
        The solution. Its certificate is computed from the game alone, by `certify`.

    Raises:
        Unsupported: If one temperature is zero and another is not, if the game then needs an
            algorithm, or if an argument is given that an exact solution has no use for, or is of
            a wrong kind.
        HypothesisViolated: If the algorithm's step size is not proven for the game and not
            allowed to be.
        InvalidData: If the checkpoint is damaged.
        NotAllowed: If the checkpoint is that of another run, or cannot be written.
        SolverFailed: If the linear program of a game at temperature 0 cannot be solved.
    """
    _check_kinds(game, algorithm, stop, stream, observe, checkpoint)
    if algorithm is not None:

        def judge(profile: Profile[Policy]) -> Certificate[Policy]:
            return certify(game, profile)

        return iterate(
            game,
            algorithm,
            judge,
            StopRule() if stop is None else stop,
            Stream(0) if stream is None else stream,
            start=None if start is None else game.as_profile(start),
            observe=observe,
            checkpoint=Checkpoint(checkpoint) if isinstance(checkpoint, Path | str) else checkpoint,
        )
    options = {"stop": stop, "stream": stream, "start": start}
    options |= {"observe": observe, "checkpoint": checkpoint}
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise Unsupported(
            f"{' and '.join(given)} belong to an algorithm; the exact solver takes none",
            "name an algorithm, or drop them",
        )
    if isinstance(game, TrajectoryGame | MarkovGame):
        return _solve_sequentially(game)
    if isinstance(game, ZeroSumMarkovGame):
        return _solve_zero_sum_sequentially(game)
    if isinstance(game, MaxMinGame):
        return _solve_maxmin(game)
    if isinstance(game, UtilityGame):
        return _solve_utility(game)
    if isinstance(game, GroupRobustGame):
        return _solve_group_robust(game)
    assert isinstance(game, SelfPlayGame | ZeroSumGame)  # _check_kinds lets nothing else pass
    return _solve_exactly(game)


def _check_kinds(
    game: object,
    algorithm: object,
    stop: object,
    stream: object,
    observe: object,
    checkpoint: object,
) -> None:
    """Raise `Unsupported` for an argument of another kind than `solve` takes."""
    solvable = isinstance(game, Solvable)
    other = hasattr(game, "as_profile") and not isinstance(game, type)
    if not solvable and (algorithm is None or not other):
        raise Unsupported(
            f"the game is {_kind(game)}",
            "name an algorithm: games of other types have no exact solver"
            if other
            else "pass a game, such as nlhf.PreferenceGame(preference, temperature=0.1)",
        )
    if isinstance(algorithm, type) or not isinstance(algorithm, Algorithm | None):
        raise Unsupported(
            f"the algorithm is {_kind(algorithm)}",
            "pass an algorithm with its settings, such as nlhf.Extragradient(), or None to solve "
            "exactly",
        )
    if not isinstance(stop, StopRule | None):
        raise Unsupported(f"stop is {_kind(stop)}", "pass a rule, such as nlhf.StopRule(gap=1e-8)")
    if not isinstance(stream, Stream | None):
        raise Unsupported(f"stream is {_kind(stream)}", "pass a stream, such as nlhf.Stream(3)")
    if observe is not None and not callable(observe):
        raise Unsupported(
            f"observe is {_kind(observe)}", "pass a function that takes a judged iteration"
        )
    if not isinstance(checkpoint, Checkpoint | Path | str | None):
        raise Unsupported(
            f"checkpoint is {_kind(checkpoint)}", "pass a path, or nlhf.Checkpoint(path)"
        )


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{reprlib.repr(value)}, of type {type(value).__name__}"


def _solve_sequentially(game: TrajectoryGame | MarkovGame) -> Solution[Policy]:
    """Solve in sequence form; on a token tree, solve the game of complete sequences."""
    if isinstance(game, TrajectoryGame) and isinstance(game.process, TokenTree):
        return _solve_tree(game, game.process)
    start = time.perf_counter()
    if game.temperature > 0.0:
        equilibrium = solve_sequential(game)
        return _solved(
            game,
            (equilibrium.policy,),
            start,
            method=_SEQUENTIAL_BRANCH,
            iterations=equilibrium.iterations,
            finished=equilibrium.converged,
            trouble=f"the branch stalled after {equilibrium.iterations} systems: {_REACHED}",
        )
    vertex = solve_sequential_vertex(game)
    return _solved(
        game,
        (vertex.policy,),
        start,
        method="linear programming (HiGHS) over occupancies",
        iterations=vertex.iterations,
        choices=(OPTIMAL_VERTEX, UNSEEN_REFERENCE),
    )


def _solve_zero_sum_sequentially(game: ZeroSumMarkovGame) -> Solution[Policy]:
    start = time.perf_counter()
    equilibrium = solve_zero_sum_sequential(game)
    return _solved(
        game,
        equilibrium.profile,
        start,
        method=_SEQUENTIAL_BRANCH,
        iterations=equilibrium.iterations,
        finished=equilibrium.converged,
        trouble=f"the branch stalled after {equilibrium.iterations} systems: {_REACHED}",
    )


def _solve_maxmin(game: MaxMinGame) -> Solution[Policy]:
    start = time.perf_counter()
    offsets = f"offsets: {game.normalisation}"
    if game.temperatures[0] > 0.0:
        equilibrium = solve_maxmin(game)
        return _solved(
            game,
            equilibrium.profile,
            start,
            method=_DUAL_OVER_GROUPS,
            iterations=equilibrium.iterations,
            choices=(offsets,),
            finished=equilibrium.converged,
            trouble=f"the dual stalled after {equilibrium.iterations} Newton steps: {_REACHED}",
        )
    program = solve_convex_maxmin(game)
    return _solved(
        game,
        (program.policy, program.weights),
        start,
        method="conic program (CLARABEL)",
        iterations=program.iterations,
        choices=(
            offsets,
            "of several MaxMin policies, the one that the interior-point method ends at",
        ),
        finished=program.status == "optimal",
    )


def _solve_utility(game: UtilityGame) -> Solution[Policy]:
    start = time.perf_counter()
    optimum = solve_utility(game)
    return _solved(
        game,
        (optimum.policy,),
        start,
        method=optimum.method,
        iterations=optimum.iterations,
        finished=optimum.converged,
        trouble=f"the optimum is not reached after {optimum.iterations} steps: {_REACHED}",
    )


def _solve_group_robust(game: GroupRobustGame) -> Solution[Policy]:
    start = time.perf_counter()
    equilibrium = solve_group_robust(game)
    return _solved(
        game,
        equilibrium.profile,
        start,
        method=_DUAL_OVER_GROUPS,
        iterations=equilibrium.iterations,
        finished=equilibrium.converged,
        trouble=f"the dual stalled after {equilibrium.iterations} systems: {_REACHED}",
    )


def _solve_tree(game: TrajectoryGame, tree: TokenTree) -> Solution[Policy]:
    flat = _solve_exactly(game.flat())
    policy = tree_policy(tree, flat.log_policy, game.reference)
    choices = flat.provenance.choices
    if game.temperature == 0.0:
        choices = (*choices, UNSEEN_REFERENCE)
    return Solution(
        profile=(policy,),
        certificate=certify(game, policy),
        stop=flat.stop,
        provenance=Provenance(
            method=f"{flat.provenance.method}, over complete sequences",
            choices=choices,
            iterations=flat.provenance.iterations,
            seconds=flat.provenance.seconds,
        ),
    )


def _solve_exactly(game: SelfPlayGame | ZeroSumGame) -> Solution[Policy]:
    start = time.perf_counter()
    if min(game.temperatures) > 0.0:
        equilibrium = solve_regularised(game)
        stuck = [int(i) for i in (~equilibrium.converged).nonzero()[0]]
        return _solved(
            game,
            equilibrium.profile,
            start,
            method="predictor-corrector Newton on the branch in 1/temperature",
            iterations=int(equilibrium.iterations.max()),
            finished=not stuck,
            trouble=f"the branch stalled in contexts {stuck[:10]} ({len(stuck)} in all): "
            f"{_REACHED}",
        )
    if max(game.temperatures) > 0.0:
        raise Unsupported(
            f"temperatures are {game.temperatures}: one is zero and the other is not",
            "make both positive or both zero",
        )
    selection = solve_matrix_game(game)
    failed = selection.unselected
    return _solved(
        game,
        selection.profile,
        start,
        method="linear programming (HiGHS) and maximum-entropy selection",
        iterations=selection.iterations,
        choices=(MAXIMUM_ENTROPY, VERTEX) if failed else (MAXIMUM_ENTROPY,),
        finished=not failed,
        trouble=f"the maximum-entropy selection failed in contexts {list(failed[:10])} "
        f"({len(failed)} in all): a vertex of the linear program is returned there, see the "
        "certificate for its gap",
    )


def _solved(
    game: Solvable,
    profile: Profile[Policy],
    start: float,
    *,
    method: str,
    iterations: int,
    choices: tuple[str, ...] = (),
    finished: bool = True,
    trouble: str = "",
) -> Solution[Policy]:
    """Return what an exact solver found, certified; warn of its trouble if it did not finish."""
    if trouble and not finished:
        warnings.warn(trouble, Approximate, stacklevel=4)
    return Solution(
        profile=profile,
        certificate=certify(game, profile),
        stop=Stop.SOLVER if finished else Stop.STALLED,
        provenance=Provenance(
            method=method,
            choices=choices,
            iterations=iterations,
            seconds=time.perf_counter() - start,
        ),
    )
