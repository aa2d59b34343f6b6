"""JSON documents of results: everything the tables show, at full precision."""

from typing import Any

from nlhf.analysis import Analysis, PromptSolution, RewardBaseline, VoteAnalysis
from nlhf.results import Provenance


def document(
    analysis: Analysis | VoteAnalysis, config: dict[str, str], reading: float
) -> dict[str, Any]:
    """Return the whole analysis as plain JSON types; times are in seconds."""
    found: dict[str, Any] = {
        "config": config,
        "versions": dict(Provenance(method="").versions),
        "timings": {"reading": reading, **dict(analysis.seconds)},
        "temperature": analysis.temperature,
        "payoff": str(analysis.payoff),
        "method": analysis.method,
        "stop": str(analysis.stop),
        "choices": list(analysis.choices),
        "largest_duality_gap": analysis.largest_gap,
        "prompts": [_prompt(solution) for solution in analysis.prompts],
    }
    if isinstance(analysis, VoteAnalysis):
        for entry, baseline in zip(found["prompts"], analysis.baselines, strict=True):
            entry["bradley_terry"] = _baseline(baseline)
        null = analysis.null
        found["condorcet"] = {
            "prompts": len(analysis.prompts),
            "without_winner": null.observed,
            "null": "votes drawn from the fitted Bradley-Terry models, ties held as observed",
            "null_mean": null.expected,
            "null_distribution": null.distribution.tolist(),
            "null_p_value": null.p_value,
        }
    return found


def _prompt(solution: PromptSolution) -> dict[str, Any]:
    names = solution.responses
    majority = solution.majority
    return {
        "prompt": solution.prompt,
        "responses": list(names),
        "votes": solution.votes,
        "unseen_pairs": [[names[i], names[j]] for i, j in solution.unseen],
        "policy": solution.policy.tolist(),
        "certificate": {
            "duality_gap": solution.gap,
            "distance_to_equilibrium_at_most": solution.distance,
        },
        "condorcet_winners": [names[i] for i in majority.condorcet_winners],
        "majority_three_cycles": majority.three_cycles,
        "shortest_cycle": [names[i] for i in majority.cycle],
        "smith_set": [names[i] for i in majority.smith_set],
    }


def _baseline(baseline: RewardBaseline) -> dict[str, Any]:
    return {
        "rewards": baseline.rewards.tolist(),
        "best_scale": baseline.scale,
        "policy": baseline.policy.tolist(),
        "exploitability": baseline.exploitability,
        "nash_policy_preferred_with_probability": baseline.loses,
    }
