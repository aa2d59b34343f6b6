"""Policies: log-probabilities over the last axis, whatever the other axes stand for."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.numerics import PROBABILITY_TOLERANCE, log_normalise, log_of, log_sum_exp, normalise
from nlhf.results import float_array, read_only

_ROUNDING = 1e-14
"""How far a normalised distribution's sum may be from 1: what adding it up costs."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """Distributions over actions, stored as log-probabilities: one strategy of one player.

    The leading axes depend on the space: none or contexts for a bandit, ``(n,)`` or ``(X, n)``;
    decision nodes of a tree, ``(N, V)`` or ``(X, N, V)``; steps and states of a finite-horizon
    Markov decision process, ``(H, S, A)``; states of a discounted one, ``(S, A)``.

    Attributes:
        log_probabilities: Normalised on the last axis; read-only.
    """

    log_probabilities: Float[np.ndarray, "*place action"]
    _probabilities: Float[np.ndarray, "*place action"] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_probabilities", read_only(self.log_probabilities))
        if self._probabilities is not None:
            object.__setattr__(self, "_probabilities", read_only(self._probabilities))

    def __repr__(self) -> str:
        return f"Policy(shape={self.log_probabilities.shape})"

    def __reduce__(self) -> tuple[type["Policy"], tuple[np.ndarray, np.ndarray | None]]:
        # A copy is as read-only as the original, and the same to the last bit of what it plays.
        return Policy, (self.log_probabilities, self._probabilities)

    def checked(self) -> "Policy":
        """Return the policy if its probabilities are numbers and sum to 1 within 1e-9.

        Rows that are off by more than rounding are normalised: a certificate rests on them.

        Raises:
            InvalidProblem: Otherwise; the constructor takes log-probabilities on trust.
        """
        logs = self.log_probabilities
        if np.isnan(logs).any() or (logs == np.inf).any():
            raise InvalidProblem(
                f"log-probability {_entry(np.isnan(logs) | (logs == np.inf))} is not a number",
                "log-probabilities are at most 0, and -inf for a probability of 0",
            )
        off = log_sum_exp(logs)
        if not np.abs(off).max() <= PROBABILITY_TOLERANCE:
            row = np.unravel_index(int(np.argmax(np.abs(off))), off.shape)
            raise InvalidProblem(
                f"the probabilities{_place(row)} sum to e^{off[row]:.6g}, not 1 "
                f"(tolerance {PROBABILITY_TOLERANCE:g})",
                "normalise them, or use Policy.of(probabilities)",
            )
        if np.abs(off).max() > _ROUNDING:
            return Policy.proportional(logs)
        return self

    @classmethod
    def of(cls, probabilities: ArrayLike) -> "Policy":
        """Return the policy with these probabilities, actions on the last axis.

        Raises:
            InvalidProblem: If an entry is negative or not finite, or a row's sum is further
                than 1e-9 from 1.
        """
        p = float_array("the policy", probabilities)
        if p.ndim == 0 or 0 in p.shape:
            raise InvalidProblem(
                f"a policy needs shape (n,) or (..., n), got {p.shape}",
                "put actions on the last axis and contexts, steps or states before it",
            )
        bad = ~(np.isfinite(p) & (p >= 0))
        if bad.any():
            where = _entry(bad)
            raise InvalidProblem(
                f"policy entry {where} is {float(p[where])!r}",
                "probabilities are finite and at least 0",
            )
        off = p.sum(axis=-1) - 1.0
        if np.abs(off).max() > PROBABILITY_TOLERANCE:
            row = np.unravel_index(int(np.argmax(np.abs(off))), off.shape)
            raise InvalidProblem(
                f"the policy{_place(row)} sums to 1 {'+' if off[row] > 0 else '-'} "
                f"{abs(off[row]):.3g} "
                f"(tolerance {PROBABILITY_TOLERANCE:g})",
                "divide every row by its sum",
            )
        return cls(log_normalise(log_of(p)))

    @classmethod
    def proportional(cls, logits: Float[np.ndarray, "*place action"]) -> "Policy":
        """Return the policy proportional to exp(logits); no row may be without any mass."""
        logs, probabilities = normalise(logits)
        for array in (logs, probabilities):
            array.flags.writeable = False
        return cls(logs, probabilities)

    @property
    def probabilities(self) -> Float[np.ndarray, "*place action"]:
        """Probabilities; those below 1e-308 underflow to zero, their logarithms do not."""
        if self._probabilities is None:
            return read_only(np.exp(self.log_probabilities))
        return self._probabilities


def _entry(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _place(index: tuple[int, ...] | tuple[np.intp, ...]) -> str:
    """Say which distribution is meant: contexts are the commonest leading axis."""
    where = tuple(int(i) for i in index)
    if not where:
        return ""
    return f" of context {where[0]}" if len(where) == 1 else f" of row {where}"
