"""From votes to certified policies: the preference game of every prompt, and a reward's best."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.algorithms.loop import StopRule
from nlhf.certificates import exploitability
from nlhf.data.counts import WinCounts
from nlhf.data.matrices import Preferences
from nlhf.estimation.bradley_terry import Ties, fit_bradley_terry
from nlhf.estimation.condorcet import CondorcetNull, condorcet_null
from nlhf.estimation.tabular import Completion, PreferenceEstimate, estimate_preferences
from nlhf.games.majority import MajorityGraph, majority_graph
from nlhf.games.preference import LogOddsGame, PreferenceGame, SelfPlayGame
from nlhf.numerics import log_normalise
from nlhf.protocols import Algorithm
from nlhf.results import Stop
from nlhf.solving import solve
from nlhf.spaces.simplex import Policy

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how many prompts are done, and how many there are."""

RIDGE = 0.01
"""Penalty of the Bradley-Terry rewards, in votes per logit²: it makes them finite where a response
won or lost all its votes, and changes little elsewhere."""


class PayoffKind(StrEnum):
    """What a win is worth in the game."""

    PROBABILITY = "probability"
    LOG_ODDS = "log-odds"


@dataclass(frozen=True, slots=True, eq=False)
class RewardBaseline:
    r"""The best that a Bradley-Terry reward does in the preference game.

    Among the policies :math:`\pi_\beta \propto \mu e^{r/\beta}` of the fitted rewards r, the one
    of least exploitability in the game; at a large β it is the reference itself.

    Attributes:
        rewards: r, in logits, with mean 0.
        scale: The best β, in logits.
        policy: π_β, shape ``(n,)``.
        exploitability: What a best response gains against it in the regularised game.
        loses: Probability that a response of the Nash policy is preferred to one of this policy.
    """

    rewards: Float[np.ndarray, "response"]
    scale: float
    policy: Float[np.ndarray, "response"]
    exploitability: float
    loses: float


