"""A training run: steps of an algorithm on a language model, saved, measured and resumed."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlhf.errors import NlhfError
from nlhf.files import replace_file
from nlhf.lm.loading.memory import explained_memory
from nlhf.lm.responses import Prompts
from nlhf.lm.running.checkpoints import RunCheckpoints, Saved
from nlhf.lm.running.export import export_policy
from nlhf.lm.running.folders import remove_folder
from nlhf.lm.running.metrics import MetricsFile, finite_metrics, read_metrics
from nlhf.lm.running.samples import SampleTables
from nlhf.lm.strategies import Strategy
from nlhf.results import Profile
from nlhf.training.building import Run, built
from nlhf.training.config import CONFIG, POLICY, TrainingConfig, identity, sections
from nlhf.training.evaluation import evaluated
from nlhf.training.reporting import step_metrics

Observe = Callable[[Mapping[str, Any], int], None]
"""Called in the first process with the metrics of every step, and the steps of the whole run."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """What a run has made.

    Attributes:
        folder: Everything that it wrote.
        policy: The folder of the trained policy, which transformers (or peft) loads.
        steps: Steps taken, those of interrupted parts included.
        resumed: The step that it went on from; 0 for a new run.
        metrics: Those of the last step.
        strategy: The policy.
        run: The model and what else was built, to go on with.
        main: Whether this is the first of the processes, which writes and prints.
    """

    folder: Path
    policy: Path
    steps: int
    resumed: int
    metrics: Mapping[str, Any]
    strategy: Strategy
    run: Run
    main: bool


def train(
    config: TrainingConfig, *, fresh: bool = False, observe: Observe | None = None
) -> TrainingResult:
    """Run a training, or go on with one that was interrupted, to the same end.

    The folder `run.out` gets checkpoints, `metrics.jsonl` (see `nlhf.lm.running.metrics.METRICS`),
    `samples.md` and `samples.jsonl`, `config.json`, and at the end the policy in `policy`, which is
    there for finished runs only. If it holds checkpoints, the run goes on from the newest whole
    one; on one machine with one number of processes it ends with the same bits as if it had never
    stopped.

    Args:
        config: What to run.
        fresh: Remove the checkpoints that are there, and start anew.
        observe: Told of every step.

    Raises:
        NlhfError: The configuration, the data, a judge, memory or the disk; the last checkpoint is
            whole, and the run goes on from it when the cause is gone.
    """
    return _Training(config, built(config), observe).finished(fresh)


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """A run at the end of a step: steps taken, the algorithm's state, wall time."""

    step: int
    state: Any
    seconds: float


