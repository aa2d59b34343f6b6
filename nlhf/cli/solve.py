"""`nlhf solve`: from a file of preferences to certified policies."""

import json
import math
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from nlhf.algorithms.checkpoint import Checkpoint
from nlhf.algorithms.loop import StopRule
from nlhf.analysis.methods import METHODS, method
from nlhf.analysis.prompts import PayoffKind
from nlhf.analysis.votes import Analysis, Settings, VoteAnalysis, analyse_preferences, analyse_votes
from nlhf.cli.progress import Stages, stages
from nlhf.cli.sources import Format, read
from nlhf.cli.traces import TraceFile
from nlhf.data.matrices import Preferences
from nlhf.errors import InvalidProblem
from nlhf.estimation.tabular import Completion
from nlhf.labels import label
from nlhf.plotting import check_picture, plot_analysis
from nlhf.protocols import Algorithm
from nlhf.results import TraceRow

EXIT_NOT_CERTIFIED = 3
"""Everything ran, but a duality gap is larger than --gap."""

EXACT = "exact"

_ALGORITHM_HELP = (
    "The exact solver (exact), or a first-order algorithm run until --gap, with its largest "
    f"proven step size: {', '.join(METHODS)}. Several of these are published names of one method."
)


@dataclass(frozen=True)
class Solve:
    """Solve the preference game of every prompt in a file.

    Prints, for every prompt, the KL-regularised Nash policy with its certificate (the duality gap
    and a bound on the distance from the true equilibrium), whether a Condorcet winner exists, and
    the best that a Bradley-Terry reward does instead.

    Exit codes: 0 if every duality gap, rounding included, is at most --gap; 3 if not; 2 on bad
    input or a failed solver.

    Example: nlhf example votes.csv && nlhf solve votes.csv --temperature 0.05 --plot votes.png
    """

    file: tyro.conf.Positional[Path]
    """Votes (.csv: prompt_id,response_a,response_b,annotator,label with label a, b or tie),
    comparisons (.jsonl, .parquet: prompt, chosen, rejected, optional group), rankings (.soc .soi
    .toc .toi), or matrices (.npy of preferences; .csv with --format wins or preferences)."""
    temperature: float = 0.05
    """Strength of the KL pull towards the uniform reference, in payoff units; 0 gives maximal
    lotteries."""
    payoff: PayoffKind = PayoffKind.PROBABILITY
    """What a win is worth: its probability, or its log-odds (needs --smoothing above 0)."""
    smoothing: float = 0.0
    """Votes added to each side of every compared pair."""
    unseen: Completion = Completion.HALF
    """What to put where two responses were never compared."""
    format: Format = Format.AUTO
    """What the file holds; auto goes by its ending (.csv means votes). With any other ending than
    .npy or .parquet, matrices are read as CSV and comparisons as JSON lines."""
    algorithm: Annotated[str, tyro.conf.arg(metavar="NAME", help=_ALGORITHM_HELP)] = EXACT
    gap: float = 1e-8
    """Duality gap, in payoff units, that counts as certified."""
    step_size: float | None = None
    """Step size η of the algorithm, in 1/payoff units, instead of its own; for Nash-MD the
    constant textbook step, which leaves a bias."""
    unproven: bool = False
    """Allow a step size beyond what is proven to converge."""
    average: bool = False
    """Take the average of the algorithm's iterates instead of the last one: what theorems at
    temperature 0 are about."""
    max_iterations: int = 100_000
    """Steps after which an algorithm ends all the same."""
    trace: Path | None = None
    """Write the duality gap of an algorithm's run into this new .jsonl file, one line per judged
    iteration, as it goes; prompts with equally many responses are one run, and the gap is the
    largest of theirs. A run resumed from --checkpoint writes its trace anew, from the start."""
    checkpoint: Path | None = None
    """Save an algorithm's run in this file every minute, and resume it from there; only if all
    prompts have equally many responses. Resume only files that you trust."""
    json: bool = False
    """Print one JSON document instead of a table; it also reports the timings."""
    plot: Path | None = None
    """Draw policies, gaps and majority cycles into this .png or .svg file."""

    def run(self) -> int:
        """Read, solve, print, plot; return the exit code."""
        settings = self._settings()
        if self.plot is not None:
            check_picture(self.plot)
        trace = nullcontext() if self.trace is None else self._trace_file(self.trace)
        with trace as file, stages() as progress:
            start = time.perf_counter()
            progress("reading", 0, 1)
            source = read(self.file, self.format)
            progress("reading", 1, 1)
            reading = time.perf_counter() - start
            observe = _Observer(self, file, progress)
            if isinstance(source, Preferences):
                analysis = analyse_preferences(source, settings, progress, observe)
            else:
                analysis = analyse_votes(source, settings, progress, observe)
        code = 0 if analysis.largest_gap <= self.gap else EXIT_NOT_CERTIFIED
        self._show(analysis, reading, code)
        if self.plot is not None:
            plot_analysis(analysis, self.plot)
            print(f"drew {self.plot}", file=sys.stderr)
        return code

    def _trace_file(self, path: Path) -> TraceFile:
        resumed = self.checkpoint is not None and self.checkpoint.exists()
        return TraceFile(path, self._config(), resumed=resumed)

    def _settings(self) -> Settings:
        check_gap(self.gap)
        return Settings(
            temperature=self.temperature,
            payoff=self.payoff,
            smoothing=self.smoothing,
            unseen=self.unseen,
            algorithm=self._method(),
            stop=StopRule(gap=self.gap, max_iterations=self.max_iterations),
            checkpoint=None if self.checkpoint is None else Checkpoint(self.checkpoint),
        )

    def _method(self) -> Algorithm[Any] | None:
        if self.algorithm.lower() != EXACT:
            return method(
                self.algorithm, self.step_size, unproven=self.unproven, average=self.average
            )
        given = {
            "--step-size": self.step_size is not None,
            "--unproven": self.unproven,
            "--average": self.average,
            "--trace": self.trace is not None,
            "--checkpoint": self.checkpoint is not None,
        }
        for option in (option for option, is_given in given.items() if is_given):
            raise InvalidProblem(
                f"{option} belongs to an algorithm's run, and the exact solver makes none",
                f"name one with --algorithm, for instance extragradient, or drop {option}",
            )
        return None

    def _show(self, analysis: Analysis | VoteAnalysis, reading: float, code: int) -> None:
        if self.json:
            from nlhf.cli.documents import document

            print(json.dumps(document(analysis, self._config(), reading, code), allow_nan=False))
        else:
            from nlhf.cli.tables import print_analysis

            print_analysis(analysis, reading)

    def _config(self) -> dict[str, str | float | bool | None]:
        """Return the options as JSON types: paths and choices are strings."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: str(v) if isinstance(v, str | Path) else v for k, v in values.items()}


class _Observer:
    """Tells the trace and the terminal of every judged iteration."""

    def __init__(self, command: Solve, file: TraceFile | None, progress: Stages) -> None:
        self._command = command
        self._file = file
        self._progress = progress

    def __call__(self, prompts: tuple[str, ...], row: TraceRow) -> None:
        if self._file is not None:
            self._file.add(prompts, row)
        first = label(prompts[0], 20)
        several = f" and {len(prompts) - 1} more" if len(prompts) > 1 else ""
        most = self._command.max_iterations
        self._progress.iterating(first + several, row.iteration, row.gap, most)


def check_gap(gap: float) -> None:
    """Check that a duality gap can be asked for.

    Raises:
        InvalidProblem: If it is negative or not finite.
    """
    if not 0 <= gap < math.inf:
        raise InvalidProblem(f"--gap is {gap:g}", "give a finite number of at least 0")
