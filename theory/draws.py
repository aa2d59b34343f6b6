"""Random draws for instances, as integers that the search engine can climb.

Numbers are drawn as integers far from zero and shifted back. The engine then draws them
uniformly, takes no special values from whatever source code happens to be loaded, and can climb
in steps of any size. One draw costs about 40 µs, so instances are kept small.
"""

from collections.abc import Callable, Sequence
from math import exp, log
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from jaxtyping import Float

T = TypeVar("T")
DrawWhole = Callable[[SearchStrategy[int]], int]
"""What the engine passes to a composite strategy, as far as it is used here."""

_OFFSET = 2**80


class Draws:
    """What an instance is made from: each method makes one draw.

    Args:
        draw: The engine's draw function.
    """

    def __init__(self, draw: DrawWhole) -> None:
        self._draw = draw

    def whole(self, largest: int) -> int:
        """Return an integer from 0 to `largest`."""
        return self._draw(st.integers(_OFFSET, _OFFSET + largest)) - _OFFSET

    def chance(self, out_of: int) -> bool:
        """Return true once in `out_of` times."""
        return self.whole(out_of - 1) == 0

    def one_of(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.whole(len(options) - 1)]

    def between(self, low: float, high: float, steps: int = 1000) -> float:
        """Return a number on an even grid."""
        return low + (high - low) * self.whole(steps) / steps

    def logarithmic(self, low: float, high: float) -> float:
        """Return a positive number on a grid that is even in the logarithm."""
        return exp(self.between(log(low), log(high)))

    def array(self, shape: tuple[int, ...], low: float, high: float) -> Float[np.ndarray, "..."]:
        """Return an array of numbers on an even grid, one draw each."""
        entries = [self.between(low, high) for _ in range(int(np.prod(shape)))]
        return np.array(entries).reshape(shape)


def instances(make: Callable[[Draws], T]) -> SearchStrategy[T]:
    """Return the search strategy whose instances `make` builds from draws."""

    @st.composite
    def built(draw: DrawWhole) -> T:
        return make(Draws(draw))

    return built()
