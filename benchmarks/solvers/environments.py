"""Preference games in Gymnasium's toy-text environments, solved and certified."""

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.cases import Toy
from benchmarks.found import Found
from benchmarks.turns import Answer, Run, in_turn
from nlhf import Extragradient, FiniteHorizon, LowRankPreference, MarkovGame, StopRule, solve
from nlhf.games.intransitive import scored_cycle
from nlhf.results import Solution
from nlhf.spaces.importers import Environment, from_gymnasium
from nlhf.spaces.mdp import Unreachable

GAP = 1e-8
SECONDS = 120.0


def step_preference(environment: Environment) -> LowRankPreference:
    """Return a preference of rank four between steps that no reward represents.

    Half of it is the environment's reward, scaled to [0, 1]; the other half is a wheel on which
    the action turns by a full circle, and the state's number by another.
    """
    rewards, (states, actions) = environment.rewards, environment.rewards.shape
    score = (rewards - rewards.min()) / (rewards.max() - rewards.min())
    turn = np.arange(actions) / actions + np.arange(states)[:, None] / states
    return scored_cycle(score, 2 * np.pi * turn, cycle=0.5)


def game(case: Toy) -> MarkovGame:
    """Return the game of a case: all states are kept, those that are never reached too."""
    import gymnasium

    made = from_gymnasium(gymnasium.make(case.environment), unreachable=Unreachable.KEEP)
    process = FiniteHorizon(made.mdp, case.horizon)
    return MarkovGame(process, step=step_preference(made), temperature=case.temperature)


def toys(case: Toy) -> Iterator[Found]:
    """Yield the time of every method, and the certified gap."""
    played = game(case)
    rule = StopRule(gap=GAP, max_iterations=10**6, max_seconds=SECONDS)

    def told(solution: Solution) -> Answer[Solution]:
        stop = str(solution.stop)
        status = "ok" if stop in ("solver", "certified") else stop
        return Answer(solution, status, notes={"iterations": solution.provenance.iterations})

    makers: dict[str, Callable[[], Run[None, Solution]]] = {
        "exact": lambda: lambda _: told(solve(played)),
        "extragradient": lambda: lambda _: told(solve(played, Extragradient(), stop=rule)),
    }

    def gap(_: None, solution: Solution) -> dict[str, float]:
        return {"duality_gap_largest": solution.certificate.bound.high}

    yield from in_turn(makers, lambda _: None, gap, case.repeats)
