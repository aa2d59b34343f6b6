"""From data to estimates: pairwise preferences, intervals, Bradley-Terry rewards, null models."""

from nlhf.estimation.bradley_terry import BradleyTerry, Ties, fit_bradley_terry
from nlhf.estimation.condorcet import CondorcetLaw, CondorcetNull, condorcet_law, condorcet_null
from nlhf.estimation.intervals import PairIntervals, bootstrap_intervals, wilson_intervals
from nlhf.estimation.mixtures.choice import Candidate, Criterion, GroupChoice, choose_groups
from nlhf.estimation.mixtures.diagnostics import Diagnostics
from nlhf.estimation.mixtures.fitting import MixtureProgress, RaterMixture, fit_mixture
from nlhf.estimation.mixtures.standard_errors import MixtureErrors, standard_errors
from nlhf.estimation.mixtures.steps import Assignment
from nlhf.estimation.prior import fit_prior
from nlhf.estimation.tabular import Completion, PreferenceEstimate, estimate_preferences

__all__ = [
    "Assignment",
    "BradleyTerry",
    "Candidate",
    "Completion",
    "CondorcetLaw",
    "CondorcetNull",
    "Criterion",
    "Diagnostics",
    "GroupChoice",
    "MixtureErrors",
    "MixtureProgress",
    "PairIntervals",
    "PreferenceEstimate",
    "RaterMixture",
    "Ties",
    "bootstrap_intervals",
    "choose_groups",
    "condorcet_law",
    "condorcet_null",
    "estimate_preferences",
    "fit_bradley_terry",
    "fit_mixture",
    "fit_prior",
    "standard_errors",
    "wilson_intervals",
]
