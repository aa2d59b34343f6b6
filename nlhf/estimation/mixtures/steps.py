"""Expectation and maximisation for mixtures of raters, and the climb that alternates them."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from nlhf.errors import SolverFailed
from nlhf.estimation.mixtures.ballots import Ballots, RaterGroups
from nlhf.estimation.mixtures.extrapolation import Extrapolation
from nlhf.estimation.mixtures.rewards import Parameters, Rewards
from nlhf.estimation.mixtures.weights import Coefficients, Weights
from nlhf.numerics import log_sigmoid, log_sum_exp
from nlhf.results import Stop

SCORE_TOLERANCE = 1e-9
"""Largest score that is accepted as zero, relative to the votes of the most compared item."""

ROUNDING = 1e-12
"""What the objective may fall by, relative to itself, for no other reason than rounding."""

_MOST_NEWTON = 50
_PATIENCE = 40


class Assignment(StrEnum):
    """How raters belong to groups."""

    SOFT = "soft"
    r"""With probabilities: the marginal likelihood
    :math:`\sum_h \log \sum_u \eta_u \prod_{D_h} \sigma(r_u(a) - r_u(b))` is maximised."""
    HARD = "hard"
    r"""Each to the group under which its votes are most likely: the classification likelihood
    :math:`\sum_h \max_u \sum_{D_h} \log \sigma(r_u(a) - r_u(b))` is maximised, without prior
    weights (Algorithm 2 of Chakraborty et al., MaxMin-RLHF, 2024)."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Parameters and what they say of the raters.

    Attributes:
        parameters: φ, of every group.
        coefficients: β, of the prior weights.
        objective: What is maximised, in nats, the penalties taken off.
        responsibilities: The probability that a rater belongs to a group; hard: 0 or 1.
    """

    parameters: Parameters
    coefficients: Coefficients
    objective: float
    responsibilities: RaterGroups


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A mixture of raters with its data: what its parameters are judged by.

    Attributes:
        ballots: The votes.
        rewards: The likelihood of rewards.
        weights: The prior weights.
        assignment: Soft or hard.
    """

    ballots: Ballots
    rewards: Rewards
    weights: Weights
    assignment: Assignment

    def joint(self, parameters: Parameters, coefficients: Coefficients) -> RaterGroups:
        """Return the log of prior weight times probability of the rater's votes, by group."""
        logs = log_sigmoid(self.rewards.differences(parameters))
        return self.weights.logs(coefficients) + self.ballots.by_rater(logs)

    def expect(self, parameters: Parameters, coefficients: Coefficients) -> Point:
        """Take the E-step: assign the raters, and value the objective on the way."""
        if self.assignment is Assignment.HARD:
            joint = self.ballots.by_rater(log_sigmoid(self.rewards.differences(parameters)))
            total = joint.max(axis=1)
            gamma = np.zeros_like(joint)
            gamma[np.arange(len(joint)), joint.argmax(axis=1)] = 1.0
            penalty = self.rewards.penalty(parameters)
        else:
            joint = self.joint(parameters, coefficients)
            total = log_sum_exp(joint)
            gamma = np.exp(joint - total[:, None])
            penalty = self.rewards.penalty(parameters) + self.weights.penalty(coefficients)
        objective = float(total[self.ballots.present].sum()) - penalty
        return Point(parameters, coefficients, objective, gamma)

    def maximise(self, point: Point) -> tuple[Parameters, Coefficients, float]:
        """Take the M-step, and return the relative score of the point that it started from.

        Soft: one damped Newton step for every group (a generalised EM step; K. Lange, JRSS B 57,
        1995, calls it the EM gradient algorithm). Hard: as many as bring the score to zero.
        """
        wins = self.ballots.by_side(point.responsibilities)
        scale = np.maximum(1.0, self.ballots.compared(wins).max())
        parameters, score = self.rewards.ascend(wins, point.parameters)
        first = float(abs(score).max(initial=0.0) / scale)
        if self.assignment is Assignment.HARD:
            for _ in range(_MOST_NEWTON):
                if float(abs(score).max(initial=0.0)) <= SCORE_TOLERANCE * scale:
                    break
                parameters, score = self.rewards.ascend(wins, parameters)
            coefficients = self.weights.ascend(point.responsibilities, point.coefficients)
            return parameters, coefficients, first
        other = self.weights.score(point.responsibilities, point.coefficients)
        raters = float(self.weights.present.sum())
        coefficients = self.weights.ascend(point.responsibilities, point.coefficients)
        return parameters, coefficients, max(first, float(abs(other).max()) / raters)


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    """Where a run of EM ended.

    Attributes:
        point: The last point.
        history: The objective after every iteration, the start's first.
        score: The relative score there: the largest derivative of the objective by a parameter,
            over the votes of the most compared item, or by a log-weight, over the raters.
        stop: ``CERTIFIED`` if the score is at most `SCORE_TOLERANCE`, and, where raters are
            assigned for certain, no rater changed group; ``STALLED`` if the objective has not
            risen beyond rounding for many iterations; ``BUDGET`` otherwise.
    """

    point: Point
    history: Float[np.ndarray, " iteration"]
    score: float
    stop: Stop


