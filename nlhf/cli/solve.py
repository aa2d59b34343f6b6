"""`nlhf solve`: from a file of preferences to certified policies."""

import json
import math
import sys
import time
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

import tyro

from nlhf.analysis import (
    Analysis,
    PayoffKind,
    Settings,
    VoteAnalysis,
    analyse_preferences,
    analyse_votes,
)
from nlhf.cli.progress import stages
from nlhf.data.counts import WinCounts, win_counts
from nlhf.data.matrices import Preferences
from nlhf.errors import InvalidData, InvalidProblem
from nlhf.estimation.tabular import Completion
from nlhf.plotting import check_picture, plot_analysis

EXIT_NOT_CERTIFIED = 3
"""Everything ran, but a duality gap is larger than --gap."""


class Format(StrEnum):
    """What a file holds."""

    AUTO = "auto"
    VOTES = "votes"
    WINS = "wins"
    PREFERENCES = "preferences"
    PREFLIB = "preflib"
    COMPARISONS = "comparisons"


_BY_SUFFIX = {
    ".csv": Format.VOTES,
    ".npy": Format.PREFERENCES,
    ".jsonl": Format.COMPARISONS,
    ".parquet": Format.COMPARISONS,
    **dict.fromkeys((".soc", ".soi", ".toc", ".toi"), Format.PREFLIB),
}


class Method(StrEnum):
    """How the games are solved."""

    EXACT = "exact"
    EXTRAGRADIENT = "extragradient"


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
    algorithm: Method = Method.EXACT
    """The exact solver, or a first-order algorithm run until --gap."""
    gap: float = 1e-8
    """Duality gap, in payoff units, that counts as certified."""
    json: bool = False
    """Print one JSON document instead of a table; it also reports the timings."""
    plot: Path | None = None
    """Draw policies, gaps and majority cycles into this .png or .svg file."""

    def run(self) -> int:
        """Read, solve, print, plot; return the exit code."""
        settings = self._settings()
        if self.plot is not None:
            check_picture(self.plot)
        with stages() as progress:
            start = time.perf_counter()
            progress("reading", 0, 1)
            source = _read(self.file, self.format)
            progress("reading", 1, 1)
            reading = time.perf_counter() - start
            if isinstance(source, Preferences):
                analysis = analyse_preferences(source, settings, progress)
            else:
                analysis = analyse_votes(source, settings, progress)
        code = 0 if analysis.largest_gap <= self.gap else EXIT_NOT_CERTIFIED
        self._show(analysis, reading, code)
        if self.plot is not None:
            plot_analysis(analysis, self.plot)
            print(f"drew {self.plot}", file=sys.stderr)
        return code

    def _settings(self) -> Settings:
        from nlhf.algorithms.extragradient import Extragradient
        from nlhf.algorithms.loop import StopRule

        if not 0 <= self.gap < math.inf:
            raise InvalidProblem(f"--gap is {self.gap:g}", "give a finite number of at least 0")
        return Settings(
            temperature=self.temperature,
            payoff=self.payoff,
            smoothing=self.smoothing,
            unseen=self.unseen,
            algorithm=Extragradient() if self.algorithm is Method.EXTRAGRADIENT else None,
            stop=StopRule(gap=self.gap, max_iterations=100_000),
        )

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


def _read(path: Path, format_: Format) -> tuple[WinCounts, ...] | Preferences:
    if format_ is Format.AUTO:
        suffix = path.suffix.lower()
        if suffix not in _BY_SUFFIX:
            raise InvalidData(
                f"{path}: the ending {suffix!r} says nothing of what the file holds",
                "give --format votes, wins, preferences, preflib or comparisons",
            )
        format_ = _BY_SUFFIX[suffix]
    if format_ is Format.VOTES:
        from nlhf.data.votes_csv import read_votes

        return win_counts(read_votes(path))
    if format_ is Format.COMPARISONS:
        from nlhf.data.comparisons import read_comparisons

        return win_counts(read_comparisons(path, container=_container(path, "parquet", "jsonl")))
    if format_ is Format.PREFLIB:
        from nlhf.data.preflib import read_preflib

        return read_preflib(path)
    from nlhf.data.matrices import read_preferences, read_win_counts

    container = _container(path, "npy", "csv")
    if format_ is Format.WINS:
        return read_win_counts(path, container=container)
    return read_preferences(path, container=container)


def _container(path: Path, binary: str, text: str) -> str:
    """Return the binary container if the ending says so; --format says that it is text if not."""
    return binary if path.suffix.lower() == f".{binary}" else text
