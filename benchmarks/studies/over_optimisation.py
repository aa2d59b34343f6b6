r"""Over-optimisation curves of learned rewards: true reward against divergence, exactly.

``nlhf bench over_optimisation`` writes ``over_optimisation.csv``, one
row a cell, reward model and divergence, and ``over_optimisation.md``.

Bandits and comparisons are those of `reward_on_policy` (ω = 1, 25 % flips), 200 a cell, m in {20,
100, 1000} human comparisons; written down before the first run. Three reward models: of the human
comparisons, of these and consensus (SPG, γ = 0.5, weight 2), of these and the oracle's labels
(weight 2). At every divergence in `NATS`, the gain in true reward over the reference; over the
instances in which all three have policies that far out. Turning points: the first divergence at
which the true reward turns down, where it does; 0 where it falls from the start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.provenance import ROOT, provenance
from benchmarks.sizes import Size
from benchmarks.tables import write_table
from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.bandits import BanditFamily
from nlhf.learning.reward_on_policy.cells import Mean
from nlhf.learning.reward_on_policy.labelling import Labeller
from nlhf.learning.reward_on_policy.over_optimisation import optimisation_curve, turning_point
from nlhf.learning.reward_on_policy.retraining import reward_learning_on_policy
from nlhf.learning.reward_on_policy.study import RIDGE
from nlhf.streams import Stream

STREAM = Stream(2026).child("reward-on-policy")
PAIRS = (20, 100, 1000)
INSTANCES = 200
NATS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2)
MODELS = ("human", "human and consensus", "human and oracle")
WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a mean curve.

    Attributes:
        pairs: m.
        model: Which reward model.
        divergence: From the reference, in nats.
        instances: In how many instances all models get there.
        gold: Mean gain in true reward, in logits.
        gold_se: Its standard error.
        gold_low: Lower end of its normal 95 % interval.
        gold_high: Upper end.
        turned: The share of all instances in which the true reward turns down somewhere.
        turning_point: The median divergence at which it first does, in nats; 0 counts as falling
            from the start.
    """

    pairs: int
    model: str
    divergence: float
    instances: int
    gold: float
    gold_se: float
    gold_low: float
    gold_high: float
    turned: float
    turning_point: float


def curves(pairs: int, instances: int = INSTANCES) -> list[Point]:
    """Return the mean curves of the three reward models."""
    gold, turns = [], np.full((instances, len(MODELS)), np.nan)
    console = Console(stderr=True)
    for k in track(range(instances), f"m = {pairs}", console=console):
        bandit = BanditFamily(1.0).draw(STREAM.child(k))
        human = bandit.draw_comparisons(pairs, STREAM.child(k, "comparisons"))
        asked = (Labeller.CONSENSUS, Labeller.GOLD)
        found = reward_learning_on_policy(bandit, human, asked, (WEIGHT,), ridge=RIDGE)
        rewards = [found.reward, *found.rewards]
        for column, reward in enumerate(rewards):
            turn = turning_point(bandit, reward)
            if turn is not None:
                turns[k, column] = turn.divergence
        try:
            gold.append([optimisation_curve(bandit, r, np.array(NATS)).gold for r in rewards])
        except HypothesisViolated:
            continue
    reached = np.array(gold)
    points = []
    for column, model in enumerate(MODELS):
        known = turns[~np.isnan(turns[:, column]), column]
        for step, nats in enumerate(NATS):
            mean = Mean.of(reached[:, column, step])
            points.append(
                Point(
                    pairs=pairs,
                    model=model,
                    divergence=nats,
                    instances=len(reached),
                    gold=mean.value,
                    gold_se=mean.standard_error,
                    gold_low=mean.interval[0],
                    gold_high=mean.interval[1],
                    turned=len(known) / instances,
                    turning_point=float(np.median(known)) if len(known) else math.nan,
                )
            )
    return points


def report(points: Sequence[Point], origin: dict[str, object]) -> str:
    """Return the curves as a table in Markdown."""
    head = ["m, reward model", "n", *(f"{d:g} nats" for d in NATS), "turns down", "median at"]
    lines = [head, ["---", *["--:"] * (len(head) - 1)]]
    for start in range(0, len(points), len(NATS)):
        some = points[start : start + len(NATS)]
        lines.append(
            [
                f"{some[0].pairs}, {some[0].model}",
                str(some[0].instances),
                *(f"{one.gold:+.3f} ± {1.96 * one.gold_se:.3f}" for one in some),
                f"{some[0].turned:.0%}",
                f"{some[0].turning_point:.2f}",
            ]
        )
    return "\n\n".join(
        [
            "# Over-optimisation of learned rewards",
            "Mean gain in true reward over the reference, in logits, with 95 % intervals, by the "
            "divergence of the policy; how often the true reward turns down at all, and where it "
            "first does, 0 if from the start. What is what: "
            "`benchmarks/studies/over_optimisation.py`.",
            "\n".join("| " + " | ".join(line) + " |" for line in lines),
            f"Revision {str(origin['revision'])[:20]}, {origin['time']}. "
            "All rows: `over_optimisation.csv`.",
        ]
    )


def record(folder: Path, size: Size) -> None:
    """Write ``over_optimisation.csv`` and ``over_optimisation.md``."""
    instances = size.pick(6, INSTANCES)
    points = [point for pairs in PAIRS for point in curves(pairs, instances)]
    write_table(folder / "over_optimisation.csv", points)
    (folder / "over_optimisation.md").write_text(report(points, provenance(ROOT)) + "\n")
