"""States of algorithms as JSON and tensors, so that reading one back runs no code of the file's.

A tree of dataclasses of this package, tuples, lists, dictionaries, numbers, texts and arrays
becomes a document; arrays and strategies are kept beside it, every strategy once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch

from nlhf.errors import InvalidData, Unsupported
from nlhf.lm.strategies import Checkpoint

_PACKAGE = "nlhf."
_REFERENCE = "reference"


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A state, taken apart.

    Attributes:
        document: What JSON can hold.
        arrays: Arrays and tensors by the names that the document has for them.
        checkpoints: Strategies by their keys; the reference is not among them.
    """

    document: Any
    arrays: dict[str, torch.Tensor] = field(default_factory=dict)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)


def encode(state: Any, reference: Checkpoint) -> Encoded:
    """Take a state apart.

    Args:
        state: The tree.
        reference: The strategy that the model comes with, of which only the name is kept.

    Raises:
        Unsupported: If there is something in it that is none of these kinds.
    """
    arrays: dict[str, torch.Tensor] = {}
    checkpoints: dict[str, Checkpoint] = {}

    def part(value: Any) -> Any:
        if isinstance(value, Checkpoint):
            if value.key == reference.key:
                return {"checkpoint": _REFERENCE}
            checkpoints[value.key] = value
            return {"checkpoint": value.key}
        name = f"array {len(arrays)}"
        if isinstance(value, np.ndarray):
            arrays[name] = torch.tensor(value)
            return {"array": name}
        if isinstance(value, torch.Tensor):
            arrays[name] = value.detach().cpu().clone()
            return {"tensor": name}
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            number = float(value)
            return number if math.isfinite(number) else {"float": repr(number)}
        if isinstance(value, list):
            return [part(each) for each in value]
        if isinstance(value, tuple):
            return {"tuple": [part(each) for each in value]}
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"map": {key: part(each) for key, each in value.items()}}
        kind = type(value)
        if is_dataclass(value) and kind.__module__.startswith(_PACKAGE):
            held = {each.name: part(getattr(value, each.name)) for each in fields(value)}
            return {"type": f"{kind.__module__}:{kind.__qualname__}", "fields": held}
        raise Unsupported(
            f"a {kind.__module__}.{kind.__qualname__} in the state of a run cannot be saved",
            "keep dataclasses of nlhf, tuples, dictionaries, numbers and arrays in it",
        )

    return Encoded(part(state), arrays, checkpoints)


def decode(encoded: Encoded, reference: Checkpoint) -> Any:
    """Put a state together again.

    Args:
        encoded: As `encode` has taken it apart.
        reference: The strategy that the model comes with.

    Raises:
        InvalidData: If the document holds what `encode` never writes, such as a class that is not a
            dataclass of this package.
    """

    def part(value: Any) -> Any:
        if isinstance(value, list):
            return [part(each) for each in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"type", "fields"}:
            return _made(value["type"], {k: part(each) for k, each in value["fields"].items()})
        if len(value) == 1:
            ((kind, content),) = value.items()
            if kind in readers:
                return readers[kind](content)
        raise InvalidData(
            f"the state of a run holds {str(value)[:80]}", "resume with the version that wrote it"
        )

    def checkpoint(key: str) -> Checkpoint:
        return reference if key == _REFERENCE else encoded.checkpoints[key]

    readers: dict[str, Callable[[Any], Any]] = {
        "checkpoint": checkpoint,
        "array": lambda name: encoded.arrays[name].numpy(),
        "tensor": lambda name: encoded.arrays[name],
        "float": float,
        "tuple": lambda values: tuple(part(each) for each in values),
        "map": lambda values: {key: part(each) for key, each in values.items()},
    }
    return part(encoded.document)


def _made(name: str, held: dict[str, Any]) -> Any:
    """Return the dataclass of that name with these fields."""
    module, _, path = name.partition(":")
    found: Any = None
    if module.startswith(_PACKAGE):
        try:
            found = import_module(module)
            for each in path.split("."):
                found = getattr(found, each)
        except (ImportError, AttributeError):
            found = None
    if not (isinstance(found, type) and is_dataclass(found) and found.__module__ == module):
        raise InvalidData(
            f"the state of a run names {name!r}, which is no dataclass of this version of nlhf",
            "resume with the version that wrote it; nothing else is ever made from a file",
        )
    try:
        return found(**held)
    except TypeError as error:
        raise InvalidData(
            f"{name} has other fields now ({error})", "resume with the version that wrote it"
        ) from error
