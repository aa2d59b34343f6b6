"""Groups of raters: a reward head for each, found by expectation-maximisation over the raters."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.estimation.mixtures.steps import Assignment
from nlhf.lm.judges.descent import Coefficients
from nlhf.lm.judges.maximisers import Maximiser
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.lm.judges.reward_heads import MixtureReward
from nlhf.lm.judges.starts import clustered_raters
from nlhf.lm.judges.training import PairScore
from nlhf.numerics import log_of, log_sigmoid, log_sum_exp
from nlhf.results import Stop, chosen, read_only
from nlhf.streams import Stream

RaterGroups = Float[np.ndarray, "annotator group"]
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class EMIteration:
    """One iteration.

    Attributes:
        number: Counted from 1.
        objective: What is maximised, at the E-step, in nats.
        bound: The same with the E-step's assignment kept, after the M-step: at most the objective
            at the next E-step, and at least this one's where the M-step did not lower it.
    """

    number: int
    objective: float
    bound: float


@dataclass(frozen=True, slots=True, eq=False)
class RaterMixtureFit:
    """What the fit found; the model was changed in place, and holds the proportions.

    Attributes:
        responsibilities: The probability of every rater's group after his votes; hard: 0 or 1. A
            rater without votes has the proportions.
        proportions: η; hard: the shares of the raters with votes.
        assignment: Soft or hard.
        log_likelihood: The marginal log-likelihood of the votes, in nats, without the penalty.
        objective: What was maximised, at the end.
        history: Every iteration.
        stop: `STALLED` if an iteration gained at most the tolerance, `BUDGET` otherwise.
    """

    responsibilities: RaterGroups
    proportions: Float[np.ndarray, " group"]
    assignment: Assignment
    log_likelihood: float
    objective: float
    history: tuple[EMIteration, ...]
    stop: Stop

    def __post_init__(self) -> None:
        for name in ("responsibilities", "proportions"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def largest_fall(self) -> float:
        """By how much the objective fell at worst from one E-step to the next, in nats; 0 is never.

        Exact M-steps never let it fall.
        """
        values = np.array([one.objective for one in self.history] + [self.objective])
        return float(np.maximum(values[:-1] - values[1:], 0.0).max(initial=0.0))


def fit_rater_mixture(
    model: MixtureReward,
    pairs: PreferencePairs,
    maximiser: Maximiser,
    stream: Stream,
    *,
    assignment: Assignment = Assignment.SOFT,
    ridge: float = 0.0,
    iterations: int = 10,
    tolerance: float = 1e-6,
    start: RaterGroups | None = None,
    observe: Callable[[EMIteration], None] = lambda iteration: None,
) -> RaterMixtureFit:
    r"""Fit a reward head to every group of raters, and find out who belongs to which.

    Soft assignment maximises, as `nlhf.estimation.mixtures.fit_mixture` does for tables,

    .. math:: \sum_h \log \sum_u \eta_u \prod_{i \in D_h} \sigma(m_{iu})^{w_i}
        - \tfrac\rho2 \sum_u |\phi_u|^2,

    hard assignment :math:`\sum_h \max_u \sum_{i \in D_h} w_i \log \sigma(m_{iu}) - \tfrac\rho2
    \sum_u |\phi_u|^2` (Algorithm 2 of Chakraborty et al., MaxMin-RLHF, 2024, which has no prior
    weights), m being the difference of the group's rewards and φ the heads' weights. The E-step
    takes all votes of a rater together, in logarithms.

    Neither objective is concave: the result depends on the start. Groups are ordered by decreasing
    proportion.

    Args:
        model: Changed in place.
        pairs: With the raters numbered.
        maximiser: The M-step.
        stream: Randomness of the start and of the M-steps.
        assignment: Soft or hard.
        ridge: ρ, in votes per logit².
        iterations: The most; at least 1.
        tolerance: The gain, in nats a vote, at which the run ends.
        start: Responsibilities before the first M-step; without them, raters are clustered on the
            network's present hidden states (`nlhf.lm.judges.starts`).
        observe: Called after every iteration.

    Raises:
        HypothesisViolated: There are more groups than raters with votes, the start has another
            shape, or there is nothing to train.
        InvalidData: Log-odds are not finite; names the row.
    """
    assignment = chosen(Assignment, assignment, "assignment")
    raters = _Raters.of(pairs, model.groups, assignment, ridge)
    gamma = clustered_raters(model, pairs, stream.child("start")) if start is None else start
    raters.require(gamma)
    raters.step(model, gamma, maximiser, stream.child("step", 0))
    history: list[EMIteration] = []
    stop = Stop.BUDGET
    gamma, objective = raters.expect(model)
    for number in range(1, iterations + 1):
        raters.step(model, gamma, maximiser, stream.child("step", number))
        bound = raters.bound(model, gamma)
        history.append(EMIteration(number, objective, bound))
        observe(history[-1])
        before = objective
        gamma, objective = raters.expect(model)
        if objective - before <= tolerance * pairs.total:
            stop = Stop.STALLED
            break
    return raters.result(model, gamma, objective, tuple(history), stop)


def score_mixture(model: MixtureReward, fit: RaterMixtureFit, pairs: PreferencePairs) -> PairScore:
    r"""Score a mixture on further pairs of the same raters.

    A pair of rater h is predicted by :math:`\sum_u \gamma_{hu} \sigma(m_u)`, the responsibilities
    being those of the fit; a rater who was not in it has the proportions.

    Raises:
        InvalidData: A reward is not finite; names the row.
    """
    margins = _log_odds(model, pairs)
    known = pairs.annotators < len(fit.responsibilities)
    at = np.where(known, pairs.annotators, 0)
    gamma = np.where(known[:, None], fit.responsibilities[at], fit.proportions)
    logs = log_of(gamma)
    right = log_sum_exp(logs + log_sigmoid(margins))
    wrong = log_sum_exp(logs + log_sigmoid(-margins))
    hits = np.where(right == wrong, 0.5, right > wrong)
    lost = -float(pairs.weights @ right)
    return PairScore(lost / pairs.total, float(pairs.weights @ hits) / pairs.total)


@dataclass(frozen=True, slots=True, eq=False)
class _Raters:
    """The votes of a fit, and what is maximised of them."""

    pairs: PreferencePairs
    votes: Float[np.ndarray, " annotator"]
    assignment: Assignment
    ridge: float

    @classmethod
    def of(
        cls, pairs: PreferencePairs, groups: int, assignment: Assignment, ridge: float
    ) -> "_Raters":
        votes = np.bincount(pairs.annotators, pairs.weights)
        present = int((votes > 0).sum())
        if groups > present:
            raise HypothesisViolated(
                f"{groups} groups of {present} raters with votes",
                "ask for no more groups than raters, and give every pair its annotator",
            )
        return cls(pairs, votes, assignment, ridge)

    def require(self, start: RaterGroups) -> None:
        rows = len(self.votes)
        if len(start) != rows or abs(start.sum(axis=1) - 1.0).max() > 1e-9 or start.min() < 0:
            raise HypothesisViolated(
                f"a start of shape {start.shape} with rows that sum to between "
                f"{start.sum(axis=1).min():g} and {start.sum(axis=1).max():g}",
                f"give each of the {rows} raters a distribution over groups",
            )

    def joint(self, model: MixtureReward) -> RaterGroups:
        """Return the log-likelihood of every rater's votes in every group, η not counted."""
        logs = log_sigmoid(_log_odds(model, self.pairs))
        return np.stack(
            [
                np.bincount(self.pairs.annotators, self.pairs.weights * of, len(self.votes))
                for of in logs.T
            ],
            axis=1,
        )

    def expect(self, model: MixtureReward) -> tuple[RaterGroups, float]:
        """Take the E-step, and value the objective on the way."""
        joint = self.joint(model)
        if self.assignment is Assignment.HARD:
            gamma = np.zeros_like(joint)
            gamma[np.arange(len(joint)), joint.argmax(axis=1)] = 1.0
            total = joint.max(axis=1)
        else:
            joint = joint + log_of(model.shares())
            total = log_sum_exp(joint)
            gamma = np.exp(joint - total[:, None])
        return gamma, float(total[self.votes > 0].sum()) - self.penalty(model)

    def bound(self, model: MixtureReward, gamma: RaterGroups) -> float:
        """Return the objective with the assignment kept: what an M-step raises."""
        joint = self.joint(model)
        if self.assignment is Assignment.SOFT:
            # Where γ is 0 the entropy term is too.
            log_ratio = log_of(model.shares()) - np.log(np.maximum(gamma, _TINY))
            joint = joint + np.where(gamma > 0, log_ratio, 0.0)
        value = np.where(gamma > 0, gamma * joint, 0.0)[self.votes > 0]
        return float(value.sum()) - self.penalty(model)

    def penalty(self, model: MixtureReward) -> float:
        return self.ridge / 2 * float((model.head.weight.detach().double() ** 2).sum())

    def step(
        self, model: MixtureReward, gamma: RaterGroups, maximiser: Maximiser, stream: Stream
    ) -> None:
        """Take the M-step."""
        model.set_proportions(gamma[self.votes > 0].mean(axis=0))
        coefficients = self.pairs.weights[:, None] * gamma[self.pairs.annotators]
        maximiser(model, self.pairs, coefficients, self.ridge, stream)

    def result(
        self,
        model: MixtureReward,
        gamma: RaterGroups,
        objective: float,
        history: tuple[EMIteration, ...],
        stop: Stop,
    ) -> RaterMixtureFit:
        """Order the groups by size, and compute what is reported of them."""
        present = self.votes > 0
        soft = self.assignment is Assignment.SOFT
        shares = model.shares() if soft else gamma[present].mean(axis=0)
        order = np.argsort(-shares, kind="stable")
        with torch.no_grad():
            model.head.weight.copy_(model.head.weight[torch.as_tensor(order)].clone())
        model.set_proportions(shares[order])
        gamma = np.where(present[:, None], gamma[:, order], shares[order])
        marginal = log_sum_exp(self.joint(model) + log_of(model.shares()))
        return RaterMixtureFit(
            gamma,
            shares[order],
            self.assignment,
            float(marginal[present].sum()),
            objective,
            history,
            stop,
        )


def _log_odds(model: MixtureReward, pairs: PreferencePairs) -> Coefficients:
    """Return r_u(chosen) - r_u(rejected); a response in many pairs is read once."""
    left, right = (model.group_rewards(side) for side in (pairs.chosen, pairs.rejected))
    return np.asarray((left - right)[:, :, 0].T)
