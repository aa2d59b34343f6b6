"""Objects of the user's code that a configuration names."""

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from nlhf.errors import InvalidData


def named_object(name: str, folder: Path, place: str) -> Any:
    """Return what ``package.module:name`` or ``folder/file.py:name`` is.

    The module is run, once in a process unless its file has changed. Modules are also looked for
    in the folder of the configuration.

    Args:
        name: The module or file, a colon, and the name in it.
        folder: What relative paths start from.
        place: Names the key in errors.

    Raises:
        InvalidData: There is no such module or name, or running the module raised.
    """
    module, colon, attribute = name.rpartition(":")
    if not (colon and module and attribute):
        raise InvalidData(
            f"{place} is {name!r}", "write package.module:name, or folder/file.py:name"
        )
    try:
        found: Any = _file(folder / module) if module.endswith(".py") else _module(module, folder)
    except Exception as error:  # whatever the user's module raises
        raise InvalidData(
            f"{place}: {module} cannot be loaded ({type(error).__name__}: {error})",
            "correct the name or the code; modules are looked for where Python does, and in the "
            "folder of the configuration",
        ) from error
    try:
        for each in attribute.split("."):
            found = getattr(found, each)
    except AttributeError as error:
        names = ", ".join(n for n in dir(found) if not n.startswith("_"))
        raise InvalidData(
            f"{place}: {module} has no {attribute}", f"choose among {names}"
        ) from error
    return found


def _file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    told = hashlib.sha256(f"{path.resolve()}\0".encode() + path.read_bytes())
    name = f"nlhf_user_{path.stem}_{told.hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, among others, look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module(name: str, folder: Path) -> Any:
    sys.path.append(str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
