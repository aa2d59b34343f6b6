"""The table of the experiment: win rates with intervals, the target, samples."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import nlhf
from benchmarks.language.movie_reviews.evaluation import Outcome
from benchmarks.language.movie_reviews.frontier import Point
from benchmarks.language.movie_reviews.plan import MAJORITY_LOSS, METHODS, MINORITY_GAIN, Plan

REPLICATES = 2_000
NAMES = {
    "sft": "SFT (the reference)",
    "single": "single reward",
    "maxmin": "MaxMin",
    "nash": "Nash",
    "rlp": "RLP (SPG)",
}
Statistic = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""From means by name to a number; also of arrays of them, entry by entry."""


class Table:
    """Values of all methods on all seeds and prompts, and a bootstrap over both.

    Args:
        outcomes: Every method on every seed.
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.seeds = sorted({one.seed for one in outcomes})
        by = {(one.method, one.seed): one for one in outcomes}
        self.methods = [name for name in METHODS if any(one.method == name for one in outcomes)]
        self.values = {
            f"{method} {what}": np.array([getattr(by[method, seed], what) for seed in self.seeds])
            for method in self.methods
            for what in ("majority", "minority", "divergence", "words", "tokens")
        }
        random = nlhf.Stream(0).child("bootstrap").generator()
        shape = seeds, prompts = self.values["sft majority"].shape
        drawn = [
            (random.integers(seeds, size=seeds)[:, None], random.integers(prompts, size=shape))
            for _ in range(REPLICATES)
        ]
        self._replicates = {
            name: np.array([one[rows].mean() for rows in drawn])
            for name, one in self.values.items()
        }

    def estimate(self, statistic: Statistic) -> tuple[float, float, float]:
        """Return a statistic of the means with the ends of its interval."""
        value = statistic({name: one.mean() for name, one in self.values.items()})
        low, high = np.quantile(statistic(self._replicates), (0.025, 0.975))
        return float(value), float(low), float(high)

    def of_seeds(self, statistic: Statistic) -> list[float]:
        """Return the statistic of every seed."""
        found: list[float] = statistic(
            {name: one.mean(axis=1) for name, one in self.values.items()}
        ).tolist()
        return found


def gain(means: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return MaxMin's win rate of the minority over the single reward's."""
    return means["maxmin minority"] / means["single minority"]


