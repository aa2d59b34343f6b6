"""Group-robust preference optimisation: the rate of its averaged iterates."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np
from jaxtyping import Float

from nlhf.estimation.group_robust import fit_group_robust
from nlhf.estimation.pair_losses import PairLosses, PreferenceLoss, minimiser_over_ball
from nlhf.numerics import EPSILON, log_normalise
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import relative
from .draws import Draws, instances
from .groups import once_in

REGRET_SQUARED = 1 / 2
"""The group player's part of the bound: χ M √(log G / 2)."""

_COUNTS = (1, 2, 5, 12, 30)
_LONG = 40
_TOLERANCE = 1e-9
_LEAST_ERROR = 1e-9
"""Relative error of the least loss in the ball: the multiplier is searched from 1e-10 on."""

Parameters = Float[np.ndarray, "feature"]
Comparisons = Float[np.ndarray, "group comparison feature"]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    r"""Comparisons of groups, and the game between parameters in a ball and group weights.

    .. math:: \Phi(\theta, \alpha) = \sum_g [(1-\chi)/G + \chi\alpha_g]\,
              (L_g(\theta) + c_g), \quad \|\theta\| \le B,

    where L_g is the mean over the group's comparisons y of log(1 + e^{−βθᵀy}), or, squared, of
    (θᵀy − 1/(2β))².
    """

    comparisons: Comparisons
    squared: bool
    temperature: float
    radius: float
    trade_off: float
    extra: Float[np.ndarray, "group"]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A problem, the steps of a run, what it played, and the pair that it answers with."""

    problem: Problem
    step_size: float
    tilt: float
    thetas: Float[np.ndarray, "iterate feature"]
    log_alphas: Float[np.ndarray, "iterate group"]
    theta: Parameters
    alpha: Float[np.ndarray, "group"]


def losses(
    problem: Problem, theta: Float[np.ndarray, "*iterate feature"]
) -> Float[np.ndarray, "*iterate group"]:
    """Return L_g(θ) + c_g."""
    h = np.tensordot(theta, problem.comparisons, axes=(-1, -1))
    if problem.squared:
        each = (h - 0.5 / problem.temperature) ** 2
    else:
        each = np.logaddexp(0.0, -problem.temperature * h)
    return np.asarray(each.mean(axis=-1) + problem.extra)


def gradient(
    problem: Problem,
    theta: Float[np.ndarray, "*iterate feature"],
    weights: Float[np.ndarray, "*iterate group"],
) -> Float[np.ndarray, "*iterate feature"]:
    """Return Σ_g w_g ∇L_g(θ)."""
    y, beta = problem.comparisons, problem.temperature
    h = np.tensordot(theta, y, axes=(-1, -1))
    if problem.squared:
        slopes = 2.0 * h - 1.0 / beta
    else:
        slopes = -0.5 * beta * (1.0 - np.tanh(0.5 * beta * h))
    shared = slopes * weights[..., None] / y.shape[1]
    return np.asarray(np.tensordot(shared, y, axes=((-2, -1), (0, 1))))


def shares(
    problem: Problem, alpha: Float[np.ndarray, "*iterate group"]
) -> Float[np.ndarray, "*iterate group"]:
    """Return (1 − χ)/G + χα."""
    return (1.0 - problem.trade_off) / alpha.shape[-1] + problem.trade_off * alpha


def steepest(problem: Problem) -> float:
    """Return Γ ≥ ‖∇L_g(θ)‖ in the ball, a mean over comparisons of the longest gradient."""
    y, beta = problem.comparisons, problem.temperature
    length = np.linalg.norm(y, axis=-1)
    reach = problem.radius * length
    slopes = 2.0 * reach + 1.0 / beta if problem.squared else beta / (1.0 + np.exp(-beta * reach))
    return float((slopes * length).mean(axis=1).max())


def apart(problem: Problem) -> float:
    """Return M, a bound on the difference of two groups' adjusted losses in the ball."""
    reach = problem.radius * np.linalg.norm(problem.comparisons, axis=-1)
    half = 0.5 / problem.temperature
    if problem.squared:
        high, low = (reach + half) ** 2, np.maximum(half - reach, 0.0) ** 2
    else:
        high, low = (np.logaddexp(0.0, sign * problem.temperature * reach) for sign in (1.0, -1.0))
    top, bottom = (one.mean(axis=1) + problem.extra for one in (high, low))
    pairs = [top[g] - bottom[k] for g in range(top.size) for k in range(top.size) if g != k]
    return float(max(pairs))


def descent_step(problem: Problem, count: int) -> float:
    """Return B/(Γ√T)."""
    return problem.radius / (steepest(problem) * sqrt(count))


def tilt_step(problem: Problem, count: int) -> float:
    """Return √(8 log G / T)/M."""
    return sqrt(8.0 * log(len(problem.comparisons)) / count) / apart(problem)


def into_ball(theta: Parameters, radius: float) -> Parameters:
    """Return the nearest point of the ball."""
    return theta * min(1.0, radius / max(float(np.linalg.norm(theta)), 1e-300))


