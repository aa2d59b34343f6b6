"""What a step's reports say, over the prompts of all processes, under the names of the metrics."""

import math
from collections.abc import Sequence
from typing import Any

from nlhf.lm.realisers.base import Report
from nlhf.lm.running.metrics import pooled_mean
from nlhf.results import Bound, Knows, Units
from nlhf.training.building import Run


def step_metrics(run: Run, reports: Sequence[Report], profile: Any) -> dict[str, Any]:
    """Return the metrics of a step.

    Args:
        run: The run.
        reports: Of the proximal steps within it; the last one is told.
        profile: Where it has got to.
    """
    metrics: dict[str, Any] = {}
    if len(profile) > 1:
        metrics["group_weights"] = profile[1].probabilities.tolist()
    if not reports:
        return metrics
    last, game = reports[-1], run.game
    prompts = game.prompts_per_step or len(game.prompts)
    own = len(run.model.engine.share(prompts))

    def told(name: str, bound: Bound) -> None:
        if bound.knows is Knows.LOWER:
            return  # nobody has measured it
        width = bound.high - bound.value
        if not math.isfinite(width):
            metrics[name] = pooled_mean(run.model.engine, bound.value, 0.0, own)[0]
            return
        mean, half = pooled_mean(run.model.engine, bound.value, width, own)
        metrics[name] = mean
        if half > 0.0:
            low = mean - half if bound.units is not Units.NATS else max(mean - half, 0.0)
            metrics.update({f"{name}_low": low, f"{name}_high": mean + half})

    told("prox_residual_nats", last.residual)
    told("held_out_residual_nats", last.held_out)
    told("kl_to_reference_nats", last.divergence)
    told("payoff", last.payoff)
    metrics["response_tokens"] = pooled_mean(run.model.engine, last.length, 0.0, own)[0]
    if last.losses:
        metrics |= {"loss": last.losses[-1], "gradient_norm": last.gradient_norms[-1]}
    return metrics