def loss(means: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what MaxMin takes from the majority's win rate."""
    return means["single majority"] - means["maxmin majority"]


def write(
    outcomes: Sequence[Outcome],
    points: Sequence[Point],
    facts: Mapping[str, Any],
    plan: Plan,
    path: Path,
) -> str:
    """Write `path`.md and `path`.json, and return the first.

    Args:
        outcomes: Of the experiment.
        points: What exact tilts would reach.
        facts: About the instruments, by name.
        plan: Numbers of the experiment.
        path: Without an ending.
    """
    table = Table(outcomes)
    reached = table.estimate(gain)[0] >= MINORITY_GAIN and table.estimate(loss)[0] <= MAJORITY_LOSS
    text = "\n".join(
        [
            "# Movie reviews: both groups' win rates",
            "",
            "What was run, what is measured and the target: "
            "`benchmarks/language/movie_reviews/plan.py`; target and numbers were fixed before the "
            "first run. Win rates are against the reference, 0.5 for itself; intervals are 95 %, "
            "by a bootstrap over seeds and prompts.",
            "",
            *_rows(table),
            "",
            *_target(table, reached),
            "",
            *_seeds(table, outcomes),
            "",
            *_frontier(points),
            "",
            *_facts(facts),
            "",
            *_samples(outcomes),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".md").write_text(text + "\n", "utf-8")
    means = {
        name: dict(
            zip(("mean", "low", "high"), table.estimate(lambda m, n=name: m[n]), strict=True)
        )
        for name in table.values
    }
    document = {
        "facts": facts,
        "plan": asdict(plan),
        "target_reached": reached,
        "means": means,
        "frontier": [asdict(point) for point in points],
        "outcomes": [_brief(one) for one in outcomes],
    }
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return text


def _brief(one: Outcome) -> dict[str, Any]:
    """Return an outcome with means in place of lists of prompts."""
    lists = ("majority", "minority", "divergence", "tokens", "words")
    return asdict(one) | {name: round(float(np.mean(getattr(one, name))), 4) for name in lists}


def _interval(estimate: tuple[float, float, float], digits: int = 3) -> str:
    value, low, high = (f"{number:.{digits}f}" for number in estimate)
    return f"{value} [{low}, {high}]"


def _rows(table: Table) -> list[str]:
    lines = [
        "| method | majority (positive) | minority (concise) | average | KL to the reference, nats "
        "| words | tokens |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for method in table.methods:

        def mean(what: str, name: str = method) -> Statistic:
            return lambda means: means[f"{name} {what}"]

        def average(means: Mapping[str, np.ndarray], name: str = method) -> np.ndarray:
            return (means[f"{name} majority"] + means[f"{name} minority"]) / 2.0

        cells = [
            NAMES[method],
            _interval(table.estimate(mean("majority"))),
            _interval(table.estimate(mean("minority"))),
            _interval(table.estimate(average)),
            _interval(table.estimate(mean("divergence")), 2),
            f"{table.estimate(mean('words'))[0]:.1f}",
            f"{table.estimate(mean('tokens'))[0]:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _target(table: Table, reached: bool) -> list[str]:
    if "maxmin" not in table.methods or "single" not in table.methods:
        return []
    return [
        f"**Target {'reached' if reached else 'not reached'}.** MaxMin over single reward: the "
        f"minority's win rate times {_interval(table.estimate(gain))} (at least {MINORITY_GAIN}; "
        f"per seed {_listed(table.of_seeds(gain))}), the majority's lower by "
        f"{_interval(table.estimate(loss))} (at most {MAJORITY_LOSS}; per seed "
        f"{_listed(table.of_seeds(loss))}).",
    ]


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def _seeds(table: Table, outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        "| seed | method | majority | minority | KL | words | steps | group weights | CPU s |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in sorted(outcomes, key=lambda o: (o.seed, METHODS.index(o.method))):
        means = [np.mean(x) for x in (one.majority, one.minority, one.divergence, one.words)]
        numbers = [f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[2]:.2f}", f"{means[3]:.1f}"]
        weights = ", ".join(f"{w:.2f}" for w in one.weights)
        cells = [str(one.seed), NAMES[one.method], *numbers, str(one.steps), weights]
        lines.append("| " + " | ".join([*cells, f"{one.seconds:.0f}"]) + " |")
    return lines


def _frontier(points: Sequence[Point]) -> list[str]:
    lines = [
        "## What is there to be had",
        "",
        "Exact tilts of the reference at a given KL, on the pilot's seed 0: the single reward's "
        "policy, and the policy under which both groups' learned rewards gain the same "
        "(`benchmarks/language/movie_reviews/frontier.py`). Gain and loss are those of the target.",
        "",
        "| KL, nats | single: majority | single: minority | MaxMin: majority | MaxMin: minority "
        "| gain | loss |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for point in points:
        (a, b), (c, d) = point.single, point.maxmin
        numbers = (a, b, c, d, d / b, a - c)
        cells = [f"{point.divergence:g}", *(f"{number:.3f}" for number in numbers)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _facts(facts: Mapping[str, Any]) -> list[str]:
    return ["## The instruments", "", *(f"* {name}: {value}" for name, value in facts.items())]


def _samples(outcomes: Sequence[Outcome]) -> list[str]:
    first = min(one.seed for one in outcomes)
    lines = [f"## Samples of seed {first}", "", "The prompt, a bar, and the response."]
    for one in sorted(outcomes, key=lambda o: METHODS.index(o.method)):
        if one.seed == first:
            lines += ["", f"**{NAMES[one.method]}**", "", "```text", *one.samples, "```"]
    return lines
