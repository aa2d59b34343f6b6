"""From data to estimates: pairwise preferences, intervals, Bradley-Terry rewards, null models."""

from nlhf.estimation.bradley_terry import BradleyTerry, Ties, fit_bradley_terry
from nlhf.estimation.condorcet import CondorcetLaw, CondorcetNull, condorcet_law, condorcet_null
from nlhf.estimation.group_robust import GroupRobust, fit_group_robust, pair_differences
from nlhf.estimation.intervals import PairIntervals, bootstrap_intervals, wilson_intervals
from nlhf.estimation.mixtures.choice import Candidate, Criterion, GroupChoice, choose_groups
from nlhf.estimation.mixtures.diagnostics import Diagnostics
from nlhf.estimation.mixtures.fitting import MixtureProgress, RaterMixture, fit_mixture
from nlhf.estimation.mixtures.standard_errors import MixtureErrors, standard_errors
from nlhf.estimation.mixtures.steps import Assignment
from nlhf.estimation.pair_losses import PreferenceLoss
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
    "GroupRobust",
    "MixtureErrors",
    "MixtureProgress",
    "PairIntervals",
    "PreferenceEstimate",
    "PreferenceLoss",
    "RaterMixture",
    "Ties",
    "bootstrap_intervals",
    "choose_groups",
    "condorcet_law",
    "condorcet_null",
    "estimate_preferences",
    "fit_bradley_terry",
    "fit_group_robust",
    "fit_mixture",
    "fit_prior",
    "pair_differences",
    "standard_errors",
    "wilson_intervals",
]
