"""Policies learned from votes, with what is certain of them, judged by votes held out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from nlhf.analysis.held_out import HeldOutWins, Judges, Split
from nlhf.analysis.learning_candidates import candidate_class
from nlhf.analysis.learning_classes import LaidOutClass, class_of
from nlhf.analysis.learning_fits import Fit, fit_of
from nlhf.analysis.learning_settings import COMPARED, ClassKind, LearningSettings, Method
from nlhf.analysis.learning_votes import (
    Layout,
    check_votes,
    hold_out,
    judging,
    warn_of_bare_prompts,
)
from nlhf.analysis.prompts import Progress
from nlhf.data.preference_data import PreferenceData
from nlhf.data.votes import Votes
from nlhf.errors import InvalidProblem
from nlhf.estimation.classes.models import Confidence, FiniteConfidence
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.judging import certified_gap, pessimistic_value
from nlhf.learning.offline.bonus import plan_with_bonus
from nlhf.learning.offline.plug_in import plan_plug_in
from nlhf.learning.offline.restricted import (
    RestrictedSolution,
    covered_responses,
    plan_restricted,
)
from nlhf.learning.offline.solutions import PessimisticSolution
from nlhf.learning.offline.version_space import plan_version_space
from nlhf.results import Bound
from nlhf.streams import Stream

REFERENCE = "reference"

_HARDLY = 1e-6
"""Payoffs that are no improvement."""

Policies = tuple[Float[np.ndarray, "_"], ...]
"""Of every prompt, one probability a response."""


@dataclass(frozen=True, slots=True, eq=False)
class LearnedPolicy:
    """One policy, and what is certain of it.

    Attributes:
        name: The method, or that it is the reference.
        policy: What it plays on every prompt.
        divergence: KL from the reference, in nats, averaged over prompts.
        gap: Its exploitability in the true game at most, if the event holds.
        against_covered: The same against competitors that play responses with votes only; `None`
            unless it was planned against these.
        optimality: How much more another policy may be certain of, at most: what planning left
            undone.
        fit: The number of the fit whose event it is certified on.
    """

    name: str
    policy: Policies
    divergence: float
    gap: Bound
    against_covered: float | None
    optimality: float
    fit: int


@dataclass(frozen=True, slots=True, eq=False)
class OfflineStudy:
    """Policies learned from votes.

    Attributes:
        settings: What was asked for.
        prompts: The ids of the prompts.
        responses: The ids of the responses of every prompt.
        split: Which votes were learned from, and which judge.
        fits: The class, and the candidates if they are another class.
        policies: The reference, the plug-in, and what other methods planned.
        wins: Win rates against the reference by held-out votes, policies in the same order.
        duels: Win rates against the plug-in, likewise.
        choices: Every choice that was made for the user, in words.
        seconds: Wall time of each stage.
    """

    settings: LearningSettings
    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]
    split: Split
    fits: tuple[Fit, ...]
    policies: tuple[LearnedPolicy, ...]
    wins: HeldOutWins
    duels: HeldOutWins
    choices: tuple[str, ...]
    seconds: tuple[tuple[str, float], ...]

    def vacuous(self, policy: LearnedPolicy) -> bool:
        """Return whether a certificate says no more than is certain without any votes."""
        return not policy.gap.high < self.fits[policy.fit].uninformed - _HARDLY

    def refuted(self, policy: LearnedPolicy) -> bool:
        """Return whether held-out votes refute the class that a certificate takes to be true."""
        return self.fits[policy.fit].misfit.excluded


def learn_offline(
    votes: Votes,
    settings: LearningSettings,
    methods: Sequence[Method] = COMPARED,
    progress: Progress | None = None,
) -> OfflineStudy:
    """Learn policies from votes, say what is certain of them, and judge them by other votes.

    Some votes are held out. A class is fitted to the others, all prompts together, and every
    method plans with it; the reference is uniform, prompts weigh alike. The version space needs
    finitely many candidates: they are fitted to one half of the training votes, and those that the
    other half does not exclude make it.

    Args:
        votes: Votes; who gave them matters for what is held out, and for intervals.
        settings: How.
        methods: What plans; the plug-in always does.
        progress: Told of every stage; `None` is silent.

    Raises:
        InvalidData: If there are no votes, or none would be held out or left.
        InvalidProblem: If no method is named, or the share to hold out is not between 0 and 1.
        HypothesisViolated: If the payoff is log-odds and the class has no bound on them.

    Warns:
        Degenerate: Of what the votes leave undetermined, see `check_votes`; and of prompts
            without training votes.
    """
    tell = progress or (lambda *_: None)
    wanted = _checked(methods)
    clock = [time.perf_counter()]
    check_votes(votes)
    stream = Stream(settings.seed).child("learn")
    split = hold_out(votes, settings.held_out, stream.child("held-out"))
    warn_of_bare_prompts(split.training)
    layout = Layout([len(ids) for ids in votes.responses])
    setting = layout.setting(settings.temperature)
    fits = _fits(split, settings, wanted, layout, stream, tell)
    clock.append(time.perf_counter())
    covered = _covered(layout.data(split.training), layout)
    learned = [_reference(setting, fits[0].confidence, layout)]
    for done, method in enumerate(wanted):
        tell("planning", done, len(wanted))
        number = len(fits) - 1 if method is Method.VERSION_SPACE else 0
        plan = _planned(method, setting, fits[number].confidence, covered)
        learned.append(_described(method, plan, setting, layout, number))
    tell("planning", len(wanted), len(wanted))
    clock.append(time.perf_counter())
    tell("judging", 0, 2)
    policies = [one.policy for one in learned]
    wins = judged(split.held_out, policies, policies[0], settings, stream)
    tell("judging", 1, 2)
    duels = judged(split.held_out, policies, policies[1], settings, stream)
    tell("judging", 2, 2)
    clock.append(time.perf_counter())
    stages = zip(("fitting", "planning", "judging"), np.diff(clock).tolist(), strict=True)
    return OfflineStudy(
        settings=settings,
        prompts=votes.prompts,
        responses=votes.responses,
        split=split,
        fits=tuple(fits),
        policies=tuple(learned),
        wins=wins,
        duels=duels,
        choices=_choices(settings, split, fits),
        seconds=tuple(stages),
    )


def judged(
    held_out: Votes,
    policies: Sequence[Policies],
    opponent: Policies,
    settings: LearningSettings,
    stream: Stream,
) -> HeldOutWins:
    """Return win rates against an opponent by held-out votes; one group, gains over the second."""
    votes = judging(held_out)
    judges = Judges(votes, policies, opponent)
    everybody = np.ones((len(votes.annotators), 1))
    return judges.wins(everybody, settings.bootstrap, stream.child("judging"), baseline=1)


def _checked(methods: Sequence[Method]) -> tuple[Method, ...]:
    """Return the methods in their order, the plug-in with them."""
    if not methods:
        raise InvalidProblem("no method is named", f"name some of {', '.join(COMPARED)}")
    return tuple(m for m in COMPARED if m in methods or m is Method.PLUG_IN)


def _fits(
    split: Split,
    settings: LearningSettings,
    methods: Sequence[Method],
    layout: Layout,
    stream: Stream,
    tell: Progress,
) -> list[Fit]:
    """Return the fit of the class, and that of the candidates if they are another class."""
    finite = settings.preference_class is ClassKind.FINITE
    both = not finite and Method.VERSION_SPACE in methods
    fits: list[Fit] = []
    tell("fitting", 0, 1 + both)
    if not finite:
        own = LaidOutClass(class_of(settings, layout), layout, settings.link)
        name = str(settings.preference_class)
        fits.append(fit_of(name, own, split.training, split, settings, layout))
        tell("fitting", 1, 1 + both)
    if finite or both:
        halves = hold_out(split.training, 0.5, stream.child("halves"))
        candidates = candidate_class(
            halves.training, layout, settings.link, settings.candidates, stream
        )
        name = f"{settings.candidates} candidates"
        fits.append(fit_of(name, candidates, halves.held_out, split, settings, layout))
        tell("fitting", 1 + both, 1 + both)
    return fits


def _covered(data: PreferenceData, layout: Layout) -> Bool[np.ndarray, "context response"]:
    """Return which columns have votes; all of a prompt without any."""
    own = covered_responses(data.compared())
    found = np.take_along_axis(own, layout.columns, axis=1)
    return found | ~found.any(axis=1, keepdims=True)


def _reference(setting: BanditSetting, confidence: Confidence, layout: Layout) -> LearnedPolicy:
    value = pessimistic_value(setting, confidence, setting.reference)
    own = layout.own(setting.reference)
    return LearnedPolicy(REFERENCE, own, 0.0, certified_gap(value), None, 0.0, 0)


def _planned(
    method: Method,
    setting: BanditSetting,
    confidence: Confidence,
    covered: Bool[np.ndarray, "context response"],
) -> PessimisticSolution:
    match method:
        case Method.PLUG_IN:
            return plan_plug_in(setting, confidence)
        case Method.BONUS:
            return plan_with_bonus(setting, confidence)
        case Method.RESTRICTED:
            return plan_restricted(setting, confidence, covered)
        case Method.VERSION_SPACE:
            assert isinstance(confidence, FiniteConfidence)
            return plan_version_space(setting, confidence)


def _described(
    method: Method, plan: PessimisticSolution, setting: BanditSetting, layout: Layout, fit: int
) -> LearnedPolicy:
    covered = None
    if isinstance(plan, RestrictedSolution):
        covered = min(plan.gap.high, -plan.against_covered.low)
    return LearnedPolicy(
        name=str(method),
        policy=layout.own(plan.policy),
        divergence=setting.divergence(plan.policy),
        gap=plan.gap,
        against_covered=covered,
        optimality=plan.optimality.high,
        fit=fit,
    )


def _choices(settings: LearningSettings, split: Split, fits: Sequence[Fit]) -> tuple[str, ...]:
    """Return every choice that was made for the user."""
    intervals = (
        f"{settings.bootstrap} resamples of the raters with their held-out votes (of the votes, "
        "where none names its rater); policies are not learned anew"
    )
    halves = (
        f"the {settings.candidates} candidates are fitted to half of the training votes (rewards "
        "of three ridges, mixtures with shares of votes, low ranks, and the same on resamples), "
        "the other half says which are excluded"
    )
    finite = any(isinstance(fit.confidence, FiniteConfidence) for fit in fits)
    return (
        "the reference is uniform and prompts weigh alike",
        "ties count half; every vote is taken for an independent answer of one population",
        f"{split.share:.1%} of the votes are held out, whole answers of a rater to a pair",
        *([halves] if finite else []),
        f"intervals: {intervals if settings.bootstrap else 'none'}",
    )