@dataclass(frozen=True, slots=True, eq=False)
class PromptSolution:
    """The solved game of one prompt.

    Attributes:
        prompt: The prompt's id.
        responses: The ids of its responses.
        preference: P as solved, unseen pairs completed.
        votes: How many votes it rests on; 0 if the preferences were given.
        unseen: The pairs that were never compared.
        majority: The majority graph before completion: an unseen pair is no majority.
        policy: The equilibrium policy, shape ``(n,)``.
        gap: Its duality gap, in payoff units.
        distance: Upper bound on ‖π − π*‖₁.
    """

    prompt: str
    responses: tuple[str, ...]
    preference: Float[np.ndarray, "response response"]
    votes: int
    unseen: tuple[tuple[int, int], ...]
    majority: MajorityGraph
    policy: Float[np.ndarray, "response"]
    gap: float
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The preference games of all prompts, solved.

    Attributes:
        prompts: One solution per prompt.
        temperature: τ of every game, in payoff units.
        payoff: What a win is worth.
        stop: Why the solver stopped, the least favourable of all prompts.
        method: The solver.
        choices: Every choice that was made for the user, in words.
        seconds: Wall time of each stage.
    """

    prompts: tuple[PromptSolution, ...]
    temperature: float
    payoff: PayoffKind
    stop: Stop
    method: str
    choices: tuple[str, ...]
    seconds: tuple[tuple[str, float], ...]

    @property
    def largest_gap(self) -> float:
        """The largest duality gap of any prompt."""
        return max(solution.gap for solution in self.prompts)


@dataclass(frozen=True, slots=True, eq=False)
class VoteAnalysis(Analysis):
    """The analysis of votes: with rewards to compare against, and a null model for cycles.

    Attributes:
        baselines: Per prompt, the best of a Bradley-Terry reward.
        null: How many prompts have no Condorcet winner, and the law of that number if the votes
            were drawn from the fitted Bradley-Terry models.
    """

    baselines: tuple[RewardBaseline, ...]
    null: CondorcetNull


@dataclass(frozen=True, slots=True)
class Settings:
    """How the games are made and solved.

    Attributes:
        temperature: τ ≥ 0, in payoff units.
        payoff: What a win is worth.
        smoothing: Votes added to each side of every compared pair.
        unseen: How pairs that were never compared are filled in.
        algorithm: `None` solves exactly.
        stop: When an algorithm's run ends.
    """

    temperature: float = 0.05
    payoff: PayoffKind = PayoffKind.PROBABILITY
    smoothing: float = 0.0
    unseen: Completion = Completion.HALF
    algorithm: Algorithm[Any] | None = None
    stop: StopRule = field(default_factory=StopRule)


def analyse_votes(
    counts: Sequence[WinCounts], settings: Settings, progress: Progress | None = None
) -> VoteAnalysis:
    """Estimate every prompt's preferences from its votes, solve its game, and compare.

    Args:
        counts: Votes per prompt.
        settings: How the games are made and solved.
        progress: Told of every stage; `None` is silent.

    Raises:
        InvalidData: If `settings.unseen` is `ERROR` and a pair was never compared.
        InvalidProblem: If the temperature is negative, or the payoff is log-odds and an estimate
            is 0 or 1.

    Warns:
        Degenerate: If the comparisons of a prompt are not connected.
    """
    tell = progress or (lambda *_: None)
    clock = _Clock()
    estimates = []
    for k, count in enumerate(counts):
        tell("estimating", k, len(counts))
        estimates.append(estimate_preferences(count, settings.smoothing))
    completed = [estimate.complete(settings.unseen) for estimate in estimates]
    clock.lap("estimating")
    prompts, stop, method, choices = _solve_all(
        [count.prompt for count in counts],
        [count.responses for count in counts],
        completed,
        estimates,
        settings,
    )
    clock.lap("solving")
    baselines = []
    for k, (count, solution) in enumerate(zip(counts, prompts, strict=True)):
        tell("fitting rewards", k, len(counts))
        baselines.append(_best_reward(count, solution, settings))
    decisive = [fit_bradley_terry(c, ridge=RIDGE, ties=Ties.DISCARDED).rewards for c in counts]
    null = condorcet_null(counts, decisive)
    clock.lap("comparing")
    filled = sum(len(solution.unseen) for solution in prompts)
    said = [f"{filled} pairs never compared, filled in by: {settings.unseen}"] if filled else []
    return VoteAnalysis(
        prompts=tuple(prompts),
        temperature=settings.temperature,
        payoff=settings.payoff,
        stop=stop,
        method=method,
        choices=(
            *choices,
            f"ties count half, {settings.smoothing:g} votes added to each side of a pair",
            *said,
            f"Bradley-Terry rewards with ridge {RIDGE:g}",
        ),
        seconds=clock.laps,
        baselines=tuple(baselines),
        null=null,
    )


def analyse_preferences(given: Preferences, settings: Settings) -> Analysis:
    """Solve the games of given preference matrices.

    Raises:
        InvalidProblem: If a matrix is no preference, or the temperature is negative.
    """
    clock = _Clock()
    prompts, stop, method, choices = _solve_all(
        list(given.prompts), list(given.responses), list(given.preference), [], settings
    )
    clock.lap("solving")
    return Analysis(
        tuple(prompts), settings.temperature, settings.payoff, stop, method, choices, clock.laps
    )


def _solve_all(
    names: list[str],
    responses: list[tuple[str, ...]],
    preferences: list[np.ndarray],
    estimates: list[PreferenceEstimate],
    settings: Settings,
) -> tuple[list[PromptSolution], Stop, str, tuple[str, ...]]:
    """Solve prompts with equally many responses in one batch; keep the order."""
    sizes: dict[int, list[int]] = {}
    for k, p in enumerate(preferences):
        sizes.setdefault(len(p), []).append(k)
    found: dict[int, PromptSolution] = {}
    stops: list[Stop] = []
    methods: list[str] = []
    choices: list[str] = []
    for members in sizes.values():
        game = _game(np.stack([preferences[k] for k in members]), settings)
        if settings.algorithm is None:
            solution = solve(game)
        else:
            solution = solve(game, settings.algorithm, stop=settings.stop)
        stops.append(solution.stop)
        methods.append(solution.provenance.method)
        choices += solution.provenance.choices
        for x, k in enumerate(members):
            seen = estimates[k].preference if estimates else preferences[k]
            found[k] = PromptSolution(
                prompt=names[k],
                responses=responses[k],
                preference=preferences[k],
                votes=int(estimates[k].counts.compared.sum()) // 2 if estimates else 0,
                unseen=estimates[k].unseen if estimates else (),
                majority=majority_graph(seen),
                policy=solution.policy[x],
                gap=float(solution.certificate.per_context[x]),
                distance=float(solution.certificate.distance[0, x]),
            )
    worst = max(stops, key=lambda stop: list(Stop).index(stop))
    ordered = [found[k] for k in range(len(preferences))]
    return ordered, worst, methods[0], tuple(dict.fromkeys(choices))


def _game(
    preference: Float[np.ndarray, "*x response response"], settings: Settings
) -> SelfPlayGame:
    kind = PreferenceGame if settings.payoff is PayoffKind.PROBABILITY else LogOddsGame
    return kind(preference, temperature=settings.temperature)


def _best_reward(counts: WinCounts, solution: PromptSolution, settings: Settings) -> RewardBaseline:
    from scipy.optimize import minimize_scalar

    rewards = fit_bradley_terry(counts, ridge=RIDGE).rewards
    game = _game(solution.preference, settings)
    logs = game.reference.log_probabilities

    def policy(log_scale: float) -> Policy:
        return Policy(log_normalise(logs + rewards / np.exp(log_scale)))

    def loss(log_scale: float) -> float:
        return exploitability(game, policy(log_scale)).bound.value

    # The loss need not be unimodal in β: the best of a grid is refined between its neighbours.
    grid = np.linspace(np.log(1e-2), np.log(1e2), 25)
    best = int(np.argmin([loss(b) for b in grid]))
    refined = minimize_scalar(
        loss,
        bounds=(grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]),
        method="bounded",
        options={"xatol": 1e-3},
    )
    chosen = min((float(refined.x), float(grid[best])), key=loss)
    probabilities = policy(chosen).probabilities
    return RewardBaseline(
        rewards=rewards,
        scale=float(np.exp(chosen)),
        policy=probabilities,
        exploitability=loss(chosen),
        loses=float(solution.policy @ solution.preference @ probabilities),
    )


class _Clock:
    """Wall time between laps."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.laps: tuple[tuple[str, float], ...] = ()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps = (*self.laps, (stage, now - self._start))
        self._start = now
