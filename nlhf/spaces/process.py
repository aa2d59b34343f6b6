"""Decision processes: what a sequence of choices leads to, and how payoffs flow back.

A *decision point* is a place where the player chooses: a node of a tree, a state at a step. A
policy is a distribution over actions at every decision point. Everything that spaces, realisers
and certificates need of a process is on this page; it is computed by backward induction where
there is a horizon and by linear systems where there is a discount.
"""

from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

P = TypeVar("P", contravariant=True)


@runtime_checkable
class Process(Protocol[P]):
    """A tree, a tree of histories, or a Markov decision process, with payoffs of type P."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a policy: decision points on the leading axes, actions on the last."""
        ...

    @property
    def contexts(self) -> tuple[int, ...]:
        """`()` for one process, `(X,)` for a batch."""
        ...

    @property
    def length(self) -> float:
        """The longest, or if discounted the expected, number of choices in a trajectory."""
        ...

    @property
    def rounding(self) -> float:
        """A bound on the rounding error of a distribution over trajectories, in total mass."""
        ...

    def check(self, payoff: object) -> None:
        """Raise `Unsupported`, with the reason, unless the payoff is of this process's kind."""
        ...

    def optimum(
        self,
        payoff: P | None,
        log_weights: Float[np.ndarray, "*place action"] | None,
        temperature: float,
    ) -> Float[np.ndarray, "*place action"]:
        r"""Return the log-probabilities of the best policy.

        .. math:: \max_\pi E_\pi[g] - \tau E_\pi \sum_t \big(\log \pi(a_t|s_t) - w(a_t|s_t)\big)

        The weights w are `log_weights`, normalised or not. At temperature 0 there are no
        weights, and the first best action is taken. A payoff of `None` is zero.
        """
        ...

    def visits(self, log_policy: Float[np.ndarray, "*place action"]) -> Float[np.ndarray, "*place"]:
        """Return the expected number of visits of every decision point."""
        ...

    def action_values(
        self,
        log_policy: Float[np.ndarray, "*place action"],
        payoff: P | None,
        cost: Float[np.ndarray, "*place"] | None,
    ) -> Float[np.ndarray, "*place action"]:
        """Return what is still to come after an action, if the policy is followed from then on.

        The cost is paid at every later decision point, not at the present one.
        """
        ...

    def mean(
        self, log_policy: Float[np.ndarray, "*place action"], payoff: P
    ) -> Float[np.ndarray, "context"]:
        """Return the expected payoff of a trajectory in every context."""
        ...

    def total(self, values: Float[np.ndarray, "*place"]) -> Float[np.ndarray, "context"]:
        """Return the sum over the decision points of every context."""
        ...
