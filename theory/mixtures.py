"""Expectation and maximisation for mixtures of raters: what an iteration cannot lower."""

import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nlhf.data import Votes
from nlhf.errors import NlhfWarning
from nlhf.estimation import Assignment, fit_mixture
from nlhf.numerics import EPSILON, log_normalise
from nlhf.streams import Stream
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances
from .groups import once_in
from .recursions import nearest

_CONVERGED = 25
_LONG = 6
_SHIPPED = 2e-12
"""Relative to the objective: what the package allows itself, and what both may round."""

_TOLERANCE = 1e-10
"""Relative to the objective: how far an assignment may be from the right one."""

Wins = Float[np.ndarray, "rater response response"]
Rewards = Float[np.ndarray, "group response"]
Shares = Float[np.ndarray, "group"]
Responsibilities = Float[np.ndarray, "rater group"]


class Point(NamedTuple):
    """Rewards and the log-proportions of the groups."""

    rewards: Rewards
    log_shares: Shares


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    """Votes of raters, how they are modelled, and iterations of EM or of something like it.

    Attributes:
        wins: How often each rater preferred a to b.
        ridge: ρ.
        hard: Whether raters are assigned for certain.
        points: Where each iteration began, and where the last one ended.
        responsibilities: What each iteration took for the raters' groups.
        history: The package's objective on its way to the first point; empty if it comes from
            elsewhere.
    """

    wins: Wins
    ridge: float
    hard: bool
    points: tuple[Point, ...]
    responsibilities: tuple[Responsibilities, ...]
    history: Float[np.ndarray, "iteration"]


def likelihoods(wins: Wins, rewards: Rewards) -> Responsibilities:
    """Return the log-likelihood of every rater's votes under every group's rewards."""
    gain = rewards[:, :, None] - rewards[:, None, :]
    return np.asarray(np.einsum("hab,uab->hu", wins, -np.logaddexp(0.0, -gain)))


def penalty(ridge: float, rewards: Rewards) -> float:
    """Return (ρ/2) |r|²."""
    return 0.5 * ridge * float((rewards**2).sum())


def objective(climb: Climb, point: Point) -> float:
    """Return the penalised marginal or classification log-likelihood."""
    each = likelihoods(climb.wins, point.rewards)
    soft = np.logaddexp.reduce(each + point.log_shares, axis=1)
    total = each.max(axis=1) if climb.hard else soft
    return float(total.sum()) - penalty(climb.ridge, point.rewards)


def expected(climb: Climb, gamma: Responsibilities, point: Point) -> float:
    """Return what the M-step maximises: the mean over γ of the log-likelihood with the groups."""
    each = likelihoods(climb.wins, point.rewards)
    total = each if climb.hard else each + point.log_shares
    with np.errstate(invalid="ignore"):
        terms = np.where(gamma > 0.0, gamma * total, 0.0)
    return float(terms.sum()) - penalty(climb.ridge, point.rewards)


def assign(wins: Wins, hard: bool, point: Point, heat: float = 1.0) -> Responsibilities:
    """Return the groups' probabilities for every rater, or the best group of each.

    At another heat than 1 log-probabilities are divided by it; below 0, the worst group is taken.
    """
    each = likelihoods(wins, point.rewards) / heat
    if hard:
        return np.eye(each.shape[1])[each.argmax(axis=1)]
    return np.asarray(np.exp(log_normalise(each + point.log_shares / heat)))


def ascend(wins: Wins, ridge: float, gamma: Responsibilities, point: Point) -> Point:
    """Return γ's proportions, and rewards after a Newton step that is halved until it helps."""
    counts = np.einsum("hu,hab->uab", gamma, wins)
    found = [_ascend_one(count, ridge, r) for count, r in zip(counts, point.rewards, strict=True)]
    with np.errstate(divide="ignore"):
        return Point(np.stack(found), np.log(gamma.mean(axis=0)))


