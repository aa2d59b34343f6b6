"""`nlhf learn`: policies from votes that are there, or from answers that are asked for."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from nlhf.analysis.learning import learn_offline
from nlhf.analysis.learning_online import Asking, ExplorerKind, learn_from_voters
from nlhf.analysis.learning_settings import COMPARED, ClassKind, LearningSettings, Method
from nlhf.analysis.prompts import PayoffKind
from nlhf.cli.progress import Stages, stages
from nlhf.data.comparisons import read_comparisons
from nlhf.data.votes import Votes
from nlhf.data.votes_csv import read_votes
from nlhf.errors import InvalidData
from nlhf.plotting import check_picture, plot_offline, plot_online

_NO_VOTES = (".npy", ".soc", ".soi", ".toc", ".toi")


@dataclass(frozen=True)
class Offline:
    """Learn policies from votes that are there.

    Fits a class of preference models to the training votes of all prompts together, plans with
    several methods, and prints of every policy how much it can be exploited at most if the class
    contains the truth (the certified gap), what that is worth, and its win rates by held-out votes
    against the uniform reference and against the plug-in policy, with 95 % intervals. Held-out
    votes also say whether the class is refuted.

    Exit codes: 0 when done; 2 on bad input or a failed solver.

    Example: nlhf example votes.csv && nlhf learn offline votes.csv --class low-rank
    """

    file: tyro.conf.Positional[Path]
    """Votes: .csv or .parquet with prompt_id,response_a,response_b,label and optionally annotator;
    or .jsonl with prompt, chosen, rejected and optionally group."""
    preference_class: Annotated[ClassKind, tyro.conf.arg(name="class")] = ClassKind.BRADLEY_TERRY
    """What preferences are taken to be; finite: one of --candidates models that are fitted to half
    of the training votes, of which the other half excludes some."""
    method: tuple[Method, ...] = COMPARED
    """What plans, several at once; the plug-in always does. The version space is always that of
    the finite class."""
    payoff: PayoffKind = PayoffKind.PROBABILITY
    """What a win is worth; log-odds not with the class tabular."""
    temperature: float = 0.05
    """Strength of the KL pull towards the uniform reference, in payoff units."""
    delta: float = 0.05
    """Probability with which certificates may fail."""
    bound: float = 4.0
    """The largest log-odds of Bradley-Terry and low-rank models."""
    rank: int = 2
    """Rank of low-rank models, an even number."""
    candidates: int = 200
    """How many models the finite class has."""
    held_out: float = 0.2
    """Share of the votes that judge and are not learned from."""
    bootstrap: int = 1000
    """Resamples of the raters (of the votes, if none names its rater), for the intervals: 0 for
    none, or at least 40."""
    seed: int = 0
    """Of all randomness."""
    json: bool = False
    """Print one JSON document instead of a table: also the policies."""
    plot: Path | None = None
    """Draw certified gaps and win rates into this .png or .svg file."""

    def run(self) -> int:
        """Read, learn, judge, print, plot; return the exit code."""
        settings = LearningSettings(
            preference_class=self.preference_class,
            payoff=self.payoff,
            temperature=self.temperature,
            delta=self.delta,
            bound=self.bound,
            rank=self.rank,
            candidates=self.candidates,
            held_out=self.held_out,
            bootstrap=self.bootstrap,
            seed=self.seed,
        )
        if self.plot is not None:
            check_picture(self.plot)
        with stages() as progress:
            votes, reading = _timed(self.file, progress)
            study = learn_offline(votes, settings, self.method, progress)
        if self.json:
            from nlhf.cli.learned import offline_document

            print(json.dumps(offline_document(study, _config(self), reading), allow_nan=False))
        else:
            from nlhf.cli.learned import print_offline

            print_offline(study, reading)
        if self.plot is not None:
            plot_offline(study, self.plot)
            print(f"drew {self.plot}", file=sys.stderr)
        return 0


@dataclass(frozen=True)
class Online:
    """Learn a policy in rounds, from the people who voted.

    In every round the main agent plays the equilibrium of the estimate so far, an explorer chooses
    what its responses are compared with, and questions are asked. The votes that are not held out
    answer them, drawn with replacement. Prints for every round how much the main agent can be
    exploited at most (the certified gap), how much it is exploited indeed if the shares of these
    votes are the truth, and its win rate against the uniform reference by held-out votes.

    Exit codes: 0 when done; 2 on bad input or a failed solver. Interrupted, it goes on from
    --checkpoint as if nothing had happened.

    Example: nlhf example votes.csv && nlhf learn online --oracle votes.csv --rounds 4
    """

    oracle: Path
    """Votes that answer, and judge: the same files as for nlhf learn offline."""
    rounds: int = 8
    """How many rounds."""
    queries: int = 200
    """How many questions in a round."""
    preference_class: Annotated[ClassKind, tyro.conf.arg(name="class")] = ClassKind.FINITE
    """What preferences are taken to be; finite: one of --candidates models, of which the shares of
    the votes are one and the others are fitted to few votes up to all."""
    explorer: ExplorerKind = ExplorerKind.ENHANCER
    """Whose responses are compared with the main agent's (uniform: uniform with uniform ones)."""
    temperature: float = 0.05
    """Strength of the KL pull towards the uniform reference, in win probability."""
    delta: float = 0.05
    """Probability with which certificates may fail, of all rounds together."""
    bound: float = 4.0
    """The largest log-odds of Bradley-Terry and low-rank models."""
    rank: int = 2
    """Rank of low-rank models, an even number."""
    candidates: int = 200
    """How many models the finite class has."""
    held_out: float = 0.2
    """Share of the votes that judge and do not answer."""
    bootstrap: int = 1000
    """Resamples of the raters (of the votes, if none names its rater), for the intervals: 0 for
    none, or at least 40."""
    seed: int = 0
    """Of all randomness."""
    checkpoint: Path | None = None
    """Save the run in this file after every round, and resume it from there."""
    json: bool = False
    """Print one JSON document instead of a table: also the policies."""
    plot: Path | None = None
    """Draw the rounds into this .png or .svg file."""

    def run(self) -> int:
        """Read, learn, judge, print, plot; return the exit code."""
        settings = LearningSettings(
            preference_class=self.preference_class,
            temperature=self.temperature,
            delta=self.delta,
            bound=self.bound,
            rank=self.rank,
            candidates=self.candidates,
            held_out=self.held_out,
            bootstrap=self.bootstrap,
            seed=self.seed,
        )
        asking = Asking(self.rounds, self.queries, self.explorer)
        if self.plot is not None:
            check_picture(self.plot)
        with stages() as progress:
            votes, reading = _timed(self.oracle, progress)
            study = learn_from_voters(votes, settings, asking, self.checkpoint, progress)
        if self.json:
            from nlhf.cli.learned import online_document

            print(json.dumps(online_document(study, _config(self), reading), allow_nan=False))
        else:
            from nlhf.cli.learned import print_online

            print_online(study, reading)
        if self.plot is not None:
            plot_online(study, self.plot)
            print(f"drew {self.plot}", file=sys.stderr)
        return 0


