"""Games between trajectories from their definition, in 50 digits: shares no code with the package.

A trajectory is (s_0, a_0, s_1, ..., s_H). Every decision may depend on the whole history, so a
best response found here is one among all policies. Policies are given by the floats stored.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

import numpy as np
from mpmath import mp, mpf

DIGITS = 50

History = tuple[int, ...]
Logs = Callable[[History], np.ndarray]
"""Log-probabilities of the actions after a history (s_0, a_0, ..., s_h)."""
Compare = Callable[[History, History], float]
"""How often the first trajectory is preferred to the second."""


class Process:
    """A table of transitions ``(S, A, S)``, a first state's distribution, and a horizon."""

    def __init__(self, table: np.ndarray, initial: np.ndarray, horizon: int) -> None:
        self.table, self.initial, self.horizon = table, initial, horizon
        # Floats of a distribution sum to 1 within rounding; here they do exactly.
        with mp.workdps(DIGITS):
            self._first = _normalised(initial)
            self._moves = {at: _normalised(table[at]) for at in np.ndindex(table.shape[:2])}

    def longer(self, history: History) -> Iterator[History]:
        for action in range(self.table.shape[1]):
            for state in np.flatnonzero(self.table[history[-1], action]):
                yield (*history, action, int(state))

    def histories(self, choices: int) -> list[History]:
        """Return the histories of positive probability with so many choices, in order."""
        found: list[History] = [(int(s),) for s in np.flatnonzero(self.initial)]
        for _ in range(choices):
            found = [new for old in found for new in self.longer(old)]
        return found

    def chance(self, history: History) -> mpf:
        steps = zip(history[0::2], history[1::2], history[2::2], strict=False)
        return self._first[history[0]] * mp.fprod(self._moves[s, a][t] for s, a, t in steps)

    def next_chance(self, history: History) -> mpf:
        """Return the probability of the last state, given what went before it."""
        return self._moves[history[-3], history[-2]][history[-1]]


def _normalised(weights: np.ndarray) -> list[mpf]:
    exact = [mpf(float(w)) for w in weights]
    return [w / mp.fsum(exact) for w in exact]


def markov(log_policy: np.ndarray) -> Logs:
    """Read a policy of shape ``(H, S, A)``."""
    return lambda history: log_policy[len(history) // 2, history[-1]]


def remembering(process: Process, log_policy: np.ndarray) -> Logs:
    """Read a policy of shape ``(N, A)`` over all histories, shorter ones first, then in order."""
    order = [h for n in range(process.horizon) for h in process.histories(n)]
    number = {history: i for i, history in enumerate(order)}
    return lambda history: log_policy[number[history]]


def _chances(logs: np.ndarray) -> list[mpf]:
    return _distribution(tuple(float(v) for v in logs))


@cache
def _distribution(logs: tuple[float, ...]) -> list[mpf]:
    weights = [mp.exp(mpf(v)) if v > -np.inf else mpf(0) for v in logs]
    return [w / mp.fsum(weights) for w in weights]


def _own(process: Process, logs: Logs, history: History) -> mpf:
    """Return the probability of a history that is the policy's doing."""
    return mp.fprod(
        _chances(logs(history[: 2 * h + 1]))[history[2 * h + 1]] for h in range(len(history) // 2)
    )


def _divergence(process: Process, policy: Logs, reference: Logs) -> mpf:
    total = mpf(0)
    for h in range(process.horizon):
        for history in process.histories(h):
            pairs = zip(_chances(policy(history)), _chances(reference(history)), strict=True)
            here = mp.fsum(p * mp.log(p / m) for p, m in pairs if p > 0)
            total += process.chance(history) * _own(process, policy, history) * here
    return total


@mp.workdps(DIGITS)
def payoffs(process: Process, compare: Compare, policy: Logs) -> dict[History, mpf]:
    """Return how often every trajectory is preferred to one of the policy."""
    whole = process.histories(process.horizon)
    met = [process.chance(t) * _own(process, policy, t) for t in whole]
    return {
        t: mp.fsum(m * mpf(float(compare(t, other))) for m, other in zip(met, whole, strict=True))
        for t in whole
    }


@mp.workdps(DIGITS)
def duality_gap(
    process: Process, compare: Compare, policy: Logs, reference: Logs, temperature: float
) -> mpf:
    """Return twice what the best policy that remembers everything gains over the given one."""
    faced = payoffs(process, compare, policy)
    t = mpf(temperature)

    def best(history: History) -> mpf:
        if len(history) == 2 * process.horizon + 1:
            return faced[history]
        values = []
        for action in range(process.table.shape[1]):
            ahead = [new for new in process.longer(history) if new[-2] == action]
            values.append(mp.fsum(process.next_chance(new) * best(new) for new in ahead))
        if temperature == 0:
            return max(values)
        top = max(values)
        weighed = zip(_chances(reference(history)), values, strict=True)
        return top + t * mp.log(mp.fsum(m * mp.exp((v - top) / t) for m, v in weighed))

    gains = mp.fsum(process.chance(s) * best(s) for s in process.histories(0))
    own = mp.fsum(process.chance(w) * _own(process, policy, w) * g for w, g in faced.items())
    if temperature != 0:
        own -= t * _divergence(process, policy, reference)
    return 2 * (gains - own)


def deterministic_markov(horizon: int, states: int, actions: int) -> Iterator[np.ndarray]:
    """Yield the log-policies of all deterministic Markov policies, shape ``(H, S, A)``."""
    for choice in product(range(actions), repeat=horizon * states):
        log_policy = np.full((horizon * states, actions), -np.inf)
        log_policy[np.arange(horizon * states), choice] = 0.0
        yield log_policy.reshape(horizon, states, actions)
