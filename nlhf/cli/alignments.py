"""Tables and JSON documents of alignments."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from rich.measure import Measurement
from rich.table import Table

from nlhf.analysis.alignment import MAXMIN, SINGLE, AlignedPolicy, Alignment
from nlhf.analysis.held_out import Interval
from nlhf.cli.tables import plain_console
from nlhf.results import Provenance

_WIDTH = 200
_DUST = 1e-9
"""Differences of log-likelihoods below this, in nats a vote, are rounding."""

Cells = Callable[[int], list[str]]
"""From a policy's index to what its row says of every group, the worst group and the mean."""


def print_alignment(alignment: Alignment, reading: float) -> None:
    """Print who the groups are, what each has of every policy, and what that adds up to."""
    console = plain_console(_WIDTH)
    unlimited = console.options.update(width=10_000)
    if alignment.choice is not None:
        console.print(_choice(alignment))
    for line in _groups(alignment):
        console.print(line)
    for table in (_held_out_tables(alignment), _model_tables(alignment)):
        for candidate in table:
            if Measurement.get(console, unlimited, candidate).maximum <= console.width:
                break
        console.print(candidate)
    for line in _summary(alignment, reading):
        console.print(line)


def _groups(alignment: Alignment) -> list[str]:
    """Say which groups there are, and whether held-out votes bear them out."""
    mixture, found = alignment.mixture, alignment.mixture.diagnostics
    votes, busiest = alignment.held_out.votes, alignment.busiest
    lines = [
        f"Group {u}: {share:.1%} of {found.raters:,} raters; {found.group_votes[u]:,.0f} training "
        f"votes, {busiest[u]:.0%} of them by one rater; {votes[u]:,.0f} held-out votes."
        for u, share in enumerate(mixture.proportions)
    ]
    if mixture.groups > 1:
        value, low, high = alignment.evidence.gain
        one = float(alignment.evidence.log_likelihood.value[0])
        verdict = (
            "no interval, so no verdict"
            if not isfinite(low)
            else "the groups predict held-out votes better"
            if low > _DUST
            else "the groups predict held-out votes worse"
            if high < -_DUST
            else "held-out votes do not tell them from one group"
        )
        sure = f" (95 % {_ends(low, high, 4)})" if isfinite(low) else ""
        lines.append(
            f"Log-likelihood of a held-out vote: {one:.4f} by one group, {one + value:.4f} by "
            f"{mixture.groups}; difference {value:+.4f}{sure}: {verdict}."
        )
    return lines


def _held_out_tables(alignment: Alignment) -> list[Table]:
    """Return the table of held-out win rates, wider ones first."""
    found = alignment.held_out
    columns = [found.rates, found.worst, found.mean]

    def cells(policy: int, *, ends: bool) -> list[str]:
        each: list[str] = []
        for part in columns:
            at = [np.atleast_1d(x[policy]) for x in (part.value, part.low, part.high)]
            for value, low, high in zip(*at, strict=True):
                text = f"{value:.3f}" if isfinite(value) else "no votes"
                if ends and isfinite(low) and low < high:
                    text += f"\n{_ends(low, high, 2)}"
                each.append(text)
        return each

    title = "Win rate against the reference, held-out votes"
    return [
        _table(alignment, title, lambda k: cells(k, ends=True)),
        _table(alignment, title, lambda k: cells(k, ends=False)),
        _table(alignment, title, lambda k: cells(k, ends=False)[-2:], each=False),
    ]


def _model_tables(alignment: Alignment) -> list[Table]:
    """Return the table of what the fitted rewards say, wider ones first."""
    policies = alignment.policies

    def cells(policy: int) -> list[str]:
        rates, utilities = policies[policy].rates, policies[policy].utilities
        both = [*zip(rates, utilities, strict=True)]
        both += [(rates.min(), utilities.min()), (rates.mean(), utilities.mean())]
        return [f"{rate:.3f}\n{round(utility, 2) + 0.0:+.2f}" for rate, utility in both]

    title = "The same by the fitted rewards; utility below"

    def kl(policy: int) -> list[str]:
        return [f"{policies[policy].divergence:.2f}"]

    return [
        _table(alignment, title, lambda k: cells(k) + kl(k), ["KL"]),
        _table(alignment, title, lambda k: cells(k)[-2:] + kl(k), ["KL"], each=False),
    ]