@dataclass(frozen=True)
class Learn:
    """Learn policies from votes, with what is certain of them."""

    how: tyro.conf.OmitSubcommandPrefixes[
        tyro.conf.OmitArgPrefixes[
            Annotated[Offline, tyro.conf.subcommand("offline")]
            | Annotated[Online, tyro.conf.subcommand("online")]
        ]
    ]

    def run(self) -> int:
        """Run the one that was chosen."""
        return self.how.run()


def _timed(path: Path, progress: Stages) -> tuple[Votes, float]:
    """Return the votes in a file, and how long reading took."""
    start = time.perf_counter()
    progress("reading", 0, 1)
    votes = _read(path)
    progress("reading", 1, 1)
    return votes, time.perf_counter() - start


def _config(command: Any) -> Mapping[str, Any]:
    """Return the options as JSON types: paths and choices are strings."""
    values = {field.name: getattr(command, field.name) for field in fields(command)}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [str(one) for one in value]
    return str(value) if isinstance(value, str | Path) else value


def _read(path: Path) -> Votes:
    suffix = path.suffix.lower()
    if suffix in _NO_VOTES:
        raise InvalidData(
            f"{path}: the ending {suffix!r} says that it holds no votes one by one",
            "give votes (.csv, .parquet) or comparisons (.jsonl), or use nlhf solve",
        )
    return read_comparisons(path) if suffix == ".jsonl" else read_votes(path)
