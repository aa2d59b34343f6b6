r"""The policy that secures most under the worst of several skew payoffs, in a bandit, by Newton.

A few models are active: the group-robust game of these is solved exactly, which bounds the optimum
over all from above; all are looked at under its policy, which bounds it from below; those that the
policy does worst under join. A policy has rarely many models to fear.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from nlhf.exact.group_robust import solve_group_robust
from nlhf.games.group_robust import GroupRobustGame
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.judging import secured
from nlhf.learning.preferences import as_preferences
from nlhf.spaces.policy import Policy

_NEWCOMERS = 4
"""Models that join at a time."""


class ActiveModels:
    """Active models, the best policy against these, and the best policy so far.

    Args:
        setting: A bandit at a positive temperature.
        tables: All payoffs, shape ``(K, X, n, n)``, skew.
        among: The numbers of those that count.
        start: A policy to begin with.

    Attributes:
        best: The policy of the largest pessimistic value met.
        lower: That value.
        upper: No policy's pessimistic value is larger.
        rounds: Games solved.
        method: The method in words.
    """

    def __init__(
        self,
        setting: BanditSetting,
        tables: Float[np.ndarray, "model stage outcome outcome"],
        among: Int[np.ndarray, " member"],
        start: Policy,
    ) -> None:
        self.setting, self.tables, self.among = setting, tables, among
        # Skew payoffs are 0 against oneself: nobody secures more.
        self.best, self.lower, self.upper, self.rounds = start, -np.inf, 0.0, 0
        self.active: list[int] = []
        self.complete = False
        self._look(start)

    method = "group-robust games of the models to fear, by Newton"

    @property
    def gap(self) -> float:
        """How much more than the best policy so far another one may secure."""
        return self.upper - self.lower

    def run(self, accuracy: float, observe: Callable[[int, float], None] | None = None) -> None:
        """Go on until the gap is small enough, or no model is left to join."""
        while self.gap > accuracy and not self.complete:
            self._solve()
            if observe is not None:
                observe(self.rounds, self.gap)

    def _solve(self) -> None:
        setting = self.setting
        preferences, scale = as_preferences(self.tables[self.active])
        game = GroupRobustGame(
            preferences,
            setting.reference,
            scale * setting.temperature,
            weights=setting.stage_weights,
        )
        policy, opponent = solve_group_robust(game).profile
        self.rounds += 1
        self.upper = min(self.upper, (game.dual(opponent) - 0.5) / scale)
        self._look(policy)

    def _look(self, policy: Policy) -> None:
        """Judge a policy by all models, and let those that it does worst under join."""
        values = secured(self.setting, self.tables, policy, self.among)
        if values.min() > self.lower:
            self.lower, self.best = float(values.min()), policy
        worst = [int(k) for k in self.among[np.argsort(values, kind="stable")[:_NEWCOMERS]]]
        joined = [k for k in worst if k not in self.active]
        self.complete = not joined
        self.active += joined
