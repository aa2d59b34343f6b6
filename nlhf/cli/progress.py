"""Progress on the terminal: silent where nobody watches, and for anything under a second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nlhf.analysis import Progress as Tell

_PATIENCE = 1.0


@contextmanager
def stages() -> Iterator[Tell]:
    """Yield a callback that draws one bar per stage on standard error, from the first second on."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    start = time.perf_counter()
    tasks = {}

    def tell(stage: str, done: int, total: int) -> None:
        if not bar.live.is_started:
            if time.perf_counter() - start < _PATIENCE:
                return
            bar.start()
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done)

    try:
        yield tell
    finally:
        bar.stop()
