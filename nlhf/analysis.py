"""From votes to certified policies: the preference game of every prompt, and a reward's best."""

import time
import warnings
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
from nlhf.data.text import quoted
from nlhf.errors import Degenerate, InvalidProblem, SolverFailed
from nlhf.estimation.bradley_terry import fit_bradley_terry
from nlhf.estimation.condorcet import CondorcetNull, condorcet_null
from nlhf.estimation.tabular import Completion, PreferenceEstimate, estimate_preferences
from nlhf.games.majority import MajorityGraph, majority_graph
from nlhf.games.payoffs import DensePayoff
from nlhf.games.preference import LogOddsGame, PreferenceGame, SelfPlayGame
from nlhf.numerics import expectation, kl_divergence, log_normalise
from nlhf.protocols import Algorithm
from nlhf.results import Solution, Stop
from nlhf.solving import solve
from nlhf.spaces.policy import Policy

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how many prompts are done, and how many there are."""

RIDGE = 0.01
"""Penalty of the Bradley-Terry rewards, in votes per logit²: it makes them finite where a response
won or lost all its votes, and changes little elsewhere."""


SEVERITY = (Stop.SOLVER, Stop.CERTIFIED, Stop.BUDGET, Stop.STALLED, Stop.DIVERGED)
"""Why a run stopped, from the most favourable reason to the least."""

_SCALES = 33
"""Points of each of the two grids on which the best scale of a reward is searched."""


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
        scale_range: The least and the largest β that were tried.
        policy: π_β, shape ``(n,)``.
        exploitability: What a best response gains against it in the regularised game.
        loses: Probability that a response of the Nash policy is preferred to one of this policy.
    """

    rewards: Float[np.ndarray, "response"]
    scale: float
    scale_range: tuple[float, float]
    policy: Float[np.ndarray, "response"]
    exploitability: float
    loses: float

    @property
    def at_end(self) -> bool:
        """Whether the best β is an end of the range, so that one beyond may do better."""
        return self.scale in self.scale_range


