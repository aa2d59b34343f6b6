"""JSON documents of results: everything the tables show, at full precision."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from nlhf.analysis.baselines import NoBaseline, RewardBaseline
from nlhf.analysis.votes import (
    Analysis,
    PromptSolution,
    VoteAnalysis,
)
from nlhf.data.counts import WinCounts
from nlhf.estimation.condorcet import CondorcetNull
from nlhf.estimation.intervals import wilson_intervals
from nlhf.results import Provenance


def document(
    analysis: Analysis | VoteAnalysis,
    config: Mapping[str, str | float | bool | None],
    reading: float,
    exit_code: int,
) -> dict[str, Any]:
    """Return the whole analysis as plain JSON types; times are in seconds.

    Numbers that are not finite, such as the gap of a run that diverged, become null.
    """
    found: dict[str, Any] = {
        "certified": exit_code == 0,
        "exit_code": exit_code,
        "config": dict(config),
        "versions": dict(Provenance(method="").versions),
        "timings": {"reading": reading, **dict(analysis.seconds)},
        "temperature": analysis.temperature,
        "payoff": str(analysis.payoff),
        "method": analysis.method,
        "stop": str(analysis.stop),
        "iterations": analysis.iterations,
        "choices": list(analysis.choices),
        "every_duality_gap_at_most": _number(analysis.largest_gap),
        "prompts": [_prompt(solution) for solution in analysis.prompts],
    }
    if isinstance(analysis, VoteAnalysis):
        for entry, baseline in zip(found["prompts"], analysis.baselines, strict=True):
            entry["bradley_terry"] = _baseline(baseline)
        cycles = sum(solution.majority.three_cycles for solution in analysis.prompts)
        found["condorcet"] = {"prompts": len(analysis.prompts), **_null(analysis.null, cycles)}
    return found


def _null(null: CondorcetNull, cycles: int) -> dict[str, Any]:
    return {
        "without_winner": null.observed,
        "null": "new Bradley-Terry votes, as many decisive ones on every pair as observed, with "
        "rewards from their posterior under a normal prior fitted to all prompts",
        "null_prior_precision": null.prior,
        "null_mean": null.expected,
        "null_distribution": null.distribution.tolist(),
        "null_p_value": null.p_value,
        "three_cycles": cycles,
        "null_three_cycles_mean": float(null.three_cycles.sum()),
        "null_three_cycles_95": [float(null.cycles_low), float(null.cycles_high)],
    }


def _prompt(solution: PromptSolution) -> dict[str, Any]:
    names = solution.responses
    majority = solution.majority
    return {
        "prompt": solution.prompt,
        "responses": list(names),
        "votes": solution.votes,
        "preference": solution.preference.tolist(),
        "pairs": _pairs(solution.counts) if solution.counts is not None else None,
        "unseen_pairs": [[names[i], names[j]] for i, j in solution.unseen],
        "reference": solution.reference.tolist(),
        "policy": solution.policy.tolist(),
        "certificate": {
            "duality_gap": _number(solution.gap),
            "duality_gap_low": _number(solution.gap_low),
            "duality_gap_high": _number(solution.gap_high),
            "distance_to_equilibrium_at_most": _number(solution.distance),
        },
        "condorcet": str(solution.condorcet),
        "condorcet_winners": [names[i] for i in majority.condorcet_winners],
        "majority_three_cycles": majority.three_cycles,
        "shortest_cycle": [names[i] for i in majority.cycle],
        "smith_set": [names[i] for i in majority.smith_set],
    }


def _pairs(counts: WinCounts) -> dict[str, Any]:
    intervals = wilson_intervals(counts)
    return {
        "wins": counts.wins.tolist(),
        "ties": counts.ties.tolist(),
        "interval_method": intervals.method,
        "interval_confidence": intervals.confidence,
        "low": intervals.low.tolist(),
        "high": intervals.high.tolist(),
    }


def _baseline(baseline: RewardBaseline | NoBaseline) -> dict[str, Any]:
    if isinstance(baseline, NoBaseline):
        return {"absent_because": baseline.reason}
    return {
        "rewards": baseline.rewards.tolist(),
        "best_scale": baseline.scale,
        "scales_tried": list(baseline.scale_range),
        "policy": baseline.policy.tolist(),
        "exploitability": _number(baseline.exploitability),
        "nash_policy_preferred_with_probability": baseline.loses,
    }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