def train(
    problem: Problem,
    step_size: float,
    tilt: float,
    count: int,
    log_alpha: Float[np.ndarray, "group"] | None = None,
) -> Trained:
    """Run projected gradient steps against exponential weights, even unless given, and average."""
    many, _, features = problem.comparisons.shape
    thetas = [np.zeros(features)]
    logs = [np.full(many, -log(many)) if log_alpha is None else log_alpha]
    for _ in range(count - 1):
        theta = thetas[-1]
        slope = gradient(problem, theta, shares(problem, np.exp(logs[-1])))
        logs.append(log_normalise(logs[-1] + tilt * losses(problem, theta)))
        thetas.append(into_ball(theta - step_size * slope, problem.radius))
    played, weights = np.stack(thetas), np.stack(logs)
    return Trained(
        problem,
        step_size,
        tilt,
        played,
        weights,
        played.mean(axis=0),
        np.exp(weights).mean(axis=0),
    )


def highest(problem: Problem, theta: Parameters) -> float:
    """Return max_α Φ(θ, α)."""
    found = losses(problem, theta)
    worst = problem.trade_off * float(found.max())
    return (1.0 - problem.trade_off) * float(found.mean()) + worst


def lowest(problem: Problem, alpha: Float[np.ndarray, "group"]) -> float:
    """Return min_θ Φ(θ, α) over the ball, from below: the tangent at the package's minimiser."""
    weights = shares(problem, alpha)
    loss = PreferenceLoss.IPO if problem.squared else PreferenceLoss.DPO
    packed = PairLosses(tuple(problem.comparisons), loss, problem.temperature)
    theta = minimiser_over_ball(packed, weights, problem.radius)
    slope = gradient(problem, theta, weights)
    reach = float(slope @ theta) + problem.radius * float(np.linalg.norm(slope))
    return float(weights @ losses(problem, theta)) - reach


def size(problem: Problem) -> float:
    """Return the size of a loss in the ball."""
    return apart(problem) + float(np.abs(losses(problem, 0.0 * problem.comparisons[0, 0])).max())


def bound(problem: Problem, count: int) -> float:
    """Return (BΓ + χM √(log G / 2))/√T."""
    player = (
        problem.trade_off * apart(problem) * sqrt(REGRET_SQUARED * log(len(problem.comparisons)))
    )
    return (problem.radius * steepest(problem) + player) / sqrt(count)


def _group_dro_rate(instance: Trained) -> Margin:
    problem, count = instance.problem, len(instance.thetas)
    limit = bound(problem, count)
    gap = highest(problem, instance.theta) - lowest(problem, instance.alpha)
    allowed = (_LEAST_ERROR + 64.0 * count * EPSILON) * size(problem)
    parts = {"gap": relative(gap, limit, allowed)}
    if not problem.extra.any() and once_in(8, problem.comparisons):
        parts["shipped"] = _shipped(instance, gap, allowed)
    return Margin.every(parts)


def _shipped(instance: Trained, gap: float, allowed: float) -> Margin:
    """Return the margin of what the package finds being what was found here."""
    problem, count = instance.problem, len(instance.thetas)
    fit = fit_group_robust(
        tuple(problem.comparisons),
        problem.temperature,
        loss=PreferenceLoss.IPO if problem.squared else PreferenceLoss.DPO,
        radius=problem.radius,
        trade_off=problem.trade_off,
        iterations=count,
    )
    return Margin.equal(fit.gap.value, gap, scale=size(problem), rounding=10.0 * allowed)


def _starts_centred(instance: Trained) -> bool:
    return not instance.thetas[0].any() and bool(np.ptp(instance.log_alphas[0]) <= _TOLERANCE)


def _descends(instance: Trained) -> bool:
    """Return whether every step is the projected gradient step of the fixed length."""
    problem, thetas = instance.problem, instance.thetas
    slopes = gradient(problem, thetas, shares(problem, np.exp(instance.log_alphas)))
    wanted = thetas - instance.step_size * slopes
    lengths = np.linalg.norm(wanted, axis=1, keepdims=True)
    wanted *= problem.radius / np.maximum(lengths, problem.radius)
    return bool(np.allclose(wanted[:-1], thetas[1:], rtol=0.0, atol=_TOLERANCE * problem.radius))


def _tilts(instance: Trained) -> bool:
    """Return whether the groups' weights are exponential in their losses."""
    logs = instance.log_alphas
    wanted = log_normalise(logs + instance.tilt * losses(instance.problem, instance.thetas))
    return bool(np.allclose(wanted[:-1], logs[1:], rtol=0.0, atol=_TOLERANCE))


def _has_steps(instance: Trained) -> bool:
    problem, count = instance.problem, len(instance.thetas)
    expected = (descent_step(problem, count), tilt_step(problem, count))
    return bool(np.allclose((instance.step_size, instance.tilt), expected, rtol=1e-12, atol=0.0))


