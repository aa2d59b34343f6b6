"""Checking many theorems: in several processes, and from where an earlier run was stopped."""

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from nlhf.errors import HypothesisViolated, NotAllowed
from nlhf.streams import Stream
from nlhf.theorems.checking import check
from nlhf.theorems.ledger import installed_theorems, select
from nlhf.theorems.records import Record, record
from nlhf.theorems.shelf import Search, Shelf
from nlhf.theorems.statement import Theorem

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def run(
    theorems: Sequence[Theorem[Any]],
    search: Search,
    workers: int = 1,
    folder: Path | None = None,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[Record, ...]:
    """Check several theorems, and return the same records whatever the number of workers.

    With a folder, every record is written there when its theorem is done, and one that an earlier
    run wrote is taken from it if the search, the versions and the sources of nlhf and of the
    ledger are the same. Files that are damaged or of another search are replaced.

    Args:
        theorems: The theorems; for several workers, installed ones, which each looks up by key.
        search: Budget and seed.
        workers: Processes; with 1, or with one theorem left to check, all is done in this one.
        folder: Where the records are kept, if anywhere; it is made if there is none.
        progress: Called as the work proceeds.

    Returns:
        One record per theorem, in order.

    Raises:
        HypothesisViolated: If there are no workers.
        InvalidProblem: If a worker does not find a theorem.
        NotAllowed: If a worker dies, the folder cannot be written to, or a worker meets an error
            that cannot be handed over; other errors of a theorem come as they are.
    """
    if workers < 1:
        raise HypothesisViolated(f"there are {workers} workers", "give at least 1")
    shelf = None if folder is None else Shelf(folder, search)
    done = {
        theorem.key: found
        for theorem in theorems
        if shelf is not None and (found := shelf.read(theorem.key)) is not None
    }
    left = [theorem for theorem in theorems if theorem.key not in done]
    progress("theorems", len(done), len(theorems))
    for found in _checked(left, search, min(workers, len(left)), progress):
        done[found.key] = found
        if shelf is not None:
            shelf.write(found)
        progress("theorems", len(done), len(theorems))
    return tuple(done[theorem.key] for theorem in theorems)


def _checked(
    theorems: Sequence[Theorem[Any]], search: Search, workers: int, progress: Progress
) -> Iterator[Record]:
    if workers > 1:
        yield from _in_processes(theorems, search, workers)
        return
    for theorem in theorems:
        notify = partial(_percent, progress, theorem.key) if len(theorems) == 1 else _quiet
        yield _check_one(theorem, search, notify)


def _in_processes(
    theorems: Sequence[Theorem[Any]], search: Search, workers: int
) -> Iterator[Record]:
    """Yield records as they come; on the way out, however it is, the workers end at once."""
    before = set(multiprocessing.active_children())
    # Forking a process that has threads may hang, and other systems cannot fork.
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawning, initializer=_end_with_parent)
    try:
        pending = [pool.submit(_check_installed, theorem.key, search) for theorem in theorems]
        for future in as_completed(pending):
            yield future.result()
    except BrokenProcessPool as error:
        raise NotAllowed(
            f"one of {workers} workers was ended from outside, perhaps for want of memory",
            "run again with fewer workers; with a folder, what is done stays done",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()


def _end_with_parent() -> None:
    """Let a worker end with its parent, whatever ends that."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check_installed(key: str, search: Search) -> Record:
    (theorem,) = select(installed_theorems(), (key,))
    try:
        return _check_one(theorem, search, _quiet)
    except Exception as error:
        if _travels(error):
            raise
        raise NotAllowed(
            f"checking {key} raised {type(error).__name__}: {error}",
            "run this theorem alone to see where",
        ) from error


def _travels(error: Exception) -> bool:
    """Return whether an error can be handed to another process; one that cannot kills the pool."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the constructor of the error raises
        return False
    return True


def _check_one(theorem: Theorem[Any], search: Search, notify: Callable[[float], None]) -> Record:
    """Check with one thread for linear algebra: sums depend on how threads split them."""
    import scipy.linalg  # noqa: F401  loads the libraries that are to be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return record(check(theorem, search.budget, Stream(search.seed), notify))


def _percent(progress: Progress, key: str, share: float) -> None:
    progress(key, round(100 * share), 100)


def _quiet(_share: float) -> None:
    pass
