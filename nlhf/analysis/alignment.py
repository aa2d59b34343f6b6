"""From votes of people who differ to policies for them, judged group by group on held-out votes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.analysis.alignment_groups import (
    Evidence,
    evidence_of,
    find_groups,
    warn_of_weak_groups,
)
from nlhf.analysis.alignment_policies import (
    MaxMinPolicy,
    NashPolicy,
    Policies,
    Rewards,
    maxmin_policy,
    nash_policy,
    optimal_policies,
    references,
)
from nlhf.analysis.alignment_settings import AlignmentSettings
from nlhf.analysis.held_out import HeldOutWins, Judges, Split, split_votes
from nlhf.analysis.prompts import Progress, problems_of_votes
from nlhf.data.counts import win_counts
from nlhf.data.records import ANONYMOUS
from nlhf.data.votes import Votes
from nlhf.errors import InvalidData
from nlhf.estimation.mixtures.choice import GroupChoice
from nlhf.estimation.mixtures.fitting import RaterMixture
from nlhf.streams import Stream

REFERENCE, SINGLE, NASH, MAXMIN = "reference", "single reward", "Nash", "MaxMin"


@dataclass(frozen=True, slots=True, eq=False)
class AlignedPolicy:
    """One policy, and what the groups have of it as far as their fitted rewards tell.

    Attributes:
        name: What it is called.
        policy: Of every prompt, one probability a response.
        divergence: KL from the reference, in nats, averaged over prompts.
        rates: Under the groups' Bradley-Terry models, the win rates against the reference.
        utilities: The groups' expected rewards, in logits, with the offsets of MaxMin and without
            the price of KL.
    """

    name: str
    policy: Policies
    divergence: float
    rates: Float[np.ndarray, "group"]
    utilities: Float[np.ndarray, "group"]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Groups found in votes, policies for them, and how these do.

    Attributes:
        settings: What was asked for.
        split: Which votes were estimated from, and which judge.
        mixture: The groups.
        choice: How their number was chosen; `None` if it was given.
        pooled: One group: the single reward.
        evidence: Whether the groups predict held-out votes.
        maxmin: The MaxMin policy with its certificate.
        nash: The Nash policy with its gap.
        policies: The reference, the single reward's, Nash, MaxMin, and every group's own.
        held_out: Win rates by held-out votes, policies in the same order; gains are over the
            single reward.
        choices: Every choice that was made for the user, in words.
        seconds: Wall time of each stage.
    """

    settings: AlignmentSettings
    split: Split
    mixture: RaterMixture
    choice: GroupChoice | None
    pooled: RaterMixture
    evidence: Evidence
    maxmin: MaxMinPolicy
    nash: NashPolicy
    policies: tuple[AlignedPolicy, ...]
    held_out: HeldOutWins
    choices: tuple[str, ...]
    seconds: tuple[tuple[str, float], ...]

    @property
    def groups(self) -> int:
        """U, the number of groups."""
        return self.mixture.groups

    @property
    def busiest(self) -> Float[np.ndarray, "group"]:
        """Return, of every group's expected training votes, the share of its busiest rater."""
        votes = np.bincount(self.split.training.annotator, minlength=len(self.mixture.annotators))
        each = votes[:, None] * self.mixture.responsibilities
        share: np.ndarray = each.max(axis=0) / np.maximum(each.sum(axis=0), 1e-300)
        return share

    @property
    def largest_gap(self) -> float:
        """Every duality gap is at most this: MaxMin's in logits, Nash's in win probability."""
        return max(float(self.maxmin.certificate.bound.high), self.nash.gap)


