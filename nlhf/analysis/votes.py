"""From votes to certified policies: the preference game of every prompt, and a reward's best."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.algorithms.checkpoint import Checkpoint
from nlhf.algorithms.loop import StopRule, iterate
from nlhf.analysis.baselines import RIDGE, NoBaseline, RewardBaseline, best_reward
from nlhf.analysis.prompts import (
    PayoffKind,
    Problem,
    Progress,
    game_of,
    problems_of_preferences,
    problems_of_votes,
)
from nlhf.certificates import certify
from nlhf.data.counts import WinCounts
from nlhf.data.matrices import Preferences
from nlhf.data.text import quoted
from nlhf.errors import Degenerate, InvalidProblem
from nlhf.estimation.condorcet import CondorcetNull, condorcet_null
from nlhf.estimation.tabular import Completion
from nlhf.games.majority import MajorityGraph
from nlhf.games.preference import SelfPlayGame
from nlhf.protocols import Algorithm
from nlhf.results import Bound, Certificate, Profile, Solution, Stop, TraceRow, chosen
from nlhf.solving import solve
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream

Watch = Callable[[tuple[str, ...], TraceRow], None]
"""Called with the prompts that an algorithm runs on together and its judged iteration, whose gap
is the largest of theirs."""

SEVERITY = (Stop.SOLVER, Stop.CERTIFIED, Stop.BUDGET, Stop.STALLED, Stop.DIVERGED)
"""Why a run stopped, from the most favourable reason to the least."""


class Condorcet(StrEnum):
    """Whether a response beats all others, and if not, why."""

    WINNER = "winner"
    CYCLE = "majority cycle"
    """Every response loses to another one, so majorities run in a circle."""
    TIES = "ties"
    """Some response loses to none, but every such response is tied with another one."""
    UNSEEN = "pairs never compared"
    """Some response wins all pairs in which it was compared, and was not compared in all."""
    TRIVIAL = "only one response"


@dataclass(frozen=True, slots=True, eq=False)
class PromptSolution:
    """The solved game of one prompt.

    Attributes:
        prompt: The prompt's id.
        responses: The ids of its responses.
        preference: P as solved, unseen pairs completed.
        counts: The votes it rests on; `None` if the preferences were given.
        reference: μ, shape ``(n,)``.
        unseen: The pairs that were never compared.
        majority: The majority graph before completion: an unseen pair is no majority.
        policy: The equilibrium policy, shape ``(n,)``.
        gap: Its duality gap, in payoff units.
        gap_low: The duality gap is at least this.
        gap_high: The duality gap is at most this: `gap` and the rounding error of all prompts
            that were solved with it, since the certificate states the sum of these only.
        distance: Upper bound on ‖π − π*‖₁.
    """

    prompt: str
    responses: tuple[str, ...]
    preference: Float[np.ndarray, "response response"]
    counts: WinCounts | None
    reference: Float[np.ndarray, "response"]
    unseen: tuple[tuple[int, int], ...]
    majority: MajorityGraph
    policy: Float[np.ndarray, "response"]
    gap: float
    gap_low: float
    gap_high: float
    distance: float

    @property
    def votes(self) -> int:
        """How many votes it rests on; 0 if the preferences were given."""
        return int(self.counts.compared.sum()) // 2 if self.counts is not None else 0

    @property
    def condorcet(self) -> Condorcet:
        """Whether a response beats all others, and if not, why."""
        beats = self.majority.beats
        if len(beats) == 1:
            return Condorcet.TRIVIAL
        if self.majority.condorcet_winners:
            return Condorcet.WINNER
        unbeaten = np.flatnonzero(~beats.any(axis=0))
        if not unbeaten.size:
            return Condorcet.CYCLE
        settled = beats | np.eye(len(beats), dtype=bool)
        for i, j in self.unseen:
            settled[i, j] = settled[j, i] = True
        return Condorcet.UNSEEN if settled[unbeaten].all(axis=1).any() else Condorcet.TIES


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The preference games of all prompts, solved.

    Attributes:
        prompts: One solution per prompt.
        temperature: τ of every game, in payoff units.
        payoff: What a win is worth.
        stop: Why the solver stopped, the least favourable of all prompts.
        method: The solver, or all of them.
        choices: Every choice that was made for the user, in words.
        iterations: Steps of the solver, the most of all prompts.
        seconds: Wall time of each stage.
    """

    prompts: tuple[PromptSolution, ...]
    temperature: float
    payoff: PayoffKind
    stop: Stop
    method: str
    choices: tuple[str, ...]
    iterations: int
    seconds: tuple[tuple[str, float], ...]

    @property
    def largest_gap(self) -> float:
        """The duality gap of every prompt is at most this, rounding included."""
        return max(solution.gap_high for solution in self.prompts)


