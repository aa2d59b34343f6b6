"""MaxMin on a language model: one policy against whoever picks the group that it is judged by."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.games.group_rewards import Offsets, checked_offsets
from nlhf.games.maxmin import MaxMinGame
from nlhf.games.tabular import checked_temperature
from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.enumerate import Enumeration
from nlhf.lm.games import ModelGame
from nlhf.lm.judges.base import RewardModel, checked_rewards
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import RewardPayoff
from nlhf.lm.realisers.base import Realiser
from nlhf.lm.responses import Prompts, Responses
from nlhf.protocols import Evaluation
from nlhf.results import Profile, float_array, read_only
from nlhf.spaces.ambiguity import Ambiguity, checked_ambiguity
from nlhf.spaces.duals import LeafPayoff
from nlhf.spaces.groups import GroupSpace
from nlhf.streams import Stream

_LOOKED_AT = 64
"""Prompts by which the range of the payoffs is estimated, where there are more."""


class LanguageMaxMinGame(ModelGame):
    r"""A language model against whoever picks the group that it is judged by.

    .. math:: \max_\pi \min_{w \in W}\ \sum_u w_u U_u(\pi) - \tau KL(\pi\|\mu) + \kappa KL(w\|\eta),
              \qquad U_u(\pi) = E_{x,\, y \sim \pi(\cdot|x)}\, r_u(x, y) + o_u,

    the `MaxMinGame` of all responses. A group's utility is estimated as the mean over the policy's
    draws, and the groups are compared by these means: the least of the means, never the mean over
    responses of the least reward, which is another objective (and a smaller one). The estimate is
    unbiased, and so are both players' payoffs, as each is linear in the other's strategy.

    With `MirrorDescent` the group weights move by exponential weights, which is how Chakraborty et
    al. (MaxMin-RLHF, 2024) is run here; the rewards may be the heads of a fitted `MixtureReward`.

    Args:
        model: The language model; μ is its reference.
        prompts: The prompts, all of equal weight.
        rewards: r_u, a reward model for every group.
        temperature: τ, in units of the rewards.
        realiser: How the policy's proximal steps are carried out; the groups' are exact.
        proportions: η, shape ``(U,)``; uniform by default. Not together with an ambiguity set.
        group_temperature: κ ≥ 0, in units of the rewards.
        ambiguity: W; the whole simplex by default: the worst group counts.
        draws: The policy's responses by which utilities are estimated.
        offsets: What makes the groups' rewards comparable: `Offsets.REFERENCE`,
            `Offsets.AS_GIVEN`, or numbers o, shape ``(U,)``. `None` takes the rewards as given,
            and warns.
        offset_draws: The reference's responses to every prompt by which its utilities are
            estimated, for `Offsets.REFERENCE`; as `draws` by default. Their error stays in the
            game: see `offset_errors`.
        prompts_per_step: Prompts of one evaluation, drawn anew for each; `None` for all.

    Attributes:
        rewards: r_u.
        ambiguity: W.
        normalisation: How the offsets were chosen; `None` if they were given as numbers.

    Raises:
        HypothesisViolated: If `prompts_per_step` is out of range.
        InvalidProblem: If there is no group, or a number is out of range.
        Unsupported: For `Offsets.REGRET`: nobody knows the best policies of the groups.

    Warns:
        Unnormalised: If there are several groups and no choice of offsets.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Prompts,
        rewards: Sequence[RewardModel],
        temperature: float,
        realiser: Realiser,
        *,
        proportions: ArrayLike | None = None,
        group_temperature: float = 0.0,
        ambiguity: Ambiguity | None = None,
        draws: Draws | None = None,
        offsets: Offsets | str | Sequence[float] | None = None,
        offset_draws: Draws | None = None,
        prompts_per_step: int | None = None,
    ) -> None:
        super().__init__(model, prompts, temperature, realiser, prompts_per_step)
        self.rewards = tuple(rewards)
        if not self.rewards:
            raise InvalidProblem("there is no group", "pass one reward model for every group")
        self.ambiguity = checked_ambiguity(ambiguity, proportions, self.groups)
        self.spaces = (*self.spaces, GroupSpace(self.ambiguity))
        self.temperatures = (*self.temperatures, checked_temperature(group_temperature))
        self.draws: Draws = Sampled(16) if draws is None else draws
        self.offset_draws = self.draws if offset_draws is None else offset_draws
        self._given: np.ndarray | None = None
        self.normalisation: Offsets | None = None
        if offsets is None or isinstance(offsets, str):
            self.normalisation = checked_offsets(offsets, self.groups)
        else:
            self._given = _checked_numbers(offsets, self.groups)
        if self.normalisation is Offsets.REGRET:
            raise Unsupported(
                "the best policy of every group, which regret is measured from, is not known on a "
                "language model",
                "estimate it with a RewardGame for every group and pass the offsets as numbers",
            )
        self._looks = Stream(0, ("looks", "maxmin"))

    @property
    def groups(self) -> int:
        """U, the number of groups."""
        return len(self.rewards)

    @property
    def proportions(self) -> Float[np.ndarray, "group"]:
        """η."""
        return self.ambiguity.centre.probabilities

    @property
    def offsets(self) -> Float[np.ndarray, "group"]:
        """o, on average over the prompts."""
        return read_only(self._offset_table.mean(axis=1))

    @property
    def offset_errors(self) -> Float[np.ndarray, "group"]:
        """The standard errors of the offsets that the reference's draws leave; 0 if exact.

        Infinite if every prompt has a single draw.
        """
        return self._reference[1]

    @cached_property
    def lipschitz(self) -> float:
        """Half the range of either player's payoffs, the most of all; see `MaxMinGame`.

        It is estimated on responses of the reference to at most 64 prompts, hence too small where
        rarer responses have larger rewards.
        """
        places = np.linspace(0, len(self.prompts) - 1, min(len(self.prompts), _LOOKED_AT))
        chosen = places.round().astype(int).tolist()
        prompts = self.prompts.take(chosen)
        looks = self._looks.child("range")
        seen = self.draws.responses(self.model, self.reference, prompts, looks)
        rewards = self.each_reward(seen)
        own = float(np.ptp(rewards, axis=2).max()) / 2.0
        table = rewards + self._offset_table[:, chosen, None]
        apart = max(
            float((a - b).max(axis=1).mean()) for a in table for b in table
        )  # of a policy that plays the response on which they differ most
        return max(own, apart / 2.0)

    def operator(self, profile: Profile[Any], stream: Stream) -> Evaluation[Any]:
        """Return (Σ_u w_u r_u, −U(π)), with U estimated on responses that π now draws."""
        prompts = self.batch(stream)
        strategy, weights = profile
        seen = self.draws.responses(self.model, strategy, prompts, stream.child("responses"))
        shares = tuple(float(w) for w in weights.probabilities)
        return Evaluation((RewardPayoff(prompts, self.rewards, shares), -self.utilities(seen)))

    def utilities(self, responses: Responses) -> Float[np.ndarray, "group"]:
        """Return U, every group's mean reward of the responses of all processes, with its offset.

        Args:
            responses: A policy's responses to prompts of this game.
        """
        place = {row: x for x, row in enumerate(self.prompts.rows)}
        columns = [place[row] for row in responses.prompts.rows]
        weights = responses.weights.cpu().numpy()
        means = np.einsum("xr,uxr->ux", weights, self.each_reward(responses))
        sums = (means + self._offset_table[:, columns]).sum(axis=1)
        found = np.array(self.model.engine.totals([*sums, float(len(columns))]))
        return np.asarray(found[:-1] / found[-1])

    def each_reward(self, responses: Responses) -> Float64[np.ndarray, "group prompt response"]:
        """Return every group's reward of every response, without offsets.

        Raises:
            InvalidData: If a reward is not a finite number; names the row.
        """
        every = [checked_rewards(r.rewards(responses), responses) for r in self.rewards]
        return np.stack(every)

    def start(self) -> Profile[Any]:
        """Return the reference and the proportions."""
        return (self.reference, self.ambiguity.centre)

    @property
    def _offset_table(self) -> Float[np.ndarray, "group prompt"]:
        """Offsets per prompt: a common part of all responses to a prompt adds no noise then."""
        if self._given is not None:
            return np.repeat(self._given[:, None], len(self.prompts), axis=1)
        if self.normalisation is Offsets.AS_GIVEN:
            return np.zeros((self.groups, len(self.prompts)))
        return -self._reference[0]

    @cached_property
    def _reference(
        self,
    ) -> tuple[Float[np.ndarray, "group prompt"], Float[np.ndarray, "group"]]:
        """Return the reference's mean reward per group and prompt, and the errors of the means."""
        count, groups = len(self.prompts), self.groups
        if self.normalisation is not Offsets.REFERENCE:
            return np.zeros((groups, count)), np.zeros(groups)
        mine = list(self.model.engine.share(count))
        found = np.zeros((2, groups, count))
        if mine:
            prompts = self.prompts.take(mine)
            looks = self._looks.child("offsets")
            seen = self.offset_draws.responses(self.model, self.reference, prompts, looks)
            found[:, :, mine] = self._moments(seen)
        means, squares = self.model.engine.total(torch.as_tensor(found)).cpu().numpy()
        return means, np.sqrt(squares.sum(axis=1)) / count

    def _moments(self, seen: Responses) -> Float[np.ndarray, "2 group prompt"]:
        """Return mean rewards and their squared standard errors.

        These are 0 if all responses are listed, and infinite for one draw, which says nothing.
        """
        weights, rewards = seen.weights.cpu().numpy(), self.each_reward(seen)
        means = np.einsum("xr,uxr->ux", weights, rewards)
        if seen.exhaustive or seen.shape[1] == 1:
            return np.stack([means, np.full_like(means, 0.0 if seen.exhaustive else np.inf)])
        return np.stack([means, rewards.var(axis=2, ddof=1) / seen.shape[1]])


