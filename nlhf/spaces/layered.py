r"""Processes with a horizon: backward induction for values, one sweep forward for visits."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, expectation, log_certain

P = TypeVar("P")


class Layered(ABC, Generic[P]):
    """A process whose decision points come in layers h = 0 ... H-1, and ends in layer H.

    Attributes:
        horizon: H, the number of choices in a trajectory.
        shape: Shape of a policy.
        contexts: `()` for one process, `(X,)` for a batch.
        initial: Distribution over layer 0, shape ``(*contexts, N_0)``.
    """

    horizon: int
    shape: tuple[int, ...]
    contexts: tuple[int, ...]
    initial: Float[np.ndarray, "*context point"]

    @abstractmethod
    def layer(self, array: np.ndarray, h: int, trailing: int) -> np.ndarray:
        """Return the view of layer h, the points on one axis before the `trailing` last ones."""

    @abstractmethod
    def expected(
        self, h: int, values: Float[np.ndarray, "*context next"]
    ) -> Float[np.ndarray, "*context point action"]:
        """Return the mean of values of layer h + 1 after every action in layer h."""

    @abstractmethod
    def moved(
        self, h: int, flow: Float[np.ndarray, "*context point action"]
    ) -> Float[np.ndarray, "*context next"]:
        """Return the distribution over layer h + 1 that a flow through layer h leads to."""

    @abstractmethod
    def check(self, payoff: object) -> None:
        """Raise `Unsupported`, with the reason, unless the payoff is of this process's kind."""

    @abstractmethod
    def final(self, payoff: P | None) -> Float[np.ndarray, "*context last"]:
        """Return the payoff of every point of layer H."""

    @abstractmethod
    def step(self, payoff: P | None, h: int) -> Float[np.ndarray, "*context point action"] | None:
        """Return the payoff of every action in layer h; `None` for zero."""

    @property
    def rounding(self) -> float:
        """A bound on the rounding error of a distribution over the points of a layer, in mass.

        In a tree nothing is added up on the way: every step multiplies by two factors.
        """
        return 4 * self.horizon * EPSILON

    @property
    def length(self) -> float:
        """The horizon."""
        return float(self.horizon)

    def optimum(
        self,
        payoff: P | None,
        log_weights: Float[np.ndarray, "*place action"] | None,
        temperature: float,
    ) -> Float[np.ndarray, "*place action"]:
        r"""Return the log-probabilities of the best policy, by the soft Bellman recursion.

        .. math::
            Q_h(s,a) = g_h(s,a) + E[V_{h+1}(s')], \qquad
            V_h(s) = \tau \log \sum_a e^{w(a|s) + Q_h(s,a)/\tau}, \qquad
            \pi_h \propto e^{w + Q_h/\tau}.

        At temperature 0, V is the maximum of Q and the first best action is taken.
        """
        log_policy = np.empty(self.shape)
        values = self.final(payoff)
        for h in reversed(range(self.horizon)):
            q = self._to_come(payoff, values, h)
            target = self.layer(log_policy, h, trailing=1)
            if log_weights is None:
                target[...] = log_certain(np.asarray(q.argmax(axis=-1)), q.shape[-1])
                values = q.max(axis=-1)
                continue
            q /= temperature
            q += self.layer(log_weights, h, trailing=1)
            values = temperature * _normalise(q, target)
        return log_policy

    def visits(self, log_policy: Float[np.ndarray, "*place action"]) -> Float[np.ndarray, "*place"]:
        """Return the probability of visiting every decision point, by one sweep forward."""
        return self.flow(log_policy)[0]

    def flow(
        self, log_policy: Float[np.ndarray, "*place action"]
    ) -> tuple[Float[np.ndarray, "*place"], Float[np.ndarray, "*context last"]]:
        """Return the probability of every decision point, and of every point of layer H."""
        visits = np.empty(self.shape[:-1])
        here = self.initial
        for h in range(self.horizon):
            self.layer(visits, h, trailing=0)[...] = here
            here = self.moved(h, here[..., None] * np.exp(self.layer(log_policy, h, trailing=1)))
        return visits, here

    def action_values(
        self,
        log_policy: Float[np.ndarray, "*place action"],
        payoff: P | None,
        cost: Float[np.ndarray, "*place"] | None,
    ) -> Float[np.ndarray, "*place action"]:
        """Return what is still to come after an action, if the policy is followed from then on."""
        answer = np.empty(self.shape)
        values = self.final(payoff)
        for h in reversed(range(self.horizon)):
            q = self.layer(answer, h, trailing=1)
            q[...] = self._to_come(payoff, values, h)
            values = expectation(self.layer(log_policy, h, trailing=1), q)
            if cost is not None:
                values = values - self.layer(cost, h, trailing=0)
        return answer

    def mean(
        self, log_policy: Float[np.ndarray, "*place action"], payoff: P
    ) -> Float[np.ndarray, "context"]:
        """Return the expected payoff of a trajectory in every context."""
        q = self.action_values(log_policy, payoff, None)
        first = expectation(self.layer(log_policy, 0, trailing=1), self.layer(q, 0, trailing=1))
        return np.atleast_1d((self.initial * first).sum(axis=-1))

    def total(self, values: Float[np.ndarray, "*place"]) -> Float[np.ndarray, "context"]:
        """Return the sum over the decision points of every context."""
        return values.reshape(*(self.contexts or (1,)), -1).sum(axis=-1)

    def _to_come(
        self, payoff: P | None, values: Float[np.ndarray, "*context next"], h: int
    ) -> Float[np.ndarray, "*context point action"]:
        to_come = self.expected(h, values)
        step = self.step(payoff, h)
        return np.array(to_come) if step is None else to_come + step


def _normalise(
    logits: Float[np.ndarray, "*context point action"],
    target: Float[np.ndarray, "*context point action"],
) -> Float[np.ndarray, "*context point"]:
    """Write the log-distributions into the target and return the logs of their sums.

    `numerics.normalise` in place: the logits are overwritten, no probabilities are kept.
    """
    top = logits.max(axis=-1, keepdims=True)
    logits -= top
    np.exp(logits, out=target)
    total = np.log(target @ np.ones(target.shape[-1]))
    np.subtract(logits, total[..., None], out=target)
    return np.asarray(top[..., 0] + total)
