"""`nlhf compare`: all algorithms on one instance."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from nlhf.analysis.comparison import DEFAULT_STOP, Comparison, compare
from nlhf.analysis.methods import METHODS, method
from nlhf.analysis.prompts import (
    PayoffKind,
    Problem,
    Progress,
    game_of,
    problems_of_preferences,
    problems_of_votes,
)
from nlhf.cli.progress import Stages, stages
from nlhf.cli.solve import EXIT_NOT_CERTIFIED, check_gap
from nlhf.cli.sources import Format, read
from nlhf.data.matrices import Preferences
from nlhf.data.text import quoted
from nlhf.errors import InvalidProblem
from nlhf.estimation.tabular import Completion
from nlhf.labels import label, printable
from nlhf.plotting import check_picture, plot_comparison

_ONLY_HELP = f"Compare only these algorithms: {', '.join(METHODS)}."


@dataclass(frozen=True)
class Compare:
    """Compare all algorithms on one preference game.

    Every algorithm runs from the uniform reference until --gap, with its default step size. Prints
    for each the iterations, evaluations of the payoffs and seconds that it took, its certified
    duality gap, why it stopped, and how fast the gap fell next to what is proven. Algorithms whose
    hypotheses the game does not meet are listed with the reason.

    Exit codes: 0 if an algorithm reached --gap, rounding included; 3 if none did; 2 on bad input.

    Example: nlhf example votes.csv && nlhf compare votes.csv --plot compare.png
    """

    file: tyro.conf.Positional[Path]
    """Votes, comparisons, rankings or matrices, as in nlhf solve."""
    prompt: str | None = None
    """The prompt to compare on, by its id. By default those with the most responses, together: the
    gap is then their mean."""
    temperature: float = 0.05
    """Strength of the KL pull towards the uniform reference, in payoff units."""
    payoff: PayoffKind = PayoffKind.PROBABILITY
    """What a win is worth: its probability, or its log-odds (needs --smoothing above 0)."""
    smoothing: float = 0.0
    """Votes added to each side of every compared pair."""
    unseen: Completion = Completion.HALF
    """What to put where two responses were never compared."""
    format: Format = Format.AUTO
    """What the file holds; auto goes by its ending (.csv means votes)."""
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help=_ONLY_HELP)] = ()
    gap: float = DEFAULT_STOP.gap
    """Duality gap, in payoff units, that a run is to reach."""
    max_iterations: int = DEFAULT_STOP.max_iterations
    """Steps after which a run ends all the same."""
    json: bool = False
    """Print one JSON document, with every judged iteration, instead of a table."""
    plot: Path | None = None
    """Draw the gaps against iterations and time into this .png or .svg file."""

    def run(self) -> int:
        """Read, compare, print, plot; return the exit code."""
        check_gap(self.gap)
        algorithms = {name: method(name) for name in self.only} or None
        most = self.max_iterations
        rule = replace(DEFAULT_STOP, gap=self.gap, max_iterations=most, patience=max(most, 1))
        if self.plot is not None:
            check_picture(self.plot)
        start = time.perf_counter()
        with stages() as progress:
            problems = self._problems(progress)
            chosen = _chosen(problems, self.prompt)
            preference = np.stack([problem.preference for problem in chosen])
            game = game_of(preference, self.payoff, self.temperature)
            comparison = compare(
                game,
                algorithms,
                rule,
                observe=lambda name, row: progress.iterating(name, row.iteration, row.gap, most),
            )
        code = 0 if comparison.certified else EXIT_NOT_CERTIFIED
        self._show(comparison, chosen, _choice(problems, chosen), time.perf_counter() - start, code)
        if self.plot is not None:
            plot_comparison(comparison, self.plot)
            print(f"drew {self.plot}", file=sys.stderr)
        return code

    def _problems(self, progress: Stages) -> tuple[Problem, ...]:
        tell: Progress = progress
        tell("reading", 0, 1)
        source = read(self.file, self.format)
        tell("reading", 1, 1)
        if isinstance(source, Preferences):
            return problems_of_preferences(source, self.smoothing, self.unseen)
        return problems_of_votes(source, self.smoothing, self.unseen, tell)

    def _show(
        self,
        comparison: Comparison,
        chosen: Sequence[Problem],
        choice: str,
        seconds: float,
        code: int,
    ) -> None:
        if self.json:
            from nlhf.cli.comparisons import document

            values = {field.name: getattr(self, field.name) for field in fields(self)}
            config = {k: str(v) if isinstance(v, str | Path) else v for k, v in values.items()}
            found = document(comparison, chosen, choice, config, seconds, code)
            print(json.dumps(found, allow_nan=False))
        else:
            from nlhf.cli.comparisons import print_comparison

            print_comparison(comparison, choice, seconds)


def _chosen(problems: Sequence[Problem], prompt: str | None) -> tuple[Problem, ...]:
    """Return the prompt of an id, or those with the most responses."""
    if prompt is None:
        most = max(len(problem.responses) for problem in problems)
        return tuple(problem for problem in problems if len(problem.responses) == most)
    found = tuple(problem for problem in problems if problem.prompt == prompt)
    if not found:
        names = ", ".join(quoted(problem.prompt) for problem in problems[:10])
        more = f" and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise InvalidProblem(
            f"the file has no prompt {quoted(prompt)}", f"choose from: {names}{more}"
        )
    return found


def _choice(problems: Sequence[Problem], chosen: Sequence[Problem]) -> str:
    """Say what was chosen of the file."""
    size = len(chosen[0].responses)
    if len(chosen) == 1:
        return f"prompt {label(chosen[0].prompt, 60)}, {size} responses"
    names = ", ".join(label(problem.prompt, 24) for problem in chosen[:3])
    more = ", ..." if len(chosen) > 3 else ""
    which = "all" if len(chosen) == len(problems) else "those with the most responses of"
    return printable(
        f"{len(chosen)} prompts as one batch ({which} {len(problems)}: {names}{more}), "
        f"{size} responses each; the gap is their mean"
    )
