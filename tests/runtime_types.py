"""The run-time type checks of the test run: an int is a float, as PEP 484 has it.

Import hooks write `@jaxtyping.jaxtyped(typechecker=...)` over every function. That decorator binds
the arguments of every call and checks them twice, before the call and again with what it returns.
Here its name stands for one that does the same by public parts at a third of the cost: beartype
checks arguments and result once, where `jaxtyped("context")` remembers the sizes of the axes. In
every test the first `CHECKED` calls of a function are checked: an iteration repeats itself.
"""

import dataclasses
import inspect
import io
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial, wraps
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=jaxtyping.TypeCheckError))
_jaxtyped = jaxtyping.jaxtyped
_axes = _jaxtyped("context")

CHECKED = 10
"""Calls of every function that are checked in one test."""

_test = 0


def next_test() -> None:
    """Check the next calls of every function anew."""
    global _test
    _test += 1


def jaxtyped(thing: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """Return a function, method or class that checks the types of its arguments and results."""
    if thing is None:
        return partial(jaxtyped, typechecker=typechecker)
    if isinstance(thing, classmethod | staticmethod):
        return type(thing)(jaxtyped(thing.__func__, typechecker=typechecker))
    if inspect.isclass(thing):
        constructor = thing.__init__
        if dataclasses.is_dataclass(thing) and not hasattr(constructor, "__wrapped__"):
            thing.__init__ = jaxtyped(constructor, typechecker=typechecker)
        return thing
    if not inspect.isfunction(thing) or inspect.isgeneratorfunction(thing):
        return _jaxtyped(thing, typechecker=typechecker)
    return _within_axes(thing, typechecker) if thing.__annotations__ else thing


def _within_axes(function: Callable[..., Any], typechecker: Callable[[Any], Any]) -> Any:
    strict: Callable[..., Any] | None = None
    seen, left = -1, 0

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal strict, seen, left
        if seen != _test:
            seen, left = _test, CHECKED
        if left == 0 or jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        left -= 1
        if strict is None:  # most of what one run imports it never calls
            strict = typechecker(function)
        with _axes:
            try:
                return strict(*args, **kwargs)
            except jaxtyping.TypeCheckError as violation:
                if not hasattr(violation, "__notes__"):
                    violation.add_note(_sizes())
                raise

    return call


def _sizes() -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        jaxtyping.print_bindings()
    return printed.getvalue().strip()


jaxtyping.jaxtyped = jaxtyped
