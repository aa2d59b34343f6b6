"""Classes of preference models for votes: laid out as one table, in units of the game's payoff."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from nlhf.analysis.learning_settings import ClassKind, LearningSettings
from nlhf.analysis.learning_votes import Layout
from nlhf.data.preference_data import PreferenceData
from nlhf.errors import Degenerate, HypothesisViolated
from nlhf.estimation.classes.bradley_terry import BradleyTerryClass
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.low_rank import LowRankClass
from nlhf.estimation.classes.models import Confidence, Model, PreferenceClass
from nlhf.estimation.classes.tabular import TabularClass
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.judging import certified_gap, pessimistic_value
from nlhf.numerics import sigmoid

STARTS = 1
"""Random starts of low-rank fits, beside the spectrum of the votes."""

STEEPEST = 0.25
"""The largest slope of the logistic function: win probability per logit."""


def class_of(settings: LearningSettings, layout: Layout) -> PreferenceClass:
    """Return the class that settings name, for the responses of a layout.

    Raises:
        HypothesisViolated: If its log-odds have no bound but are the payoff.
    """
    if settings.preference_class is ClassKind.TABULAR:
        if settings.link is Link.LOG_ODDS:
            raise HypothesisViolated(
                "the payoff is log-odds, which have no bound in the tabular class",
                "choose the payoff probability, or the class bradley-terry or low-rank",
            )
        return TabularClass(layout.shape)
    if settings.preference_class is ClassKind.BRADLEY_TERRY:
        return BradleyTerryClass(layout.shape, settings.bound)
    return LowRankClass(layout.shape, settings.rank, settings.bound, starts=STARTS)


@dataclass(frozen=True, slots=True, eq=False)
class LaidOutClass:
    r"""A class of models of responses, as one of the columns of a layout.

    Comparisons of copies are comparisons of what they are copies of, and tables and widths are
    spread over copies. If log-odds L are to be win probabilities, the payoff is
    :math:`T = \sigma(L) - \frac12`. The logistic function increases, so on the same event
    :math:`|T^* - \hat T|` is at most the larger of :math:`\sigma(\hat L + w) - \sigma(\hat L)` and
    :math:`\sigma(\hat L) - \sigma(\hat L - w)`; and its slope is at most 1/4, so the radius is at
    most a sixteenth.

    Attributes:
        base: The class of the responses; what it says of columns that are copies is not looked at.
        layout: Which columns are copies of which.
        link: What payoffs are to be; log-odds only if they are in the base.
    """

    base: PreferenceClass
    layout: Layout
    link: Link

    @property
    def shape(self) -> tuple[int, int]:
        """(X, n), the numbers of prompts and of columns."""
        return self.layout.shape

    def fit(self, data: PreferenceData) -> Model:
        """Return the model of largest likelihood."""
        with _silence_unsaid():
            return self._laid_out(self.base.fit(self.layout.undone(data)))

    def confidence(self, data: PreferenceData, delta: float) -> Confidence:
        """Return what is known of the truth with probability at least 1 - δ."""
        with _silence_unsaid():
            found = self.base.confidence(self.layout.undone(data), delta)
        width, radius, largest = found.width, found.radius, found.largest
        if self._converts:
            width, radius = probability_width(found.model.table, width), STEEPEST**2 * radius
            largest = sigmoid(largest) - 0.5
        return replace(
            found,
            model=self._laid_out(found.model),
            width=self.layout.spread(width),
            largest=self.layout.spread(largest),
            radius=radius,
        )

    @property
    def _converts(self) -> bool:
        return self.base.link is Link.LOG_ODDS and self.link is Link.PROBABILITY

    def _laid_out(self, model: Model) -> Model:
        table = self.layout.spread(model.table)
        if self._converts:
            table = sigmoid(table) - 0.5
            table = (table - table.swapaxes(-1, -2)) / 2.0
        return replace(model, table=table, link=self.link)


def probability_width(
    log_odds: Float[np.ndarray, "stage outcome outcome"],
    width: Float[np.ndarray, "stage outcome outcome"],
) -> Float[np.ndarray, "stage outcome outcome"]:
    """Return how far win probabilities may be off whose log-odds may be off by a width.

    Args:
        log_odds: The estimate.
        width: On the event the truth is at most this far from it.
    """
    middle = sigmoid(log_odds)
    above, below = sigmoid(log_odds + width) - middle, middle - sigmoid(log_odds - width)
    return np.asarray(np.maximum(above, below))


@contextmanager
def _silence_unsaid() -> Iterator[None]:
    """Leave out warnings of stages without data, which have numbers and not the prompts' names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no two outcomes were compared", Degenerate)
        yield


def without_data(preference_class: PreferenceClass, delta: float) -> Confidence:
    """Return what is known if there are no data: no more than the class."""
    return preference_class.confidence(PreferenceData.empty(preference_class.shape), delta)


def uninformed_gap(setting: BanditSetting, nothing: Confidence) -> float:
    """Return the certified gap of the reference without data; no smaller ones say nothing."""
    return certified_gap(pessimistic_value(setting, nothing, setting.reference)).high
