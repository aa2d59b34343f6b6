"""Tabular Markov decision processes without rewards: what moves where, and where it starts."""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.numerics import PROBABILITY_TOLERANCE
from nlhf.results import chosen, float_array, read_only

_NAMED = 5
"""How many offending rows or states a message names."""
_SINGLE = 1e-4
"""Rows whose sums are all this close to 1 were rounded, to single precision or to digits."""


@unique
class Unreachable(StrEnum):
    """What becomes of states that no policy reaches from the initial distribution."""

    ERROR = "error"
    """They are refused: usually a transposed matrix or a wrong initial state."""
    KEEP = "keep"
    """They stay; policies there are decided by the prox alone and change no value at the start."""
    DROP = "drop"
    """The process is restricted to the reachable states; `MDP.kept` maps them back."""


@dataclass(frozen=True, slots=True, eq=False, init=False, repr=False)
class MDP:
    r"""A finite Markov decision process :math:`(P, \rho)`, immutable; rewards are given apart.

    Attributes:
        transitions: :math:`P(s'|s,a)` as a SciPy CSR array of shape ``(S·A, S)`` in float64, row
            ``s·A + a``, without duplicates or stored zeros, column indices sorted; read-only.
        initial: The distribution ρ of the first state, shape ``(S,)``; read-only.
        actions: Number of actions A.
        kept: The state of the given arrays that each state is, shape ``(S,)``; the identity
            unless unreachable states were dropped. Rewards ``r`` of the given arrays go along
            as ``r[mdp.kept]``.
    """

    transitions: Any
    initial: Float[np.ndarray, "state"]
    actions: int
    kept: Int[np.ndarray, "state"]

    def __init__(
        self,
        transitions: Any,
        initial: ArrayLike,
        *,
        actions: int | None = None,
        unreachable: Unreachable | str = Unreachable.ERROR,
    ) -> None:
        r"""Check the arrays once and store them in one layout.

        Args:
            transitions: A dense array of shape ``(S, A, S)``, or a dense array or SciPy sparse
                matrix of shape ``(S·A, S)`` with row ``s·A + a``. Rows whose sum is within 1e-9
                of 1 are divided by it.
            initial: The distribution of the first state, shape ``(S,)``, or one state's number.
            actions: A; needed with two axes, where the shape does not tell.
            unreachable: What becomes of states that are never reached: "error", "keep" or "drop".

        Raises:
            InvalidProblem: If shapes disagree, an entry is negative or not finite, a row or
                `initial` does not sum to 1, or states are unreachable and not said to be kept
                or dropped, or `unreachable` is none of the three.
        """
        unreachable = chosen(Unreachable, unreachable, "unreachable")
        matrix, count = _canonical(transitions, actions)
        _check_rows(matrix, count)
        start = _distribution(initial, matrix.shape[1])
        kept = np.arange(len(start))
        if unreachable is not Unreachable.KEEP:
            reached = reachable_states(matrix, start, count)
            if not reached.all() and unreachable is Unreachable.ERROR:
                raise _unreachable(reached)
            kept = np.flatnonzero(reached)
            if len(kept) < len(start):
                rows = (kept[:, None] * count + np.arange(count)).ravel()
                matrix, start = _sorted_csr(matrix[rows][:, kept]), start[kept]
        self._store(matrix, start, count, kept)

    @property
    def states(self) -> int:
        """Number of states S."""
        return len(self.initial)

    @property
    def fan(self) -> int:
        """The largest number of state-action pairs that lead to one state."""
        return int(np.bincount(self.transitions.indices, minlength=1).max())

    def _store(self, matrix: Any, initial: np.ndarray, actions: int, kept: np.ndarray) -> None:
        for part in (matrix.data, matrix.indices, matrix.indptr):
            part.flags.writeable = False
        object.__setattr__(self, "transitions", matrix)
        object.__setattr__(self, "initial", read_only(initial))
        object.__setattr__(self, "actions", actions)
        object.__setattr__(self, "kept", read_only(kept))

    def __repr__(self) -> str:
        return f"MDP({self.states} states, {self.actions} actions, {self.transitions.nnz} entries)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.transitions, self.initial, self.actions, self.kept)


def check_mdp(mdp: object, wanted_by: str) -> None:
    """Raise `Unsupported` unless it is a Markov decision process."""
    if not isinstance(mdp, MDP):
        raise Unsupported(
            f"{wanted_by} needs an MDP, not a value of type {type(mdp).__name__}",
            "pass its attribute .mdp"
            if isinstance(getattr(mdp, "mdp", None), MDP)
            else "make one of an array with nlhf.MDP(transitions, initial)",
        )


