"""Preference games and reward games between strategies of a language model."""

from collections.abc import Sequence
from typing import Any, NoReturn

from nlhf.errors import HypothesisViolated, Unsupported
from nlhf.games.tabular import checked_temperature
from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.judges.base import PreferenceModel, RewardModel
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ComparisonPayoff, RewardPayoff
from nlhf.lm.realisers.base import Realiser
from nlhf.lm.responses import Prompts
from nlhf.lm.space import LanguageSpace
from nlhf.lm.strategies import Checkpoint, Strategy
from nlhf.protocols import Evaluation
from nlhf.results import Profile
from nlhf.streams import Stream

_LOOKS = 32
"""Responses to a prompt by which divergences are estimated."""


class ModelGame:
    """What games on a language model share: prompts, the reference, and proximal steps.

    Attributes:
        model: Where strategies are played and trained.
        prompts: All prompts.
        temperatures: τ of every player, in payoff units.
        spaces: The strategies of every player.
        exact_steps: Always `False`: a realiser fits, and reports how well.
    """

    exact_steps: bool = False

    def __init__(
        self,
        model: LanguageModel,
        prompts: Prompts,
        temperature: float,
        realiser: Realiser,
        prompts_per_step: int | None,
    ) -> None:
        if prompts_per_step is not None and not 1 <= prompts_per_step <= len(prompts):
            raise HypothesisViolated(
                f"prompts_per_step is {prompts_per_step}, and there are {len(prompts)} prompts",
                "pass a number in between, or None for all in every step",
            )
        self.model, self.prompts = model, prompts
        self.prompts_per_step = prompts_per_step
        self.realiser = realiser
        self.temperatures: tuple[float, ...] = (checked_temperature(temperature),)
        space = LanguageSpace(model, realiser, prompts, Sampled(_LOOKS), Stream(0, ("looks",)))
        self.spaces: tuple[Any, ...] = (space,)

    @property
    def reference(self) -> Checkpoint:
        """μ."""
        return self.model.reference

    @property
    def temperature(self) -> float:
        """τ."""
        return self.temperatures[0]

    def batch(self, stream: Stream) -> Prompts:
        """Return the prompts of one evaluation: this process's share of a drawn batch."""
        chosen: Sequence[int] = range(len(self.prompts))
        if self.prompts_per_step is not None:
            generator = stream.child("prompts").generator()
            drawn = generator.choice(len(self.prompts), self.prompts_per_step, replace=False)
            chosen = drawn.tolist()
        mine = self.model.engine.share(len(chosen))
        return self.prompts.take([chosen[i] for i in mine])

    def prox(
        self,
        evaluation: Evaluation[Any] | None,
        anchors: Sequence[tuple[Profile[Any], float]],
    ) -> Profile[Any]:
        """Return each player's proximal step, where the player starts among its anchors."""
        steps = []
        for i, (space, own) in enumerate(zip(self.spaces, self.start(), strict=True)):
            payoff = None if evaluation is None else evaluation.payoffs[i]
            pulls = [(profile[i], strength) for profile, strength in anchors]
            steps.append(space.prox(payoff, [*pulls, (own, self.temperatures[i])]).strategy)
        return tuple(steps)

    def mixture(self, weighted: Sequence[tuple[Profile[Any], float]]) -> Profile[Any]:
        """Return the profile in which every player mixes with these normalised weights."""
        return tuple(
            space.mixture([(profile[i], weight) for profile, weight in weighted])
            for i, space in enumerate(self.spaces)
        )

    def start(self) -> Profile[Any]:
        """Return what every player is pulled towards: the reference."""
        return (self.reference,)

    def as_profile(self, strategies: object) -> NoReturn:
        """Refuse: the exact certificate of a language model cannot be had.

        Raises:
            Unsupported: Always.
        """
        raise Unsupported(
            "the best response to a language model is not known, so neither is its duality gap",
            "use nlhf.lm.deviation_gain for a lower bound, or an EnumerableModel's exact_game",
        )


class LanguageGame(ModelGame):
    r"""The KL-regularised preference game between strategies of a language model.

    .. math:: J(\pi,\rho) = E_{x,\,y\sim\pi,\,y'\sim\rho} P(y \succ y'|x)
              - \tau KL(\pi\|\mu) + \tau KL(\rho\|\mu),

    the `PreferenceGame` of all responses, with payoffs realised on responses of the opponent and
    proximal steps carried out by a realiser.

    Args:
        model: The language model; μ is its reference.
        prompts: The prompts, all of equal weight.
        preference: P.
        temperature: τ, in win probability, the price of one nat of a whole response.
        realiser: How proximal steps are carried out.
        opponents: The responses of the opponent that payoffs are realised on.
        prompts_per_step: Prompts of one evaluation, drawn anew for each; `None` for all.

    Raises:
        HypothesisViolated: If `prompts_per_step` is out of range.
        InvalidProblem: If the temperature is out of range.
    """

    lipschitz: float = 0.5

    def __init__(
        self,
        model: LanguageModel,
        prompts: Prompts,
        preference: PreferenceModel,
        temperature: float,
        realiser: Realiser,
        *,
        opponents: Draws | None = None,
        prompts_per_step: int | None = None,
    ) -> None:
        super().__init__(model, prompts, temperature, realiser, prompts_per_step)
        self.preference = preference
        self.opponents: Draws = Sampled(16) if opponents is None else opponents

    def operator(self, profile: Profile[Strategy], stream: Stream) -> Evaluation[ComparisonPayoff]:
        """Return how often a response is preferred to those that the strategy now draws."""
        prompts = self.batch(stream)
        found = self.opponents.promised(self.model, profile[0], prompts, stream.child("opponents"))
        return Evaluation((ComparisonPayoff(((1.0, found),), self.preference),))


class RewardGame(ModelGame):
    r"""Reward-based alignment as a game of one player.

    .. math:: \max_\pi\ E_\pi[r] - \tau KL(\pi\|\mu).

    Its one equilibrium is :math:`\mu e^{r/\tau}/Z`. Mirror descent on it is the usual fine-tuning
    by reward; with `PolicyGradient` it is REINFORCE with a leave-one-out baseline (RLOO).

    Args:
        model: The language model; μ is its reference.
        prompts: The prompts, all of equal weight.
        reward: r.
        temperature: τ, in units of the reward.
        realiser: How proximal steps are carried out.
        prompts_per_step: Prompts of one evaluation; `None` for all.

    Raises:
        HypothesisViolated: If `prompts_per_step` is out of range.
        InvalidProblem: If the temperature is out of range.
    """

    lipschitz: float = 0.0

    def __init__(
        self,
        model: LanguageModel,
        prompts: Prompts,
        reward: RewardModel,
        temperature: float,
        realiser: Realiser,
        *,
        prompts_per_step: int | None = None,
    ) -> None:
        super().__init__(model, prompts, temperature, realiser, prompts_per_step)
        self.reward = reward

    def operator(self, profile: Profile[Strategy], stream: Stream) -> Evaluation[RewardPayoff]:
        """Return the reward; it does not depend on the profile."""
        return Evaluation((RewardPayoff(self.batch(stream), (self.reward,), (1.0,)),))
