"""Learning in rounds from real votes: people who voted answer as they did, drawn with replacement.

The truth is then the share of votes, and what is certified of a policy can be set beside how far it
is exploited indeed.
"""

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nlhf.analysis.held_out import HeldOutWins, Split
from nlhf.analysis.learning import Policies, judged
from nlhf.analysis.learning_candidates import candidate_class
from nlhf.analysis.learning_classes import LaidOutClass, class_of, uninformed_gap, without_data
from nlhf.analysis.learning_settings import ClassKind, LearningSettings
from nlhf.analysis.learning_votes import Layout, check_votes, hold_out, warn_of_bare_prompts
from nlhf.analysis.prompts import PayoffKind, Progress
from nlhf.data.counts import win_counts
from nlhf.data.votes import Votes
from nlhf.errors import HypothesisViolated
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.models import PreferenceClass
from nlhf.learning.online.explorers import (
    Enhancer,
    Explorer,
    OnPolicy,
    Optimist,
    Reference,
    Uniform,
)
from nlhf.learning.online.learning import learn_online
from nlhf.learning.online.oracles import Unseen, VotesOracle
from nlhf.learning.online.runs import OnlineRun, Round
from nlhf.results import chosen, read_only
from nlhf.streams import Stream


class ExplorerKind(StrEnum):
    """Whose responses are compared with the main agent's."""

    ENHANCER = "enhancer"
    """Those of the policy where the estimate is least certain."""
    OPTIMIST = "optimist"
    """Those of the most favourable reply that the data leave possible."""
    ON_POLICY = "on-policy"
    """The main agent's own."""
    REFERENCE = "reference"
    """The reference's."""
    UNIFORM = "uniform"
    """Uniform responses are compared with uniform responses."""


_LEAST = 0.01
"""Of the votes, the share that the coarsest candidates are fitted to."""

_EXPLORERS: dict[ExplorerKind, Explorer] = {
    ExplorerKind.ENHANCER: Enhancer(),
    ExplorerKind.OPTIMIST: Optimist(),
    ExplorerKind.ON_POLICY: OnPolicy(),
    ExplorerKind.REFERENCE: Reference(),
    ExplorerKind.UNIFORM: Uniform(),
}


@dataclass(frozen=True, slots=True)
class Asking:
    """How much is asked, and what.

    Attributes:
        rounds: T.
        queries: m, questions in a round.
        explorer: Whose responses are compared with the main agent's.
    """

    rounds: int = 8
    queries: int = 200
    explorer: ExplorerKind = ExplorerKind.ENHANCER

    def __post_init__(self) -> None:
        kind = chosen(ExplorerKind, self.explorer, "explorer")
        object.__setattr__(self, "explorer", kind)


@dataclass(frozen=True, slots=True, eq=False)
class OnlineStudy:
    """A main agent learned in rounds from votes.

    Standings are the main agent before every round, and after all.

    Attributes:
        settings: What was asked for.
        asking: How much was asked, and what.
        prompts: The ids of the prompts.
        responses: The ids of the responses of every prompt.
        split: Which votes answer, and which judge.
        run: The rounds.
        policies: Of every standing.
        true_gaps: Of every standing, the exploitability if the shares of the answering votes are
            the truth, in win probability; pairs without votes count as 1/2.
        unseen: How many pairs of responses have no votes that could answer.
        uninformed: The certified gap of the reference without any answers.
        wins: Win rates against the reference by held-out votes, of every standing.
        choices: Every choice that was made for the user, in words.
        seconds: Wall time of each stage.
    """

    settings: LearningSettings
    asking: Asking
    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]
    split: Split
    run: OnlineRun
    policies: tuple[Policies, ...]
    true_gaps: Float[np.ndarray, " standing"]
    unseen: int
    uninformed: float
    wins: HeldOutWins
    choices: tuple[str, ...]
    seconds: tuple[tuple[str, float], ...]


