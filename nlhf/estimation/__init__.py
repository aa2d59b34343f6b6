"""From data to estimates: pairwise preferences, intervals, Bradley-Terry rewards, null models."""

from nlhf.estimation.bradley_terry import BradleyTerry, Ties, fit_bradley_terry
from nlhf.estimation.condorcet import CondorcetLaw, CondorcetNull, condorcet_law, condorcet_null
from nlhf.estimation.intervals import PairIntervals, bootstrap_intervals, wilson_intervals
from nlhf.estimation.prior import fit_prior
from nlhf.estimation.tabular import Completion, PreferenceEstimate, estimate_preferences

__all__ = [
    "BradleyTerry",
    "Completion",
    "CondorcetLaw",
    "CondorcetNull",
    "PairIntervals",
    "PreferenceEstimate",
    "Ties",
    "bootstrap_intervals",
    "condorcet_law",
    "condorcet_null",
    "estimate_preferences",
    "fit_bradley_terry",
    "fit_prior",
    "wilson_intervals",
]
