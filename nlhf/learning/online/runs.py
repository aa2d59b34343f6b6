"""What learning in rounds returns."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.data.preference_data import PreferenceData
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.models import Model
from nlhf.learning.coverage import population_errors
from nlhf.learning.judging import opposed
from nlhf.learning.settings import Setting
from nlhf.learning.uncertainty import worth
from nlhf.results import Bound, Provenance
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    r"""The main agent after some comparisons, and what is certain of it.

    Payoffs are centred: the equilibrium of the true game has the value 0. All bounds hold on one
    event, which has a probability of at least 1 - δ: for every standing of a run at once.

    Attributes:
        answers: How many answered comparisons it rests on.
        model: The maximum-likelihood estimate :math:`\hat T_t`.
        policy: The main agent :math:`\pi_t`, the equilibrium of the estimate.
        radius: ρ of the confidence set, in squared payoff units.
        ridge: λ, per m comparisons.
        gamma: :math:`\max_\rho \Gamma_t(\lambda, \pi_t, \rho)`.
        certificate: :math:`\sqrt{\lambda + \rho/m}\,\Gamma_t` and the policy's exploitability
            under the estimate (which is rounding): an upper bound on its exploitability in the
            true game (enhancer-certificate, without the factor 2 of the cited form).
        value: What the policy secures in the true game, at least; by the judge.
        gap: Its exploitability in the true game at most: the smaller of what the certificate and
            the judge say.
    """

    answers: float
    model: Model
    policy: Policy
    radius: float
    ridge: float
    gamma: float
    certificate: Bound
    value: Bound
    gap: Bound


@dataclass(frozen=True, slots=True, eq=False)
class Round(Standing):
    r"""A round: the main agent as it stands before the round's questions, and what was asked.

    Attributes:
        number: t, from 1.
        first: The policy of the first outcome of every pair that was asked about.
        second: The policy of the second outcome.
        increment: :math:`\min(1, \Gamma_t^2)` of these two policies: what the round adds to the
            eluder coefficient realised along the run. In a finite class it is 0 for a policy
            against itself, whose payoff no model disagrees on; a width does not know that.
    """

    number: int
    first: Policy
    second: Policy
    increment: float

    @classmethod
    def of(
        cls, standing: Standing, number: int, compared: tuple[Policy, Policy], increment: float
    ) -> "Round":
        """Return a round that begins with the given standing."""
        return cls(
            answers=standing.answers,
            model=standing.model,
            policy=standing.policy,
            radius=standing.radius,
            ridge=standing.ridge,
            gamma=standing.gamma,
            certificate=standing.certificate,
            value=standing.value,
            gap=standing.gap,
            number=number,
            first=compared[0],
            second=compared[1],
            increment=increment,
        )


@dataclass(frozen=True, slots=True, eq=False)
class OnlineRun:
    """A main agent learned in rounds.

    Attributes:
        rounds: The T rounds.
        last: The main agent after the answers of all rounds.
        data: All answers; equal pairs are counted together.
        queries: m, how many questions were asked in a round.
        provenance: Method, cost and versions.
    """

    rounds: tuple[Round, ...]
    last: Standing
    data: PreferenceData
    queries: int
    provenance: Provenance

    @property
    def standings(self) -> tuple[Standing, ...]:
        """The main agent before every round, and after all."""
        return (*self.rounds, self.last)

    @property
    def best(self) -> Standing:
        """The standing with the smallest certified gap; of several the latest.

        All certificates hold at once, so that choosing by them is allowed.
        """
        return min(reversed(self.standings), key=lambda standing: standing.gap.high)

    @property
    def gaps(self) -> Float[np.ndarray, " standing"]:
        """The certified gaps of all standings, in payoff units."""
        return np.array([standing.gap.high for standing in self.standings])

    @property
    def eluder(self) -> Float[np.ndarray, " round"]:
        r"""The eluder coefficient realised up to every round, with errors in the sample.

        .. math:: d_t = \sum_{s \le t} \min(1, \Gamma_s(\lambda, \pi_1^s, \pi_2^s)^2)

        Some round of t has :math:`\Gamma^2 \le d_t/t` as soon as that is below 1.
        """
        return np.cumsum([one.increment for one in self.rounds])


def population_eluder(
    setting: Setting, preference_class: FiniteClass, run: OnlineRun
) -> Float[np.ndarray, " round"]:
    r"""Return the eluder coefficient realised up to every round, with population denominators.

    .. math:: d_t = \sum_{s \le t} \min\Big(1, \max_k \frac{((T_k - \hat T_s)(\pi_1^s, \pi_2^s))^2}
              {\lambda + \sum_{r < s} E_{\pi_1^r, \pi_2^r}(T_k - \hat T_s)^2}\Big)

    It is at most the coefficient d(𝒫, λ, t) of arXiv 2402.07314, a supremum over all runs.

    Raises:
        Unsupported: In a setting whose comparisons have no known population.
    """
    tables, increments = preference_class.tables, []
    for number, one in enumerate(run.rounds):
        errors = np.zeros(len(tables))
        for before in run.rounds[:number]:
            compared = (before.first, before.second)
            errors += population_errors(setting, tables, one.model.table, *compared)
        visits = setting.visits(one.first)
        values = opposed(tables, visits) - opposed(one.model.table[None], visits)
        squares = worth(setting, values, one.second) ** 2 / (one.ridge + errors)
        increments.append(min(1.0, float(squares.max())))
    return np.cumsum(increments)
