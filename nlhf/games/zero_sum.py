"""Two-player zero-sum games in which each player has a reference and a temperature."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.games.payoffs import DensePayoff, LowRankPayoff, Payoff
from nlhf.games.tabular import (
    TabularGame,
    checked_reference,
    checked_temperature,
    checked_weights,
)
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units, float_array, unwrap
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream

_MOST = 1e100
"""Payoffs beyond are no use, and their squares leave the range of float64."""


class ZeroSumGame(TabularGame):
    r"""The row player receives what the column player pays, both with a KL cost of their own.

    In every context

    .. math:: \max_x \min_y\; x^\top A y - \tau_1 KL(x\|\mu) + \tau_2 KL(y\|\nu).

    With positive temperatures the equilibrium exists and is unique: the objective is strictly
    concave in x and strictly convex in y.

    Args:
        A: Payoff of the row player, shape ``(n, m)`` or ``(X, n, m)``, or a `LowRankPayoff`.
        references: (μ, ν), probabilities of full support, each ``(n,)``/``(m,)``, with a leading
            context axis if they differ between contexts; `None` is uniform.
        temperatures: (τ₁, τ₂), finite and non-negative, in units of A.
        weights: Prompt distribution over the X contexts; uniform by default.
        units: Units of A.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range.
    """

    def __init__(
        self,
        A: ArrayLike | LowRankPayoff,
        references: Sequence[ArrayLike | Policy | None] = (None, None),
        temperatures: Sequence[float] = (0.0, 0.0),
        weights: ArrayLike | None = None,
        units: Units = Units.PAYOFF,
    ) -> None:
        payoff: Payoff = A if isinstance(A, LowRankPayoff) else checked_payoff(A)
        mu, nu = unwrap("references", references, 2)
        t1, t2 = unwrap("temperatures", temperatures, 2)
        rows, columns = payoff.shape
        contexts = payoff.contexts
        super().__init__(
            payoff,
            (checked_reference(mu, contexts, rows), checked_reference(nu, contexts, columns)),
            (checked_temperature(t1), checked_temperature(t2)),
            checked_weights(weights, contexts),
            units,
        )

    def operator(
        self, profile: Profile[Policy], stream: Stream | None = None
    ) -> Evaluation[np.ndarray]:
        """Return (A y, −Aᵀ x); exact, so the stream is not used."""
        x, y = profile
        return Evaluation(
            (self.payoff.rows(y.probabilities), -self.payoff.columns(x.probabilities))
        )


def checked_payoff(matrix: ArrayLike) -> DensePayoff:
    """Return one payoff matrix, or one per context.

    Raises:
        InvalidProblem: If the shape is another, or an entry is not finite or beyond all use.
    """
    a = float_array("the payoff", matrix)
    if a.ndim not in (2, 3) or 0 in a.shape:
        raise InvalidProblem(
            f"the payoff has shape {a.shape}", "pass a non-empty array (n, m) or (X, n, m)"
        )
    wild = ~(np.abs(a) <= _MOST)
    if wild.any():
        where = tuple(int(i) for i in np.argwhere(wild)[0])
        raise InvalidProblem(
            f"payoff entry {where} is {a[where]}", f"pass payoffs of size at most {_MOST:g}"
        )
    return DensePayoff(a)