def _is_average(instance: Trained) -> bool:
    theta = instance.thetas.mean(axis=0)
    alpha = np.exp(instance.log_alphas).mean(axis=0)
    off = max(np.abs(theta - instance.theta).max(), np.abs(alpha - instance.alpha).max())
    return bool(off <= _TOLERANCE * max(1.0, instance.problem.radius))


def _draw_problem(draws: Draws) -> Problem:
    many, each, features = draws.one_of(((2, 2, 1), (2, 3, 2), (3, 2, 2), (4, 2, 2)))
    comparisons = np.asarray(draws.array((many, each, features), -1.0, 1.0))
    comparisons[0, 0, 0] += 2.0  # not all 0
    extra = np.zeros(many)
    if draws.chance(3):
        extra = np.asarray(draws.array((many,), 0.0, 0.5))
    return Problem(
        comparisons,
        draws.chance(2),
        draws.logarithmic(0.2, 3.0),
        draws.logarithmic(0.3, 5.0),
        draws.one_of((1.0, 1.0, draws.between(0.1, 1.0))),
        extra,
    )


def _draw_trained(draws: Draws) -> Trained:
    problem, count = _draw_problem(draws), draws.one_of(_COUNTS)
    return train(problem, descent_step(problem, count), tilt_step(problem, count), count)


def _opposed(draws: Draws) -> Problem:
    """Draw two groups that prefer opposite things, the first a little more strongly."""
    strength = draws.between(1.2, 1.6)
    comparisons = np.array([[[strength]], [[-1.0]]])
    radius = draws.between(0.7, 1.3)
    return Problem(comparisons, False, 1.0, radius, 1.0, np.zeros(2))


def _agreed(draws: Draws) -> Problem:
    """Draw two groups that prefer the same, within reach of the ball."""
    comparisons = np.array([[[1.0]], [[draws.between(0.9, 1.1)]]])
    radius = draws.between(1.0, 2.0)
    return Problem(comparisons, False, 1.0, radius, 1.0, np.zeros(2))


def _drawn_run(
    draws: Draws, make: Callable[[Draws], Problem], descent: float = 1.0, tilt: float = 1.0
) -> Trained:
    """Draw a long run whose steps are multiples of those of the statement."""
    problem = make(draws)
    lengths = descent * descent_step(problem, _LONG), tilt * tilt_step(problem, _LONG)
    return train(problem, *lengths, _LONG)


def _as_stated(instance: Trained) -> Trained:
    """Return the run as one that claims the steps of the statement."""
    problem, count = instance.problem, len(instance.thetas)
    return replace(instance, step_size=descent_step(problem, count), tilt=tilt_step(problem, count))


def _draw_uneven_start(draws: Draws) -> Trained:
    problem = _opposed(draws)
    low = draws.between(-300.0, -100.0)
    lengths = descent_step(problem, _LONG), tilt_step(problem, _LONG)
    return train(problem, *lengths, _LONG, log_normalise(np.array([0.0, low])))


def _draw_first(draws: Draws) -> Trained:
    """Draw a run that answers with where it began."""
    run = _drawn_run(draws, _agreed)
    return replace(run, theta=run.thetas[0], alpha=np.exp(run.log_alphas[0]))


GROUP_DRO_RATE = Theorem(
    key="group-dro-rate",
    statement=(
        r"\theta_{t+1} = \Pi_B(\theta_t - \tfrac B{\Gamma\sqrt T}\nabla_\theta\Phi),"
        r" \alpha_{t+1} \propto \alpha_te^{s\ell(\theta_t)}, s = \sqrt{8\log G/T}/M, from 0 and"
        r" even weights: \max_\alpha\Phi(\bar\theta,\alpha) - \min_{\|\theta\|\le B}"
        r"\Phi(\theta,\bar\alpha) \le (B\Gamma + \chi M\sqrt{\tfrac12\log G})/\sqrt T"
    ),
    sources=(
        Citation("ramesh2024", "as commonly stated"),
        Citation("sagawa2020", "as commonly stated, with another constant"),
    ),
    hypotheses=(
        Hypothesis("start", r"\theta_1 = 0, \alpha_1 even", _starts_centred),
        Hypothesis("descent", r"\theta takes projected gradient steps", _descends),
        Hypothesis("tilt", r"\alpha_{t+1} \propto \alpha_te^{s\ell(\theta_t)}", _tilts),
        Hypothesis("steps", r"lengths B/(\Gamma\sqrt T) and \sqrt{8\log G/T}/M", _has_steps),
        Hypothesis("average", r"\bar\theta, \bar\alpha are the means", _is_average),
    ),
    margin=_group_dro_rate,
    instances=instances(_draw_trained),
    controls={
        "start": instances(_draw_uneven_start),
        "descent": instances(lambda draws: _as_stated(_drawn_run(draws, _agreed, descent=-1.0))),
        "tilt": instances(lambda draws: _as_stated(_drawn_run(draws, _opposed, tilt=-1.0))),
        "steps": instances(lambda draws: _drawn_run(draws, _agreed, descent=0.01)),
        "average": instances(_draw_first),
    },
    constants={"regret squared": REGRET_SQUARED},
)

ALL = (GROUP_DRO_RATE,)
