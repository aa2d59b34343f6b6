"""Counts of votes, written down and drawn.

Drawn are arrays: the run-time type checker of the tests uses randomness of its own when an object
is made, which Hypothesis forbids within a strategy.
"""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nlhf.data import WinCounts


def made(wins, ties=None, names=None):
    wins = np.array(wins)
    ties = np.zeros_like(wins) if ties is None else np.array(ties)
    names = tuple(f"r{k}" for k in range(len(wins))) if names is None else names
    return WinCounts("p", names, wins, ties)


@st.composite
def tables(draw, most=6, least=1):
    n = draw(st.integers(least, most))
    wins, ties = (draw(arrays(np.int64, (n, n), elements=st.integers(0, 6))) for _ in range(2))
    np.fill_diagonal(wins, 0)
    upper = np.triu(ties, 1)
    return wins, upper + upper.T
