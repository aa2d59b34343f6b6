"""Tables of results for people: what was solved, how well, and what it means."""

from collections import Counter

import numpy as np
from rich.console import Console
from rich.table import Table

from nlhf.analysis.baselines import NoBaseline, RewardBaseline
from nlhf.analysis.votes import (
    Analysis,
    Condorcet,
    PromptSolution,
    VoteAnalysis,
)
from nlhf.labels import label, printable

_SHOWN = 3
"""Responses of a policy that are printed; --json has them all."""
_NARROW = 110
"""Below this width the comparison with Bradley-Terry has no room."""


class _Printer(Console):
    """A console that leaves a reader who went away to `nlhf.cli.main`, like any other output."""

    def on_broken_pipe(self) -> None:
        """Raise the error again instead of ending the process with exit code 1."""
        raise BrokenPipeError


def plain_console(width_of_files: int) -> Console:
    """Return a console that prints names as they are: no markup, no emoji codes.

    Without a terminal there is no width to fit into, and `width_of_files` cuts nothing.
    """
    console = _Printer(markup=False, emoji=False, highlight=False)
    if console.is_terminal:
        return console
    return _Printer(markup=False, emoji=False, highlight=False, width=width_of_files)


def print_analysis(analysis: Analysis | VoteAnalysis, reading: float) -> None:
    """Print the table of prompts and the summary below it."""
    console = plain_console(200)
    narrow = console.width < _NARROW
    compared = isinstance(analysis, VoteAnalysis) and not narrow
    table = Table(title=_title(analysis), title_justify="left", row_styles=["", "dim"])
    table.add_column("prompt", overflow="fold")
    table.add_column("n", justify="right")
    table.add_column("Nash policy", overflow="fold")
    table.add_column("exploit-\nability ≤", justify="right")
    table.add_column("|π-π*|₁ ≤", justify="right")
    table.add_column("Condorcet winner", overflow="fold")
    if compared:
        table.add_column("best Bradley-Terry:\nexploitability", justify="right")
        table.add_column("at scale", justify="right")
    for k, solution in enumerate(analysis.prompts):
        row = _row(solution, 12 if narrow else 28)
        if compared and isinstance(analysis, VoteAnalysis):
            row += _baseline(analysis.baselines[k])
        table.add_row(*row)
    console.print(table)
    for line in summary(analysis, reading):
        console.print(line)


def summary(analysis: Analysis | VoteAnalysis, reading: float) -> list[str]:
    """Return what the table adds up to, one sentence a line."""
    lines = [
        f"Every duality gap (twice the exploitability) is at most {analysis.largest_gap:.1e}, "
        f"rounding included ({analysis.method}; stopped: {analysis.stop}; "
        f"iterations: {analysis.iterations:,}).",
        _without_winner(analysis.prompts),
    ]
    if isinstance(analysis, VoteAnalysis):
        lines += _beside_the_null(analysis)
        lines += [
            f"No Bradley-Terry rewards for {printable(solution.prompt)}: {baseline.reason}."
            for solution, baseline in zip(analysis.prompts, analysis.baselines, strict=True)
            if isinstance(baseline, NoBaseline)
        ]
    lines += [f"Choice: {choice}." for choice in analysis.choices]
    times = ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in analysis.seconds)
    lines.append(f"Time: reading {reading:.3f} s, {times}.")
    return lines


def _without_winner(prompts: tuple[PromptSolution, ...]) -> str:
    kinds = Counter(solution.condorcet for solution in prompts)
    trivial = kinds.pop(Condorcet.TRIVIAL, 0)
    winners = kinds.pop(Condorcet.WINNER, 0)
    without = len(prompts) - winners - trivial
    reasons = ", ".join(f"{reason}: {kinds[reason]}" for reason in Condorcet if kinds[reason])
    line = f"{without} of {_many(len(prompts), 'prompt')} {'has' if without == 1 else 'have'} "
    line += "no Condorcet winner" + (f" ({reasons})." if reasons else ".")
    if trivial:
        line += f" {_many(trivial, 'prompt')} with only one response: nothing to win."
    return line


def _beside_the_null(analysis: VoteAnalysis) -> list[str]:
    null, prompts = analysis.null, len(analysis.prompts)
    cycles = sum(solution.majority.three_cycles for solution in analysis.prompts)
    together = "The prompt holds" if prompts == 1 else f"All {prompts} prompts together hold"
    return [
        f"Bradley-Terry votes in the same numbers would leave {null.expected:.1f} without one on "
        f"average (95 % between {null.quantile(0.025)} and {null.quantile(0.975)}); "
        f"P(at least {null.observed}) = {null.p_value:.3g}.",
        f"{together} {_many(cycles, 'majority 3-cycle')}; Bradley-Terry votes would hold "
        f"{null.three_cycles.sum():.1f} on average "
        f"(95 % between {null.cycles_low:.0f} and {null.cycles_high:.0f}).",
        "These are new votes on the same pairs, with rewards as uncertain as the votes leave them "
        "under a normal prior fitted to all prompts; the comparison is conservative.",
    ]


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _title(analysis: Analysis) -> str:
    return (
        f"KL-regularised Nash policies, payoff {analysis.payoff}, "
        f"temperature {analysis.temperature:g}, uniform reference"
    )


def _row(solution: PromptSolution, most: int) -> list[str]:
    order = np.argsort(-solution.policy, kind="stable")[:_SHOWN]
    policy = ", ".join(
        f"{label(solution.responses[i], most)} {solution.policy[i]:.3f}" for i in order
    )
    if len(solution.responses) > _SHOWN:
        policy += ", …"
    return [
        label(solution.prompt, most),
        str(len(solution.responses)),
        policy,
        f"{solution.gap_high / 2:.1e}",
        f"{solution.distance:.1e}",
        _winner(solution, most),
    ]


def _winner(solution: PromptSolution, most: int) -> str:
    names = [label(name, most) for name in solution.responses]
    majority = solution.majority
    match solution.condorcet:
        case Condorcet.WINNER:
            return names[majority.condorcet_winners[0]]
        case Condorcet.CYCLE:
            return "none: " + " > ".join(names[i] for i in (*majority.cycle, majority.cycle[0]))
        case Condorcet.TRIVIAL:
            return "only one response"
    return f"none ({solution.condorcet})"


def _baseline(baseline: RewardBaseline | NoBaseline) -> list[str]:
    if isinstance(baseline, NoBaseline):
        return ["no fit", ""]
    least, _ = baseline.scale_range
    end = ("≤ " if baseline.scale == least else "≥ ") if baseline.at_end else ""
    return [f"{baseline.exploitability:.1e}", f"{end}{baseline.scale:.2g}"]
