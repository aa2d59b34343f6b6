"""From data to estimates: pairwise preferences, intervals, Bradley-Terry rewards, null models."""

from nlhf.estimation.bradley_terry import BradleyTerry, Ties, fit_bradley_terry
from nlhf.estimation.condorcet import CondorcetNull, condorcet_null
from nlhf.estimation.intervals import PairIntervals, bootstrap_intervals, wilson_intervals
from nlhf.estimation.tabular import Completion, PreferenceEstimate, estimate_preferences

__all__ = [
    "BradleyTerry",
    "Completion",
    "CondorcetNull",
    "PairIntervals",
    "PreferenceEstimate",
    "Ties",
    "bootstrap_intervals",
    "condorcet_null",
    "estimate_preferences",
    "fit_bradley_terry",
    "wilson_intervals",
]
