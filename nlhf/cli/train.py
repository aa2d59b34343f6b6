"""`nlhf train`: a language model trained by an algorithm of this package."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from nlhf.cli.progress import training_bar
from nlhf.errors import InvalidData
from nlhf.training.config import TrainingConfig, read_config


@dataclass(frozen=True)
class Train:
    """Train a language model as a TOML file says, or go on with a run that was interrupted.

    Writes checkpoints, metrics.jsonl, samples.md and, at the end, the policy into the folder [run]
    out. If checkpoints are there, the run goes on from the newest whole one, to the same end.
    Several processes: accelerate launch --num_processes 8 -m nlhf train CONFIG; where there is no
    accelerator, accelerate launch --multi_gpu --num_processes 2 -m nlhf train CONFIG.

    Exit codes: 0 when done; 2 on bad input, a judge that fails, or too little memory or disk: the
    last checkpoint is whole, and the same command goes on from it.

    Example: nlhf train run.toml --algorithm extragradient
    """

    config: tyro.conf.Positional[Path]
    """The TOML file with the sections [model], [data], [judge] and [run], and as needed [lora],
    [game], [algorithm], [realiser] and [optimiser]; see nlhf.training.config."""
    algorithm: str | None = None
    """Another method than the file's: mirror-descent, extragradient, optimistic, nash-md,
    nash-ema, proximal-point."""
    steps: int | None = None
    """Another number of steps than the file's."""
    seed: int | None = None
    """Another seed than the file's."""
    out: Path | None = None
    """Another folder than the file's."""
    resume: bool = False
    """Insist on checkpoints to go on from."""
    fresh: bool = False
    """Remove the checkpoints that are there, and start anew."""
    json: bool = False
    """Print one JSON document at the end: the metrics of the last step."""

    def run(self) -> int:
        """Read, train, print; return the exit code."""
        if self.resume and self.fresh:
            raise InvalidData("both --resume and --fresh are given", "give one of them")
        config = self._changed(read_config(self.config))
        if self.resume and not list((config.path(config.run.out) / "checkpoints").glob("step-*")):
            raise InvalidData(
                f"{config.path(config.run.out)} holds no checkpoint to resume from",
                "leave out --resume to start the run",
            )
        from nlhf.lm.running.opening import quiet_libraries
        from nlhf.training import train

        quiet_libraries()
        with training_bar() as observe:
            result = train(config, fresh=self.fresh, observe=observe)
        if result.main:
            self._print(result)
        result.run.model.engine.close()
        return 0

    def _changed(self, config: TrainingConfig) -> TrainingConfig:
        run, algorithm = config.run, config.algorithm
        if self.steps is not None:
            run = replace(run, steps=self.steps)
        if self.seed is not None:
            run = replace(run, seed=self.seed)
        if self.out is not None:
            run = replace(run, out=str(self.out.absolute()))
        if self.algorithm is not None:
            algorithm = replace(algorithm, name=self.algorithm)
        return replace(config, run=run, algorithm=algorithm)

    def _print(self, result: Any) -> None:
        if self.json:
            document = {
                "folder": str(result.folder),
                "policy": str(result.policy),
                "steps": result.steps,
                "resumed": result.resumed,
                "metrics": result.metrics,
            }
            print(json.dumps(document, allow_nan=False))
            return
        if result.resumed:
            print(f"resumed from step {result.resumed}", file=sys.stderr)
        print(f"{result.steps} steps; the policy is in {result.policy}")
        for name, value in result.metrics.items():
            if isinstance(value, float) and not name.endswith(("_low", "_high")):
                low, high = (result.metrics.get(f"{name}_{end}") for end in ("low", "high"))
                ends = "" if low is None or high is None else f"  [{low:.4g}, {high:.4g}]"
                print(f"  {name:34} {value:.4g}{ends}")
