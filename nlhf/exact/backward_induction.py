r"""Soft value iteration: KL-regularised optimal control of one Markov decision process.

The reward is linear in the policy of the *process*, so the KL-regularised optimum is found by
dynamic programming. With the reference μ and the temperature τ,

.. math::
    V_h(s) = \max_\pi \mathbb E\Big[\sum_{t \ge h} \gamma^{t-h}
        \big(r(s_t,a_t) - \tau KL(\pi_t(\cdot|s_t)\,\|\,\mu(\cdot|s_t))\big) \Big|\, s_h = s\Big]
    = \tau \log \sum_a \mu(a|s) \exp\frac{r(s,a) + \gamma (P V_{h+1})(s,a)}{\tau}.

At temperature 0 this is ordinary value iteration.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import HypothesisViolated, InvalidProblem, SolverFailed
from nlhf.numerics import EPSILON
from nlhf.results import float_array, read_only
from nlhf.spaces.backup import Backup
from nlhf.spaces.mdp import MDP, check_mdp
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class SoftValues:
    """Optimal values and, on demand, the optimal policy.

    Attributes:
        values: With a horizon H, V_0, …, V_H, shape ``(H+1, S)``; without, the one stationary
            value function, shape ``(1, S)``. In reward units; read-only.
        error: An upper bound on the distance of every value from the exact one, of the process
            whose rows of probabilities sum to exactly 1 (stored ones do to rounding).
        sweeps: Backups that were made.
        backup: The operator that was iterated.
    """

    values: Float[np.ndarray, "step state"]
    error: float
    sweeps: int
    backup: Backup

    @property
    def start(self) -> float:
        """The value at the beginning, averaged over the initial distribution."""
        return float(self.backup.mdp.initial @ self.values[0])

    def policy(self, step: int = 0) -> Policy:
        """Return the optimal policy of one step, shape ``(S, A)``; of every step if stationary.

        At temperature 0 it plays the first best action.

        Raises:
            InvalidProblem: If there is no such step.
        """
        steps = len(self.values) - 1
        if step < 0 or 0 < steps <= step:
            raise InvalidProblem(
                f"there is no step {step}", f"steps are numbered from 0 to {max(steps, 1) - 1}"
            )
        later = self.values[step + 1 if steps else 0]
        return self.backup.policy(later / self.backup.unit)


def soft_value_iteration(
    mdp: MDP,
    rewards: object,
    *,
    temperature: float,
    reference: Policy | ArrayLike | None = None,
    horizon: float | None = None,
    discount: float = 1.0,
    final: object = None,
    accuracy: float = 1e-9,
    max_sweeps: int = 100_000,
) -> SoftValues:
    r"""Return the optimal values of a KL-regularised Markov decision process.

    With a horizon, exactly H backups. Without one, backups until the values are within `accuracy`
    of the fixed point: the operator is monotone and shifts with its argument, so
    :math:`V^* - TV \in \frac{\gamma}{1-\gamma}[\min(TV - V), \max(TV - V)]`, and the middle of the
    interval is returned (MacQueen 1966; Puterman 1994, section 6.6).

    A sweep reads the transitions once. Its cost is that of a sparse matrix-vector product and
    S·A exponentials.

    Args:
        mdp: The process.
        rewards: Expected rewards r(s, a), shape ``(S, A)``.
        temperature: τ ≥ 0, in reward units.
        reference: μ, a policy or its probabilities, shape ``(S, A)``; uniform if `None`. Actions
            that it never plays are never played, at temperature 0 neither.
        horizon: H, the number of decisions; `None` is no end.
        discount: γ in [0, 1], below 1 without a horizon.
        final: Values after the last step, shape ``(S,)``, with a horizon only; 0 if `None`.
        accuracy: Without a horizon, the largest error of a value, in reward units.
        max_sweeps: Without a horizon, the most backups made.

    Raises:
        InvalidProblem: If the arrays do not fit the process or are not finite.
        HypothesisViolated: If there is neither a horizon nor a discount below 1, or `accuracy`
            is beyond float64.
        SolverFailed: If `max_sweeps` backups were not enough.
        Unsupported: If `mdp` is not an `MDP`.
    """
    check_mdp(mdp, "soft value iteration")
    backup = Backup.of(
        mdp, rewards, temperature=temperature, reference=reference, discount=discount
    )
    if horizon is None:
        if discount == 1.0:
            raise HypothesisViolated(
                "an infinite horizon with discount 1: values need not be finite",
                "pass horizon=H, or a discount below 1",
            )
        if final is not None:
            raise InvalidProblem(
                "final values are given, but no horizon", "pass horizon=H, or leave final out"
            )
        return _stationary(backup, accuracy, max_sweeps)
    horizon = _whole(horizon)
    values = np.empty((horizon + 1, mdp.states))
    values[horizon] = _final(final, mdp.states) / backup.unit
    rounding = _Rounding.of(backup)
    error = worst = rounding.after(values[horizon])
    for step in reversed(range(horizon)):
        backup.apply(values[step + 1], values[step])
        error = discount * error + rounding.after(values[step + 1])
        worst = max(worst, error)
    values *= backup.unit
    return SoftValues(read_only(values), worst, horizon, backup)


def _stationary(backup: Backup, accuracy: float, max_sweeps: int) -> SoftValues:
    """Iterate from 0 until the interval around the fixed point is narrow enough."""
    factor = backup.discount / (1.0 - backup.discount)
    old, new = np.zeros(backup.mdp.states), np.empty(backup.mdp.states)
    rounding, error = _Rounding.of(backup), np.inf
    for sweep in range(1, max_sweeps + 1):
        backup.apply(old, new)
        change = new - old
        low, high = float(change.min()), float(change.max())
        floor = rounding.after(old) / (1.0 - backup.discount)
        error = 0.5 * factor * (high - low) * backup.unit + floor
        if error <= accuracy:
            values = (new + 0.5 * factor * (high + low)) * backup.unit
            return SoftValues(read_only(values[None]), error, sweep, backup)
        if floor > accuracy:
            raise HypothesisViolated(
                f"rounding alone may move the values by {floor:.3g}, more than the accuracy "
                f"{accuracy:.3g} asked for (discount {backup.discount}, largest value "
                f"{np.abs(new).max() * backup.unit:.3g})",
                f"ask for accuracy={2 * floor:.1g} or more",
            )
        old, new = new, old
    raise SolverFailed(
        f"after {max_sweeps} backups the values are known within {error:.3g} only, "
        f"not {accuracy:.3g}",
        "raise max_sweeps; the error shrinks by the discount per backup at least",
        solver="soft value iteration",
        status="budget",
    )


def _whole(horizon: object) -> int:
    if not isinstance(horizon, int | np.integer) or isinstance(horizon, bool) or horizon < 1:
        raise InvalidProblem(
            f"the horizon is {horizon!r}",
            "a horizon is a whole number and at least 1; without one, pass a discount below 1",
        )
    return int(horizon)


def _final(final: object, states: int) -> Float[np.ndarray, "state"]:
    if final is None:
        return np.zeros(states)
    given = float_array("the final values", final)
    if given.shape != (states,) or not np.isfinite(given).all():
        raise InvalidProblem(
            f"the final values have shape {given.shape} and {int((~np.isfinite(given)).sum())} "
            f"entries that are not finite, with {states} states",
            f"pass finite values of shape ({states},)",
        )
    return given


@dataclass(frozen=True, slots=True)
class _Rounding:
    """A bound on the rounding error of one backup, relative to the largest number in it.

    A row of K probabilities sums with at most K + 1 roundings (they are themselves rounded), the
    sum over actions with A, and each of a dozen other operations with one.
    """

    relative: float
    largest: float
    unit: float

    @classmethod
    def of(cls, backup: Backup) -> "_Rounding":
        longest = int(np.diff(backup.mdp.transitions.indptr).max())
        relative = EPSILON * (longest + backup.mdp.actions + 12)
        return cls(relative, backup.largest + 1.0, backup.unit)

    def after(self, values: Float[np.ndarray, "state"]) -> float:
        """Return the bound for a backup of these values, in reward units."""
        size = self.largest + max(float(values.max()), -float(values.min()))
        return self.relative * size * self.unit
