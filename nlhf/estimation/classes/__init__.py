"""Classes of preference models: maximum likelihood, confidence sets, and what is uncertain."""

from nlhf.estimation.classes.bradley_terry import BradleyTerryClass
from nlhf.estimation.classes.features import difference_features, wedge_features
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.linear import LinearClass
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.low_rank import LowRankClass
from nlhf.estimation.classes.misfit import Misfit, held_out_misfit
from nlhf.estimation.classes.models import Confidence, FiniteConfidence, Model, PreferenceClass
from nlhf.estimation.classes.tabular import TabularClass

__all__ = [
    "BradleyTerryClass",
    "Confidence",
    "FiniteClass",
    "FiniteConfidence",
    "LinearClass",
    "Link",
    "LowRankClass",
    "Misfit",
    "Model",
    "PreferenceClass",
    "TabularClass",
    "difference_features",
    "held_out_misfit",
    "wedge_features",
]
