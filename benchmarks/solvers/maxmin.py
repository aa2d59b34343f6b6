"""MaxMin over groups: the exact dual against the conic program, on the same games in turn."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from benchmarks.cases import Groups
from benchmarks.found import Found
from benchmarks.turns import Answer, Run, in_turn
from nlhf import Stream, certify, solve
from nlhf.exact.convex_maxmin import ConvexMaxMin, MaxMinProgram, solve_convex_maxmin
from nlhf.games.maxmin import MaxMinGame
from nlhf.numerics import log_normalise
from nlhf.spaces.policy import Policy

Profile = tuple[Policy, ...]
Method = Run[MaxMinGame, Profile]


def draw(case: Groups, number: int) -> MaxMinGame:
    """Return the game of one repeat: independent normal rewards, utilities 0 at the reference."""
    rng = Stream(case.seed).child("maxmin", case.groups, case.responses, number).generator()
    shape = (case.groups, case.contexts, case.responses)
    return MaxMinGame(rng.normal(size=shape), temperature=case.temperature, offsets="reference")


def exact(case: Groups) -> Method:
    """`nlhf.solve(game)`, the certificate included."""
    return lambda game: Answer(solve(game).profile)


def cvxpy(case: Groups) -> Method:
    """One parametrised cvxpy problem, compiled before the clock starts, solved by CLARABEL."""
    program = MaxMinProgram(draw(case, -1))
    return lambda game: _told(program.solve(game))


def cvxpy_compiled_each_time(case: Groups) -> Method:
    """The same problem written down anew for every game, as a script would."""
    return lambda game: _told(solve_convex_maxmin(game))


def _told(found: ConvexMaxMin) -> Answer[Profile]:
    status = "inaccurate" if found.status == "optimal_inaccurate" else "ok"
    return Answer((found.policy, found.weights), status)


def scipy_slsqp(case: Groups) -> Method:
    """The dual, min over weights w of τ E_x log Σ μ exp(wᵀr/τ), by SciPy's SLSQP."""
    from scipy.optimize import minimize

    def run(game: MaxMinGame) -> Answer[Profile]:
        rewards = game.rewards + game.offsets[:, None, None]
        log_reference = game.reference.log_probabilities
        tilt = rewards / case.temperature

        def dual(w: np.ndarray) -> tuple[float, np.ndarray]:
            logits = log_reference + np.tensordot(w, tilt, 1)
            top = logits.max(axis=-1, keepdims=True)
            exponentials = np.exp(logits - top)
            total = exponentials.sum(axis=-1, keepdims=True)
            value = case.temperature * float((top + np.log(total)).mean())
            slope = np.einsum("uxi,xi->u", rewards, exponentials / total) / rewards.shape[1]
            return value, slope

        found = minimize(
            dual,
            np.full(case.groups, 1.0 / case.groups),
            jac=True,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * case.groups,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like},
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        weights = np.clip(found.x, 0.0, None)
        logs = log_normalise(log_reference + np.tensordot(weights / weights.sum(), tilt, 1))
        with np.errstate(divide="ignore"):
            profile = (Policy(logs), Policy(np.log(weights / weights.sum())))
        return Answer(profile, "ok" if found.success else "stopped")

    return run


METHODS: Mapping[str, Callable[[Groups], Method]] = {
    method.__name__: method for method in (exact, cvxpy, cvxpy_compiled_each_time, scipy_slsqp)
}


def maxmin(case: Groups) -> Iterator[Found]:
    """Yield what is found of every method, with the certified gap of its answers."""

    def gap(game: MaxMinGame, profile: Profile) -> dict[str, float]:
        return {"duality_gap_largest": certify(game, profile).bound.value}

    makers = {name: partial(METHODS[name], case) for name in case.methods}
    yield from in_turn(makers, partial(draw, case), gap, case.repeats)
