"""Preference games on Markov decision processes: preferences that add up over steps."""

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.games.payoffs import DensePayoff, Payoff
from nlhf.games.preference import LowRankPreference, checked_preference
from nlhf.games.sequential import SequentialGame, checked_process
from nlhf.results import float_array
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.duals import StepPayoff
from nlhf.spaces.histories import Histories
from nlhf.spaces.markov import FiniteHorizon
from nlhf.spaces.policy import Policy
from nlhf.spaces.process import Process
from nlhf.spaces.realisers import Realiser, SoftBellman
from nlhf.spaces.tree import TokenTree


class MarkovGame(SequentialGame):
    r"""Two independent copies of one MDP, compared step by step and by their last states.

    .. math:: P(\pi \succ \rho) = \frac{1-w}{H} \sum_{h<H} d_h^\top P_h\, d'_h
              + w\, d_H^\top P_{\text{final}}\, d'_H,

    with :math:`d_h` the distribution of (s, a) at step h under π and d' that under ρ: a judge looks
    at one step of both, at random, or with probability w at where they ended. In terms of skew
    step payoffs, :math:`S_h = (1-w)(P_h - 1/2)/H`. On a discounted process both copies stop
    independently, with probability 1 - γ after every step, and are compared by the steps at which
    they stop. Such preferences add up, so Markov policies answer them as well as any others.

    Args:
        process: `FiniteHorizon` or `Discounted`.
        step: P_h over pairs (s, a), row s·A + a: shape ``(S·A, S·A)`` or ``(S, A, S, A)`` for
            all steps, with a leading axis of length H for one each; or a `LowRankPreference` over
            the S·A pairs. `None`: steps are not compared.
        final: P over last states, ``(S, S)``; `None`: last states are not compared.
        final_weight: w, needed if both are given.
        reference: μ, probabilities of full support in the process's shape (leading axes may be
            left out); uniform over actions by default.
        temperature: τ ≥ 0, in win probability, the price of one nat of a whole trajectory.
        realiser: How proximal steps are carried out; exactly by default.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range, or nothing is
            compared.
        Unsupported: If the process is a tree or none, or a discounted one has a preference over
            last states.
    """

    process: FiniteHorizon | Discounted

    def __init__(
        self,
        process: Process[Any],
        step: ArrayLike | LowRankPreference | None = None,
        final: ArrayLike | None = None,
        final_weight: float | None = None,
        reference: ArrayLike | Policy | None = None,
        temperature: float = 0.0,
        realiser: Realiser | None = None,
    ) -> None:
        played = checked_process(
            process,
            of_mdp="pass FiniteHorizon(mdp, horizon) or Discounted(mdp, discount)",
            of_other="pass FiniteHorizon(mdp, horizon) or Discounted(mdp, discount)",
        )
        if isinstance(played, TokenTree | Histories):
            raise Unsupported(
                f"a {type(played).__name__} has leaves, and no states that come again",
                "use TrajectoryGame, with a preference over the leaves",
            )
        if isinstance(played, Discounted) and final is not None:
            raise Unsupported(
                "a discounted process is compared by the steps at which it stops, and has no "
                "last state beside them",
                "pass step, with rows that depend on the state only",
            )
        self.final_weight = _checked_weight(step is not None, final is not None, final_weight)
        states, actions = played.mdp.states, played.mdp.actions
        blank = DensePayoff(np.full((1, 1), 0.5))
        self.step = blank if step is None else _checked_step(played, step)
        self.final = blank if final is None else _checked_final(states, final)
        self._pairs = (states, actions)
        super().__init__(played, reference, temperature, None, realiser or SoftBellman())

    @cached_property
    def lipschitz(self) -> float:
        """Half the range of the preferences between trajectories, at most 1/2."""
        w = self.final_weight
        return min(0.5, (1.0 - w) * self.step.half_range + w * self.final.half_range)

    @cached_property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """A bound on the rounding error of the payoff of a trajectory."""
        w = self.final_weight
        products = (1.0 - w) * self.step.rounding.max() + w * self.final.rounding.max()
        return np.atleast_1d(products + self.process.rounding)

    def payoff_against(self, policy: Policy) -> StepPayoff:
        """Return what every action and last state adds to the chance of being preferred."""
        w, log_policy = self.final_weight, policy.log_probabilities
        ends = np.zeros(self._pairs[0])
        if isinstance(self.process, Discounted):
            # (1 - γ) Σ γ^t d_t: where the opponent stops.
            visits = self.process.visits(log_policy) / self.process.length
            share = 1.0
        else:
            visits, last = self.process.flow(log_policy)
            share = (1.0 - w) / self.process.horizon
            if w > 0.0:
                ends = w * self.final.rows(last)
        if w == 1.0:
            return StepPayoff(np.zeros(self.process.shape), ends)
        pairs = (visits[..., None] * np.exp(log_policy)).reshape(*visits.shape[:-1], -1)
        steps = share * self.step.rows(pairs)
        return StepPayoff(steps.reshape(self.process.shape), ends)