def climb(
    model: Model, start: Point, iterations: int, observe: Callable[[int, float], None]
) -> Climb:
    """Alternate E- and M-steps, and check at every iteration that the objective did not fall.

    Soft steps are extrapolated (`Extrapolation`); an extrapolated point is taken only where its
    objective is not lower than that of the plain step.

    Raises:
        SolverFailed: The objective fell by more than rounding: a fault of a step.
    """
    point, history, idle = start, [start.objective], 0
    extrapolation = Extrapolation()
    parameters, coefficients, score = model.maximise(point)
    for iteration in range(1, iterations + 1):
        if idle >= _PATIENCE:
            return Climb(point, np.array(history), score, Stop.STALLED)
        moved = _next(model, point, (parameters, coefficients), extrapolation)
        _require_no_fall(point.objective, moved.objective, iteration)
        same = bool((moved.responsibilities == point.responsibilities).all())
        gain = moved.objective - point.objective
        idle = 0 if gain > ROUNDING * abs(moved.objective) else idle + 1
        point = moved
        history.append(point.objective)
        observe(iteration, point.objective)
        parameters, coefficients, score = model.maximise(point)
        if score <= SCORE_TOLERANCE and (same or model.assignment is Assignment.SOFT):
            return Climb(point, np.array(history), score, Stop.CERTIFIED)
    return Climb(point, np.array(history), score, Stop.BUDGET)


def _next(
    model: Model,
    point: Point,
    step: tuple[Parameters, Coefficients],
    extrapolation: Extrapolation,
) -> Point:
    parameters, coefficients = step
    plain = model.expect(parameters, coefficients)
    if model.assignment is Assignment.HARD:
        return plain
    cut = parameters.size

    def at(far: Float[np.ndarray, " entry"]) -> Point:
        return model.expect(
            far[:cut].reshape(parameters.shape), far[cut:].reshape(coefficients.shape)
        )

    here = np.concatenate([point.parameters.ravel(), point.coefficients.ravel()])
    there = np.concatenate([parameters.ravel(), coefficients.ravel()])
    far = extrapolation.fixed_point(here, there)
    if far is not None:
        tried = at(far)
        if tried.objective >= plain.objective:
            return tried
        extrapolation.forget()
    tried = at(extrapolation.longer(here, there))
    extrapolation.judge(tried.objective > plain.objective)
    return tried if tried.objective > plain.objective else plain


def _require_no_fall(before: float, after: float, iteration: int) -> None:
    if not after >= before - ROUNDING * max(1.0, abs(before)):
        raise SolverFailed(
            f"the objective fell from {before:.15g} to {after:.15g} nats at iteration {iteration}, "
            f"by more than {ROUNDING:g} of itself",
            "report the votes and the arguments: an EM step cannot lower it",
            solver="expectation-maximisation",
            status="objective fell",
        )