def _ascend_one(
    count: Float[np.ndarray, "response response"], ridge: float, r: Float[np.ndarray, "response"]
) -> Float[np.ndarray, "response"]:
    lost = 0.5 * (1.0 - np.tanh(0.5 * (r[:, None] - r[None, :])))
    score = (count * lost).sum(axis=1) - (count * lost).sum(axis=0) - ridge * r
    each = (count + count.T) * lost * lost.T
    information = np.diag(each.sum(axis=1) + ridge) - each
    step = np.linalg.solve(information, score)
    while _value(count, ridge, r + step) < _value(count, ridge, r) and np.abs(step).max() > 1e-12:
        step = 0.5 * step
    better = _value(count, ridge, r + step) >= _value(count, ridge, r)
    return r + step if better else r


def _value(
    count: Float[np.ndarray, "response response"], ridge: float, r: Float[np.ndarray, "response"]
) -> float:
    logs = -np.logaddexp(0.0, r[None, :] - r[:, None])
    return float((count * logs).sum()) - 0.5 * ridge * float(r @ r)


def climb_from(
    wins: Wins, ridge: float, hard: bool, start: Point, steps: int, heat: float = 1.0
) -> Climb:
    """Alternate the two steps."""
    points, gammas = [start], []
    for _ in range(steps):
        gammas.append(assign(wins, hard, points[-1], heat))
        points.append(ascend(wins, ridge, gammas[-1], points[-1]))
    return Climb(wins, ridge, hard, tuple(points), tuple(gammas), np.zeros(0))


def _rounding(climb: Climb) -> float:
    return 64.0 * climb.wins.shape[1] ** 2 * EPSILON * _scale(climb)


def _scale(climb: Climb) -> float:
    return 1.0 + abs(objective(climb, climb.points[0]))


def _em_monotone(instance: Climb) -> Margin:
    values = [objective(instance, point) for point in instance.points]
    name = "hard" if instance.hard else "soft"
    scale, allowed = _scale(instance), _rounding(instance)
    parts = {name: _never_lower(values, scale, allowed)}
    if instance.history.size:
        joined = [*instance.history.tolist(), *values[1:]]
        parts[f"shipped, {name}"] = _never_lower(joined, scale, allowed + _SHIPPED * scale)
    return Margin.every(parts)


def _never_lower(values: list[float], scale: float, allowed: float) -> Margin:
    """Return the margin at the largest fall."""
    return nearest(
        [
            Margin.at_most(before, after, scale=scale, rounding=allowed)
            for before, after in pairwise(values)
        ]
    )


def _is_expectation(instance: Climb) -> bool:
    """Return whether γ maximises its free energy, which is the objective only there."""
    for gamma, point in zip(instance.responsibilities, instance.points, strict=False):
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.where(gamma > 0.0, gamma * np.log(gamma), 0.0).sum()
        found = expected(instance, gamma, point) + (0.0 if instance.hard else float(entropy))
        if objective(instance, point) - found > _TOLERANCE * _scale(instance):
            return False
    return True


def _is_maximisation(instance: Climb) -> bool:
    points = instance.points
    return all(
        expected(instance, gamma, points[k + 1])
        >= expected(instance, gamma, points[k]) - _rounding(instance)
        for k, gamma in enumerate(instance.responsibilities)
    )


def as_votes(wins: Wins) -> Votes:
    """Return the package's votes: one prompt, raters and responses by number."""
    cast = np.repeat(np.argwhere(wins > 0), wins[wins > 0].astype(np.int64), axis=0)
    raters, responses = wins.shape[:2]
    return Votes(
        ("prompt",),
        (tuple(f"r{a}" for a in range(responses)),),
        tuple(f"h{h}" for h in range(raters)),
        np.zeros(len(cast), dtype=np.int64),
        cast[:, 1],
        cast[:, 2],
        cast[:, 0],
        np.ones(len(cast), dtype=np.int8),
    )