def _table(
    alignment: Alignment,
    title: str,
    cells: Cells,
    further: Sequence[str] = (),
    *,
    each: bool = True,
) -> Table:
    table = Table(title=title, title_justify="left", row_styles=["", "dim"])
    table.add_column("policy", overflow="fold")
    groups = [f"group\n{u}" for u in range(alignment.groups)] if each else []
    if not each:
        table.caption = "every group: with --json, or where there is more room"
        table.caption_justify = "left"
    for heading in (*groups, "worst", "mean", *further):
        table.add_column(heading, justify="right")
    for k, policy in enumerate(alignment.policies):
        table.add_row(policy.name, *cells(k))
    return table


def _summary(alignment: Alignment, reading: float) -> list[str]:
    found, game = alignment.held_out, alignment.maxmin
    names = [policy.name for policy in alignment.policies]
    worst, mean = (
        _gain(found.gains, names.index(MAXMIN), column)
        for column in (alignment.groups, alignment.groups + 1)
    )
    weights = ", ".join(f"{w:.3f}" for w in game.weights)
    coverage = found.coverage[1:]
    several = [
        f"{MAXMIN} over {SINGLE}, held-out votes: worst group {worst}, mean {mean}.",
        *_own(alignment, names),
    ]
    intervals = "by held-out votes 95 % intervals, " if found.resamples else ""
    lines = [
        f"Below win rates: {intervals}by the fitted rewards the "
        f"utility, in logits (offsets: {alignment.settings.offsets}). KL is from the reference.",
        *(several if alignment.groups > 1 else [f"One group: {MAXMIN} is {SINGLE}."]),
        f"MaxMin's group weights are {weights}; duality gaps at most "
        f"{game.certificate.bound.high:.1e} logits (MaxMin) and {alignment.nash.gap:.1e} win "
        "probability (Nash), rounding included.",
        f"Held-out votes cover {coverage.min():.0%} to {coverage.max():.0%} of the pairs of "
        "responses that a policy and the reference draw.",
    ]
    lines += [f"Choice: {choice}." for choice in alignment.choices]
    times = ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in alignment.seconds)
    lines.append(f"Time: reading {reading:.3f} s, {times}.")
    return lines


def _own(alignment: Alignment, names: Sequence[str]) -> list[str]:
    """Say what groups gain by policies of their own."""
    first = len(names) - alignment.groups
    gains = [_gain(alignment.held_out.gains, first + u, u) for u in range(alignment.groups)]
    each = "; ".join(f"group {u} {gain}" for u, gain in enumerate(gains))
    return [f"Own policy over {SINGLE}, held-out votes: {each}."]


def _gain(gains: Interval, policy: int, column: int) -> str:
    at = (policy, column)
    if not isfinite(gains.value[at]):
        return "unknown"
    text = f"{gains.value[at]:+.3f}"
    if isfinite(gains.low[at]):
        text += f" ({_ends(float(gains.low[at]), float(gains.high[at]), 3)})"
    return text


def _ends(low: float, high: float, digits: int) -> str:
    signed = "+" if low < 0.0 else ""
    return (
        f"{low:{signed}.{digits}f} to {high:{signed}.{digits}f}"
        if signed
        else (f"{low:.{digits}f}–{high:.{digits}f}")
    )


