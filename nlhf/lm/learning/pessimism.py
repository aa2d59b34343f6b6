"""Learning from a fixed data set, wary of where it says little: the offline pessimistic variant."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from nlhf.errors import InvalidData, InvalidProblem
from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.games import ModelGame
from nlhf.lm.judges.base import PreferenceModel, checked_preferences
from nlhf.lm.learning.online import UncertainPreference
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ComparisonPayoff
from nlhf.lm.realisers.base import Realiser
from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.space import LanguageSpace
from nlhf.lm.strategies import Strategy
from nlhf.protocols import Evaluation
from nlhf.results import Profile
from nlhf.streams import Stream


class PessimisticPreference:
    r"""The estimate less what it may be wrong by: :math:`\hat P(a \succ b) - \beta\sigma(a, b)`.

    σ is the uncertainty of the estimate, which is symmetric. So this is *not* complementary,
    :math:`P(a, b) + P(b, a) = 1 - 2\beta\sigma`, and no preference of a symmetric game: whoever it
    is the payoff of is wary. Values are not clipped, or the sums with its transpose would not be
    what they are.

    Args:
        estimate: An ensemble.
        beta: β ≥ 0.

    Raises:
        InvalidProblem: If β is negative or not finite.
    """

    def __init__(self, estimate: UncertainPreference, beta: float) -> None:
        if not 0.0 <= beta < np.inf:
            raise InvalidProblem(f"beta is {beta}", "pass a number of at least 0")
        self.estimate, self.beta = estimate, beta

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the pessimistic estimate of P(first i ≻ second j | x).

        Raises:
            InvalidData: If the estimate is no probability or its uncertainty negative or no
                number; names the row.
        """
        mean = checked_preferences(self.estimate.preferences(first, second), first, second)
        doubt = _checked_doubt(self.estimate.uncertainty(first, second), first, second)
        return np.asarray(mean - self.beta * doubt)


def _checked_doubt(values: np.ndarray, first: Responses, second: Responses) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    shape = (*first.shape, second.shape[1])
    if found.shape != shape:
        raise InvalidData(
            f"uncertainties of shape {found.shape} where (prompt, first, second) is {shape}",
            "return one number for each of them",
        )
    wrong = ~((found >= 0.0) & (found < np.inf))
    if wrong.any():
        x, i, j = (int(k) for k in np.argwhere(wrong)[0])
        raise InvalidData(
            f"row {first.prompts.rows[x]}, responses {i} and {j}: the uncertainty is "
            f"{found[x, i, j]}",
            "return a finite number of at least 0, in win probability",
        )
    return found


def _as_answered(values: np.ndarray, first: Responses, second: Responses) -> np.ndarray:
    """Return pessimistic payoffs as they are: they may leave [0, 1]; their parts were checked."""
    return values


class Reversed:
    """The payoff of the other side: 1 - A(second, first)."""

    def __init__(self, preference: PreferenceModel) -> None:
        self.preference = preference

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return 1 - A(second j, first i | x)."""
        return np.asarray(1.0 - self.preference.preferences(second, first).swapaxes(1, 2))


class PessimisticGame(ModelGame):
    r"""A main agent against whoever makes the most of what the data leave open.

    .. math:: \max_\pi \min_\rho\ E_{y\sim\pi,\, y'\sim\rho}
              \big[\hat P(y \succ y') - \beta\sigma(y, y')\big]
              - \tau KL(\pi\|\mu) + \tau KL(\rho\|\mu),

    the form of Algorithm 2 of Ye et al. (arXiv 2402.07314, first version). The payoff is not
    complementary, so the two play different strategies, on one model: a profile is (main agent,
    adversary), and each has a realiser of its own.

    Guarantee: none. With βσ a bound on the error of the estimate on every pair the main agent's
    value would be a lower bound on what it secures; the disagreement of an ensemble is no such
    bound. See `nlhf.learning.offline` for the version with guarantees.

    Args:
        model: The language model; μ is its reference.
        prompts: The prompts, all of equal weight.
        estimate: :math:`\hat P` with σ, such as a `PreferenceEnsemble`.
        beta: β ≥ 0.
        temperature: τ of both, in win probability.
        realiser: How the main agent's proximal steps are carried out.
        adversary: How the adversary's are; not the same object.
        opponents: The responses of the other that payoffs are realised on.
        prompts_per_step: Prompts of one evaluation, drawn anew for each; `None` for all.

    Raises:
        HypothesisViolated: If `prompts_per_step` is out of range.
        InvalidProblem: If a number is out of range, or the realisers are one object, whose
            optimiser would mix the two up.
    """

    lipschitz: float = 0.5

    def __init__(
        self,
        model: LanguageModel,
        prompts: Prompts,
        estimate: UncertainPreference,
        beta: float,
        temperature: float,
        realiser: Realiser,
        adversary: Realiser,
        *,
        opponents: Draws | None = None,
        prompts_per_step: int | None = None,
    ) -> None:
        super().__init__(model, prompts, temperature, realiser, prompts_per_step)
        if adversary is realiser:
            raise InvalidProblem("both players have one realiser", "make one for each")
        own: LanguageSpace = self.spaces[0]
        other = LanguageSpace(model, adversary, prompts, own.draws, own.stream)
        self.spaces = (own, other)
        self.adversary = adversary
        self.temperatures = (self.temperature, self.temperature)
        self.preference = PessimisticPreference(estimate, beta)
        self._reversed = Reversed(self.preference)
        self.opponents: Draws = Sampled(16) if opponents is None else opponents
        self.lipschitz = 0.5 + beta / 2.0  # a standard deviation of numbers in [0, 1] is below 1

    def operator(self, profile: Profile[Strategy], stream: Stream) -> Evaluation[ComparisonPayoff]:
        """Return both players' payoffs against what the other now draws."""
        prompts = self.batch(stream)
        main, adversary = (
            self.opponents.responses(self.model, strategy, prompts, stream.child(name))
            for strategy, name in zip(profile, ("main", "adversary"), strict=True)
        )
        return Evaluation(
            (
                ComparisonPayoff(((1.0, adversary),), self.preference, _as_answered),
                ComparisonPayoff(((1.0, main),), self._reversed, _as_answered),
            )
        )

    def start(self) -> Profile[Any]:
        """Return the reference twice."""
        return (self.reference, self.reference)
