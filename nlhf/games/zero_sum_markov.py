"""Two-player zero-sum games on Markov decision processes, with payoffs that add up over steps."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import Unsupported
from nlhf.games.markov import over_pairs
from nlhf.games.tabular import RegularisedGame, checked_reference, checked_temperature
from nlhf.games.zero_sum import checked_payoff
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units, read_only, unwrap
from nlhf.spaces.duals import StepPayoff
from nlhf.spaces.markov import FiniteHorizon
from nlhf.spaces.policy import Policy
from nlhf.spaces.process import Process
from nlhf.spaces.sequential import SequentialSpace
from nlhf.streams import Stream


class ZeroSumMarkovGame(RegularisedGame):
    r"""Two copies of one process, in which one player receives what the other pays.

    .. math:: \max_\pi \min_\rho\; \frac1H \sum_{h<H} d_h^\top A_h\, d'_h
              - \tau_1 KL(\pi\|\mu) + \tau_2 KL(\rho\|\nu),

    with :math:`d_h` the distribution of (s, a) at step h under π, d' that under ρ, and KL between
    trajectories. With :math:`A_h = P_h - 1/2` skew, one temperature and one reference it is the
    `MarkovGame` of the preferences P; an estimate less its uncertainty is no longer skew. Payoffs
    add up, so Markov policies answer them as well as any others. With positive temperatures the
    equilibrium exists and is unique.

    Args:
        process: A `FiniteHorizon`; both players act in copies of it.
        step: A_h over pairs (s, a), row s·A + a of the row player, columns alike: shape
            ``(S·A, S·A)`` or ``(S, A, S, A)`` for all steps, with a leading axis of length H for
            one each.
        references: (μ, ν), probabilities of full support in the process's shape (leading axes may
            be left out); `None` is uniform over actions.
        temperatures: (τ₁, τ₂), finite and non-negative, in units of A, the price of one nat of a
            whole trajectory.
        units: Units of A.

    Attributes:
        process: The process.
        step: The payoffs A.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range.
        Unsupported: If the process is none with a finite horizon and states that come again.
    """

    def __init__(
        self,
        process: Process[Any],
        step: ArrayLike,
        references: Sequence[ArrayLike | Policy | None] = (None, None),
        temperatures: Sequence[float] = (0.0, 0.0),
        units: Units = Units.PAYOFF,
    ) -> None:
        if not isinstance(process, FiniteHorizon):
            raise Unsupported(
                f"the process is of type {type(process).__name__}",
                "pass nlhf.FiniteHorizon(mdp, horizon)",
            )
        mu, nu = unwrap("references", references, 2)
        t1, t2 = unwrap("temperatures", temperatures, 2)
        self.process = process
        self.step = checked_payoff(over_pairs(process, "the step payoff", step))
        prompts = read_only(np.ones(1))
        places, actions = process.shape[:-1], process.shape[-1]
        super().__init__(
            spaces=(SequentialSpace(process, prompts), SequentialSpace(process, prompts)),
            references=tuple(checked_reference(r, places, actions) for r in (mu, nu)),
            temperatures=(checked_temperature(t1), checked_temperature(t2)),
            weights=prompts,
            units=units,
        )

    def _decisions(self) -> str:
        return repr(self.process)

    @cached_property
    def lipschitz(self) -> float:
        r"""The mean over steps of half the range of the payoffs.

        So :math:`\|F(z)-F(z')\|_\infty \le L\|z-z'\|_1` up to a constant per player, for the
        distributions over trajectories.
        """
        a = self.step.matrix
        return float(np.mean(a.max(axis=(-2, -1)) / 2 - a.min(axis=(-2, -1)) / 2))

    @cached_property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """A bound on the rounding error of the payoff of a trajectory."""
        largest = float(np.abs(self.step.matrix).max())
        return np.array([float(self.step.rounding.max()) + self.process.rounding * largest])

    def operator(
        self, profile: Profile[Policy], stream: Stream | None = None
    ) -> Evaluation[StepPayoff]:
        """Return (A_h d'_h / H, −A_hᵀ d_h / H) at every step; exact, so the stream is not used."""
        row, column = (self._visits(policy) for policy in profile)
        return Evaluation((self._paid(self.step.rows(column)), self._paid(-self.step.columns(row))))

    def _visits(self, policy: Policy) -> Float[np.ndarray, "step pair"]:
        visits, _ = self.process.flow(policy.log_probabilities)
        return (visits[..., None] * policy.probabilities).reshape(self.process.horizon, -1)

    def _paid(self, values: Float[np.ndarray, "step pair"]) -> StepPayoff:
        steps = values.reshape(self.process.shape) / self.process.horizon
        return StepPayoff(steps, np.zeros(self.process.mdp.states))