def document(
    alignment: Alignment, config: Mapping[str, Any], reading: float, exit_code: int
) -> dict[str, Any]:
    """Return the whole alignment as plain JSON types; times are in seconds.

    Numbers that are not known, such as a win rate that no vote tells, become null.
    """
    mixture, found, maxmin = alignment.mixture, alignment.held_out, alignment.maxmin
    return {
        "certified": exit_code == 0,
        "exit_code": exit_code,
        "config": dict(config),
        "versions": dict(Provenance(method="").versions),
        "timings": {"reading": reading, **dict(alignment.seconds)},
        "choices": list(alignment.choices),
        "votes": {
            "training": len(alignment.split.training),
            "held_out": len(alignment.split.held_out),
        },
        "prompts": [
            {"prompt": prompt, "responses": list(responses)}
            for prompt, responses in zip(mixture.prompts, mixture.responses, strict=True)
        ],
        "groups": [_group(alignment, u) for u in range(alignment.groups)],
        "groups_chosen": _chosen(alignment),
        "annotators": list(mixture.annotators),
        "responsibilities": mixture.responsibilities.tolist(),
        "fit": {
            "assignment": str(mixture.assignment),
            "log_likelihood": mixture.log_likelihood,
            "objective": mixture.objective,
            "score": mixture.score,
            "stop": str(mixture.stop),
            "findings": list(mixture.diagnostics.findings),
        },
        "held_out_log_likelihood": {
            "one_group": _entry(alignment.evidence.log_likelihood, 0),
            "groups": _entry(alignment.evidence.log_likelihood, 1),
            "difference": _entry(alignment.evidence.log_likelihood, 2),
        },
        "maxmin": {
            "offsets": str(alignment.settings.offsets),
            "offset_of_every_group": maxmin.game.offsets.tolist(),
            "group_weights": maxmin.weights.tolist(),
            "duality_gap": _number(float(maxmin.certificate.bound.value)),
            "duality_gap_high": _number(float(maxmin.certificate.bound.high)),
            "method": maxmin.method,
        },
        "nash": {
            "temperature": alignment.nash.temperature,
            "every_duality_gap_at_most": _number(alignment.nash.gap),
        },
        "single_reward": _rewards(alignment.pooled.rewards[0], mixture.offsets),
        "resamples": found.resamples,
        "gains_over": alignment.policies[found.baseline].name,
        "policies": [_policy(alignment, k) for k in range(len(alignment.policies))],
    }


def _group(alignment: Alignment, u: int) -> dict[str, Any]:
    mixture, found = alignment.mixture, alignment.mixture.diagnostics
    return {
        "proportion": float(mixture.proportions[u]),
        "raters": float(found.group_raters[u]),
        "training_votes": float(found.group_votes[u]),
        "share_of_the_busiest_rater": float(alignment.busiest[u]),
        "held_out_votes": float(alignment.held_out.votes[u]),
        "rewards": _rewards(mixture.rewards[u], mixture.offsets),
    }


def _rewards(flat: np.ndarray, offsets: np.ndarray) -> list[list[float]]:
    return [part.tolist() for part in np.split(flat, offsets[1:-1])]


def _policy(alignment: Alignment, k: int) -> dict[str, Any]:
    policy: AlignedPolicy = alignment.policies[k]
    found = alignment.held_out
    groups = range(alignment.groups)
    named = [*(f"group {u}" for u in groups), "worst", "mean"]
    return {
        "name": policy.name,
        "policy": [p.tolist() for p in policy.policy],
        "kl_from_reference": policy.divergence,
        "model": {
            "win_rate": policy.rates.tolist(),
            "utility": policy.utilities.tolist(),
            "worst_win_rate": float(policy.rates.min()),
            "mean_win_rate": float(policy.rates.mean()),
            "worst_utility": float(policy.utilities.min()),
            "mean_utility": float(policy.utilities.mean()),
        },
        "held_out": {
            "win_rate": [_entry(found.rates, (k, u)) for u in groups],
            "worst": _entry(found.worst, k),
            "mean": _entry(found.mean, k),
            "gain": {name: _entry(found.gains, (k, i)) for i, name in enumerate(named)},
            "coverage": float(found.coverage[k]),
        },
    }


def _entry(found: Interval, at: int | tuple[int, int]) -> dict[str, float | None]:
    return {
        "value": _number(float(found.value[at])),
        "low": _number(float(found.low[at])),
        "high": _number(float(found.high[at])),
    }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def _choice(alignment: Alignment) -> Table:
    """Return the table of the numbers of groups that were tried."""
    assert alignment.choice is not None
    table = Table(title="Numbers of groups, training votes", title_justify="left")
    for heading in ("groups", "parameters", "log-likelihood", "-BIC/2", "behind the best"):
        table.add_column(heading, justify="right")
    for one in alignment.choice.candidates:
        behind = f"{one.behind:.1f} ± {one.error:.1f}" if one.behind > 0.0 else "best"
        table.add_row(
            str(one.groups),
            f"{one.parameters:,}",
            f"{one.log_likelihood:,.1f}",
            f"{one.score:,.1f}",
            behind,
        )
    return table


def _chosen(alignment: Alignment) -> dict[str, Any] | None:
    choice = alignment.choice
    if choice is None:
        return None
    return {
        "groups": choice.groups,
        "criterion": str(choice.criterion),
        "candidates": [
            {
                "groups": one.groups,
                "parameters": one.parameters,
                "log_likelihood": one.log_likelihood,
                "score": one.score,
                "behind": one.behind,
                "standard_error": one.error,
            }
            for one in choice.candidates
        ],
    }
