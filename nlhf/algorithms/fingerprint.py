"""Fingerprints: whether two objects say the same, in this process or in another."""

import hashlib
from functools import cached_property
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from nlhf.errors import Unsupported


def fingerprint(value: object) -> str:
    """Return a digest of everything that an object holds, arrays bit by bit.

    It is made from what pickling would save, without the accidents of a pickle: which parts are
    one object, the order of a dictionary, what has been cached so far.

    Raises:
        Unsupported: If a part of the object cannot be pickled, or contains itself.
    """
    try:
        return hashlib.sha256(_canonical(value)).hexdigest()
    except (TypeError, AttributeError, RecursionError) as error:
        raise Unsupported(
            f"a {type(value).__name__} cannot be told from another: {error}",
            "make it picklable (no open files, locks or generators)",
        ) from error


def _canonical(value: Any) -> bytes:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return _framed(type(value).__name__.encode(), repr(value).encode())
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        array = np.ascontiguousarray(value)
        layout = f"{array.dtype.str}{np.shape(value)}"
        return _framed(b"array", layout.encode(), hashlib.sha256(array.tobytes()).digest())
    if isinstance(value, tuple | list):
        return _framed(type(value).__name__.encode(), *map(_canonical, value))
    if isinstance(value, set | frozenset):
        return _framed(b"set", *sorted(map(_canonical, value)))
    if isinstance(value, dict):
        return _framed(b"dict", *sorted(_canonical(item) for item in value.items()))
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _framed(b"name", f"{value.__module__}.{value.__qualname__}".encode())
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return _framed(b"global", reduced.encode())
    maker, arguments, state, *items = (*reduced, None, None, None)[:5]
    contents = [list(part) if part is not None else None for part in items]
    return _framed(b"object", *map(_canonical, (maker, arguments, _kept(value, state), contents)))


def _kept(value: object, state: Any) -> Any:
    """Return the state of an object without its cached properties, which follow from the rest."""
    if not isinstance(state, dict):
        return state
    return {
        key: part
        for key, part in state.items()
        if not isinstance(getattr(type(value), key, None), cached_property)
    }


def _framed(*parts: bytes) -> bytes:
    """Return the parts, each with its length in front, so that no two lists read the same."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
