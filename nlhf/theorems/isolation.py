"""The search engine by itself: what else is loaded, and where, makes no difference to it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any


@contextmanager
def isolated_engine() -> Iterator[None]:
    """Keep Hypothesis out of the working folder, and the loaded modules out of its draws.

    It would draw constants that occur in whatever local modules are loaded, so that one seed would
    mean different instances in a checkout, in a wheel and in another process; and it would leave a
    folder with those constants behind. It has no setting for the former.
    """
    from hypothesis.configuration import set_hypothesis_home_dir

    if "HYPOTHESIS_STORAGE_DIRECTORY" in os.environ:
        with _without_local_constants():
            yield
        return
    with TemporaryDirectory() as folder, _without_local_constants():
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)


@contextmanager
def _without_local_constants() -> Iterator[None]:
    from hypothesis.internal.conjecture import providers

    module: Any = providers
    found = module._get_local_constants
    module._get_local_constants = module.Constants
    module.CONSTANTS_CACHE.cache.clear()
    try:
        yield
    finally:
        module._get_local_constants = found
        module.CONSTANTS_CACHE.cache.clear()
