"""Concave functions of what a policy does where: what a `UtilityGame` is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.games.welfare import Welfare
from nlhf.numerics import EPSILON
from nlhf.results import float_array, read_only
from nlhf.spaces.duals import LeafPayoff, StepPayoff

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """What a policy does where, prompts included: utilities are functions of it.

    Attributes:
        actions: Probability of a prompt and its response; of a prompt and the way through the tree
            to a token; of a state and action at every step; of the state and action at which a
            discounted process stops, its visits times 1 − γ. Shape of a policy.
        last: Probability of every leaf of a tree, ``(leaf,)`` or ``(X, leaf)``, or of every last
            state ``(S,)``; empty where responses are chosen at once and under a discount.
    """

    actions: Float[np.ndarray, "*place action"]
    last: Float[np.ndarray, "*context last"]

    def __sub__(self, other: "Occupancy") -> "Occupancy":
        return Occupancy(self.actions - other.actions, self.last - other.last)

    @property
    def mass(self) -> float:
        """The sum of the sizes of all entries."""
        return float(np.abs(self.actions).sum() + np.abs(self.last).sum())

    def mean(self, payoff: Any) -> float:
        """Return E[g], of an array, a `LeafPayoff` or a `StepPayoff`."""
        if isinstance(payoff, LeafPayoff):
            return float((self.last * payoff.leaves).sum())
        if isinstance(payoff, StepPayoff):
            final = float(self.last @ payoff.final) if self.last.size else 0.0
            return float((self.actions * payoff.steps).sum()) + final
        return float((self.actions * payoff).sum())


@runtime_checkable
class Utility(Protocol):
    """A concave function f of the occupancy."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of a policy where responses are chosen at once, if it is known from f."""
        ...

    @property
    def half_range(self) -> float:
        """Half the range of the gradient on trajectories, at any occupancy; `inf` if unbounded."""
        ...

    @property
    def smoothness(self) -> float:
        r"""β with ‖∇f(d) − ∇f(d')‖_∞ ≤ β ‖d − d'‖₁ on trajectories, up to a constant, or `inf`."""
        ...

    def value(self, occupancy: Occupancy) -> float:
        """Return f(d); `-inf` outside its domain."""
        ...

    def gradient(self, occupancy: Occupancy) -> Any:
        """Return ∇f(d), a payoff of the kind of the process: an array where there is none."""
        ...

    def rounding(self, occupancy: Occupancy, error: float) -> float:
        """Return how far off the gradient of a trajectory may be.

        Args:
            occupancy: d.
            error: How far off d may be, in mass.
        """
        ...


class GroupWelfare:
    """A welfare of the mean rewards of the groups, φ(E r_1, ..., E r_U).

    Args:
        rewards: One payoff per group, of the kind of the process; an array ``(U, n)`` or
            ``(U, X, n)`` where there is none.
        welfare: φ.

    Raises:
        InvalidProblem: If the numbers of groups differ, or a reward is not finite.
    """

    def __init__(self, rewards: Any, welfare: Welfare) -> None:
        on_process = isinstance(rewards, Sequence) and all(
            isinstance(reward, LeafPayoff | StepPayoff) for reward in rewards
        )
        self.rewards: Any = tuple(rewards) if on_process else _array(rewards)
        self.welfare = welfare
        if len(self.rewards) != welfare.groups:
            raise InvalidProblem(
                f"there are {len(self.rewards)} groups of rewards and {welfare.groups} in "
                f"{welfare!r}",
                "give one reward per group",
            )

    def __repr__(self) -> str:
        return repr(self.welfare)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """``(n,)`` or ``(X, n)``; `None` on a process."""
        return self.rewards.shape[1:] if isinstance(self.rewards, np.ndarray) else None

    @cached_property
    def half_range(self) -> float:
        """A bound on half the range of Σ_u φ_u r_u."""
        return self._bounds[0]

    @cached_property
    def smoothness(self) -> float:
        """A bound on the change of Σ_u φ_u r_u; `inf` for a Nash welfare that can vanish."""
        return self._bounds[1]

    def utilities(self, occupancy: Occupancy) -> Float[np.ndarray, "group"]:
        """Return E r_u, shape ``(U,)``."""
        return np.array([occupancy.mean(reward) for reward in self.rewards])

    def value(self, occupancy: Occupancy) -> float:
        """Return the welfare."""
        return self.welfare.value(self.utilities(occupancy))

    def gradient(self, occupancy: Occupancy) -> Any:
        """Return Σ_u φ_u r_u, the reward of the groups at the present exchange rates."""
        return self.weighted(self.welfare.gradient(self.utilities(occupancy)))

    def weighted(self, weights: Float[np.ndarray, "group"]) -> Any:
        """Return Σ_u w_u r_u."""
        total = self.rewards[0] * float(weights[0])
        for weight, reward in zip(weights[1:], self.rewards[1:], strict=True):
            total = total + reward * float(weight)
        return total

    def rounding(self, occupancy: Occupancy, error: float) -> float:
        """Return what errors of the utilities do to the exchange rates, times the rewards."""
        utilities, largest = self.utilities(occupancy), self._largest
        rates = self.welfare.rounding(utilities, error * largest)
        own = EPSILON * (len(utilities) + 4) * float(self.welfare.gradient(utilities).sum())
        return largest * (rates + own)

    @cached_property
    def _largest(self) -> float:
        if isinstance(self.rewards, np.ndarray):
            return float(np.abs(self.rewards).max())
        return float(max(reward.size.max() for reward in self.rewards))

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        if isinstance(self.rewards, np.ndarray):
            least = self.rewards.reshape(len(self.rewards), -1).min(axis=-1)
            half = np.array([float(np.ptp(r, axis=-1).max() / 2.0) for r in self.rewards])
        else:
            least = np.array([_least(reward) for reward in self.rewards])
            half = np.array([reward.half_range for reward in self.rewards])
        return self.welfare.bounds(least, half)


