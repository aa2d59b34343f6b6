"""Mixtures of raters: groups with rewards of their own, found by expectation-maximisation."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nlhf.data.votes import Votes
from nlhf.errors import HypothesisViolated
from nlhf.estimation.bradley_terry import Ties
from nlhf.estimation.mixtures.ballots import Ballots, RaterGroups, collect
from nlhf.estimation.mixtures.checks import require_count, require_data, require_maximum
from nlhf.estimation.mixtures.diagnostics import Diagnostics, Run, agreement, diagnose, warn_of
from nlhf.estimation.mixtures.rewards import Design, Linear, Parameters, Rewards, Tabular
from nlhf.estimation.mixtures.starts import first_point, pooled_parameters
from nlhf.estimation.mixtures.steps import Assignment, Climb, Model, climb
from nlhf.estimation.mixtures.weights import Coefficients, Weights
from nlhf.numerics import log_sum_exp
from nlhf.results import Stop, chosen, float_array, read_only
from nlhf.streams import Stream

RIDGE = 1.0
"""The penalty unless another is asked for: a prior of one logit's standard deviation."""

SHORT = 30
"""Iterations of every restart; the best is then run to the end."""


@dataclass(frozen=True, slots=True)
class MixtureProgress:
    """One iteration of a fit.

    Attributes:
        restart: Which of the starts; the longer run of the best keeps its number.
        iteration: Counted from 1 within the run.
        objective: In nats.
    """

    restart: int
    iteration: int
    objective: float


Observer = Callable[[MixtureProgress], None]


@dataclass(frozen=True, slots=True, eq=False)
class RaterMixture:
    r"""Groups of raters, each with Bradley-Terry rewards of its own.

    Rater h belongs to group u with prior probability :math:`\eta_u(z_h)`, and prefers response a
    to b of a prompt with probability :math:`\sigma(r_u(a) - r_u(b))` if it does. Groups are ordered
    by decreasing proportion; their numbers mean nothing else.

    Attributes:
        prompts: The ids of the prompts.
        responses: The ids of the responses of every prompt.
        annotators: The ids of the raters.
        offsets: The items (responses, numbered through all prompts) of prompt k are
            ``offsets[k]`` to ``offsets[k + 1] - 1``.
        rewards: r, in logits. Only differences within a prompt mean anything; tabular rewards have
            mean 0 within every prompt.
        parameters: φ; the rewards themselves if there are no features.
        coefficients: β of the prior weights, :math:`\log \eta_u(z) = z^\top \beta_u` up to a
            constant; the first row belongs to the constant 1, and is the only one without
            covariates. Hard assignment: of the shares of the groups.
        weights: η, of every rater.
        proportions: The mean of η over the raters with votes.
        responsibilities: The probability of every rater's group after his votes; hard: 0 or 1.
            A rater without votes has his prior weights.
        assignment: Soft or hard.
        ridge: ρ.
        ties: How tied votes were counted.
        log_likelihood: The marginal log-likelihood of the votes, in nats, without the penalty.
        objective: What was maximised, with the penalty: for a soft assignment the penalised
            marginal, for a hard one the penalised classification log-likelihood.
        history: The objective after every iteration of the run that was kept, its start first.
        score: The largest derivative of the objective, relative to the votes of the most compared
            item or to the number of raters; 0 at a stationary point.
        stop: Why the run stopped; see `nlhf.estimation.mixtures.steps.Climb`.
        runs: What became of every restart.
        diagnostics: What the votes leave undetermined.
        model: The votes and what was assumed of them.
    """

    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]
    annotators: tuple[str, ...]
    offsets: Int[np.ndarray, " offset"]
    rewards: Float[np.ndarray, "group item"]
    parameters: Parameters
    coefficients: Coefficients
    weights: RaterGroups
    proportions: Float[np.ndarray, " group"]
    responsibilities: RaterGroups
    assignment: Assignment
    ridge: float
    ties: Ties
    log_likelihood: float
    objective: float
    history: Float[np.ndarray, " iteration"]
    score: float
    stop: Stop
    runs: tuple[Run, ...]
    diagnostics: Diagnostics
    model: Model

    def __post_init__(self) -> None:
        for name in (
            "offsets",
            "rewards",
            "parameters",
            "coefficients",
            "weights",
            "proportions",
            "responsibilities",
            "history",
        ):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self.rewards)

    def rewards_of(self, prompt: int) -> Float[np.ndarray, "group response"]:
        """Return the rewards of the responses of one prompt, given by its index."""
        index = range(len(self.prompts))[prompt]
        found: np.ndarray = self.rewards[:, self.offsets[index] : self.offsets[index + 1]]
        return found