def reachable_states(
    transitions: Any, initial: Float[np.ndarray, "state"], actions: int
) -> Bool[np.ndarray, "state"]:
    """Return which states some policy reaches with positive probability.

    Args:
        transitions: CSR of shape ``(S·A, S)`` without stored zeros, row ``s·A + a``.
        initial: Where the process starts, shape ``(S,)``.
        actions: A.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    states = len(initial)
    first = np.flatnonzero(initial > 0)
    # The A rows of a state lie next to each other: every A-th row start is a graph over states.
    # One more node, whose successors are the possible first states, makes the search a single one.
    starts = np.append(transitions.indptr[::actions], transitions.nnz + len(first))
    targets = np.concatenate([transitions.indices, first])
    graph = csr_array((np.ones(len(targets)), targets, starts), shape=(states + 1, states + 1))
    order = breadth_first_order(graph, states, directed=True, return_predecessors=False)
    reached = np.zeros(states + 1, dtype=bool)
    reached[order] = True
    return reached[:states]


def _canonical(transitions: Any, actions: int | None) -> tuple[Any, int]:
    """Return a CSR copy of shape (S·A, S) that nobody else holds, and A."""
    from scipy.sparse import issparse

    if issparse(transitions):
        if transitions.dtype.kind not in "biuf":
            raise InvalidProblem(
                f"the transition matrix has entries of type {transitions.dtype}",
                "pass probabilities as real numbers",
            )
        given = transitions
    else:
        given = float_array("the transition array", transitions)
    shape = given.shape
    if len(shape) == 3 and shape[0] == shape[2] and actions in (None, shape[1]) and 0 not in shape:
        return _sorted_csr(given.reshape(shape[0] * shape[1], shape[2])), shape[1]
    if len(shape) == 2 and actions is None:
        raise InvalidProblem(
            f"transitions of shape {shape} do not tell the number of actions",
            "pass actions=A with rows ordered s*A + a, or an array of shape (S, A, S)",
        )
    if len(shape) == 2 and actions and actions > 0 and shape[0] == shape[1] * actions > 0:
        return _sorted_csr(given), actions
    raise InvalidProblem(
        f"transitions of shape {shape}"
        + ("" if actions is None else f" with actions={actions}")
        + " are neither (S, A, S) nor (S*A, S)",
        "order the axes as state, action, next state; pymdptoolbox's (A, S, S) is read by "
        'from_arrays(..., layout="pymdptoolbox")',
    )


def _sorted_csr(matrix: Any) -> Any:
    """Return a float64 CSR copy with sorted indices, no duplicates and no stored zeros."""
    from scipy.sparse import csr_array

    found = csr_array(matrix, dtype=np.float64, copy=True)
    found.sum_duplicates()
    found.eliminate_zeros()
    narrow = np.int32 if max(found.nnz, *found.shape) < np.iinfo(np.int32).max else np.int64
    found.indices, found.indptr = found.indices.astype(narrow), found.indptr.astype(narrow)
    return found


def _check_rows(matrix: Any, actions: int) -> None:
    """Refuse rows that are not distributions; divide the others by their sums in place."""
    bad = ~(np.isfinite(matrix.data) & (matrix.data >= 0.0))
    if bad.any():
        at = int(np.argmax(bad))
        row = int(np.searchsorted(matrix.indptr, at, side="right")) - 1
        raise InvalidProblem(
            f"the probability of moving from state {row // actions} with action {row % actions} "
            f"to state {matrix.indices[at]} is {float(matrix.data[at])!r}, "
            f"one of {int(bad.sum())} such entries",
            "probabilities are finite and at least 0",
        )
    lengths = np.diff(matrix.indptr)
    sums = np.zeros(len(lengths))
    live = lengths > 0
    if live.any():
        sums[live] = np.add.reduceat(matrix.data, matrix.indptr[:-1][live])
    off = ~(np.abs(sums - 1.0) <= PROBABILITY_TOLERANCE)
    if off.any():
        rows = np.flatnonzero(off)
        named = ", ".join(
            f"{sums[row]:.10g} in state {row // actions} with action {row % actions}"
            for row in rows[:_NAMED]
        )
        nearly = bool(np.abs(sums - 1.0).max() <= _SINGLE)
        raise InvalidProblem(
            f"{len(rows)} of {len(sums)} rows of transition probabilities do not sum to 1 "
            f"(tolerance {PROBABILITY_TOLERANCE:g}): {named}",
            "the rows look rounded: convert them to float64 and divide every row by its sum"
            if nearly
            else "every state and action needs a distribution over next states; let states in "
            "which the process ends move to themselves",
        )
    matrix.data /= np.repeat(sums, lengths)


def _distribution(initial: ArrayLike, states: int) -> Float[np.ndarray, "state"]:
    """Return the distribution of the first state, normalised."""
    given = np.asarray(initial)
    if given.ndim == 0 and given.dtype.kind in "iu":
        if not 0 <= int(given) < states:
            raise InvalidProblem(
                f"the initial state is {int(given)}, with {states} states",
                f"number states from 0 to {states - 1}",
            )
        return np.eye(1, states, int(given))[0]
    rho = float_array("the initial distribution", initial)
    if rho.shape != (states,):
        raise InvalidProblem(
            f"the initial distribution has shape {rho.shape}, with {states} states",
            f"pass one probability per state, shape ({states},), or the number of a state",
        )
    bad = ~(np.isfinite(rho) & (rho >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise InvalidProblem(
            f"the initial probability of state {at} is {float(rho[at])!r}",
            "probabilities are finite and at least 0",
        )
    total = float(rho.sum())
    if not abs(total - 1.0) <= PROBABILITY_TOLERANCE:
        raise InvalidProblem(
            f"the initial distribution sums to {total:.12g}, not 1 "
            f"(tolerance {PROBABILITY_TOLERANCE:g})",
            "divide it by its sum",
        )
    return rho / total


def _unreachable(reached: Bool[np.ndarray, "state"]) -> InvalidProblem:
    missing = np.flatnonzero(~reached)
    first = ", ".join(str(state) for state in missing[:_NAMED])
    return InvalidProblem(
        f"{len(missing)} of {len(reached)} states are unreachable from the initial distribution "
        f"under any policy: {first}{', ...' if len(missing) > _NAMED else ''}",
        "check the initial distribution and that rows, not columns, sum to 1; or pass "
        'unreachable="drop" to leave these states out, or "keep"',
    )


def _restored(matrix: Any, initial: np.ndarray, actions: int, kept: np.ndarray) -> MDP:
    """Return a stored process as it was: nothing is normalised twice."""
    mdp = object.__new__(MDP)
    mdp._store(matrix, initial, actions, kept)
    return mdp