def align(votes: Votes, settings: AlignmentSettings, progress: Progress | None = None) -> Alignment:
    """Find groups of raters, compute policies for them, and judge these on held-out votes.

    Everything is estimated from training votes: groups, rewards, every rater's responsibilities,
    and the pooled preferences of the Nash policy. The reference is uniform, prompts weigh alike.

    Args:
        votes: Votes that name their raters.
        settings: How.
        progress: Told of every stage; `None` is silent.

    Raises:
        InvalidData: If the votes name no raters, are all ties, or none can be held out.
        InvalidProblem: If the share to hold out is not between 0 and 1.
        HypothesisViolated: If no mixture can be fitted; see `fit_mixture`.

    Warns:
        Degenerate: Of what the votes leave undetermined; see `fit_mixture`.
    """
    tell = progress or (lambda *_: None)
    laps = [time.perf_counter()]
    if votes.annotators == (ANONYMOUS,):
        raise InvalidData(
            f"{len(votes)} votes, and none names its rater: groups of raters cannot be told apart",
            "add the column annotator (in comparisons: group), or analyse them with nlhf solve",
        )
    if len(votes) and not votes.label.any():
        raise InvalidData(
            f"all {len(votes)} votes are ties: they say nothing of which response is better",
            "collect decisive votes",
        )
    stream = Stream(settings.seed).child("align")
    split = split_votes(votes, settings.held_out, stream)
    groups = find_groups(split.training, settings, stream, tell)
    mixture = groups.mixture
    laps.append(time.perf_counter())
    tell("solving", 0, 2)
    rewards = [mixture.rewards_of(x) for x in range(len(votes.prompts))]
    single = [groups.pooled.rewards_of(x) for x in range(len(votes.prompts))]
    maxmin = maxmin_policy(rewards, settings.temperature, settings.offsets)
    warn_of_weak_groups(mixture, maxmin)
    tell("solving", 1, 2)
    problems = problems_of_votes(win_counts(split.training), 0.0, settings.unseen, lambda *_: None)
    nash = nash_policy(problems, settings.nash_temperature)
    tell("solving", 2, 2)
    named = {
        REFERENCE: references([r.shape[1] for r in rewards]),
        SINGLE: optimal_policies(single, settings.temperature)[0],
        NASH: nash.policy,
        MAXMIN: maxmin.policy,
    } | {own(u): each for u, each in enumerate(optimal_policies(rewards, settings.temperature))}
    laps.append(time.perf_counter())
    tell("judging", 0, 1)
    judges = Judges(split.held_out, list(named.values()), named[REFERENCE])
    held_out = judges.wins(
        mixture.responsibilities, settings.bootstrap, stream, baseline=list(named).index(SINGLE)
    )
    evidence = evidence_of(split.held_out, groups.pooled, mixture, settings.bootstrap, stream)
    tell("judging", 1, 1)
    laps.append(time.perf_counter())
    stages = zip(("groups", "solving", "judging"), np.diff(laps).tolist(), strict=True)
    return Alignment(
        settings=settings,
        split=split,
        mixture=mixture,
        choice=groups.choice,
        pooled=groups.pooled,
        evidence=evidence,
        maxmin=maxmin,
        nash=nash,
        policies=_described(named, rewards, maxmin.game.offsets),
        held_out=held_out,
        choices=settings.in_words(split.share, sum(len(problem.unseen) for problem in problems)),
        seconds=tuple(stages),
    )


def own(group: int) -> str:
    """Return the name of a group's own policy."""
    return f"best for {group}"


def _described(
    named: Mapping[str, Policies],
    rewards: Sequence[Rewards],
    offsets: Float[np.ndarray, "group"],
) -> tuple[AlignedPolicy, ...]:
    """Say of every policy how far it is from the reference and what groups have of it."""
    wins, count = [], len(rewards)
    for r in rewards:
        preference = 0.5 + 0.5 * np.tanh((r[:, :, None] - r[:, None, :]) / 2.0)
        wins.append(preference.mean(axis=-1))
    found = []
    for name, policy in named.items():
        kl = [float(_divergence(p)) for p in policy]
        rates = sum((w @ p for w, p in zip(wins, policy, strict=True)), np.zeros(len(offsets)))
        utility = sum((r @ p for r, p in zip(rewards, policy, strict=True)), np.zeros(len(offsets)))
        found.append(
            AlignedPolicy(
                name, policy, float(np.mean(kl)), rates / count, utility / count + offsets
            )
        )
    return tuple(found)


def _divergence(policy: Float[np.ndarray, "response"]) -> float:
    """Return the divergence from the uniform distribution, in nats."""
    positive = policy[policy > 0.0]
    return float(positive @ np.log(positive * len(policy)))
