"""A preference of its own for every pair of outcomes."""

from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Float

from nlhf.data.preference_data import PreferenceData
from nlhf.estimation.classes.cells import checked_data, checked_shape, counted, warn_of_silence
from nlhf.estimation.classes.links import Link, checked_delta
from nlhf.estimation.classes.models import Confidence, Model

_BISECTIONS = 60


class TabularClass:
    r"""All skew payoffs of size at most 1/2: one parameter for every two outcomes of a stage.

    The fit is the frequency with which the one was preferred, ties half; 1/2 where two outcomes
    were never compared.

    The confidence set mixes the likelihood ratio of every cell over the Beta(1/2, 1/2) law, the
    Krichevsky-Trofimov mixture, which is known in closed form. With N comparisons, W wins and
    :math:`R = \log\hat p^W(1-\hat p)^{N-W} - \log\frac{B(W+1/2, N-W+1/2)}{B(1/2, 1/2)}`, Ville's
    inequality says of any design, and of all sample sizes at once:

    * with probability at least 1 - δ/2, :math:`\sum_c N_c KL(\hat p_c\|p^*_c) \le \sum_c R_c +
      \log(2/\delta)`, whence the radius by Pinsker's inequality;
    * with probability at least 1 - δ/2, :math:`N_c KL(\hat p_c\|p^*_c) \le R_c +
      \log(2C/\delta)` for each of the C cells of the class, whence the widths.

    A width is the narrower of what the two say. (One cell needs no halves.) A tie as half a win
    changes nothing: a likelihood ratio is convex in the label.

    Args:
        shape: (L, m), the numbers of stages and of outcomes.

    Attributes:
        shape: The shape.
        link: Probability.

    Raises:
        InvalidProblem: If the shape is not two positive integers.
    """

    link = Link.PROBABILITY

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = checked_shape(shape)

    def fit(self, data: PreferenceData) -> Model:
        """Return the frequencies; the parameters are the preferences, 1/2 where there are none.

        Raises:
            InvalidData: If the data are of another shape.
            Unsupported: If trajectories are compared.

        Warns:
            Degenerate: If a stage has no data.
        """
        wins = counted(checked_data(data, self.shape))
        warn_of_silence(data, stacklevel=2)
        return _model(data, wins)

    def confidence(self, data: PreferenceData, delta: float) -> Confidence:
        """Return what is known of the truth; see `PreferenceClass`.

        Raises:
            HypothesisViolated: If δ is not between 0 and 1.
            InvalidData: If the data are of another shape.
            Unsupported: If trajectories are compared.

        Warns:
            Degenerate: If a stage has no data; the width there is the full range.
        """
        intervals = cell_intervals(data, self.shape, delta)
        warn_of_silence(data, stacklevel=2)
        model = _model(data, intervals.wins)
        return Confidence(
            model=model,
            delta=float(delta),
            radius=intervals.radius,
            width=intervals.width,
            largest=np.full(intervals.width.shape, 0.5),
            statement="one probability a cell, nothing else assumed: Beta(1/2, 1/2) mixtures and "
            "Ville's inequality, cell by cell and jointly, whichever is narrower, any design, all "
            "sample sizes at once",
        )


@dataclass(frozen=True, slots=True, eq=False)
class CellIntervals:
    r"""Intervals for the preferences of all cells.

    Attributes:
        wins: How often the one was preferred to the other, ties half.
        upper: On the event no preference is above it; 1 less its transpose bounds them below.
        radius: On the event :math:`\sum_i (p^* - \hat p)^2(z_i)` is at most this.
    """

    wins: Float[np.ndarray, "stage outcome outcome"]
    upper: Float[np.ndarray, "stage outcome outcome"]
    radius: float

    @property
    def counts(self) -> Float[np.ndarray, "stage outcome outcome"]:
        """How often the two were compared."""
        return self.wins + self.wins.swapaxes(1, 2)

    @property
    def frequencies(self) -> Float[np.ndarray, "stage outcome outcome"]:
        """How often the one was preferred, 1/2 where the two were never compared."""
        return _frequencies(self.wins, self.counts)

    @property
    def width(self) -> Float[np.ndarray, "stage outcome outcome"]:
        """The largest distance of a frequency from its interval's ends."""
        above = self.upper - self.frequencies
        return np.maximum(above, above.swapaxes(1, 2))


def cell_intervals(data: PreferenceData, shape: tuple[int, int], delta: float) -> CellIntervals:
    """Return the intervals of `TabularClass`.

    Raises:
        HypothesisViolated: If δ is not between 0 and 1.
        InvalidData: If the data are of another shape.
        Unsupported: If trajectories are compared.
    """
    nats = -log(checked_delta(delta))
    wins = counted(checked_data(data, shape))
    counts = wins + wins.swapaxes(1, 2)
    redundancy = _redundancy(wins, counts)
    stages, outcomes = shape
    cells = stages * outcomes * (outcomes - 1) // 2
    if cells > 1:
        nats += log(2.0)
    jointly = nats + float(np.triu(redundancy, 1).sum())
    budget = np.minimum(jointly, redundancy + nats + log(max(cells, 1)))
    every = np.arange(outcomes)
    upper = _largest(wins, counts, budget)
    upper[:, every, every] = 0.5
    return CellIntervals(wins, upper, jointly / 2.0)


def _model(data: PreferenceData, wins: Float[np.ndarray, "stage outcome outcome"]) -> Model:
    preferences = _frequencies(wins, wins + wins.swapaxes(1, 2))
    payoffs = preferences - 0.5
    table = (payoffs - payoffs.swapaxes(1, 2)) / 2.0
    payoff = data.pairs.payoffs(table)
    likelihood = Link.PROBABILITY.log_likelihood(payoff, data.counts, data.wins)
    return Model(table, Link.PROBABILITY, float(likelihood), preferences)


def _frequencies(
    wins: Float[np.ndarray, "stage outcome outcome"],
    counts: Float[np.ndarray, "stage outcome outcome"],
) -> Float[np.ndarray, "stage outcome outcome"]:
    return np.where(counts > 0.0, wins / np.where(counts > 0.0, counts, 1.0), 0.5)


def _redundancy(
    wins: Float[np.ndarray, "stage outcome outcome"],
    counts: Float[np.ndarray, "stage outcome outcome"],
) -> Float[np.ndarray, "stage outcome outcome"]:
    """Return R: how much more likely the frequencies make the votes than the mixture does."""
    from scipy.special import betaln, xlogy

    p = _frequencies(wins, counts)
    losses = counts - wins
    best = xlogy(wins, p) + xlogy(losses, 1.0 - p)
    return np.maximum(best - betaln(wins + 0.5, losses + 0.5) + betaln(0.5, 0.5), 0.0)


def _largest(
    wins: Float[np.ndarray, "stage outcome outcome"],
    counts: Float[np.ndarray, "stage outcome outcome"],
    budget: Float[np.ndarray, "stage outcome outcome"],
) -> Float[np.ndarray, "stage outcome outcome"]:
    r"""Return the largest p with :math:`N KL(\hat p\|p) \le` budget, by bisection from above."""
    from scipy.special import xlogy

    p = _frequencies(wins, counts)
    losses = counts - wins
    best = xlogy(wins, p) + xlogy(losses, 1.0 - p)
    inside, outside = p.copy(), np.ones_like(p)
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2.0
        fits = best - xlogy(wins, middle) - xlogy(losses, 1.0 - middle) <= budget
        inside, outside = np.where(fits, middle, inside), np.where(fits, outside, middle)
    return outside