def _checked_weight(steps: bool, last: bool, weight: float | None) -> float:
    if not (steps or last):
        raise InvalidProblem(
            "neither steps nor last states are compared", "pass step, final, or both"
        )
    if steps and last:
        number = isinstance(weight, int | float | np.floating) and not isinstance(weight, bool)
        if not (number and weight is not None and 0.0 <= weight <= 1.0):
            raise InvalidProblem(
                f"final_weight is {weight!r}, with both steps and last states to compare",
                "pass the probability, from 0 to 1, that last states are compared",
            )
        return float(weight)
    only = 1.0 if last else 0.0
    if weight is not None and weight != only:
        raise InvalidProblem(
            f"final_weight is {weight!r}, but only "
            f"{'last states are' if last else 'steps are'} compared",
            "leave it out, or pass both step and final",
        )
    return only


def _checked_step(
    process: FiniteHorizon | Discounted, step: ArrayLike | LowRankPreference
) -> Payoff:
    states, actions = process.mdp.states, process.mdp.actions
    count = states * actions
    if isinstance(step, LowRankPreference):
        if step.payoff.shape[0] != count:
            raise InvalidProblem(
                f"the step preference has {step.payoff.shape[0]} rows of features, "
                f"there are {count} pairs of a state and an action",
                "pass features of shape (S*A, d), row s*A + a",
            )
        return step.payoff
    return DensePayoff(checked_preference(over_pairs(process, "the step preference", step)))


def over_pairs(
    process: FiniteHorizon | Discounted, name: str, matrix: ArrayLike
) -> Float[np.ndarray, "*step pair pair"]:
    """Return a matrix over pairs (s, a) for all steps, or one for each.

    Raises:
        InvalidProblem: If it has neither shape.
    """
    states, actions = process.mdp.states, process.mdp.actions
    count = states * actions
    given: Any = float_array(name, matrix)
    pair, axes = (states, actions), given.ndim
    if axes >= 4 and given.shape[axes - 4 :] == pair + pair:
        given = given.reshape(*given.shape[: axes - 4], count, count)
    stages = (process.horizon,) if isinstance(process, FiniteHorizon) else ()
    if given.shape not in ((count, count), (*stages, count, count)):
        raise InvalidProblem(
            f"{name} has shape {np.shape(matrix)}, this process needs "
            f"{(count, count)} or {pair + pair}"
            + (
                f", with a leading axis of {stages[0]} if it changes with the step"
                if stages
                else ""
            ),
            "order rows and columns by state, then action: row s*A + a",
        )
    return np.asarray(given)


def _checked_final(states: int, final: ArrayLike) -> Payoff:
    given = float_array("the preference over last states", final)
    if given.shape != (states, states):
        raise InvalidProblem(
            f"the preference over last states has shape {given.shape}, "
            f"this process needs {(states, states)}",
            "pass one row and column per state",
        )
    return DensePayoff(checked_preference(given))