def fit_mixture(
    votes: Votes,
    groups: int,
    *,
    assignment: Assignment = Assignment.SOFT,
    features: Float[np.ndarray, "item feature"] | None = None,
    covariates: Float[np.ndarray, "annotator covariate"] | None = None,
    ridge: float = RIDGE,
    ties: Ties = Ties.HALF,
    restarts: int = 6,
    iterations: int = 1000,
    stream: Stream = Stream(0),  # noqa: B008  frozen
    observe: Observer | None = None,
) -> RaterMixture:
    r"""Fit a mixture of Bradley-Terry rewards to the votes of many raters.

    Soft assignment maximises the penalised marginal log-likelihood

    .. math:: \sum_h \log \sum_u \eta_u(z_h) \prod_{(a, b) \in D_h} \sigma(r_u(a) - r_u(b))
        - \tfrac\rho2 \sum_u |\phi_u|^2

    and hard assignment the penalised classification log-likelihood
    :math:`\sum_h \max_u \sum_{D_h} \log \sigma(r_u(a) - r_u(b)) - \tfrac\rho2 \sum_u |\phi_u|^2`.
    The penalty is a Gaussian prior N(0, 1/ρ) of every reward, or of every parameter of linear
    rewards r = features φ. The proportions η have no prior: they are maximum-likelihood estimates,
    and may vanish. With covariates z, η is a multinomial logit whose coefficients, but for the
    constant's, have the penalty of the rewards.

    Neither objective is concave. Every restart runs for `SHORT` iterations from a start drawn at
    random (`nlhf.estimation.mixtures.starts`), and the best of them to a stationary point: what is
    returned is that, not a certified global maximum. No iteration lowers the objective; that is
    checked at each.

    Args:
        votes: With the raters named.
        groups: U; at least 1.
        assignment: Soft or hard.
        features: One row an item, the responses of the first prompt first.
        covariates: One row a rater, in the order of `votes.annotators`; the constant is added.
        ridge: ρ, in votes per logit²; at least 0.
        ties: How tied votes are counted. Half a win each is not a probability of anything: with
            many ties, the objective is a pseudo-likelihood.
        restarts: At least 1; one group has a single start, since its objective is concave.
        iterations: The most of the last run.
        stream: Randomness of the starts.
        observe: Called after every iteration.

    Raises:
        InvalidProblem: The assignment or the ties are none of the choices, or a table is not of
            numbers.
        HypothesisViolated: An argument is out of its range or of the wrong shape; the votes are all
            ties, have fewer raters than groups, or name no raters; the ridge is 0 and the
            maximum does not exist, with the components of the graph of wins.
        SolverFailed: An iteration lowered the objective.

    Warns:
        Degenerate: The votes leave something undetermined; see `Diagnostics`.
        Approximate: The run stopped before a stationary point.
    """
    settings = Settings.of(assignment, features, covariates, ridge, ties, restarts, iterations)
    mixture = fit(votes, groups, settings, stream, observe)
    warn_of(mixture.diagnostics, mixture.score, mixture.stop, stacklevel=3)
    return mixture


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """The arguments of `fit_mixture` that say what is fitted and how long."""

    assignment: Assignment
    features: Float[np.ndarray, "item feature"] | None
    covariates: Float[np.ndarray, "annotator covariate"] | None
    ridge: float
    ties: Ties
    restarts: int
    iterations: int

    def __post_init__(self) -> None:
        ridge, restarts, iterations = self.ridge, self.restarts, self.iterations
        if not (isinstance(ridge, int | float | np.number) and 0 <= ridge < math.inf):
            raise HypothesisViolated(
                f"ridge {ridge} is not a penalty", "give a finite number of at least 0"
            )
        require_count("restarts", restarts)
        require_count("iterations", iterations)

    @classmethod
    def of(
        cls,
        assignment: Assignment,
        features: np.ndarray | None,
        covariates: np.ndarray | None,
        ridge: float,
        ties: Ties,
        restarts: int,
        iterations: int,
    ) -> "Settings":
        """Return the settings, choices and tables read from what may stand for them."""
        return cls(
            chosen(Assignment, assignment, "assignment"),
            None if features is None else float_array("features", features),
            None if covariates is None else float_array("covariates", covariates),
            ridge,
            chosen(Ties, ties, "ties"),
            restarts,
            iterations,
        )

    def model(self, votes: Votes, ballots: Ballots) -> Model:
        """Put the data and what is assumed of them together."""
        raters = len(votes.annotators)
        known = np.ones((raters, 1))
        if self.covariates is not None:
            _require_rows(self.covariates, raters, "covariates", "raters")
            known = np.concatenate([known, self.covariates], axis=1)
        design: Design = Tabular(ballots)
        if self.features is not None:
            _require_rows(self.features, ballots.items, "features", "items")
            design = Linear(ballots, self.features)
        return Model(
            ballots,
            Rewards(ballots, design, self.ridge),
            Weights(known, ballots.present, self.ridge),
            self.assignment,
        )