@dataclass(frozen=True, slots=True, eq=False)
class VoteAnalysis(Analysis):
    """The analysis of votes: with rewards to compare against, and a null model for cycles.

    Attributes:
        baselines: Per prompt, the best of a Bradley-Terry reward, or why there is none.
        null: How many prompts have no Condorcet winner, and the law of that number if the votes
            were Bradley-Terry.
    """

    baselines: tuple[RewardBaseline | NoBaseline, ...]
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
        stop: When an algorithm's run ends; its gap is that of every prompt.
        checkpoint: Where an algorithm's run is saved and resumed from; only if all prompts have
            equally many responses, hence are one run.

    Raises:
        InvalidProblem: If there is no such payoff or way to fill in pairs.
    """

    temperature: float = 0.05
    payoff: PayoffKind = PayoffKind.PROBABILITY
    smoothing: float = 0.0
    unseen: Completion = Completion.HALF
    algorithm: Algorithm[Any] | None = None
    stop: StopRule = field(default_factory=StopRule)
    checkpoint: Checkpoint | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "payoff", chosen(PayoffKind, self.payoff, "payoff"))
        object.__setattr__(self, "unseen", chosen(Completion, self.unseen, "unseen"))


def analyse_votes(
    counts: Sequence[WinCounts],
    settings: Settings,
    progress: Progress | None = None,
    observe: Watch | None = None,
) -> VoteAnalysis:
    """Estimate every prompt's preferences from its votes, solve its game, and compare.

    Args:
        counts: Votes per prompt.
        settings: How the games are made and solved.
        progress: Told of every stage; `None` is silent.
        observe: Told of every judged iteration of an algorithm.

    Raises:
        InvalidData: If `settings.unseen` is `ERROR` and a pair was never compared.
        InvalidProblem: If the temperature is negative, or the payoff is log-odds and an estimate
            is 0 or 1.

    Warns:
        Degenerate: If the comparisons of a prompt are not connected, or it has one response.
    """
    tell = progress or (lambda *_: None)
    clock = _Clock()
    problems = problems_of_votes(counts, settings.smoothing, settings.unseen, tell)
    clock.lap("estimating")
    solved = _solve_all(problems, settings, tell, observe)
    clock.lap("solving")
    baselines = []
    for k, (count, solution) in enumerate(zip(counts, solved.prompts, strict=True)):
        tell("comparing", k, len(counts))
        game = game_of(solution.preference, settings.payoff, settings.temperature)
        baselines.append(best_reward(count, game, solution.preference, solution.policy))
    null = condorcet_null(counts)
    clock.lap("comparing")
    return VoteAnalysis(
        prompts=solved.prompts,
        temperature=settings.temperature,
        payoff=settings.payoff,
        stop=solved.stop,
        method=solved.method,
        choices=(*solved.choices, *_choices_for_votes(solved.prompts, settings)),
        iterations=solved.iterations,
        seconds=clock.laps,
        baselines=tuple(baselines),
        null=null,
    )


def analyse_preferences(
    given: Preferences,
    settings: Settings,
    progress: Progress | None = None,
    observe: Watch | None = None,
) -> Analysis:
    """Solve the games of given preference matrices.

    Args:
        given: Preferences per prompt.
        settings: How the games are made and solved.
        progress: Told of every stage; `None` is silent.
        observe: Told of every judged iteration of an algorithm.

    Raises:
        InvalidProblem: If a matrix is no preference, the temperature is negative, or the settings
            hold a choice that is about votes.

    Warns:
        Degenerate: If a prompt has one response.
    """
    clock = _Clock()
    problems = problems_of_preferences(given, settings.smoothing, settings.unseen)
    solved = _solve_all(problems, settings, progress or (lambda *_: None), observe)
    clock.lap("solving")
    return Analysis(
        prompts=solved.prompts,
        temperature=settings.temperature,
        payoff=settings.payoff,
        stop=solved.stop,
        method=solved.method,
        choices=solved.choices,
        iterations=solved.iterations,
        seconds=clock.laps,
    )


def least_favourable(stops: Sequence[Stop]) -> Stop:
    """Return the reason that comes last in `SEVERITY`."""
    return max(stops, key=SEVERITY.index)


@dataclass(frozen=True, slots=True, eq=False)
class _Solved:
    """All prompts, solved."""

    prompts: tuple[PromptSolution, ...]
    stop: Stop
    method: str
    choices: tuple[str, ...]
    iterations: int


def _choices_for_votes(prompts: Sequence[PromptSolution], settings: Settings) -> tuple[str, ...]:
    filled = sum(len(solution.unseen) for solution in prompts)
    pairs = "pair" if filled == 1 else "pairs"
    return (
        f"ties count half, {settings.smoothing:g} votes added to each side of a pair",
        *([f"{filled} {pairs} never compared, filled in by: {settings.unseen}"] if filled else []),
        f"Bradley-Terry rewards with ridge {RIDGE:g}",
    )


def _solve_all(
    problems: Sequence[Problem], settings: Settings, tell: Progress, observe: Watch | None
) -> _Solved:
    """Solve prompts with equally many responses in one batch; keep the order."""
    sizes: dict[int, list[int]] = {}
    for k, problem in enumerate(problems):
        sizes.setdefault(len(problem.responses), []).append(k)
        if len(problem.responses) == 1:
            warnings.warn(
                f"prompt {quoted(problem.prompt)}: only one response: the policy is trivial",
                Degenerate,
                stacklevel=3,
            )
    if settings.checkpoint is not None and len(sizes) > 1:
        raise InvalidProblem(
            f"the prompts have {' or '.join(map(str, sorted(sizes)))} responses, hence are "
            f"{len(sizes)} runs, and a checkpoint holds one",
            "give prompts with equally many responses, or no checkpoint",
        )
    found: dict[int, PromptSolution] = {}
    solutions: list[Solution[Policy]] = []
    for members in sizes.values():
        tell("solving", len(found), len(problems))
        batch = [problems[k] for k in members]
        preference = np.stack([problem.preference for problem in batch])
        game = game_of(preference, settings.payoff, settings.temperature)
        solutions.append(_solve_one(game, batch, settings, observe))
        for x, k in enumerate(members):
            found[k] = _prompt_solution(problems[k], solutions[-1], x, game)
    choices = [choice for solution in solutions for choice in solution.provenance.choices]
    methods = dict.fromkeys(solution.provenance.method for solution in solutions)
    return _Solved(
        prompts=tuple(found[k] for k in range(len(problems))),
        stop=least_favourable([solution.stop for solution in solutions]),
        method=" and ".join(methods),
        choices=tuple(dict.fromkeys(choices)),
        iterations=max(solution.provenance.iterations for solution in solutions),
    )


def _solve_one(
    game: SelfPlayGame, batch: Sequence[Problem], settings: Settings, observe: Watch | None
) -> Solution[Policy]:
    """Solve prompts exactly, or run the algorithm until the rule holds for the worst of them."""
    if settings.algorithm is None:
        return solve(game)
    prompts = tuple(problem.prompt for problem in batch)

    def worst(profile: Profile[Policy]) -> Certificate[Policy]:
        certificate = certify(game, profile)
        gap = float(certificate.per_context.max())
        rounding = float(_roundings(certificate, game).max())
        return replace(certificate, bound=Bound.exact(gap, game.units, rounding))

    def note(row: TraceRow) -> None:
        if observe is not None:
            observe(prompts, row)

    run = iterate(
        game,
        settings.algorithm,
        worst,
        settings.stop,
        Stream(0),
        observe=note,
        checkpoint=settings.checkpoint,
    )
    return replace(run, certificate=certify(game, run.profile))


def _roundings(
    certificate: Certificate[Policy], game: SelfPlayGame
) -> Float[np.ndarray, "context"]:
    """Return what the gap of every context may be off by.

    The rounding of the bound is Σ_x w_x e_x with every e_x ≥ 0; hence e_x is at most this.
    """
    return (certificate.bound.high - certificate.bound.value) / game.weights


def _prompt_solution(
    problem: Problem, solution: Solution[Policy], x: int, game: SelfPlayGame
) -> PromptSolution:
    certificate = solution.certificate
    gap = float(certificate.per_context[x])
    rounding = float(_roundings(certificate, game)[x])
    return PromptSolution(
        prompt=problem.prompt,
        responses=problem.responses,
        preference=problem.preference,
        counts=problem.counts,
        reference=np.broadcast_to(game.reference.probabilities, solution.policy.shape)[x],
        unseen=problem.unseen,
        majority=problem.majority,
        policy=solution.policy[x],
        gap=gap,
        gap_low=min(gap, max(0.0, gap - rounding)),
        gap_high=gap + rounding,
        distance=float(certificate.distance[0, x]),
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
