"""Classes fitted to votes, and whether other votes refute them."""

from dataclasses import dataclass, replace
from math import log

import numpy as np

from nlhf.analysis.held_out import Split
from nlhf.analysis.learning_candidates import log_mixture
from nlhf.analysis.learning_classes import (
    LaidOutClass,
    uninformed_gap,
    without_data,
)
from nlhf.analysis.learning_settings import LearningSettings
from nlhf.analysis.learning_votes import Layout
from nlhf.data.preference_data import PreferenceData
from nlhf.data.votes import Votes
from nlhf.estimation.classes.misfit import Misfit, held_out_misfit
from nlhf.estimation.classes.models import Confidence, PreferenceClass


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A class fitted to votes.

    Attributes:
        name: What it is called.
        confidence: The estimate, and the event that certificates rest on.
        uninformed: The certified gap of the reference without any votes: a certificate that is no
            smaller says nothing.
        votes: How many votes it was fitted to.
        held_out: The log-likelihood of a held-out vote under the estimate, in nats; it may be -inf.
        misfit: Whether held-out votes refute it.
    """

    name: str
    confidence: Confidence
    uninformed: float
    votes: int
    held_out: float
    misfit: Misfit


def fit_of(
    name: str,
    preference_class: PreferenceClass,
    votes: Votes,
    split: Split,
    settings: LearningSettings,
    layout: Layout,
) -> Fit:
    """Fit a class to votes, and test it by the votes held out of them.

    Args:
        name: What it is called.
        preference_class: The class.
        votes: What it is fitted to, training votes.
        split: All training votes, and the votes held out.
        settings: With δ.
        layout: The prompts as one table.
    """
    confidence = preference_class.confidence(layout.data(votes), settings.delta)
    nothing = without_data(preference_class, settings.delta)
    others = layout.data(split.held_out)
    model = confidence.model
    payoffs = others.pairs.payoffs(model.table)
    likelihood = float(model.link.log_likelihood(payoffs, others.counts, others.wins))
    return Fit(
        name=name,
        confidence=confidence,
        uninformed=uninformed_gap(layout.setting(settings.temperature), nothing),
        votes=len(votes),
        held_out=likelihood / others.size,
        misfit=_misfit(preference_class, layout.data(split.training), others, settings.delta),
    )


def _misfit(
    preference_class: PreferenceClass,
    training: PreferenceData,
    held_out: PreferenceData,
    level: float,
) -> Misfit:
    """Return the test of a class by held-out votes, with a second predictor mixed in.

    Few votes on every pair leave a predictor without structure, which `held_out_misfit` has,
    little to say. `log_mixture` has structure, and assumes none: the mean of two e-values is one.
    """
    base = preference_class.base if isinstance(preference_class, LaidOutClass) else preference_class
    plain = held_out_misfit(base, training, held_out, level)
    predicted = float(np.logaddexp(plain.predicted, log_mixture(training, held_out))) - log(2.0)
    return replace(
        plain,
        log_evidence=plain.log_evidence + predicted - plain.predicted,
        predicted=predicted,
        statement=f"{plain.statement}; the predictor is mixed evenly with one that is itself a "
        "mixture of rewards, shares of votes and low ranks, fitted to the training votes",
    )
