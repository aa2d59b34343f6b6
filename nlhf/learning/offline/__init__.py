"""Pessimistic planning from a fixed data set."""

from nlhf.learning.offline.bonus import plan_with_bonus
from nlhf.learning.offline.plug_in import plan_plug_in
from nlhf.learning.offline.restricted import (
    RestrictedSolution,
    covered_responses,
    plan_restricted,
)
from nlhf.learning.offline.solutions import PessimisticSolution
from nlhf.learning.offline.version_space import plan_version_space

__all__ = [
    "PessimisticSolution",
    "RestrictedSolution",
    "covered_responses",
    "plan_plug_in",
    "plan_restricted",
    "plan_version_space",
    "plan_with_bonus",
]
