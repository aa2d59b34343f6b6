"""How many groups of raters there are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Int

from nlhf.data.votes import Votes
from nlhf.errors import HypothesisViolated
from nlhf.estimation.bradley_terry import Ties
from nlhf.estimation.mixtures.ballots import Ballots, collect
from nlhf.estimation.mixtures.checks import parts
from nlhf.estimation.mixtures.fitting import RIDGE, RaterMixture, Settings, fit
from nlhf.estimation.mixtures.rewards import Tabular
from nlhf.estimation.mixtures.steps import Assignment, Model
from nlhf.numerics import log_of, log_sigmoid, log_sum_exp
from nlhf.results import chosen
from nlhf.streams import Stream


class Criterion(StrEnum):
    """By what numbers of groups are compared; larger is better, in nats."""

    BIC = "bic"
    r"""The marginal log-likelihood less :math:`\tfrac{k}{2} \log N`, for k parameters and N raters:
    Schwarz's criterion over -2, raters being the independent observations."""
    HELD_OUT = "held-out"
    """The log-probability of votes that were held out, given the same rater's other votes and
    everybody else's, summed over folds that hold out every vote once."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One number of groups.

    Attributes:
        groups: U.
        parameters: k, the free ones, as if there were no penalty: for each group the rank of the
            comparisons (tabular: compared responses less connected components), and the prior
            weights' U - 1 a covariate.
        log_likelihood: Marginal, of the fit to all votes, in nats.
        score: The criterion, in nats.
        behind: By how much the score is below the best one.
        error: The standard error of that difference, over raters.
    """

    groups: int
    parameters: int
    log_likelihood: float
    score: float
    behind: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class GroupChoice:
    """The number of groups with the best score, and what the others scored.

    Attributes:
        groups: The number with the highest score.
        criterion: What was scored.
        candidates: In the order in which they were given.
        mixtures: The fits of the candidates to all votes.
    """

    groups: int
    criterion: Criterion
    candidates: tuple[Candidate, ...]
    mixtures: tuple[RaterMixture, ...]

    @property
    def mixture(self) -> RaterMixture:
        """The fit with the chosen number of groups."""
        return next(one for one in self.mixtures if one.groups == self.groups)


def choose_groups(
    votes: Votes,
    candidates: Sequence[int] = (1, 2, 3, 4, 5),
    *,
    criterion: Criterion = Criterion.BIC,
    assignment: Assignment = Assignment.SOFT,
    features: Float[np.ndarray, "item feature"] | None = None,
    covariates: Float[np.ndarray, "annotator covariate"] | None = None,
    ridge: float = RIDGE,
    ties: Ties = Ties.HALF,
    restarts: int = 6,
    iterations: int = 500,
    folds: int = 5,
    stream: Stream = Stream(0),  # noqa: B008  frozen
) -> GroupChoice:
    """Fit mixtures with several numbers of groups and compare them.

    Held-out votes are drawn rater by rater: each vote of a rater is in one fold, and a rater's
    folds differ by at most one vote. A held-out vote is predicted with the responsibilities
    that the rater's other votes give; a rater without other votes has the prior weights. Between
    scores closer than their standard error the choice is not a finding.

    Args:
        votes: With the raters named.
        candidates: Numbers of groups.
        criterion: What is compared.
        assignment: As for `fit_mixture`, like the following ones.
        features: One row an item.
        covariates: One row a rater.
        ridge: ρ.
        ties: How tied votes are counted.
        restarts: Of every fit.
        iterations: The most of every fit.
        folds: At least 2; not used by BIC.
        stream: Randomness of the starts and of the folds.

    Raises:
        InvalidProblem: The criterion or another choice is none of those there are.
        HypothesisViolated: There are no candidates, too few folds, or something that `fit_mixture`
            refuses.
    """
    criterion, candidates = chosen(Criterion, criterion, "criterion"), tuple(candidates)
    if not candidates or len(set(candidates)) < len(candidates) or folds < 2:
        raise HypothesisViolated(
            f"candidates {candidates} and {folds} folds",
            "give at least one number of groups, each once, and at least 2 folds",
        )
    settings = Settings.of(assignment, features, covariates, ridge, ties, restarts, iterations)
    mixtures = tuple(fit(votes, groups, settings, stream, None) for groups in candidates)
    if criterion is Criterion.BIC:
        each = [_marginals(mixture) for mixture in mixtures]
        raters = math.log(int(mixtures[0].model.ballots.present.sum()))
        costs = [free_parameters(mixture) / 2 * raters for mixture in mixtures]
    else:
        each = [_held_out(votes, groups, settings, folds, stream) for groups in candidates]
        costs = [0.0] * len(mixtures)
    return _choice(criterion, mixtures, each, costs)


