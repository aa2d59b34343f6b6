"""Connectivity of the graph of comparisons; matrices are dense, so breadth-first search is."""

import numpy as np
from jaxtyping import Bool

from nlhf.data.text import listed


def components(
    adjacency: Bool[np.ndarray, "response response"],
) -> tuple[tuple[int, ...], ...]:
    """Return the strongly connected components of a directed graph, ordered by first member.

    For a symmetric matrix these are the connected components.
    """
    left = np.ones(len(adjacency), dtype=bool)
    found = []
    while left.any():
        start = int(np.argmax(left))
        together = _reachable(adjacency, start) & _reachable(adjacency.T, start)
        found.append(tuple(int(k) for k in np.flatnonzero(together)))
        left &= ~together
    return tuple(found)


def describe(parts: tuple[tuple[int, ...], ...], names: tuple[str, ...], most: int = 5) -> str:
    """Return the components by the names of their members, shortened where they are many."""
    shown = "; ".join("{" + listed([names[k] for k in part], 6) + "}" for part in parts[:most])
    return shown if len(parts) <= most else f"{shown}; and {len(parts) - most} more"


def _reachable(adjacency: Bool[np.ndarray, "response response"], start: int) -> np.ndarray:
    reached = np.zeros(len(adjacency), dtype=bool)
    reached[start] = True
    frontier = reached
    while frontier.any():
        frontier = adjacency[frontier].any(axis=0) & ~reached
        reached = reached | frontier
    return reached