class StateEntropy:
    r"""The entropy of the states that a policy visits, :math:`-\sum_s d(s) \log d(s)`, in nats.

    d(s) is the probability that a discounted process stops in s, or the mean over the steps of a
    finite horizon: exploration for its own sake (Hazan, Kakade, Singh & Van Soest 2019). The
    gradient is unbounded, so no step is proven by a Lipschitz constant. But the entropy is smooth
    relative to KL with constant 1, :math:`D_{-f}(d'\|d) = KL(d'\|d)` being at most the divergence
    between trajectories: `exact.utility.ascend` uses this.
    """

    shape = None
    half_range = np.inf
    smoothness = np.inf

    def __repr__(self) -> str:
        return "StateEntropy()"

    def value(self, occupancy: Occupancy) -> float:
        """Return the entropy."""
        d = self.visits(occupancy)
        return -float((d[d > 0.0] * np.log(d[d > 0.0])).sum())

    def gradient(self, occupancy: Occupancy) -> StepPayoff:
        """Return −log d(s), up to a constant; large but finite where the policy never comes.

        Raises:
            Unsupported: If the game is not on a Markov decision process.
        """
        if occupancy.actions.ndim < 2 or occupancy.last.ndim != 1:
            raise Unsupported(
                "the entropy of states is of those of a Markov decision process",
                "play in nlhf.Discounted(mdp, discount) or nlhf.FiniteHorizon(mdp, horizon)",
            )
        d = np.maximum(self.visits(occupancy), _TINY)
        each = -np.log(d)[:, None] / self._steps(occupancy)
        steps = np.array(np.broadcast_to(each, occupancy.actions.shape))
        return StepPayoff(steps, np.zeros(len(d)))

    def rounding(self, occupancy: Occupancy, error: float) -> float:
        """Return e/d(s) of the rarest state visited, and the rounding of logarithms."""
        d = self.visits(occupancy)
        return error / float(d[d > 0.0].min()) - 8 * EPSILON * float(np.log(_TINY))

    def visits(self, occupancy: Occupancy) -> Float[np.ndarray, "state"]:
        """Return d(s)."""
        states = occupancy.actions.sum(axis=-1)
        return np.asarray(states.reshape(-1, states.shape[-1]).mean(axis=0))

    def _steps(self, occupancy: Occupancy) -> int:
        return occupancy.actions.shape[0] if occupancy.actions.ndim == 3 else 1


def _array(values: object) -> np.ndarray:
    array = float_array("the rewards", values)
    if array.ndim not in (2, 3) or 0 in array.shape or not np.isfinite(array).all():
        raise InvalidProblem(
            f"the rewards have shape {array.shape} and {int((~np.isfinite(array)).sum())} entries "
            "that are not finite",
            "pass finite rewards, one row per group: (U, n), or (U, X, n) with prompts",
        )
    return read_only(array)


def _least(reward: LeafPayoff | StepPayoff) -> float:
    """Return a lower bound on what a trajectory is paid."""
    if isinstance(reward, LeafPayoff):
        return float(reward.leaves.min())
    return float(reward.steps.min(axis=(-2, -1)).sum() + reward.final.min())
