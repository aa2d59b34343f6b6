"""Whether held-out comparisons refute a class of preference models."""

import warnings
from dataclasses import dataclass
from math import exp, inf

import numpy as np

from nlhf.data.preference_data import PreferenceData
from nlhf.errors import Approximate, Degenerate
from nlhf.estimation.classes.cells import checked_data
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.links import checked_delta
from nlhf.estimation.classes.low_rank import LowRankClass
from nlhf.estimation.classes.models import PreferenceClass
from nlhf.estimation.classes.rows import GAP_TOLERANCE


@dataclass(frozen=True, slots=True, eq=False)
class Misfit:
    """What held-out comparisons say against a class.

    Attributes:
        log_evidence: log E, in nats; +inf if the class gives the comparisons probability 0.
        level: α.
        predicted: The log-likelihood that was reached without the class, in nats.
        attained: The largest log-likelihood in the class.
        statement: What E proves, and where.
    """

    log_evidence: float
    level: float
    predicted: float
    attained: float
    statement: str

    @property
    def p_value(self) -> float:
        """min(1, 1/E): at most α with probability at most α if the truth is in the class."""
        return exp(-max(self.log_evidence, 0.0))

    @property
    def excluded(self) -> bool:
        """Whether the class is rejected at the level α."""
        return self.p_value <= self.level


def held_out_misfit(
    preference_class: PreferenceClass,
    training: PreferenceData,
    held_out: PreferenceData,
    level: float = 0.05,
) -> Misfit:
    r"""Test whether the truth can be in a class, by universal inference.

    .. math:: E = \frac{q(D)}{\max_{P \in \mathcal P} P(D)}

    compares how likely the held-out comparisons D are under a predictor q that never saw them and
    under the best of the class in hindsight. Whatever the class, the mean of q(D)/P*(D) is at most
    1, so if P* is in the class, E ≥ 1/α has a probability of at most α, at every sample size
    (L. Wasserman, A. Ramdas and S. Balakrishnan, PNAS 117, 2020). A tie as half a win changes
    nothing. The predictor knows no structure: every distinct pair has a probability of its own
    with the law Beta(w + 1/2, l + 1/2) after w wins and l losses in training; of trajectories
    every distinct pair likewise. A class that is not excluded may still be wrong, above all if
    few pairs are compared often.

    Of `LowRankClass` the maximum is only the best that was found, without its ridge: a test whose
    level is not proved, of which a warning is given.

    Args:
        preference_class: The class.
        training: What the predictor learns from; it may be empty.
        held_out: Comparisons drawn independently of them.
        level: α.

    Raises:
        HypothesisViolated: If α is not between 0 and 1.
        InvalidData: If the data are of another shape.
        SolverFailed: If the class's maximum is not certified.

    Warns:
        Approximate: If the class is one of low rank.
    """
    checked_delta(level)
    checked_data(training, preference_class.shape)
    checked_data(held_out, preference_class.shape)
    predicted = _predictive(training, held_out)
    attained = _largest(preference_class, held_out)
    return Misfit(
        log_evidence=predicted - attained if attained > -inf else inf,
        level=float(level),
        predicted=predicted,
        attained=attained,
        statement="if the truth is in the class, E >= 1/α has a probability of at most α: "
        "universal inference, a Beta predictor of every pair against the class in hindsight",
    )


def _predictive(training: PreferenceData, held_out: PreferenceData) -> float:
    """Return the log-likelihood of held-out comparisons under the Beta laws after training."""
    from scipy.special import betaln

    before, after = _aligned(training, held_out)
    won, lost = before.wins + 0.5, before.counts - before.wins + 0.5
    more, less = after.wins, after.counts - after.wins
    pairs = before.pairs
    # An outcome against itself is known to be even.
    told = (pairs.first != pairs.second).any(axis=1)
    logs = np.where(
        told, betaln(won + more, lost + less) - betaln(won, lost), -np.log(2.0) * after.counts
    )
    return float(logs.sum())


def _aligned(
    training: PreferenceData, held_out: PreferenceData
) -> tuple[PreferenceData, PreferenceData]:
    """Return both with the same rows, one for every distinct pair."""
    silent = [
        PreferenceData(one.pairs, np.zeros(len(one.pairs)), np.zeros(len(one.pairs)))
        for one in (training, held_out)
    ]
    return training.joined(silent[1]).condensed(), silent[0].joined(held_out).condensed()


def _largest(preference_class: PreferenceClass, data: PreferenceData) -> float:
    if isinstance(preference_class, FiniteClass):
        return float(preference_class.log_likelihoods(data).max())
    if isinstance(preference_class, LowRankClass):
        warnings.warn(
            "the largest likelihood of low rank is the best that was found, so that the level of "
            "the test of misfit is not proved",
            Approximate,
            stacklevel=3,
        )
        preference_class = preference_class.without_ridge()
    with warnings.catch_warnings():
        # A stage without held-out comparisons says nothing either way.
        warnings.simplefilter("ignore", Degenerate)
        fitted = preference_class.fit(data)
    # A class may fit its stages one by one.
    return fitted.log_likelihood + GAP_TOLERANCE * preference_class.shape[0]
