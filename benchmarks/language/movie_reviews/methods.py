"""The methods: each a game, an algorithm and a realiser of `nlhf`, run until the KL is matched."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.language.movie_reviews.plan import Plan
from benchmarks.language.movie_reviews.rewards import LinearReward, PopulationPreference
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.games.group_rewards import Offsets
from nlhf.lm.draws import Sampled
from nlhf.lm.games import LanguageGame, ModelGame, RewardGame
from nlhf.lm.maxmin import LanguageMaxMinGame
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.strategies import Checkpoint, Strategy
from nlhf.streams import Stream

NEVER = 1_000_000
"""Audits after the first are left out: the divergence that ends a run is measured here."""

Note = Callable[[str], None]
"""Told of every outer step."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Responses that were drawn before, in place of a new draw.

    Attributes:
        drawn: To all prompts.
    """

    drawn: Responses

    def responses(
        self, model: LanguageModel, strategy: Strategy, prompts: Prompts, stream: Stream
    ) -> Responses:
        """Return those to the given prompts; nothing is drawn."""
        place = {row: x for x, row in enumerate(self.drawn.prompts.rows)}
        return self.drawn.take([place[row] for row in prompts.rows])

    def promised(
        self, model: LanguageModel, strategy: Strategy, prompts: Prompts, stream: Stream
    ) -> Responses:
        """Return the same: there is nothing to draw."""
        return self.responses(model, strategy, prompts, stream)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A policy and how it was reached.

    Attributes:
        policy: Its weights.
        divergences: KL to the reference after every outer step, in nats.
        weights: Of the groups at the end; empty for methods without groups.
        seconds: CPU time.
    """

    policy: Checkpoint
    divergences: tuple[float, ...]
    weights: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What all methods share.

    Attributes:
        model: The language model.
        prompts: Of training.
        plan: Numbers.
        stream: Randomness of the method on this seed.
        note: Told of progress.
    """

    model: LanguageModel
    prompts: Prompts
    plan: Plan
    stream: Stream
    note: Note


def single(setting: Setting, reward: LinearReward) -> Trained:
    """Pursue one reward by mirror descent."""
    plan = setting.plan
    game = RewardGame(
        setting.model,
        setting.prompts,
        reward,
        plan.temperature,
        _realiser(setting),
        prompts_per_step=plan.batch,
    )
    return _until_matched(setting, game, MirrorDescent(plan.step_size))


def maxmin(setting: Setting, rewards: tuple[LinearReward, ...], pool: Responses) -> Trained:
    """Play the policy against the weights of the groups by mirror descent.

    Args:
        setting: What all methods share.
        rewards: Of the groups; each counts from its mean under the reference.
        pool: The reference's responses to all prompts, by which these means are estimated.
    """
    plan = setting.plan
    game = LanguageMaxMinGame(
        setting.model,
        setting.prompts,
        rewards,
        plan.temperature,
        _realiser(setting),
        draws=Sampled(plan.draws),
        offsets=Offsets.REFERENCE,
        offset_draws=Kept(pool),
        prompts_per_step=plan.batch,
    )
    return _until_matched(setting, game, MirrorDescent(plan.group_step_size, unproven=True))


def nash(setting: Setting, preference: PopulationPreference) -> Trained:
    """Approach the equilibrium of the population's preference by mirror descent in self-play."""
    plan = setting.plan
    game = LanguageGame(
        setting.model,
        setting.prompts,
        preference,
        plan.preference_temperature,
        _realiser(setting),
        opponents=Sampled(plan.draws),
        prompts_per_step=plan.batch,
    )
    return _until_matched(setting, game, MirrorDescent(plan.preference_step_size, unproven=True))


def _realiser(setting: Setting) -> PairwiseRegression:
    plan = setting.plan
    return PairwiseRegression(
        setting.stream.child("realiser"),
        Optimisation(steps=plan.gradient_steps, learning_rate=plan.learning_rate, clip=plan.clip),
        Sampled(plan.draws),
        audit=Audit(every=NEVER),
    )


def _until_matched(setting: Setting, game: ModelGame, algorithm: Any) -> Trained:
    """Step until the divergence from the reference reaches the plan's, or the steps are used up.

    Of the last two policies the one is returned whose divergence is nearer to the plan's.
    """
    plan, since = setting.plan, time.process_time()
    state = algorithm.init(game, game.start())
    profiles, divergences = [algorithm.profile(state)], [0.0]
    while len(divergences) <= plan.outer_steps and divergences[-1] < plan.divergence:
        step = len(divergences)
        state = algorithm.step(game, state, setting.stream.child("step", step))
        profiles = [profiles[-1], algorithm.profile(state)]
        looks = setting.stream.child("looks", step)
        divergence, length = _departure(setting, profiles[-1][0], looks)
        divergences.append(divergence)
        spent = time.process_time() - since
        setting.note(f"step {step}: KL {divergence:.2f}, {length:.1f} tokens, {spent:.0f} s")
    before, after = (abs(one - plan.divergence) for one in divergences[-2:])
    profile = profiles[0] if before < after else profiles[1]
    weights = profile[1].probabilities if len(profile) > 1 else np.zeros(0)
    return Trained(
        profile[0],
        tuple(divergences[1:]),
        tuple(weights.tolist()),
        time.process_time() - since,
    )


def _departure(setting: Setting, policy: Checkpoint, stream: Stream) -> tuple[float, float]:
    """Return an estimate of KL(π‖μ) in nats, and the mean length in tokens.

    The plain mean of log π - log μ: at several nats the usual e^-d - 1 + d, though unbiased, gets
    a nat of it from responses that no sample of this size contains.
    """
    model, plan = setting.model, setting.plan
    chosen = (
        stream.child("prompts")
        .generator()
        .choice(len(setting.prompts), min(plan.looks, len(setting.prompts)), replace=False)
    )
    seen = model.sample(policy, setting.prompts.take(chosen.tolist()), 1, stream.child("responses"))
    logs = [model.log_probabilities(each, seen) for each in (policy, model.reference)]
    return float((logs[0] - logs[1]).mean()), seen.mean_length
