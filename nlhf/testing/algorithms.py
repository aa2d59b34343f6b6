"""The contract of an algorithm: the same method in every setting, a function of its state."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite, sqrt
from typing import Any

import numpy as np

from nlhf.algorithms.rates import ConvergesLinearly, LinearRate
from nlhf.errors import HypothesisViolated
from nlhf.protocols import Algorithm, Game
from nlhf.results import Profile
from nlhf.streams import Stream
from nlhf.testing.clauses import Clause, Probe, Report, examine
from nlhf.testing.games import settled
from nlhf.testing.instances import SameGame, Setting, same_games, settings
from nlhf.testing.spaces import apart

_STREAM = Stream(0, ("nlhf.testing", "algorithm"))
_STEPS = 6
"""Enough for state to build up, for a mixture of two and for a magnet to have moved."""
_SAME_STEPS = 50
_EQUILIBRIUM = 1e-22
"""Duality gap up to which equilibria are known: their distance is of the order of its root."""
_GAP = 1e-4
"""Duality gap up to which promises are followed, in units of half the range of the payoffs."""
_PATIENCE = 2000
"""Steps after which a promise is not followed any further."""


def check_algorithm(
    algorithm: Algorithm[Any],
    chosen: Sequence[Setting] | None = None,
    alike: Sequence[SameGame] | None = None,
    *,
    tolerance: float = 1e-9,
) -> Report:
    r"""Check that an algorithm keeps its contract in every setting.

    Bandits, batches of contexts, zero-sum games, log-odds, token trees, histories with chance and
    Markov decision processes, with a horizon and discounted; and one game of sequences told as a
    bandit, a token tree and a deterministic decision process, in which 50 iterates must be the
    same. An algorithm may refuse a game by `HypothesisViolated`, for instance a step size beyond
    its proven range; that is noted, but it must not refuse all games. One that promises a linear
    rate (`nlhf.algorithms.rates.ConvergesLinearly`) must keep it: from the references, divergence
    and duality gap obey their bounds until the promise is a gap of 1e-4, in units of half the
    range of the payoffs. Where its `rate` raises `HypothesisViolated` nothing is promised, which
    is noted. Equilibria are known where temperatures are positive and proximal steps exact.

    Args:
        algorithm: The algorithm.
        chosen: Settings to run it in; `nlhf.testing.settings()` by default.
        alike: Games told in several settings; `nlhf.testing.same_games()` by default.
        tolerance: The largest deviation of two profiles that ought to be the same, in
            :math:`\sqrt{2 KL}`. Games told in several settings have tolerances of their own.

    Returns:
        What was measured; refusals, and how far it strays from an equilibrium that it does not
        claim to keep, are in the notes.

    Raises:
        ContractBroken: At the first clause that the algorithm breaks.
    """
    case = AlgorithmCase(
        algorithm,
        tuple(settings() if chosen is None else chosen),
        tuple(same_games() if alike is None else alike),
        tolerance,
    )
    kind = type(algorithm)
    plain = kind.__repr__ is object.__repr__
    return examine(kind.__name__ if plain else repr(algorithm), ALGORITHM_CLAUSES, case)


@dataclass(frozen=True, slots=True, eq=False)
class AlgorithmCase:
    """An algorithm with the settings it is checked in."""

    algorithm: Algorithm[Any]
    settings: tuple[Setting, ...]
    alike: tuple[SameGame, ...]
    tolerance: float

    def run(self, game: Game[Any, Any], start: Profile[Any], steps: int = _STEPS) -> list[Any]:
        """Return the states of a run; step t draws from `Stream.child("step", t)`."""
        states = [self.algorithm.init(game, start)]
        for t in range(steps):
            states.append(self.algorithm.step(game, states[-1], _STREAM.child("step", t)))
        return states

    def last(self, states: list[Any]) -> Profile[Any]:
        """Return what the method proposes in the end."""
        return self.algorithm.profile(states[-1])

    def accepted(self) -> list[Setting]:
        """Return the settings that the algorithm does not refuse."""
        return [setting for setting in self.settings if self.refusal(setting.game) is None]

    def solved(self, probe: Probe) -> list[Setting]:
        """Return the accepted settings of which the equilibrium is known, the others noted."""
        known = []
        for setting in self.accepted():
            if setting.game.exact_steps and min(setting.game.temperatures) > 0.0:
                known.append(setting)
            else:
                probe.notes.append(f"{probe.clause.name}: no equilibrium known in {setting.name}")
        return known

    def refusal(self, game: Game[Any, Any]) -> str | None:
        """Return why the algorithm refuses a game, or `None` if it does not."""
        try:
            self.run(game, game.start(), 1)
        except HypothesisViolated as error:
            return error.found
        return None


def distance(game: Game[Any, Any], p: Profile[Any], q: Profile[Any]) -> float:
    """Return the largest √(2 KL) between strategies of one player."""
    return max(apart(space, a, b) for space, a, b in zip(game.spaces, p, q, strict=True))


def divergence(game: Game[Any, Any], p: Profile[Any], q: Profile[Any]) -> float:
    """Return KL(p‖q) over all distinct players, in nats."""
    spaces = zip(game.spaces, p, q, strict=True)
    return sum(space.divergence(a, b).value for space, a, b in spaces)


@cache
def equilibrium(setting: Setting) -> Profile[Any]:
    """Return the equilibrium of a setting to rounding: the judge says so."""
    _, profile = settled(setting.game, setting.judge, _EQUILIBRIUM)
    return profile


def _attributes(case: AlgorithmCase, probe: Probe) -> None:
    for name in ("init", "step", "profile", "keeps_equilibrium"):
        probe.require(name, hasattr(case.algorithm, name), "there is no such attribute")
    claim: object = case.algorithm.keeps_equilibrium
    probe.require("keeps_equilibrium", isinstance(claim, bool), f"it is {claim!r}")


def _runs(case: AlgorithmCase, probe: Probe) -> None:
    games = [(s.name, s.game) for s in case.settings]
    games += [
        (f"{view.name}, {game.name}", view.game) for game in case.alike for view in game.views
    ]
    refused = 0
    for name, game in games:
        try:
            reason = case.refusal(game)
        except Exception as error:
            raise probe.broken(name, f"{type(error).__name__}: {error}") from error
        if reason is None:
            probe.require(name, True, "")
            continue
        probe.notes.append(f"refused in {name}: {reason}")
        refused += 1
    probe.require("all settings", refused < len(games), "every game was refused")


def _profiles(case: AlgorithmCase, probe: Probe) -> None:
    for setting in case.accepted():
        game = setting.game
        for t, state in enumerate(case.run(game, game.start())):
            proposed: object = case.algorithm.profile(state)
            where = f"{setting.name}, step {t}"
            shaped = isinstance(proposed, tuple) and len(proposed) == len(game.spaces)
            probe.require(where, shaped, f"{type(proposed).__name__} is not a profile")
            bound = setting.judge(case.algorithm.profile(state)).bound
            good = isfinite(bound.value) and bound.high >= 0.0
            probe.require(where, good, f"the duality gap is {bound.value}")


def _reproducible(case: AlgorithmCase, probe: Probe) -> None:
    for setting in case.accepted():
        game = setting.game
        runs = [case.last(case.run(game, game.start())) for _ in range(2)]
        probe.measure(setting.name, distance(game, *runs), case.tolerance)


def _no_hidden_state(case: AlgorithmCase, probe: Probe) -> None:
    """Two runs of one object, step by step in turn, against one run alone."""
    for setting in case.accepted():
        game = setting.game
        alone = case.run(game, game.start())
        other = game.prox(game.operator(game.start(), _STREAM), [(game.start(), 1.0)])
        state, beside = case.algorithm.init(game, game.start()), case.algorithm.init(game, other)
        for t in range(_STEPS):
            state = case.algorithm.step(game, state, _STREAM.child("step", t))
            beside = case.algorithm.step(game, beside, _STREAM.child("beside", t))
        found = distance(game, case.algorithm.profile(state), case.last(alone))
        probe.measure(setting.name, found, case.tolerance)


def _state_kept(case: AlgorithmCase, probe: Probe) -> None:
    for setting in case.accepted():
        game = setting.game
        state = case.run(game, game.start(), 3)[-1]
        before = case.last([state])
        seen = case.last([case.algorithm.step(game, state, _STREAM)])
        after = case.last([state])
        again = case.last([case.algorithm.step(game, state, _STREAM)])
        moved, differs = distance(game, after, before), distance(game, again, seen)
        probe.measure(f"{setting.name}, the state after", moved, case.tolerance)
        probe.measure(f"{setting.name}, stepped again", differs, case.tolerance)


def _resumes(case: AlgorithmCase, probe: Probe) -> None:
    for setting in case.accepted():
        game = setting.game
        states = case.run(game, game.start())
        state = pickle.loads(pickle.dumps(states[2]))
        for t in range(2, _STEPS):
            state = case.algorithm.step(game, state, _STREAM.child("step", t))
        found = distance(game, case.algorithm.profile(state), case.last(states))
        probe.measure(setting.name, found, case.tolerance)


def _keeps_equilibrium(case: AlgorithmCase, probe: Probe) -> None:
    most, where = 0.0, "nowhere"
    for setting in case.solved(probe):
        exact = equilibrium(setting)
        strays = distance(setting.game, case.last(case.run(setting.game, exact)), exact)
        if case.algorithm.keeps_equilibrium:
            probe.measure(setting.name, strays, case.tolerance)
        if strays > most:
            most, where = strays, setting.name
    if not case.algorithm.keeps_equilibrium:
        probe.notes.append(
            f"keeps-equilibrium is not claimed: {_STEPS} steps stray by up to {most:.3g} ({where})"
        )


def _linear_rate(case: AlgorithmCase, probe: Probe) -> None:
    if not isinstance(case.algorithm, ConvergesLinearly):
        return
    for setting in case.solved(probe):
        try:
            rate = case.algorithm.rate(setting.game)
        except HypothesisViolated as error:
            probe.notes.append(f"no rate is promised in {setting.name}: {error.found}")
        else:
            _follow(case, probe, setting, rate)


def _follow(case: AlgorithmCase, probe: Probe, setting: Setting, rate: LinearRate) -> None:
    """Hold a run from the references against its promise."""
    game, exact = setting.game, equilibrium(setting)
    unit = game.lipschitz or 1.0
    away = divergence(game, exact, game.start())
    promised = rate.iterations(_GAP * unit, away)
    steps = min(promised, _PATIENCE)
    if steps < promised:
        probe.notes.append(f"{setting.name}: {steps} of {promised} promised steps were followed")
    state = case.algorithm.init(game, game.start())
    for t in range(1, steps + 1):
        state = case.algorithm.step(game, state, _STREAM.child("step", t - 1))
        if t > 3 and t % 10 and t < steps:
            continue
        profile: Profile[Any] = case.algorithm.profile(state)
        fallen = rate.contraction**t
        found = sqrt(2.0 * max(divergence(game, exact, profile), 0.0))
        bound = sqrt(2.0 * rate.divergence * fallen * away)
        where = f"{setting.name}, step {t} of {promised}"
        probe.measure(f"{where}, divergence", found, bound + case.tolerance)
        gap = rate.gap * fallen / rate.contraction * away
        allowed = gap + case.tolerance * unit
        probe.measure(f"{where}, gap", setting.judge(profile).bound.high, allowed)


def _same_iterates(case: AlgorithmCase, probe: Probe) -> None:
    for game in case.alike:
        first, *others = game.views
        if any(case.refusal(view.game) is not None for view in game.views):
            refused = [view.name for view in game.views if case.refusal(view.game) is not None]
            alike = len(refused) == len(game.views)
            probe.require(game.name, alike, f"refused in {', '.join(refused)} only")
            continue
        runs = {
            view.name: case.run(view.game, view.game.start(), _SAME_STEPS) for view in game.views
        }
        for view in others:
            pairs = zip(runs[first.name], runs[view.name], strict=True)
            for t, (expected, found) in enumerate(pairs):
                wanted = first.sequences(case.algorithm.profile(expected))
                told = view.sequences(case.algorithm.profile(found))
                deviation = float(np.abs(told - wanted).max())
                where = f"{game.name}, {view.name} and {first.name}, step {t}"
                probe.measure(where, deviation, view.tolerance)


ALGORITHM_CLAUSES: tuple[Clause[AlgorithmCase], ...] = (
    Clause(
        "attributes",
        "init, step, profile and keeps_equilibrium, which is True or False, are there",
        _attributes,
    ),
    Clause(
        "runs",
        "use the game's operator, prox and mixture only, and know nothing of strategies; refuse "
        "a game by HypothesisViolated, but not all",
        _runs,
    ),
    Clause("profiles", "every state proposes a profile that the game can judge", _profiles),
    Clause("reproducible", "the same stream gives the same run", _reproducible),
    Clause(
        "no-hidden-state", "what a run needs is in its state, not in the method", _no_hidden_state
    ),
    Clause("state-kept", "a step leaves the state it starts from as it was", _state_kept),
    Clause("resumes", "a pickled state goes on like the original", _resumes),
    Clause(
        "keeps-equilibrium",
        "a step from the equilibrium stays there, or keeps_equilibrium = False says it does not",
        _keeps_equilibrium,
    ),
    Clause(
        "linear-rate",
        "what `rate` promises is kept: D_k <= C q^k D_0 and a duality gap of at most "
        "M q^(k-1) D_0, from the references on",
        _linear_rate,
    ),
    Clause(
        "same-iterates",
        "one game told as a bandit, a token tree and a decision process has the same iterates",
        _same_iterates,
    ),
)
"""The clauses of `check_algorithm`, in the order in which they are checked."""