def fit(
    votes: Votes, groups: int, settings: Settings, stream: Stream, observe: Observer | None
) -> RaterMixture:
    """Do what `fit_mixture` says, without its warnings."""
    groups = require_count("groups", groups)
    ballots = collect(votes, settings.ties)
    require_data(votes, ballots, groups)
    model = settings.model(votes, ballots)
    unpenalised = settings.ridge == 0 and settings.features is None
    if unpenalised:
        require_maximum(votes, ballots, np.ones((len(votes.annotators), 1)))
    pooled = pooled_parameters(model)
    starts = range(settings.restarts if groups > 1 else 1)
    found = [_run(model, pooled, groups, number, stream, observe) for number in starts]
    best = max(starts, key=lambda k: found[k].point.objective)
    last = climb(model, found[best].point, settings.iterations, _observer(observe, best))
    mixture = _result(votes, model, found, last, best)
    if unpenalised:
        require_maximum(votes, ballots, mixture.responsibilities)
    return mixture


def _run(
    model: Model,
    pooled: Parameters,
    groups: int,
    number: int,
    stream: Stream,
    observe: Observer | None,
) -> Climb:
    generator = stream.child("mixture", groups, number).generator()
    start = first_point(model, pooled, groups, number, generator)
    return climb(model, start, SHORT, _observer(observe, number))


def _observer(observe: Observer | None, restart: int) -> Callable[[int, float], None]:
    if observe is None:
        return lambda iteration, objective: None
    return lambda iteration, objective: observe(MixtureProgress(restart, iteration, objective))


def _result(votes: Votes, model: Model, found: list[Climb], last: Climb, best: int) -> RaterMixture:
    """Order the groups by size and compute what is reported of them."""
    present = model.ballots.present
    point = last.point
    raters = len(votes.annotators)
    weights = np.exp(model.weights.logs(point.coefficients)) * np.ones((raters, 1))
    order = np.argsort(-weights[present].mean(axis=0), kind="stable")
    parameters, coefficients = point.parameters[order], point.coefficients[:, order]
    coefficients = coefficients - coefficients.mean(axis=1, keepdims=True)
    gamma = point.responsibilities[:, order]
    weights = weights[:, order]
    marginal = log_sum_exp(model.joint(parameters, coefficients))
    runs = tuple(
        Run(
            one.point.objective,
            len(one.history) - 1,
            one.stop,
            agreement(one.point.responsibilities[present], gamma[present]),
        )
        for one in found
    )
    return RaterMixture(
        prompts=votes.prompts,
        responses=votes.responses,
        annotators=votes.annotators,
        offsets=model.ballots.offsets,
        rewards=model.rewards.design.rewards(parameters),
        parameters=parameters,
        coefficients=coefficients,
        weights=weights,
        proportions=weights[present].mean(axis=0),
        responsibilities=np.where(present[:, None], gamma, weights),
        assignment=model.assignment,
        ridge=model.rewards.ridge,
        ties=model.ballots.ties,
        log_likelihood=float(marginal[present].sum()),
        objective=point.objective,
        history=np.concatenate([found[best].history, last.history[1:]]),
        score=last.score,
        stop=last.stop,
        runs=runs,
        diagnostics=diagnose(model, parameters, gamma, runs),
        model=model,
    )


def _require_rows(table: np.ndarray, rows: int, name: str, of: str) -> None:
    if table.ndim != 2 or len(table) != rows or not table.shape[1]:
        raise HypothesisViolated(
            f"{name} of shape {table.shape}, where there are {rows} {of}",
            f"give a matrix with one row for each of the {of}",
        )
    if not np.isfinite(table).all():
        row, column = (int(k) for k in np.argwhere(~np.isfinite(table))[0])
        raise HypothesisViolated(
            f"{name}[{row}, {column}] is {table[row, column]}", "give finite numbers"
        )
