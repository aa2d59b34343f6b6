"""`nlhf align`: from votes of people who differ to policies that serve all groups of them."""

import json
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import tyro

from nlhf.analysis.alignment import Alignment, align
from nlhf.analysis.alignment_settings import AlignmentSettings
from nlhf.cli.progress import stages
from nlhf.cli.solve import EXIT_NOT_CERTIFIED, check_gap
from nlhf.data.comparisons import read_comparisons
from nlhf.data.votes import Votes
from nlhf.data.votes_csv import read_votes
from nlhf.errors import InvalidData
from nlhf.estimation.mixtures.fitting import RIDGE
from nlhf.estimation.mixtures.steps import Assignment
from nlhf.estimation.tabular import Completion
from nlhf.games.group_rewards import Offsets
from nlhf.plotting import check_picture, plot_alignment

_NO_RATERS = (".npy", ".soc", ".soi", ".toc", ".toi")


@dataclass(frozen=True)
class Align:
    """Find groups of raters and compare policies for them.

    Groups with rewards of their own are found by expectation-maximisation over raters. Prints what
    every group has of the single reward's policy, of the Nash policy, of the MaxMin policy and of
    every group's own: its win rate against the uniform reference by held-out votes, with 95 %
    intervals, and under its fitted rewards, with its utility; and whether the groups predict
    held-out votes at all.

    Exit codes: 0 if every duality gap, rounding included, is at most --gap; 3 if not; 2 on bad
    input or a failed solver.

    Example: nlhf example votes.csv && nlhf align votes.csv --groups 2 --plot align.png
    """

    file: tyro.conf.Positional[Path]
    """Votes with raters: .csv or .parquet with prompt_id,response_a,response_b,annotator,label; or
    .jsonl with prompt, chosen, rejected, group."""
    groups: Literal["auto"] | int = "auto"
    """How many groups; auto takes the number up to 5 with the least BIC on the training votes."""
    assignment: Assignment = Assignment.SOFT
    """Whether a rater belongs to groups by probabilities (soft) or to one (hard)."""
    temperature: float = 0.2
    """Strength of the KL pull towards the uniform reference, in logits of reward, above 0; for the
    Nash policy a quarter of it, in win probability."""
    offsets: Offsets = Offsets.REFERENCE
    """What makes utilities of groups comparable for MaxMin: what they gain on the reference
    (reference), or what they lose to their own best policy (regret). With as given, fitted rewards
    have mean zero in every prompt: under the uniform reference the same as reference."""
    ridge: float = RIDGE
    """Penalty of the rewards, in votes per logit²."""
    restarts: int = 5
    """Random starts of expectation-maximisation."""
    held_out: float = 0.2
    """Share of the votes that judge and are not estimated from."""
    bootstrap: int = 1000
    """Resamples of the raters, with their held-out votes, for the intervals: 0 for none, or at
    least 40."""
    unseen: Completion = Completion.HALF
    """What the Nash policy puts where two responses were never compared."""
    seed: int = 0
    """Of all randomness."""
    gap: float = 1e-8
    """Duality gap that counts as certified: of MaxMin in logits, of Nash in win probability."""
    json: bool = False
    """Print one JSON document instead of tables: also rewards, policies and raters' groups."""
    plot: Path | None = None
    """Draw the win rates into this .png or .svg file."""

    def run(self) -> int:
        """Read, estimate, judge, print, plot; return the exit code."""
        check_gap(self.gap)
        settings = self._settings()
        if self.plot is not None:
            check_picture(self.plot)
        with stages() as progress:
            start = time.perf_counter()
            progress("reading", 0, 1)
            votes = _read(self.file)
            progress("reading", 1, 1)
            reading = time.perf_counter() - start
            alignment = align(votes, settings, progress)
        code = 0 if alignment.largest_gap <= self.gap else EXIT_NOT_CERTIFIED
        self._show(alignment, reading, code)
        if self.plot is not None:
            plot_alignment(alignment, self.plot)
            print(f"drew {self.plot}", file=sys.stderr)
        return code

    def _settings(self) -> AlignmentSettings:
        return AlignmentSettings(
            groups=None if isinstance(self.groups, str) else self.groups,
            assignment=self.assignment,
            temperature=self.temperature,
            offsets=self.offsets,
            ridge=self.ridge,
            restarts=self.restarts,
            held_out=self.held_out,
            bootstrap=self.bootstrap,
            unseen=self.unseen,
            seed=self.seed,
        )

    def _show(self, alignment: Alignment, reading: float, code: int) -> None:
        if self.json:
            from nlhf.cli.alignments import document

            values = {field.name: getattr(self, field.name) for field in fields(self)}
            config = {k: str(v) if isinstance(v, str | Path) else v for k, v in values.items()}
            print(json.dumps(document(alignment, config, reading, code), allow_nan=False))
        else:
            from nlhf.cli.alignments import print_alignment

            print_alignment(alignment, reading)


def _read(path: Path) -> Votes:
    suffix = path.suffix.lower()
    if suffix in _NO_RATERS:
        raise InvalidData(
            f"{path}: the ending {suffix!r} says that it holds no votes of named raters",
            "give votes (.csv, .parquet) with the column annotator, or use nlhf solve",
        )
    return read_comparisons(path) if suffix == ".jsonl" else read_votes(path)