def exact_maxmin(enumeration: Enumeration, game: LanguageMaxMinGame) -> MaxMinGame:
    """Return the same game on the tree of all responses, where certificates are exact.

    Offsets relative to the reference are computed exactly, so that what the draws of the game on
    the language model miss of them counts as its error.

    Args:
        enumeration: All responses to the prompts of the game.
        game: The game on the language model.

    Raises:
        InvalidProblem: If the game is about other prompts.
    """
    if game.prompts.rows != enumeration.prompts.rows:
        raise InvalidProblem(
            f"the game has {len(game.prompts)} prompts, this enumeration "
            f"{len(enumeration.prompts)}",
            "enumerate the prompts of the game",
        )
    rewards = game.each_reward(enumeration.responses)
    if game.normalisation is None:
        rewards = rewards + game.offsets[:, None, None]
    return MaxMinGame(
        [LeafPayoff(reward) for reward in rewards],
        enumeration.policy(game.reference),
        game.temperatures[0],
        group_temperature=game.temperatures[1],
        ambiguity=game.ambiguity,
        offsets=Offsets.AS_GIVEN if game.normalisation is None else game.normalisation,
        process=enumeration.tree,
    )


def _checked_numbers(offsets: object, groups: int) -> Float[np.ndarray, "group"]:
    numbers = float_array("the offsets", offsets)
    if numbers.shape != (groups,) or not np.isfinite(numbers).all():
        raise InvalidProblem(
            f"the offsets are {offsets!r}, for {groups} groups", "pass one finite number per group"
        )
    return read_only(numbers)
