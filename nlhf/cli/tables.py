"""Tables of results for people: what was solved, how well, and what it means."""

import numpy as np
from rich.console import Console
from rich.table import Table

from nlhf.analysis import Analysis, PromptSolution, RewardBaseline, VoteAnalysis

_SHOWN = 3
"""Responses of a policy that are printed; --json has them all."""
_NAME = 28


def print_analysis(analysis: Analysis | VoteAnalysis, reading: float) -> None:
    """Print the table of prompts and the summary below it."""
    console = Console()
    # Without a terminal there is no width to fit into: cut nothing.
    if not console.is_terminal:
        console = Console(width=200)
    votes = isinstance(analysis, VoteAnalysis)
    table = Table(title=_title(analysis), title_justify="left", row_styles=["", "dim"])
    table.add_column("prompt", overflow="fold", max_width=_NAME)
    table.add_column("n", justify="right")
    table.add_column("Nash policy", overflow="fold")
    table.add_column("duality gap", justify="right")
    table.add_column("|π-π*|₁ ≤", justify="right")
    table.add_column("Condorcet winner", overflow="fold")
    if votes:
        table.add_column("best Bradley-Terry:\nexploitability", justify="right")
        table.add_column("at scale", justify="right")
    for k, solution in enumerate(analysis.prompts):
        row = _row(solution)
        if isinstance(analysis, VoteAnalysis):
            row += _baseline(analysis.baselines[k])
        table.add_row(*row)
    console.print(table)
    for line in summary(analysis, reading):
        console.print(line, highlight=False)


def summary(analysis: Analysis | VoteAnalysis, reading: float) -> list[str]:
    """Return what the table adds up to, one sentence a line."""
    prompts = len(analysis.prompts)
    lines = [
        f"Every duality gap is at most {analysis.largest_gap:.1e} ({analysis.method}; "
        f"stopped: {analysis.stop})."
    ]
    if isinstance(analysis, VoteAnalysis):
        null = analysis.null
        low, high = null.quantile(0.025), null.quantile(0.975)
        lines.append(
            f"{null.observed} of {prompts} prompts have no Condorcet winner. Bradley-Terry votes "
            f"in the same numbers would leave {null.expected:.1f} on average, 95% between {low} "
            f"and {high}; P(at least {null.observed}) = {null.p_value:.3g}."
        )
        cycles = sum(solution.majority.three_cycles for solution in analysis.prompts)
        lines.append(
            f"They hold {cycles} majority 3-cycles; such votes would hold "
            f"{null.three_cycles.sum():.0f} on average."
        )
    else:
        without = sum(not solution.majority.condorcet_winners for solution in analysis.prompts)
        lines.append(f"{without} of {prompts} prompts have no Condorcet winner.")
    lines += [f"Choice: {choice}." for choice in analysis.choices]
    times = ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in analysis.seconds)
    lines.append(f"Time: reading {reading:.3f} s, {times}.")
    return lines


def _title(analysis: Analysis) -> str:
    return (
        f"KL-regularised Nash policies, payoff {analysis.payoff}, "
        f"temperature {analysis.temperature:g}, uniform reference"
    )


def _row(solution: PromptSolution) -> list[str]:
    order = np.argsort(-solution.policy, kind="stable")[:_SHOWN]
    policy = ", ".join(f"{solution.responses[i]} {solution.policy[i]:.3f}" for i in order)
    if len(solution.responses) > _SHOWN:
        policy += ", …"
    return [
        solution.prompt,
        str(len(solution.responses)),
        policy,
        f"{solution.gap:.1e}",
        f"{solution.distance:.1e}",
        _winner(solution),
    ]


def _winner(solution: PromptSolution) -> str:
    names, majority = solution.responses, solution.majority
    if majority.condorcet_winners:
        return names[majority.condorcet_winners[0]]
    if not majority.cycle:
        return "none (ties)"
    return "none: " + " > ".join(names[i] for i in (*majority.cycle, majority.cycle[0]))


def _baseline(baseline: RewardBaseline) -> list[str]:
    return [f"{baseline.exploitability:.1e}", f"{baseline.scale:.2g}"]