def shipped(wins: Wins, ridge: float, hard: bool, groups: int) -> tuple[Point, list[float]]:
    """Return where the package's fit ends, and its objective on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NlhfWarning)  # few votes leave much undetermined
        found = fit_mixture(
            as_votes(wins),
            groups,
            assignment=Assignment.HARD if hard else Assignment.SOFT,
            ridge=ridge,
            restarts=1,
            stream=Stream(0),
        )
    with np.errstate(divide="ignore"):
        point = Point(np.array(found.rewards), np.log(found.proportions))
    return point, [float(value) for value in found.history]


def draw_wins(draws: Draws) -> Wins:
    """Draw four to seven raters with a few votes each, of two kinds that mostly disagree."""
    raters, responses = 4 + draws.whole(3), draws.one_of((2, 3, 3, 4))
    pairs = [(a, b) for a in range(responses) for b in range(a)]
    wins = np.zeros((raters, responses, responses))
    for h in range(raters):
        for _ in range(2 + draws.whole(3)):
            code = draws.whole(5 * len(pairs) - 1)
            pair, usual = pairs[code % len(pairs)], code >= len(pairs)
            a, b = pair if usual == (2 * h < raters) else pair[::-1]
            wins[h, a, b] += 1.0
    return wins


def _draw_start(draws: Draws, groups: int, responses: int) -> Point:
    rewards = np.asarray(draws.array((groups, responses), -2.0, 2.0))
    return Point(rewards, log_normalise(np.asarray(draws.array((groups,), -1.0, 0.0))))


def _begin(draws: Draws, times: int) -> tuple[Wins, float, bool, Point, list[float]]:
    """Draw votes and a start; one in so many comes from the package's fit."""
    wins, ridge, hard = draw_wins(draws), draws.logarithmic(0.05, 2.0), draws.chance(2)
    groups = 2 + draws.whole(1)
    if once_in(times, wins):
        return wins, ridge, hard, *shipped(wins, ridge, hard, groups)
    return wins, ridge, hard, _draw_start(draws, groups, wins.shape[1]), []


def _with_history(climb: Climb, history: list[float]) -> Climb:
    return replace(climb, history=np.array(history, dtype=np.float64))


def _draw_climb(draws: Draws) -> Climb:
    wins, ridge, hard, start, history = _begin(draws, 10)
    return _with_history(climb_from(wins, ridge, hard, start, _LONG), history)


def _draw_settled(draws: Draws) -> Climb:
    """Draw a climb of one iteration at a stationary point, or nearly."""
    wins, ridge, hard, start, history = _begin(draws, 3)
    if not history:
        start = climb_from(wins, ridge, hard, start, _CONVERGED).points[-1]
    return _with_history(climb_from(wins, ridge, hard, start, 1), history)


def _draw_wrong_assignment(draws: Draws) -> Climb:
    """Draw probabilities that are too even, or the worst group for certain."""
    instance = _draw_settled(draws)
    heat = -1.0 if instance.hard else draws.between(2.0, 10.0)
    start, history = instance.points[0], instance.history.tolist()
    wrong = climb_from(instance.wins, instance.ridge, instance.hard, start, 1, heat)
    return _with_history(wrong, history)


def _draw_overshoot(draws: Draws) -> Climb:
    """Draw rewards that go too far."""
    instance = _draw_settled(draws)
    before, after = instance.points
    off = np.asarray(draws.array(after.rewards.shape, 0.5, 3.0))
    signs = np.where(draws.array(after.rewards.shape, -1.0, 1.0) < 0.0, -1.0, 1.0)
    moved = Point(after.rewards + off * signs, after.log_shares)
    return replace(instance, points=(before, moved))


EM_MONOTONE = Theorem(
    key="em-monotone",
    statement=(
        r"if \gamma is the law of the raters' groups given their votes, and r', \eta' do not lower"
        r" E_\gamma\log(\eta_u\prod\sigma) - \tfrac\rho2|r|^2, they do not lower the penalised"
        r" marginal log-likelihood; if each rater is in a group of largest likelihood, rewards that"
        r" do not lower the log-likelihood of these groups do not lower the penalised"
        r" classification log-likelihood"
    ),
    sources=(
        Citation("dempster1977", "as commonly stated"),
        Citation("celeux1992", "as commonly stated"),
        Citation("chakraborty2024", "Algorithm 2, as commonly transcribed"),
    ),
    hypotheses=(
        Hypothesis(
            "expectation", r"\gamma_{hu} \propto \eta_uP_u(h), or the best u", _is_expectation
        ),
        Hypothesis("maximisation", r"Q(r',\eta'|\gamma) \ge Q(r,\eta|\gamma)", _is_maximisation),
    ),
    margin=_em_monotone,
    instances=instances(_draw_climb),
    controls={
        "expectation": instances(_draw_wrong_assignment),
        "maximisation": instances(_draw_overshoot),
    },
)

ALL = (EM_MONOTONE,)
