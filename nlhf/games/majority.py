"""The majority graph of a preference matrix: Condorcet winners, cycles, the top cycle."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem

MAJORITY_TOLERANCE = 1e-9
"""How far from 1/2 a preference must be to be a majority: the accuracy to which P + Pᵀ = 1."""


@dataclass(frozen=True, slots=True, eq=False)
class MajorityGraph:
    """Which response beats which, and what follows; responses are numbered from 0.

    Response i *beats* j if more than half prefer it: P[i, j] > 1/2 + tolerance. Where P is NaN (a
    pair never compared), neither beats the other.

    Attributes:
        beats: The graph's matrix.
        condorcet_winners: The response that beats every other one, or nothing.
        weak_condorcet_winners: The responses preferred by at least half to every other one. A
            pair never compared counts for neither side.
        three_cycles: The number of sets {i, j, k} in which i beats j, j beats k and k beats i.
        components: The responses in blocks, best first: everyone in a block beats everyone in the
            later ones, and no block can be split so. The first is the Smith set (the top cycle).
        cycle: A shortest majority cycle within the Smith set, c[0] beats c[1] beats ... beats
            c[0]; empty if there is none (a Smith set of one, or held together by ties alone).
    """

    beats: Bool[np.ndarray, "response response"]
    condorcet_winners: tuple[int, ...]
    weak_condorcet_winners: tuple[int, ...]
    three_cycles: int
    components: tuple[tuple[int, ...], ...]
    cycle: tuple[int, ...]

    @property
    def smith_set(self) -> tuple[int, ...]:
        """The smallest non-empty set whose members all beat everyone outside it."""
        return self.components[0]


def majority_graph(preference: ArrayLike, tolerance: float = MAJORITY_TOLERANCE) -> MajorityGraph:
    """Return the majority graph of a preference matrix and its structure.

    Comparisons are exact up to the tolerance; shares of at most a million votes that differ from
    1/2 at all differ by more than the default.

    Args:
        preference: P, shape ``(n, n)``, with P + Pᵀ = 1; NaN for pairs never compared. The
            diagonal is not looked at.
        tolerance: How far above 1/2 a majority must be.

    Raises:
        InvalidProblem: The matrix is empty or not square, the tolerance is negative, or two
            responses beat each other.
    """
    p = np.asarray(preference, dtype=np.float64)
    shape = p.shape
    if len(shape) != 2 or shape[0] != shape[1] or not p.size or not tolerance >= 0:
        raise InvalidProblem(
            f"a preference matrix of shape {shape}, tolerance {tolerance:g}",
            "give one square matrix and a tolerance of at least 0",
        )
    beats = p > 0.5 + tolerance
    np.fill_diagonal(beats, False)
    both = beats & beats.T
    if both.any():
        i, j = (int(k) for k in np.argwhere(both)[0])
        raise InvalidProblem(
            f"P[{i}, {j}] = {p[i, j]:.15g} and P[{j}, {i}] = {p[j, i]:.15g} are both above 1/2",
            "make P[j, i] = 1 - P[i, j]",
        )
    beats.setflags(write=False)
    itself = np.eye(len(beats), dtype=bool)
    components = _components(beats)
    return MajorityGraph(
        beats=beats,
        condorcet_winners=_for_all(beats | itself),
        weak_condorcet_winners=_for_all((p >= 0.5 - tolerance) | itself),
        three_cycles=_three_cycles(beats),
        components=components,
        cycle=_shortest_cycle(beats, components[0]),
    )


def _for_all(relation: Bool[np.ndarray, "response response"]) -> tuple[int, ...]:
    """Return the responses that stand in the relation to all."""
    return tuple(int(k) for k in np.flatnonzero(relation.all(axis=1)))


def _three_cycles(beats: Bool[np.ndarray, "response response"]) -> int:
    a = beats.astype(np.float64)  # products of these are exact: counts below 2**53
    return round(float(((a @ a) * a.T).sum()) / 3)


def _components(beats: Bool[np.ndarray, "response response"]) -> tuple[tuple[int, ...], ...]:
    """Cut the order by losses wherever everyone above beats everyone below.

    A set that beats everyone outside has fewer losses in each member than outside, so all such
    sets are beginnings of this order.
    """
    size = len(beats)
    order = np.argsort(beats.sum(axis=0), kind="stable")
    spared = ~beats[np.ix_(order, order)]
    # The last place that is not beaten from place i; beyond the furthest of these lies a cut.
    furthest = size - 1 - np.argmax(spared[:, ::-1], axis=1)
    ends = np.flatnonzero(np.maximum.accumulate(furthest) == np.arange(size)) + 1
    return tuple(tuple(sorted(map(int, part))) for part in np.split(order, ends[:-1]))


def _shortest_cycle(
    beats: Bool[np.ndarray, "response response"], members: tuple[int, ...]
) -> tuple[int, ...]:
    live = _cyclic_core(beats, np.array(members))
    if not live.size:
        return ()
    step = beats[np.ix_(live, live)].astype(np.float32)
    walks = [step]  # walks[k - 1][i, j] > 0: a walk of k steps from i to j
    while not walks[-1].diagonal().any():
        walks.append((walks[-1] @ step > 0).astype(np.float32))
    start = int(np.argmax(walks[-1].diagonal() > 0))
    path = [start]
    for length in range(len(walks) - 1, 0, -1):
        path.append(int(np.argmax((step[path[-1]] > 0) & (walks[length - 1][:, start] > 0))))
    return tuple(int(live[k]) for k in path)


def _cyclic_core(beats: Bool[np.ndarray, "response response"], live: np.ndarray) -> np.ndarray:
    """Drop, again and again, the responses that beat nobody or lose to nobody among the rest."""
    while True:
        among = beats[np.ix_(live, live)]
        keep = among.any(axis=0) & among.any(axis=1)
        if keep.all():
            return live
        live = live[keep]
