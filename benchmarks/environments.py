"""Preference games in Gymnasium's toy-text environments, solved and certified."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.suites import Toy
from nlhf import Extragradient, FiniteHorizon, LowRankPreference, MarkovGame, StopRule, solve
from nlhf.games.intransitive import scored_cycle
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


def toys(case: Toy) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield, per method, why it stopped, the time that it took and the certified gap."""
    played = game(case)
    for name, algorithm in (("exact", None), ("extragradient", Extragradient())):
        rule = StopRule(gap=GAP, max_iterations=10**6, max_seconds=SECONDS)
        begin = time.perf_counter()
        solution = solve(played, algorithm, stop=None if algorithm is None else rule)
        seconds = time.perf_counter() - begin
        numbers = {
            "seconds": seconds,
            "iterations": solution.provenance.iterations,
            "duality_gap_largest": solution.certificate.bound.high,
        }
        yield name, str(solution.stop), numbers
