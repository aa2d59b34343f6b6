"""What a checkout holds and an installation does not: benchmarks and figures."""

import importlib
import sys
from pathlib import Path
from typing import Any

import nlhf
from nlhf.errors import NotAllowed, Unsupported


def checkout_module(name: str, command: str) -> Any:
    """Import a module of the checkout that the current directory lies in.

    Args:
        name: As it is imported from the root of the checkout.
        command: Who asks, for messages.

    Raises:
        Unsupported: If the current directory lies in no checkout that has it.
        NotAllowed: If the module or the package come from elsewhere.
    """
    marks = (f"{name.replace('.', '/')}.py", "nlhf/__init__.py")
    here = Path.cwd().resolve()
    for root in (here, *here.parents):
        if all((root / mark).is_file() for mark in marks):
            break
    else:
        raise Unsupported(
            f"{here} is not inside a checkout: {marks[0]} is not part of the installed package",
            f"git clone the repository, change into it, and run {command} there",
        )
    sys.path.insert(0, str(root))
    module = importlib.import_module(name)
    for imported in (module, nlhf):
        if root not in Path(str(imported.__file__)).resolve().parents:
            raise NotAllowed(
                f"{imported.__name__} comes from {imported.__file__}, not from {root}: the wrong "
                "sources would be named",
                f"install the checkout with pip install -e . and run {command} in it",
            )
    return module
