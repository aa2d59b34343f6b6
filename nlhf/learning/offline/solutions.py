"""What planning from data returns."""

from dataclasses import dataclass

from nlhf.errors import HypothesisViolated
from nlhf.estimation.classes.models import Confidence
from nlhf.learning.judging import certified_gap, pessimistic_value
from nlhf.learning.settings import Setting
from nlhf.results import Bound, Knows, Provenance
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class PessimisticSolution:
    r"""A policy learned from data, and what is certain of it.

    Payoffs are centred: the equilibrium of the true game has the value 0.

    Attributes:
        policy: :math:`\hat\pi`.
        value: What the policy secures in the true game, :math:`J^*(\hat\pi, \dagger)`, at least,
            with probability 1 - δ.
        gap: Its exploitability in the true game at most, with the same probability.
        optimality: By how much another policy could beat it in what the planner maximises, at
            most: what planning left undone, not the data.
        confidence: The event that it rests on.
        provenance: Method, cost and versions.
    """

    policy: Policy
    value: Bound
    gap: Bound
    optimality: Bound
    confidence: Confidence
    provenance: Provenance

    @classmethod
    def judged(
        cls,
        setting: Setting,
        confidence: Confidence,
        policy: Policy,
        short: float,
        provenance: Provenance,
    ) -> "PessimisticSolution":
        """Return a policy with the judge's certificate.

        Args:
            setting: Where it acts.
            confidence: What is known of the payoffs.
            policy: The policy.
            short: What the planner's objective may be larger at another policy.
            provenance: Where the policy comes from.
        """
        value = pessimistic_value(setting, confidence, policy)
        short = max(0.0, short)
        optimality = Bound(short, Knows.UPPER, value.units, 0.0, short)
        return cls(policy, value, certified_gap(value), optimality, confidence, provenance)


def checked_accuracy(accuracy: float) -> float:
    """Return the accuracy after checking that it is a number that is not negative.

    Raises:
        HypothesisViolated: Otherwise.
    """
    if not accuracy >= 0.0:
        raise HypothesisViolated(
            f"the accuracy is {accuracy!r}",
            "give how far from the optimum the plan may be, such as 1e-8",
        )
    return accuracy
