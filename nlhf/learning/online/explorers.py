"""Whose outcomes are compared in a round: the main agent's, and those of a second policy."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from nlhf.estimation.classes.models import Confidence, FiniteConfidence
from nlhf.learning.judging import opposed, secured
from nlhf.learning.settings import Setting
from nlhf.learning.uncertainty import Uncertainty
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """What an explorer knows when a round begins.

    Attributes:
        setting: Where policies act.
        confidence: What the comparisons so far say of the payoffs.
        policy: The main agent's, the equilibrium of the estimate.
        doubt: Its uncertainty against the competitor where that is greatest.
    """

    setting: Setting
    confidence: Confidence
    policy: Policy
    doubt: Uncertainty


@runtime_checkable
class Explorer(Protocol):
    """A rule for which two policies are compared next."""

    def compared(self, situation: Situation) -> tuple[Policy, Policy]:
        """Return the policies that the first and the second outcome of a pair are drawn from."""
        ...


@dataclass(frozen=True, slots=True)
class Enhancer:
    r"""The main agent against the competitor where the estimate is least certain.

    .. math:: \pi_2 \in \arg\max_\rho \Gamma_t(\lambda, \pi_1, \rho)

    OELHF of Ye et al. (arXiv 2402.07314): one round in which Γ is small certifies the main agent,
    and Γ is large in few rounds, as many as the eluder coefficient.
    """

    def compared(self, situation: Situation) -> tuple[Policy, Policy]:
        """Return the main agent and the enhancer."""
        return situation.policy, situation.doubt.competitor


@dataclass(frozen=True, slots=True)
class Optimist:
    r"""The main agent against a competitor that replies to it in the most favourable way left.

    .. math:: \pi_2 \in \arg\min_\rho \min_T \; T(\pi_1, \rho) + \tau KL(\rho\|\mu)

    over the version space of a finite class, over all payoffs within the width otherwise. The
    value is what the judge says that the main agent secures: this competitor plays where the
    judge is most in doubt. It is the second agent of the first version of arXiv 2402.07314, with
    the version space for the bonus.
    """

    def compared(self, situation: Situation) -> tuple[Policy, Policy]:
        """Return the main agent and the optimistic reply to it."""
        setting, confidence, policy = situation.setting, situation.confidence, situation.policy
        if isinstance(confidence, FiniteConfidence):
            members = confidence.members
            values = secured(setting, confidence.tables, policy, members)
            table = confidence.tables[members[int(np.argmin(values))]]
        else:
            table = confidence.lowest
        against = opposed(table[None], setting.visits(policy))[0]
        return policy, setting.best(-against)


@dataclass(frozen=True, slots=True)
class OnPolicy:
    """The main agent against itself, with no thought of exploring: the plain iterative scheme."""

    def compared(self, situation: Situation) -> tuple[Policy, Policy]:
        """Return the main agent twice."""
        return situation.policy, situation.policy


@dataclass(frozen=True, slots=True)
class Reference:
    """The main agent against the reference policy μ.

    Greedy sampling of Wu et al. (2025): with KL to μ the best replies are never far from μ, by a
    factor of e^{range/τ}, so μ covers them, at that price.
    """

    def compared(self, situation: Situation) -> tuple[Policy, Policy]:
        """Return the main agent and the reference."""
        return situation.policy, situation.setting.reference


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform actions against uniform actions, whatever was learned: a fixed design.

    The main agent is still the equilibrium of the estimate; it is judged, but not compared.
    """

    def compared(self, situation: Situation) -> tuple[Policy, Policy]:
        """Return the uniform policy twice."""
        shape = situation.setting.reference.log_probabilities.shape
        uniform = Policy.proportional(np.zeros(shape))
        return uniform, uniform
