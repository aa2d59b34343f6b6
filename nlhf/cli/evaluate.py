"""`nlhf evaluate`: how often one policy's responses are preferred to another's."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.table import Table

from nlhf.cli.sample import seeded
from nlhf.errors import InvalidData
from nlhf.training.config import JudgeConfig


@dataclass(frozen=True)
class Evaluate:
    """Compare two policies by a judge or a reward: win rate, reward, KL, length, with intervals.

    Both answer every prompt; every response of one is compared with every response of the other.
    KL is to what a run started from, or to an adapter's base; of other folders it is not known.
    Intervals are 95 % bootstraps over prompts.

    Exit codes: 0 when done; 2 on bad input or a judge that fails.

    Example: nlhf evaluate runs/nash runs/sft --prompts test.jsonl --judge judges.py:prefers
    """

    first: tyro.conf.Positional[Path]
    """The folder of a run, finished or not, or of a model or adapter of transformers."""
    second: tyro.conf.Positional[Path]
    """Whom it is compared with, likewise."""
    prompts: Path
    """A file of prompts: .jsonl, .json or .parquet with a column prompt."""
    judge: str | None = None
    """The preference, as package.module:name or file.py:name: judge(prompts, pairs) returns the
    probabilities that the first of a pair is preferred. This code is run."""
    reward: str | None = None
    """A reward function in TRL's form, in place of a judge."""
    count: int = 4
    """Responses of each to every prompt."""
    limit: int | None = None
    """Most new tokens; as the runs had it, or 128."""
    temperature: float | None = None
    """Of the policies; as the runs had it, or 1."""
    seed: int = 0
    """Of the randomness."""
    json: bool = False
    """Print one JSON document instead of a table."""

    def run(self) -> int:
        """Open, sample, judge, print; return the exit code."""
        if (self.judge is None) == (self.reward is None):
            raise InvalidData("not exactly one of --judge and --reward is given", "give one")
        from nlhf.lm.running.opening import quiet_libraries
        from nlhf.training.policies import Speaking, compared

        quiet_libraries()
        table = compared(
            self.first,
            self.second,
            self.prompts,
            JudgeConfig(preference=self.judge, reward=self.reward),
            seeded(self.seed, "evaluate"),
            count=self.count,
            speaking=Speaking(self.limit, self.temperature),
        )
        if self.json:
            print(json.dumps(_document(table), allow_nan=False))
        else:
            _print(table)
        return 0


def _document(table: Any) -> dict[str, Any]:
    rows = {
        row.name: [
            {
                "name": one.name,
                "unit": one.unit,
                "value": one.value,
                "low": _finite(one.low),
                "high": _finite(one.high),
            }
            for one in row.measures
        ]
        for row in table.rows
    }
    return {
        "against": table.against,
        "prompts": table.prompts,
        "responses": table.responses,
        "confidence": table.confidence,
        "policies": rows,
    }


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None


def _print(table: Any) -> None:
    from nlhf.cli.tables import plain_console

    title = (
        f"{table.prompts} prompts, {table.responses} responses each; win rates are against "
        f"{table.against}; {table.confidence:.0%} intervals over prompts"
    )
    shown = Table(title=title, title_justify="left")
    shown.add_column("policy", overflow="fold")
    fullest = max(table.rows, key=lambda row: len(row.measures))
    for one in fullest.measures:
        shown.add_column(f"{one.name}\n({one.unit})", justify="right")
    for row in table.rows:
        told = {
            one.name: f"{one.value:.4g} [{one.low:.3g}, {one.high:.3g}]" for one in row.measures
        }
        shown.add_row(row.name, *(told.get(one.name, "not known") for one in fullest.measures))
    plain_console(200).print(shown)