def learn_from_voters(
    votes: Votes,
    settings: LearningSettings,
    asking: Asking,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> OnlineStudy:
    """Learn a policy by asking the people who voted, and judge every round by held-out votes.

    Some votes are held out; the others answer questions, drawn with replacement from those on the
    pair in question. The finite class has the shares of these votes for one of its candidates,
    beside models fitted to them: its certificates hold with probability 1 - δ. Other classes need
    not contain the truth.

    Args:
        votes: Votes.
        settings: The class, temperature, δ, what is held out; the payoff is win probability.
        asking: Rounds, queries and explorer.
        checkpoint: Saved after every round; if it is there, the run goes on from it.
        progress: Told of every round; `None` is silent.

    Raises:
        HypothesisViolated: If the payoff is log-odds (the shares of votes may be 0 or 1), or rounds
            or queries are not positive.
        InvalidData: If there are no votes, or none would be held out or left, or the checkpoint is
            damaged.
        NotAllowed: If the checkpoint is one of another run, or cannot be read or written.

    Warns:
        Degenerate: Of what the votes leave undetermined; see `check_votes`.
    """
    if settings.payoff is PayoffKind.LOG_ODDS:
        raise HypothesisViolated(
            "the payoff is log-odds, and shares of votes may be 0 or 1",
            "learn online with the payoff probability",
        )
    tell = progress or (lambda *_: None)
    clock = [time.perf_counter()]
    check_votes(votes)
    stream = Stream(settings.seed).child("learn")
    split = hold_out(votes, settings.held_out, stream.child("held-out"))
    warn_of_bare_prompts(split.training)
    layout = Layout([len(ids) for ids in votes.responses])
    setting = layout.setting(settings.temperature)
    voters = _voters(split.training, layout)
    truth, unseen = _shares(voters, layout)
    tell("asking", 0, asking.rounds)
    preference_class = _class(split.training, settings, layout, truth, stream)
    clock.append(time.perf_counter())

    def note(done: Round) -> None:
        tell("asking", done.number, asking.rounds)

    run = learn_online(
        setting,
        preference_class,
        voters,
        rounds=asking.rounds,
        queries=asking.queries,
        explorer=_EXPLORERS[asking.explorer],
        delta=settings.delta,
        stream=stream.child("online"),
        checkpoint=checkpoint,
        observe=note,
    )
    clock.append(time.perf_counter())
    tell("judging", 0, 1)
    policies = tuple(layout.own(standing.policy) for standing in run.standings)
    reference = layout.own(setting.reference)
    wins = judged(split.held_out, policies, reference, settings, stream)
    units = settings.link.units
    gaps = [setting.exploitability(truth, one.policy, units).value for one in run.standings]
    tell("judging", 1, 1)
    clock.append(time.perf_counter())
    stages = zip(("class", "asking", "judging"), np.diff(clock).tolist(), strict=True)
    return OnlineStudy(
        settings=settings,
        asking=asking,
        prompts=votes.prompts,
        responses=votes.responses,
        split=split,
        run=run,
        policies=policies,
        true_gaps=read_only(np.maximum(gaps, 0.0)),
        unseen=unseen,
        uninformed=uninformed_gap(setting, without_data(preference_class, settings.delta)),
        wins=wins,
        choices=_choices(settings, split, unseen),
        seconds=tuple(stages),
    )


def _voters(votes: Votes, layout: Layout) -> VotesOracle:
    """Return the votes as an oracle for the columns of a layout; copies are answered alike."""
    prompts, most = layout.shape
    wins, ties = np.zeros((2, prompts, most, most))
    for x, counts in enumerate(win_counts(votes)):
        size = layout.sizes[x]
        wins[x, :size, :size], ties[x, :size, :size] = counts.wins, counts.ties
    return VotesOracle(layout.spread(wins), layout.spread(ties), Unseen.REFUSE)


def _shares(
    voters: VotesOracle, layout: Layout
) -> tuple[Float[np.ndarray, "context response response"], int]:
    """Return the shares of votes less 1/2, 0 where there are none, and how many pairs have none."""
    won = voters.wins + voters.ties / 2.0
    votes = won + won.swapaxes(1, 2)
    shares = np.where(votes > 0.0, (won - votes / 2.0) / np.maximum(votes, 1.0), 0.0)
    bare = sum(
        int((np.triu(counts[:size, :size] == 0.0, 1)).sum())
        for counts, size in zip(votes, layout.sizes, strict=True)
    )
    return shares, bare


def _class(
    votes: Votes,
    settings: LearningSettings,
    layout: Layout,
    truth: Float[np.ndarray, "context response response"],
    stream: Stream,
) -> PreferenceClass:
    if settings.preference_class is not ClassKind.FINITE:
        return LaidOutClass(class_of(settings, layout), layout, settings.link)
    if settings.candidates == 1:
        return FiniteClass(truth[None], settings.link)
    others = candidate_class(votes, layout, settings.link, settings.candidates - 1, stream, _LEAST)
    return FiniteClass(np.concatenate([others.tables, truth[None]]), settings.link)


def _choices(settings: LearningSettings, split: Split, unseen: int) -> tuple[str, ...]:
    """Return every choice that was made for the user."""
    finite = settings.preference_class is ClassKind.FINITE
    members = (
        f"the shares of these votes are one of the {settings.candidates} candidates, so that the "
        "class contains the truth; the others are fitted to small resamples of them"
    )
    return (
        "the reference is uniform and prompts weigh alike",
        f"{len(split.training):,} votes answer, drawn with replacement; {split.share:.1%} are held "
        "out, whole answers of a rater to a pair",
        *([f"{unseen} pairs have no votes: asked about, they give no answer"] if unseen else []),
        *([members] if finite else []),
        f"intervals: {settings.bootstrap} resamples of the raters with their held-out votes"
        if settings.bootstrap
        else "no intervals",
    )