def free_parameters(mixture: RaterMixture) -> int:
    """Return how many parameters of the mixture change some probability of a vote."""
    model, groups = mixture.model, mixture.groups
    return groups * _rank(model) + (groups - 1) * len(mixture.coefficients)


def _rank(model: Model) -> int:
    ballots, design = model.ballots, model.rewards.design
    if not isinstance(design, Tabular):
        return int(np.linalg.matrix_rank(design.contrast))
    everything = np.ones((1, len(ballots.winner)), dtype=bool)
    return ballots.items - int(parts(ballots, everything, "weak").sum())


def _marginals(mixture: RaterMixture) -> Float[np.ndarray, " annotator"]:
    joint = mixture.model.joint(mixture.parameters, mixture.coefficients)
    return np.where(mixture.model.ballots.present, log_sum_exp(joint), 0.0)


def _held_out(
    votes: Votes, groups: int, settings: Settings, folds: int, stream: Stream
) -> Float[np.ndarray, " annotator"]:
    """Return every rater's log-probability of held-out votes, summed over the folds."""
    fold = _folds(votes, folds, stream)
    total = np.zeros(len(votes.annotators))
    for number in range(folds):
        mixture = fit(_some(votes, fold != number), groups, settings, stream, None)
        held = collect(_some(votes, fold == number), settings.ties)
        total += predict(mixture, held)
    return total


def predict(mixture: RaterMixture, held: Ballots) -> Float[np.ndarray, " annotator"]:
    r"""Return :math:`\log \sum_u \gamma_{hu} \prod \sigma` over every rater's further votes."""
    differences = mixture.rewards[:, held.winner] - mixture.rewards[:, held.loser]
    logs = held.by_rater(log_sigmoid(differences))
    return log_sum_exp(log_of(mixture.responsibilities) + logs)


def _folds(votes: Votes, folds: int, stream: Stream) -> Int[np.ndarray, " vote"]:
    """Return the fold of every vote: a rater's votes in random order, from a random first fold."""
    generator = stream.child("folds", folds).generator()
    order = np.lexsort((generator.random(len(votes)), votes.annotator))
    sizes = np.bincount(votes.annotator, minlength=len(votes.annotators))
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(votes)) - np.repeat(starts, sizes)
    first = generator.integers(folds, size=len(votes.annotators))
    found = np.empty(len(votes), dtype=np.int64)
    found[order] = (rank + np.repeat(first, sizes)) % folds
    return found


def _some(votes: Votes, kept: np.ndarray) -> Votes:
    return replace(
        votes,
        prompt=votes.prompt[kept],
        response_a=votes.response_a[kept],
        response_b=votes.response_b[kept],
        annotator=votes.annotator[kept],
        label=votes.label[kept],
    )


def _choice(
    criterion: Criterion,
    mixtures: tuple[RaterMixture, ...],
    each: list[Float[np.ndarray, " annotator"]],
    costs: list[float],
) -> GroupChoice:
    scores = [float(one.sum()) - cost for one, cost in zip(each, costs, strict=True)]
    best = max(range(len(scores)), key=lambda k: scores[k])
    rows = []
    for k, mixture in enumerate(mixtures):
        difference = each[best] - each[k]
        rows.append(
            Candidate(
                mixture.groups,
                free_parameters(mixture),
                mixture.log_likelihood,
                scores[k],
                scores[best] - scores[k],
                float(difference.std() * math.sqrt(len(difference))),
            )
        )
    return GroupChoice(mixtures[best].groups, criterion, tuple(rows), mixtures)