class _Training:
    """A run in progress."""

    def __init__(self, config: TrainingConfig, run: Run, observe: Observe | None) -> None:
        self._config, self._run = config, run
        self._observe = observe
        self._folder = config.path(config.run.out)
        self._main = run.model.engine.rank == 0
        trajectory = identity(config) | {"[data] digest of the prompts": _digest(run.game.prompts)}
        self._checkpoints = RunCheckpoints(
            self._folder / "checkpoints", run.model, trajectory, config.run.keep
        )
        self._saved = -1

    def finished(self, fresh: bool) -> TrainingResult:
        """Take all steps that are left, and write the policy."""
        point = self._start(fresh)
        resumed, total = point.step, self._config.run.steps
        files = self._files(resumed)
        metrics = {} if files is None else _last(files[0], resumed)
        if resumed < total and self._main and (self._folder / POLICY).exists():
            remove_folder(self._folder / POLICY)  # it is no longer what the run has come to
        try:
            while point.step < total:
                point, metrics = self._step(point, files)
                if self._main and self._observe is not None:
                    self._observe(metrics, total)
                if point.step % self._config.run.save_every == 0 or point.step == total:
                    self._save(point)
        finally:
            if files is not None:
                files[0].close()
        strategy: Strategy = self._run.algorithm.profile(point.state)[0]
        policy = self._folder / POLICY
        export_policy(self._run.model, strategy, policy)
        return TrainingResult(
            self._folder, policy, point.step, resumed, metrics, strategy, self._run, self._main
        )

    def _start(self, fresh: bool) -> _Point:
        """Return where to go on from; a new run is saved at once: it is then known to work."""
        run = self._run
        if fresh:
            self._checkpoints.clear()
        found = self._checkpoints.newest()
        if found is not None:
            run.realiser.restore(run.model, found.realiser)
            self._saved = found.step
            return _Point(found.step, found.state, found.seconds)
        point = _Point(0, run.algorithm.init(run.game, run.game.start()), 0.0)
        self._save(point)
        return point

    def _step(
        self, point: _Point, files: tuple[MetricsFile, SampleTables] | None
    ) -> tuple[_Point, dict[str, Any]]:
        run, begin, step = self._run, time.perf_counter(), point.step + 1
        seen, drawn = len(run.realiser.reports), run.model.drawn_tokens
        with explained_memory(f"taking step {step}", run.memory):
            state = self._advanced(point)
            took = time.perf_counter() - begin
            point = _Point(step, state, point.seconds + took)
            tokens = run.model.engine.total_count(run.model.drawn_tokens - drawn)
            profile: Profile[Any] = run.algorithm.profile(state)
            metrics = {
                "step": step,
                "step_seconds": took,
                "tokens_per_second": tokens / took,
                **step_metrics(run, run.realiser.reports[seen:], profile),
            }
            every = self._config.run.evaluate_every
            if every and (step % every == 0 or step == self._config.run.steps):
                metrics |= self._evaluated(point, profile[0], metrics, files)
        metrics["seconds"] = point.seconds - took + time.perf_counter() - begin
        if peak := run.model.engine.peak_memory():
            metrics["peak_memory_gib"] = peak
        if files is not None:
            files[0].add(metrics)
        return _Point(step, state, metrics["seconds"]), finite_metrics(metrics)

    def _advanced(self, point: _Point) -> Any:
        """Return the state after one step; if it fails before anything was trained, save."""
        run, unsaved = self._run, point.step > self._saved
        before = run.realiser.state() if unsaved else None
        counts = None if before is None else (before.count, before.steps)
        del before  # it may be large
        try:
            stream = run.stream.child("step", point.step)
            return run.algorithm.step(run.game, point.state, stream)
        except BaseException:
            if counts is not None and run.model.engine.world == 1:
                now = run.realiser.state()
                if counts == (now.count, now.steps):
                    with suppress(NlhfError):
                        self._save(point)
            raise

    def _evaluated(
        self,
        point: _Point,
        strategy: Strategy,
        before: Mapping[str, Any],
        files: tuple[MetricsFile, SampleTables] | None,
    ) -> dict[str, Any]:
        """Return what is measured of a strategy; if that fails, save, if more than a step is lost.

        The step that is saved then has its row, without the evaluation.
        """
        settings, run = self._config.run, self._run
        stream = run.stream.child("evaluation", point.step)
        try:
            metrics, rows = evaluated(
                run, strategy, stream, settings.evaluation_draws, settings.samples
            )
            if files is not None and rows:
                files[1].add(point.step, rows)
        except BaseException:
            if point.step - self._saved > 1 and run.model.engine.world == 1:
                with suppress(NlhfError):
                    self._save(point)
                    if files is not None:
                        files[0].add({**before, "seconds": point.seconds})
            raise
        return metrics

    def _save(self, point: _Point) -> None:
        realiser = self._run.realiser.state()
        self._checkpoints.save(Saved(point.step, point.state, realiser, point.seconds))
        self._saved = point.step

    def _files(self, after: int) -> tuple[MetricsFile, SampleTables] | None:
        """Open what the first process writes, rows of steps that will be taken again removed."""
        if not self._main:
            return None
        said = {"folder": str(self._config.folder.absolute()), "sections": sections(self._config)}
        replace_file(self._folder / CONFIG, json.dumps(said, indent=1))
        tensorboard = self._config.run.tensorboard
        metrics = MetricsFile(self._folder, after, tensorboard=tensorboard)
        return metrics, SampleTables(self._folder, after)


def _digest(prompts: Prompts) -> str:
    """Return a digest of the tokens and rows of prompts: a file that has moved is the same data."""
    told = hashlib.sha256(json.dumps([prompts.tokens, prompts.texts, prompts.rows]).encode())
    return told.hexdigest()[:16]


def _last(metrics: MetricsFile, step: int) -> dict[str, Any]:
    """Return the row of a step that was taken before; nothing if there is none."""
    return next((row for row in read_metrics(metrics.path) if row["step"] == step), {})
