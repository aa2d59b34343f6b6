"""`nlhf solve`: from a file of preferences to certified policies."""

import json
import sys
import time
from dataclasses import asdict, dataclass
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
from nlhf.errors import InvalidData
from nlhf.estimation.tabular import Completion

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
    the best that a Bradley-Terry reward does instead. Exit code 0 if every gap is at most --gap,
    3 if not, 2 on bad input.
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
    """What the file holds; auto goes by its ending (.csv means votes)."""
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
        from nlhf.algorithms.extragradient import Extragradient
        from nlhf.algorithms.loop import StopRule

        settings = Settings(
            temperature=self.temperature,
            payoff=self.payoff,
            smoothing=self.smoothing,
            unseen=self.unseen,
            algorithm=Extragradient() if self.algorithm is Method.EXTRAGRADIENT else None,
            stop=StopRule(gap=self.gap, max_iterations=100_000),
        )
        start = time.perf_counter()
        source = _read(self.file, self.format)
        reading = time.perf_counter() - start
        with stages() as progress:
            if isinstance(source, Preferences):
                analysis = analyse_preferences(source, settings)
            else:
                analysis = analyse_votes(source, settings, progress)
        self._show(analysis, reading)
        if self.plot is not None:
            from nlhf.plotting import plot_analysis

            plot_analysis(analysis, self.plot)
            print(f"drew {self.plot}", file=sys.stderr)
        return 0 if analysis.largest_gap <= self.gap else EXIT_NOT_CERTIFIED

    def _show(self, analysis: Analysis | VoteAnalysis, reading: float) -> None:
        if self.json:
            from nlhf.cli.documents import document

            config = {key: str(value) for key, value in asdict(self).items()}
            print(json.dumps(document(analysis, config, reading), ensure_ascii=False))
        else:
            from nlhf.cli.tables import print_analysis

            print_analysis(analysis, reading)


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

        return win_counts(read_comparisons(path))
    if format_ is Format.PREFLIB:
        from nlhf.data.preflib import read_preflib

        return read_preflib(path)
    from nlhf.data.matrices import read_preferences, read_win_counts

    return read_win_counts(path) if format_ is Format.WINS else read_preferences(path)
