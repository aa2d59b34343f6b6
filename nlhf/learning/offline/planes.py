r"""The policy that secures most under the worst of several payoffs, by planes.

.. math:: \max_\pi F(\pi), \qquad F(\pi) = \min_{k} \min_\rho T_k(\pi, \rho)
          - \tau KL(\pi\|\mu) + \tau KL(\rho\|\mu)

F is concave: a minimum of functions that are linear in the visits of π, less τ KL. The minimum over
replies has a closed form. Planes through what the worst payoffs concede are gathered, and the best
policy against all planes so far is a MaxMin policy, which is found exactly and bounds the optimum
from above.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from nlhf.exact.convex_maxmin import solve_convex_maxmin
from nlhf.exact.maxmin import solve_maxmin
from nlhf.exact.regularised import blas
from nlhf.learning.judging import opposed, secured
from nlhf.learning.settings import Setting
from nlhf.spaces.policy import Policy

_AT_ONCE = 8
"""Models that give a plane each in one round."""
_NEWCOMERS = 16
"""Models that join those looked at, after all were."""
_IDLE = 1e-12
"""Weight of a plane at which it bears nothing."""
_KEPT = 3
"""Rounds for which an idle plane is kept."""
_FALL = 0.99
"""Progress is a gap that falls below this share of the last one."""
_PATIENCE = 60
"""Rounds without progress after which the search is over."""
_SHARE = 0.1
"""Of the gap between best policy and bound: what the models looked at may leave of it, before all
are looked at again."""


class PlaneSearch:
    """Planes so far, the best policy against them, and the best policy so far.

    Args:
        setting: Where the policy acts.
        tables: All payoffs, shape ``(K, L, m, m)``, skew or not.
        among: The numbers of those that count.
        start: A policy to begin with.

    Attributes:
        best: The policy of the largest pessimistic value met.
        lower: That value.
        upper: No policy's pessimistic value is larger.
        rounds: MaxMin problems solved.
        method: The method in words.
    """

    def __init__(
        self,
        setting: Setting,
        tables: Float[np.ndarray, "model stage outcome outcome"],
        among: Int[np.ndarray, " member"],
        start: Policy,
    ) -> None:
        self.setting, self.tables, self.members = setting, tables, among
        self.looked = among[:1]
        self.planes: list[Float[np.ndarray, "stage outcome"]] = []
        self.idle: list[int] = []
        self.best = self.policy = start
        self.lower, self.upper = -np.inf, np.inf
        self.rounds = self._last_fall = 0
        self._look_at_all()
        self._fallen_to = self.gap

    method = "planes through what models concede, MaxMin over planes"

    @property
    def gap(self) -> float:
        """How much more than the best policy so far another one may secure."""
        return self.upper - self.lower

    @property
    def stalled(self) -> bool:
        """Whether the gap has not fallen for many rounds: rounding, or a stalled MaxMin."""
        return self.rounds - self._last_fall > _PATIENCE

    def run(self, accuracy: float, observe: Callable[[int, float], None] | None = None) -> None:
        """Go on until the gap is small enough or no longer falls."""
        with blas().limit(limits=1, user_api="blas"):  # the systems are small
            while self.gap > accuracy and not self.stalled:
                self.step(accuracy)
                if observe is not None:
                    observe(self.rounds, self.gap)

    def step(self, accuracy: float) -> None:
        """Find the best policy against the planes, and the planes that it runs into."""
        self._solve_planes()
        values = self._values(self.looked)
        # The bound is of all models, the value of those looked at: once they nearly meet, the
        # others have to say something.
        if self.upper - values.min() <= max(_SHARE * self.gap, accuracy / 2.0):
            self._look_at_all()
        else:
            self._add_planes(self.looked[np.argsort(values)[:_AT_ONCE]])
        if self.gap < _FALL * self._fallen_to:
            self._fallen_to, self._last_fall = self.gap, self.rounds

    def _look_at_all(self) -> None:
        values = self._values(self.members)
        if values.min() > self.lower:
            self.lower, self.best = float(values.min()), self.policy
        worst = self.members[np.argsort(values)[:_NEWCOMERS]]
        self.looked = np.union1d(self.looked, worst)
        self._add_planes(worst[:_AT_ONCE])

    def _values(self, models: Int[np.ndarray, " model"]) -> Float[np.ndarray, " model"]:
        return secured(self.setting, self.tables, self.policy, models)

    def _add_planes(self, models: Int[np.ndarray, " model"]) -> None:
        """Add what a policy is paid against the worst reply of every model to the present one."""
        price = self.setting.temperature
        conceded = opposed(self.tables, self.setting.visits(self.policy), models)
        for model, values in zip(models, conceded, strict=True):
            reply = self.setting.best(-values)
            plane = np.einsum("lij,lj->li", self.tables[model], self.setting.visits(reply))
            if price > 0.0:
                plane = plane + price * self.setting.divergence(reply)
            self.planes.append(plane)
            self.idle.append(0)

    def _solve_planes(self) -> None:
        game = self.setting.maxmin(self.planes)
        if self.setting.temperature > 0.0:
            policy, weights = solve_maxmin(game).profile
        else:
            program = solve_convex_maxmin(game)
            policy, weights = program.policy, program.weights
        self.policy, self.rounds = policy, self.rounds + 1
        self.upper = min(self.upper, game.dual(weights))
        bearing = weights.probabilities > _IDLE
        self.idle = [0 if used else age + 1 for used, age in zip(bearing, self.idle, strict=True)]
        kept = [age <= _KEPT for age in self.idle]
        self.planes = [plane for plane, keep in zip(self.planes, kept, strict=True) if keep]
        self.idle = [age for age, keep in zip(self.idle, kept, strict=True) if keep]
