"""Progress on the terminal: silent where nobody watches, and for anything under a second."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Timer
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_PATIENCE = 1.0
_EVERY = 0.1
"""Seconds between two looks at an iteration: there may be thousands a second."""

_MEMORY = 86400.0
"""Seconds of a training that its speed is estimated from: with the usual half minute, there is no
time left to be seen where a step takes longer."""


class Stages:
    """One bar per stage of the work."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._run = ""
        self._shown = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        self._update(stage, stage, done, total)

    def iterating(self, run: str, iteration: int, gap: float, total: int) -> None:
        """Show how far a run of an algorithm is, and its duality gap, in place of the last run."""
        now = time.monotonic()
        if run != self._run:
            if self._run in self._tasks:
                self._bar.remove_task(self._tasks.pop(self._run))
            self._run = run
        elif now - self._shown < _EVERY:
            return
        self._shown = now
        self._update(run, f"{run}, gap {gap:.1e}", iteration, total)

    def _update(self, key: str, text: str, done: int, total: int) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._bar.add_task(text, total=total)
        self._bar.update(self._tasks[key], description=text, completed=done)


@contextmanager
def stages() -> Iterator[Stages]:
    """Yield bars, one per stage, on standard error, seen from the first second on."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    # A timer, not a look at the clock in `Stages`: one long stage may call it only at its start.
    timer = Timer(_PATIENCE, bar.start)
    timer.daemon = True
    if console.is_terminal:
        timer.start()
    try:
        yield Stages(bar)
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()
        if bar.live.is_started:
            bar.stop()


@contextmanager
def training_bar() -> Iterator[Callable[[Mapping[str, Any], int], None]]:
    """Yield what shows the steps of a training: tokens per second, time left, how far from μ."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal or os.environ.get("RANK", "0") != "0",
        speed_estimate_period=_MEMORY,
    )
    with bar:
        task = bar.add_task("loading", total=None)

        def observe(metrics: Mapping[str, Any], total: int) -> None:
            text = f"{metrics['tokens_per_second']:.0f} tokens/s"
            if "kl_to_reference_nats" in metrics:
                text += f", KL {metrics['kl_to_reference_nats']:.3g}"
            if "win_rate_against_reference" in metrics:
                text += f", win rate {metrics['win_rate_against_reference']:.3f}"
            bar.update(task, description=text, completed=metrics["step"], total=total)

        yield observe