@dataclass(frozen=True, slots=True)
class NoBaseline:
    """Why a prompt has no Bradley-Terry baseline.

    Attributes:
        reason: What failed.
    """

    reason: str


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
        Degenerate: If the comparisons of a prompt are not connected, or it has one response.
    """
    tell = progress or (lambda *_: None)
    clock = _Clock()
    estimates = []
    for k, count in enumerate(counts):
        tell("estimating", k, len(counts))
        estimates.append(estimate_preferences(count, settings.smoothing))
    problems = [_of_votes(estimate, settings.unseen) for estimate in estimates]
    clock.lap("estimating")
    solved = _solve_all(problems, settings, tell)
    clock.lap("solving")
    baselines = []
    for k, (count, solution) in enumerate(zip(counts, solved.prompts, strict=True)):
        tell("comparing", k, len(counts))
        baselines.append(_best_reward(count, solution, settings))
    null = condorcet_null(counts)
    clock.lap("comparing")
    return VoteAnalysis(
        prompts=solved.prompts,
        temperature=settings.temperature,
        payoff=settings.payoff,
        stop=solved.stop,
        method=solved.method,
        choices=(*solved.choices, *_choices_for_votes(solved.prompts, settings)),
        seconds=clock.laps,
        baselines=tuple(baselines),
        null=null,
    )


def analyse_preferences(
    given: Preferences, settings: Settings, progress: Progress | None = None
) -> Analysis:
    """Solve the games of given preference matrices.

    Raises:
        InvalidProblem: If a matrix is no preference, the temperature is negative, or the settings
            hold a choice that is about votes.

    Warns:
        Degenerate: If a prompt has one response.
    """
    for name, value, default in (
        ("smoothing", settings.smoothing, 0.0),
        ("unseen", settings.unseen, Completion.HALF),
    ):
        if value != default:
            raise InvalidProblem(
                f"{name} is {value}, but the file holds preferences, not votes: nothing is "
                "estimated",
                f"drop {name}, or give the votes",
            )
    clock = _Clock()
    problems = [
        _Problem(prompt, responses, p, majority_graph(p), (), None)
        for prompt, responses, p in zip(
            given.prompts, given.responses, given.preference, strict=True
        )
    ]
    solved = _solve_all(problems, settings, progress or (lambda *_: None))
    clock.lap("solving")
    return Analysis(
        prompts=solved.prompts,
        temperature=settings.temperature,
        payoff=settings.payoff,
        stop=solved.stop,
        method=solved.method,
        choices=solved.choices,
        seconds=clock.laps,
    )


def least_favourable(stops: Sequence[Stop]) -> Stop:
    """Return the reason that comes last in `SEVERITY`."""
    return max(stops, key=SEVERITY.index)


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """One prompt before it is solved."""

    prompt: str
    responses: tuple[str, ...]
    preference: Float[np.ndarray, "response response"]
    majority: MajorityGraph
    unseen: tuple[tuple[int, int], ...]
    counts: WinCounts | None


@dataclass(frozen=True, slots=True, eq=False)
class _Solved:
    """All prompts, solved."""

    prompts: tuple[PromptSolution, ...]
    stop: Stop
    method: str
    choices: tuple[str, ...]


def _of_votes(estimate: PreferenceEstimate, unseen: Completion) -> _Problem:
    counts = estimate.counts
    return _Problem(
        counts.prompt,
        counts.responses,
        estimate.complete(unseen),
        majority_graph(estimate.preference),
        estimate.unseen,
        counts,
    )


def _choices_for_votes(prompts: Sequence[PromptSolution], settings: Settings) -> tuple[str, ...]:
    filled = sum(len(solution.unseen) for solution in prompts)
    pairs = "pair" if filled == 1 else "pairs"
    return (
        f"ties count half, {settings.smoothing:g} votes added to each side of a pair",
        *([f"{filled} {pairs} never compared, filled in by: {settings.unseen}"] if filled else []),
        f"Bradley-Terry rewards with ridge {RIDGE:g}",
    )


def _solve_all(problems: Sequence[_Problem], settings: Settings, tell: Progress) -> _Solved:
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
    found: dict[int, PromptSolution] = {}
    solutions: list[Solution[Policy]] = []
    for members in sizes.values():
        tell("solving", len(found), len(problems))
        game = _game(np.stack([problems[k].preference for k in members]), settings)
        if settings.algorithm is None:
            solution = solve(game)
        else:
            solution = solve(game, settings.algorithm, stop=settings.stop)
        solutions.append(solution)
        for x, k in enumerate(members):
            found[k] = _prompt_solution(problems[k], solution, x, game)
    choices = [choice for solution in solutions for choice in solution.provenance.choices]
    methods = dict.fromkeys(solution.provenance.method for solution in solutions)
    return _Solved(
        prompts=tuple(found[k] for k in range(len(problems))),
        stop=least_favourable([solution.stop for solution in solutions]),
        method=" and ".join(methods),
        choices=tuple(dict.fromkeys(choices)),
    )


def _prompt_solution(
    problem: _Problem, solution: Solution[Policy], x: int, game: SelfPlayGame
) -> PromptSolution:
    certificate = solution.certificate
    gap = float(certificate.per_context[x])
    # The bound's rounding is Σ_x w_x e_x with every e_x ≥ 0; hence e_x is at most this.
    rounding = (certificate.bound.high - certificate.bound.value) / float(game.weights[x])
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


def _game(
    preference: Float[np.ndarray, "*x response response"], settings: Settings
) -> SelfPlayGame:
    kind = PreferenceGame if settings.payoff is PayoffKind.PROBABILITY else LogOddsGame
    return kind(preference, temperature=settings.temperature)


def _best_reward(
    counts: WinCounts, solution: PromptSolution, settings: Settings
) -> RewardBaseline | NoBaseline:
    """Fit rewards, and search the scale that is hardest to exploit: a grid, then a finer one."""
    try:
        rewards = fit_bradley_terry(counts, ridge=RIDGE).rewards
    except SolverFailed as error:
        return NoBaseline(error.found)
    game = _game(solution.preference, settings)
    temperature = settings.temperature
    ends = max(temperature, 1e-4) / 10, 1e3 * max(temperature, 0.1)

    def policies(scales: Float[np.ndarray, "scale"]) -> Float[np.ndarray, "scale response"]:
        return log_normalise(game.reference.log_probabilities + rewards / scales[:, None])

    # The loss need not be unimodal in β: the finer grid lies between the best point's neighbours.
    scales = np.geomspace(*ends, _SCALES)
    best = int(_exploitabilities(game, policies(scales)).argmin())
    around = scales[max(best - 1, 0)], scales[min(best + 1, _SCALES - 1)]
    scales = np.append(np.geomspace(*around, _SCALES), scales[best])
    scale = scales[_exploitabilities(game, policies(scales)).argmin()]
    policy = Policy(policies(np.array([scale]))[0])
    return RewardBaseline(
        rewards=rewards,
        scale=float(scale),
        scale_range=ends,
        policy=policy.probabilities,
        exploitability=exploitability(game, policy).bound.value,
        loses=float(solution.policy @ solution.preference @ policy.probabilities),
    )


def _exploitabilities(
    game: SelfPlayGame, logs: Float[np.ndarray, "scale response"]
) -> Float[np.ndarray, "scale"]:
    """Return what a best response gains against each policy; for searching, without a bound."""
    assert isinstance(game.payoff, DensePayoff)
    payoffs = np.exp(logs) @ game.payoff.matrix.T
    if game.temperature == 0.0:
        return np.asarray(payoffs.max(axis=-1) - expectation(logs, payoffs))
    response = log_normalise(game.reference.log_probabilities + payoffs / game.temperature)
    return game.temperature * kl_divergence(logs, response)


class _Clock:
    """Wall time between laps."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.laps: tuple[tuple[str, float], ...] = ()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps = (*self.laps, (stage, now - self._start))
        self._start = now
