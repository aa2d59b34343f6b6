"""Payoffs that are differences of rewards."""

from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Bool, Float

from nlhf.data.preference_data import PreferenceData
from nlhf.estimation.classes.cells import (
    checked_bound,
    checked_data,
    checked_shape,
    warn_of_silence,
)
from nlhf.estimation.classes.links import Link, checked_delta
from nlhf.estimation.classes.models import Confidence, Model
from nlhf.estimation.classes.regions import Region, log_odds_region, mixture_cost
from nlhf.estimation.classes.rows import Maximum, Rows, maximise_in_box


class BradleyTerryClass:
    r"""Log-odds :math:`T_l(a, b) = r_{la} - r_{lb}` with rewards that differ by at most B.

    One vector of rewards a stage; of trajectories the mean difference over their steps is the
    log-odds. The fit is the maximum of the likelihood over :math:`|r_{la}| \le B/2`, which is no
    loss: any rewards with differences of at most B can be shifted there. Without the bound it is
    `nlhf.fit_bradley_terry`. The Kuhn-Tucker conditions prove it.

    The confidence set (`nlhf.estimation.classes.regions`, prior standard deviation B/2 a reward)
    holds for any design and all sample sizes at once. In a bandit every prompt has a likelihood
    ratio of its own, at δ/L; with trajectories there is one.

    Args:
        shape: (L, m), the numbers of stages and of outcomes.
        bound: B > 0, the largest log-odds between two outcomes.

    Attributes:
        shape: The shape.
        bound: B.
        link: Log-odds.

    Raises:
        InvalidProblem: If the shape is not two positive integers, or B is not positive.
    """

    link = Link.LOG_ODDS

    def __init__(self, shape: tuple[int, int], bound: float) -> None:
        self.shape = checked_shape(shape)
        self.bound = checked_bound(bound)

    def fit(self, data: PreferenceData) -> Model:
        """Return the model of largest likelihood; its parameters are the rewards, of mean 0.

        Raises:
            InvalidData: If the data are of another shape.
            SolverFailed: If the Kuhn-Tucker conditions do not hold at the solver's answer.

        Warns:
            Degenerate: If a stage has no data.
        """
        blocks = list(self._blocks(data))
        warn_of_silence(data, stacklevel=2)
        return self._model(blocks)

    def confidence(self, data: PreferenceData, delta: float) -> Confidence:
        """Return what is known of the truth; see `PreferenceClass`.

        Raises:
            HypothesisViolated: If δ is not between 0 and 1.
            InvalidData: If the data are of another shape.
            SolverFailed: If the Kuhn-Tucker conditions do not hold at the solver's answer.

        Warns:
            Degenerate: If a stage has no data; the width there is the full range.
        """
        nats = -log(checked_delta(delta))
        blocks = list(self._blocks(data))
        warn_of_silence(data, stacklevel=2)
        model = self._model(blocks)
        width, radius = np.zeros(model.table.shape), 0.0
        for block in blocks:
            region = self._region(block, nats + log(len(blocks)))
            radius += region.radius
            width[block.stages] = region.width(block.contrasts).reshape(width[block.stages].shape)
        width = np.minimum(width, self.bound + np.abs(model.table))
        every = np.arange(self.shape[1])
        width[:, every, every] = 0.0
        return Confidence(
            model=model,
            delta=float(delta),
            radius=radius,
            width=np.maximum(width, width.swapaxes(1, 2)),
            largest=np.full(width.shape, self.bound),
            statement=f"the truth is Bradley-Terry with log-odds of at most {self.bound:g}: "
            f"{len(blocks)} likelihood ratios mixed over Gaussians and Ville's inequality, any "
            "design, all sample sizes at once",
        )

    def _region(self, block: "_Block", nats: float) -> Region:
        theta = block.maximum.theta
        cost = mixture_cost(block.rows, block.rewards.ravel(), self.bound / 2.0)
        return log_odds_region(
            block.rows,
            theta,
            nats + cost + block.maximum.gap,
            float(np.linalg.norm(self.bound / 2.0 + np.abs(theta))),
            np.full(len(block.rows.counts), self.bound),
        )

    def _blocks(self, data: PreferenceData) -> "list[_Block]":
        """Return what can be fitted by itself: the stages, or all of them with trajectories."""
        data = checked_data(data, self.shape).condensed()
        stages, _ = self.shape
        stage = data.pairs.stage
        if stage.shape[1] > 1:
            return [_Block.of(data, slice(0, stages), self.bound)]
        return [
            _Block.of(_part(data, stage[:, 0] == at), slice(at, at + 1), self.bound)
            for at in range(stages)
        ]

    def _model(self, blocks: "list[_Block]") -> Model:
        r = np.concatenate([block.rewards for block in blocks])
        likelihood = sum(block.maximum.log_likelihood for block in blocks)
        return Model(r[:, :, None] - r[:, None], Link.LOG_ODDS, likelihood, r)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Stages whose rewards are fitted together, and what was found.

    Attributes:
        stages: Which.
        outcomes: m.
        rows: Their comparisons; a feature is a reward.
        maximum: The rewards of largest likelihood, stage after stage.
    """

    stages: slice
    outcomes: int
    rows: Rows
    maximum: Maximum

    @classmethod
    def of(cls, data: PreferenceData, stages: slice, bound: float) -> "_Block":
        """Fit the rewards of the given stages to data that look at no other."""
        pairs, outcomes = data.pairs, data.pairs.shape[1]
        count = stages.stop - stages.start
        features = np.zeros((len(pairs), count * outcomes))
        row = np.arange(len(pairs))[:, None]
        share = 1.0 / pairs.stage.shape[1]
        for sign, chosen in ((share, pairs.first), (-share, pairs.second)):
            np.add.at(features, (row, (pairs.stage - stages.start) * outcomes + chosen), sign)
        rows = Rows(features, data.counts, data.wins, Link.LOG_ODDS)
        return cls(stages, outcomes, rows, maximise_in_box(rows, bound / 2.0))

    @property
    def rewards(self) -> Float[np.ndarray, "stage outcome"]:
        """The fitted rewards, of mean 0 at every stage."""
        r = self.maximum.theta.reshape(-1, self.outcomes)
        return np.asarray(r - r.mean(axis=1, keepdims=True))

    @property
    def contrasts(self) -> Float[np.ndarray, "cell feature"]:
        """The features of every cell."""
        size = len(self.maximum.theta)
        unit = np.eye(size).reshape(-1, self.outcomes, size)
        return np.asarray((unit[:, :, None] - unit[:, None]).reshape(-1, size))


def _part(data: PreferenceData, kept: Bool[np.ndarray, " pair"]) -> PreferenceData:
    rows = np.flatnonzero(kept)
    return PreferenceData(data.pairs.chosen(rows), data.counts[rows], data.wins[rows])
