"""What a run looks at now and then: the policy against the reference, on evaluation prompts."""

import math
from typing import Any

import numpy as np

from nlhf.lm.estimates import QUANTILE, kl_estimate
from nlhf.lm.games import LanguageGame, RewardGame
from nlhf.lm.judges.texts import prompt_texts, response_texts
from nlhf.lm.maxmin import LanguageMaxMinGame
from nlhf.lm.responses import Responses
from nlhf.lm.running.samples import SampleRow
from nlhf.lm.strategies import Strategy
from nlhf.streams import Stream
from nlhf.training.building import Run


def evaluated(
    run: Run, strategy: Strategy, stream: Stream, draws: int, samples: int
) -> tuple[dict[str, Any], list[SampleRow]]:
    """Return metrics of a policy by their names, and samples to read.

    Intervals are normal ones of a mean over prompts, which are taken as drawn from a population.

    Args:
        run: The run.
        strategy: The policy.
        stream: Randomness; used up.
        draws: Responses to every prompt, of the policy and of the reference.
        samples: Rows of the table at most; on several processes those of the first one's prompts.
    """
    model, game = run.model, run.game
    mine = run.evaluation.take(model.engine.share(len(run.evaluation)))
    own = model.sample(strategy, mine, draws, stream.child("policy"))
    other = model.sample(model.reference, mine, draws, stream.child("reference"))
    metrics: dict[str, Any] = {}
    if isinstance(game, LanguageGame):
        wins = game.preference.preferences(own, other).mean(axis=(1, 2))
        metrics |= _with_interval(run, "win_rate_against_reference", wins)
    elif isinstance(game, RewardGame):
        for name, seen in (("reward", own), ("reward_of_reference", other)):
            metrics |= _with_interval(run, name, game.reward.rewards(seen).mean(axis=1))
    elif isinstance(game, LanguageMaxMinGame):
        for name, seen in (("group_utilities", own), ("group_utilities_of_reference", other)):
            rewards = game.each_reward(seen).mean(axis=2)
            metrics[name] = [_mean(run, group)[0] for group in rewards]
    metrics |= _of_responses(run, strategy, own)
    return metrics, _table(run, own, other, samples)


def _of_responses(run: Run, strategy: Strategy, own: Responses) -> dict[str, Any]:
    """Return what the responses say of the policy, whatever they are worth."""
    model = run.model
    lengths = own.lengths.double().mean(dim=1).cpu().numpy()
    found: dict[str, Any] = {"evaluation_response_tokens": _mean(run, lengths)[0]}
    ratio = model.relative_log_probabilities(strategy, own) - model.log_probabilities(
        model.reference, own
    )
    per_prompt = [
        kl_estimate(ratio[i : i + 1], own.weights[i : i + 1]).value for i in range(len(ratio))
    ]
    name = "evaluation_kl_to_reference_nats"
    found |= _with_interval(run, name, np.array(per_prompt))
    return found | {f"{name}_low": max(found[f"{name}_low"], 0.0)}  # no KL is negative


def _with_interval(run: Run, name: str, values: np.ndarray) -> dict[str, float]:
    mean, width = _mean(run, values)
    return {name: mean, f"{name}_low": mean - width, f"{name}_high": mean + width}


def _mean(run: Run, values: np.ndarray) -> tuple[float, float]:
    """Return the mean over the prompts of all processes, with half its interval."""
    sums = [float(len(values)), float(values.sum()), float((values**2).sum())]
    count, first, second = run.model.engine.totals(sums)
    mean = first / count
    if count < 2:
        return mean, math.inf
    variance = max(second / count - mean**2, 0.0) * count / (count - 1)
    return mean, QUANTILE * math.sqrt(variance / count)


def _table(run: Run, own: Responses, other: Responses, samples: int) -> list[SampleRow]:
    tokenizer = run.model.tokenizer
    count = min(samples, len(own.prompts))
    if tokenizer is None or count == 0:
        return []
    shown = [each.take(range(count)).among(0, 1) for each in (own, other)]
    policy, reference = (response_texts(each, tokenizer) for each in shown)
    prompts = prompt_texts(shown[0].prompts, tokenizer)
    rows = shown[0].prompts.rows
    return [
        SampleRow(row, prompt, a[0], b[0])
        for row, prompt, a, b in zip(rows, prompts, policy, reference, strict=True)
    ]
