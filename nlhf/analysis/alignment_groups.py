"""The groups that policies are for: fitted, chosen in number, and tested on held-out votes."""

import warnings
from dataclasses import dataclass

import numpy as np

from nlhf.analysis.alignment_policies import MaxMinPolicy
from nlhf.analysis.alignment_settings import CANDIDATES, AlignmentSettings
from nlhf.analysis.held_out import Interval, resampled_means
from nlhf.analysis.prompts import Progress
from nlhf.data.votes import Votes
from nlhf.errors import Degenerate, HypothesisViolated
from nlhf.estimation.mixtures.choice import GroupChoice, choose_groups
from nlhf.estimation.mixtures.diagnostics import NOBODY, warn_of
from nlhf.estimation.mixtures.fitting import MixtureProgress, RaterMixture, fit_mixture
from nlhf.numerics import log_of, log_sigmoid, log_sum_exp
from nlhf.streams import Stream

SMALL = 0.01
"""A group weight from which a group counts as one that MaxMin is decided by."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Groups of raters.

    Attributes:
        mixture: The groups.
        choice: How their number was chosen; `None` if it was given.
        pooled: One group, whose rewards are the single reward.
    """

    mixture: RaterMixture
    choice: GroupChoice | None
    pooled: RaterMixture


def find_groups(
    training: Votes, settings: AlignmentSettings, stream: Stream, tell: Progress
) -> Groups:
    """Fit as many groups as asked for, or the number with the best BIC, and one group.

    Raises:
        HypothesisViolated: If a group has nobody in it, or no mixture can be fitted.

    Warns:
        Degenerate: Of what the votes leave undetermined; see `fit_mixture`.
    """
    if settings.groups is None:
        found = _choose(training, settings, stream, tell)
    else:
        # The groups first: what is amiss is said of them.
        mixture = _fit(training, settings.groups, settings, stream, tell)
        one = settings.groups == 1
        pooled = mixture if one else _fit(training, 1, settings, stream, tell)
        found = Groups(mixture, None, pooled)
    raters = found.mixture.diagnostics.group_raters
    empty = np.flatnonzero(raters < NOBODY)
    if empty.size:
        raise HypothesisViolated(
            f"{empty.size} of {raters.size} groups have nobody in them (group {empty[0]}: "
            f"{raters[empty[0]]:.2g} expected raters), so MaxMin would serve nobody",
            f"ask for {raters.size - empty.size} or fewer, or for more restarts",
        )
    return found


def _fit(
    training: Votes, groups: int, settings: AlignmentSettings, stream: Stream, tell: Progress
) -> RaterMixture:
    words = "fitting 1 group" if groups == 1 else f"fitting {groups} groups"
    furthest = 0

    def watch(at: MixtureProgress) -> None:
        nonlocal furthest
        furthest = max(furthest, at.restart)  # the best start is run to the end after the last
        tell(words, furthest, settings.restarts)

    found = fit_mixture(
        training,
        groups,
        assignment=settings.assignment,
        ridge=settings.ridge,
        restarts=settings.restarts,
        stream=stream,
        observe=watch,
    )
    tell(words, settings.restarts, settings.restarts)
    return found


def _choose(training: Votes, settings: AlignmentSettings, stream: Stream, tell: Progress) -> Groups:
    raters = np.unique(training.annotator).size
    candidates = [groups for groups in CANDIDATES if groups <= raters]
    words = f"fitting {min(candidates)} to {max(candidates)} groups"
    tell(words, 0, 1)
    choice = choose_groups(
        training,
        candidates,
        assignment=settings.assignment,
        ridge=settings.ridge,
        restarts=settings.restarts,
        stream=stream,
    )
    tell(words, 1, 1)
    mixture = choice.mixture
    warn_of(mixture.diagnostics, mixture.score, mixture.stop, stacklevel=5)
    return Groups(mixture, choice, next(one for one in choice.mixtures if one.groups == 1))


def warn_of_weak_groups(mixture: RaterMixture, maxmin: MaxMinPolicy) -> None:
    """Warn if MaxMin is decided by groups of whom the votes say little.

    These are groups whose votes leave responses of a prompt unconnected, or are fewer than there
    are responses. Their rewards are near 0, as the ridge has it: they gain little by any policy.
    """
    if mixture.groups == 1:
        return
    found, responses = mixture.diagnostics, int(mixture.offsets[-1])
    little = (found.disconnected > 0) | (found.group_votes < responses)
    weak = np.flatnonzero(little & (maxmin.weights > SMALL))
    if not weak.size:
        return
    each = "; ".join(
        f"group {u} has weight {maxmin.weights[u]:.2f} and {found.group_votes[u]:,.0f} votes on "
        f"{responses} responses, which they do not connect in {found.disconnected[u]} of "
        f"{found.prompts} prompts"
        for u in weak
    )
    warnings.warn(
        f"the MaxMin policy rests on groups of whom the votes say little: {each}. Rewards that the "
        "ridge keeps near 0 let a group gain little by any policy; ask for fewer groups",
        Degenerate,
        stacklevel=3,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Whether several groups predict held-out votes better than one does.

    Attributes:
        log_likelihood: Of a held-out vote, in nats, on average: of one group, of the mixture with
            every rater's groups as responsible as his training votes make them, and the
            difference of the two, with intervals from resampling raters. A tie is half a vote
            for each side.
    """

    log_likelihood: Interval

    @property
    def gain(self) -> tuple[float, float, float]:
        """The mixture's log-likelihood less that of one group: value, and ends of the interval."""
        found = self.log_likelihood
        return float(found.value[2]), float(found.low[2]), float(found.high[2])


def evidence_of(
    held_out: Votes,
    pooled: RaterMixture,
    mixture: RaterMixture,
    resamples: int,
    stream: Stream,
) -> Evidence:
    """Compare both mixtures' probabilities of every held-out vote."""
    raters, place = np.unique(held_out.annotator, return_inverse=True)
    columns = []
    for model in (pooled, mixture):
        starts = model.offsets[held_out.prompt]
        first, second = (
            model.rewards[:, starts + one] for one in (held_out.response_a, held_out.response_b)
        )
        shares = log_of(model.responsibilities[held_out.annotator])
        for_a, for_b = (
            log_sum_exp(shares + log_sigmoid(ahead).T) for ahead in (first - second, second - first)
        )
        score = (1.0 + held_out.label) / 2.0
        logs = score * for_a + (1.0 - score) * for_b
        columns.append(np.bincount(place, logs, len(raters)))
    votes = np.bincount(place, minlength=len(raters)).astype(np.float64)
    values = np.stack([*columns, columns[1] - columns[0]])
    return Evidence(resampled_means(values, votes, resamples, stream))
