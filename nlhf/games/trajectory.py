"""Preference games between complete sequences or histories."""

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.games.payoffs import DensePayoff, Payoff
from nlhf.games.preference import LowRankPreference, PreferenceGame, checked_preference
from nlhf.games.sequential import SequentialGame, checked_process
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.duals import LeafPayoff
from nlhf.spaces.histories import Histories
from nlhf.spaces.markov import FiniteHorizon
from nlhf.spaces.policy import Policy
from nlhf.spaces.process import Process
from nlhf.spaces.realisers import Realiser, SoftBellman
from nlhf.spaces.tree import TokenTree


class TrajectoryGame(SequentialGame):
    r"""The preference game of sequences over a vocabulary, or of the histories of an MDP.

    .. math:: J(\pi,\rho) = \pi^\top P \rho - \tau KL(\pi\|\mu) + \tau KL(\rho\|\mu)

    over the leaves of the tree. On a token tree it is the `PreferenceGame` of the V^H sequences,
    played token by token. On histories chance moves between the choices, and a policy remembers.

    Args:
        process: `TokenTree` or `Histories`.
        preference: P over the leaves, ``(leaf, leaf)``, or ``(X, leaf, leaf)`` with contexts; as
            in `PreferenceGame`. Or a `LowRankPreference`.
        reference: μ, probabilities of full support in the process's shape (leading axes may be
            left out); uniform over actions by default.
        temperature: τ ≥ 0, in win probability, the price of one nat of a whole trajectory.
        weights: Prompt distribution over the X contexts; uniform by default.
        realiser: How proximal steps are carried out; exactly by default.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range.
        Unsupported: If the process has Markov policies, which cannot answer such a preference,
            or is none.
    """

    process: TokenTree | Histories

    def __init__(
        self,
        process: Process[Any],
        preference: ArrayLike | LowRankPreference,
        reference: ArrayLike | Policy | None = None,
        temperature: float = 0.0,
        weights: ArrayLike | None = None,
        realiser: Realiser | None = None,
    ) -> None:
        played = checked_process(
            process,
            of_mdp="pass Histories(mdp, horizon)",
            of_other="pass TokenTree(vocabulary, horizon) or Histories(mdp, horizon)",
        )
        if isinstance(played, FiniteHorizon | Discounted):
            raise Unsupported(
                f"a preference between whole trajectories cannot be played on a "
                f"{type(played).__name__}: its best responses depend on the whole history, and "
                "a Markov policy sees only the state and the step",
                "use Histories(mdp, horizon), or a MarkovGame with a preference between steps or "
                "last states",
            )
        self.preference = _checked(played, preference)
        self.payoff: Payoff = (
            self.preference.payoff
            if isinstance(self.preference, LowRankPreference)
            else DensePayoff(self.preference)
        )
        super().__init__(played, reference, temperature, weights, realiser or SoftBellman())

    @cached_property
    def lipschitz(self) -> float:
        """Half the range of the preferences, at most 1/2."""
        return min(0.5, self.payoff.half_range)

    @cached_property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """Per context, a bound on the rounding error of the payoff of a trajectory."""
        return self.payoff.rounding + self.process.rounding

    def payoff_against(self, policy: Policy) -> LeafPayoff:
        """Return P ρ: how often every leaf is preferred to one that the policy reaches."""
        _, leaves = self.process.flow(policy.log_probabilities)
        return LeafPayoff(self.payoff.rows(leaves))

    def flat(self) -> PreferenceGame:
        """Return the game of the complete sequences of a token tree, chosen all at once.

        Its equilibrium is that of the tree: a distribution over sequences is a policy.

        Raises:
            Unsupported: On histories, where chance decides too and not every distribution over
                leaves is a policy's.
        """
        if not isinstance(self.process, TokenTree):
            raise Unsupported(
                "chance moves in these histories: no policy chooses a complete one",
                "use flat() on a TokenTree",
            )
        logs = self.process.leaf_log_probabilities(self.reference.log_probabilities)
        return PreferenceGame(self.preference, Policy(logs), self.temperature, self.weights)


def _checked(
    process: TokenTree | Histories, preference: ArrayLike | LowRankPreference
) -> np.ndarray | LowRankPreference:
    """Return the preference after checking that it is one over the leaves."""
    checked: np.ndarray | LowRankPreference
    if isinstance(preference, LowRankPreference):
        checked, shape = preference, (*preference.payoff.shape,)
    else:
        checked = checked_preference(preference)
        shape = checked.shape
    expected = (*process.contexts, process.leaves, process.leaves)
    if shape != expected:
        raise InvalidProblem(
            f"the preference has shape {shape}, this process needs {expected}: it has "
            f"{process.leaves} leaves",
            "pass one row and column per complete sequence or history, contexts first",
        )
    return checked
