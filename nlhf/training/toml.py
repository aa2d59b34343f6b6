"""Sections of TOML files as frozen dataclasses, with errors that name the key."""

import difflib
import math
import tomllib
import types
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from nlhf.errors import InvalidData

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a file.

    Raises:
        InvalidData: It is not there, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidData(
            f"{path} cannot be read: {error.strerror}", "give the path of a TOML file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidData(f"{path} is not TOML: {error}", "correct the file there") from error


def section_of(kind: type[T], keys: Any, place: str) -> T:
    """Return a dataclass from the keys of a table.

    Args:
        kind: The dataclass; its annotations say what the keys hold.
        keys: The table.
        place: Names the section in errors.

    Raises:
        InvalidData: A key is missing, not known or of the wrong type.
    """
    assert is_dataclass(kind)
    if not isinstance(keys, dict):
        raise InvalidData(f"{place} is {keys!r}", "write a table: a line [name], then key = value")
    known = {each.name: each for each in fields(kind)}
    for key in keys:
        if key not in known:
            raise InvalidData(f"{place} has an unknown key {key}", _hint(key, known))
    for name, each in known.items():
        absent = each.default is MISSING and each.default_factory is MISSING
        if absent and name not in keys:
            raise InvalidData(f"{place} lacks the key {name}", f"add a line {name} = ...")
    values = {k: value_of(known[k].type, value, f"{place} {k}") for k, value in keys.items()}
    return kind(**values)


def value_of(wanted: Any, value: Any, place: str) -> Any:
    """Return a value as the type that an annotation wants: lists become tuples, ints floats.

    Raises:
        InvalidData: It is of another type, or infinite or no number.
    """
    if isinstance(wanted, types.UnionType):
        wanted = next(each for each in get_args(wanted) if each is not type(None))
    if get_origin(wanted) is tuple and isinstance(value, list):
        inner = get_args(wanted)[0]
        return tuple(value_of(inner, each, place) for each in value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidData(f"{place} is {value!r}", "write a finite number")
    plain = get_origin(wanted) or wanted
    boolean = isinstance(value, bool) and plain is not bool
    if not isinstance(plain, type) or boolean or not isinstance(value, plain):
        raise InvalidData(
            f"{place} is {value!r} ({type(value).__name__})", f"write {_NAMES.get(plain, plain)}"
        )
    return value


_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: 'text in quotes, as "text"',
    bool: "true or false",
    tuple: "a list, as [1, 2]",
    dict: "a table",
}


def _hint(key: str, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}The keys are {', '.join(known)}"
