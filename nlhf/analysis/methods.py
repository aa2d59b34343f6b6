"""Methods by the names that people know them by."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from nlhf.algorithms import published
from nlhf.algorithms.average import Average
from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.errors import InvalidProblem
from nlhf.protocols import Algorithm

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+")
_MAGNET_RESETS = ("MPO", "mpo")
"""The one published name that says which method runs inside."""


def _on_the_command_line(name: str) -> str:
    """Return NashMirrorProx as nash-mirror-prox, and EGPO as egpo."""
    return "-".join(_WORD.findall(name)).lower()


def _published() -> dict[str, type[Any]]:
    """Return every class of a method by every name that it is published under."""
    kinds = set(published.ALGORITHMS.values())
    exported = {name: getattr(published, name) for name in published.__all__}
    return {k: v for k, v in exported.items() if isinstance(v, type) and v in kinds}


METHODS: Mapping[str, type[Any]] = MappingProxyType(
    {
        **published.ALGORITHMS,
        **{_on_the_command_line(name): kind for name, kind in _published().items()},
    }
)
"""Command-line names of all methods, published names among them."""


def method(
    name: str, step_size: float | None = None, *, unproven: bool = False, average: bool = False
) -> Algorithm[Any]:
    """Return the method of a command-line name, with the proven step size by default.

    Args:
        name: A key of `METHODS`, in capitals or not.
        step_size: What its class calls `step_size`, or for Nash-MD `textbook_step`; of the method
            inside for a proximal point method; `None` leaves it to the class: for most the largest
            proven one.
        unproven: Allow a step size beyond the proven range.
        average: Propose the uniform average of the iterates instead of the last one.

    Raises:
        InvalidProblem: If no method has this name, or the method has no proven range of steps to
            go beyond.
        HypothesisViolated: If the step size is not positive.
    """
    key = name.lower()
    if key not in METHODS:
        close = difflib.get_close_matches(key, METHODS, n=1)
        hint = f"{close[0]!r} is close; all are: " if close else "choose from: "
        raise InvalidProblem(f"there is no algorithm {name!r}", hint + ", ".join(METHODS))
    kind = METHODS[key]
    if kind is ProximalPoint:
        inner = MirrorDescent if key in _MAGNET_RESETS else Extragradient
        found: Algorithm[Any] = ProximalPoint(inner(step_size, unproven=unproven))
    else:
        options = {"step_size": step_size, "textbook_step": step_size, "unproven": unproven}
        taken = {field.name for field in fields(kind)}
        if unproven and "unproven" not in taken:
            raise InvalidProblem(
                f"unproven=True changes nothing of {name}: its step size has no such limit",
                "drop unproven=True",
            )
        found = kind(**{option: options[option] for option in options if option in taken})
    return Average(found) if average else found


def published_names(algorithm: Algorithm[Any]) -> tuple[str, ...]:
    """Return the names other than its own that a method is published under."""
    own = type(algorithm)
    resets = isinstance(algorithm, ProximalPoint) and isinstance(algorithm.inner, MirrorDescent)
    return tuple(
        name
        for name, kind in _published().items()
        if kind is own and name != own.__name__ and (resets or name not in _MAGNET_RESETS)
    )
