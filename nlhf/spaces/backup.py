"""One soft Bellman backup of a Markov decision process, at the speed of reading its transitions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.numerics import log_certain, log_normalise
from nlhf.results import float_array
from nlhf.spaces.mdp import MDP
from nlhf.spaces.policy import Policy

_IN_CACHE = 1 << 15
"""Scores handled at a time, 256 KB: five passes over them then stay in the second-level cache."""
_FEW_ACTIONS = 64
"""Up to here a loop over actions beats NumPy's maximum over a short last axis, fourfold at 10."""


@dataclass(frozen=True, slots=True, eq=False)
class Backup:
    r"""The soft Bellman operator of a process, rewards, a reference policy and a temperature.

    .. math::
        (TV)(s) = \tau \log \sum_a \mu(a|s)
            \exp\frac{r(s,a) + \gamma \sum_{s'} P(s'|s,a) V(s')}{\tau},

    and at temperature 0 its limit, the maximum over the actions that μ plays at all. Inside,
    values are in units of the temperature: :math:`U = V/\tau`.

    Attributes:
        mdp: P.
        base: :math:`r/\tau + \log \mu`, at temperature 0 r where μ > 0 and `-inf` elsewhere,
            shape ``(S, A)``; read-only.
        temperature: τ, in reward units.
        discount: γ.
    """

    mdp: MDP
    base: Float[np.ndarray, "state action"]
    temperature: float
    discount: float

    @classmethod
    def of(
        cls,
        mdp: MDP,
        rewards: object,
        *,
        temperature: float,
        reference: Policy | ArrayLike | None,
        discount: float,
    ) -> "Backup":
        """Check the parts against each other; no reference is the uniform one.

        Raises:
            InvalidProblem: If shapes disagree, a reward is not finite, the temperature is
                negative or so small that r/τ overflows, or the discount is not in [0, 1].
        """
        shape = (mdp.states, mdp.actions)
        r = float_array("the rewards", rewards)
        if r.shape != shape or not np.isfinite(_largest(r)):
            raise InvalidProblem(
                f"the rewards have shape {r.shape} and {int((~np.isfinite(r)).sum())} entries "
                f"that are not finite; the process has {shape[0]} states and {shape[1]} actions",
                f"pass finite expected rewards r(s, a) of shape {shape}",
            )
        logs = _log_reference(reference, shape)
        for name, number in (("temperature", temperature), ("discount", discount)):
            if not isinstance(number, int | float | np.integer | np.floating):
                raise InvalidProblem(f"the {name} is {number!r}", "pass a number")
        if not 0.0 <= temperature < np.inf or not 0.0 <= discount <= 1.0:
            raise InvalidProblem(
                f"the temperature is {temperature} and the discount {discount}",
                "a temperature is finite and at least 0, a discount between 0 and 1",
            )
        if temperature > 0.0 and not np.isfinite(_largest(r) / temperature):
            raise InvalidProblem(
                f"rewards up to {_largest(r):.3g} overflow when divided by the temperature "
                f"{temperature:.3g}",
                "use temperature=0, the limit",
            )
        base = r / temperature if temperature > 0.0 else r.copy()
        base += logs if temperature > 0.0 else np.where(logs > -np.inf, 0.0, -np.inf)
        base.flags.writeable = False
        return cls(mdp, base, float(temperature), float(discount))

    @property
    def largest(self) -> float:
        r"""The largest finite :math:`|r/\tau + \log\mu|`."""
        low = float(self.base.min())
        return _largest(self.base if low > -np.inf else self.base[self.base > -np.inf])

    @property
    def unit(self) -> float:
        """What values are divided by inside: the temperature, or 1 at temperature 0."""
        return self.temperature or 1.0

    def scores(self, values: Float[np.ndarray, "state"]) -> Float[np.ndarray, "state action"]:
        r"""Return :math:`r/\tau + \log\mu + \gamma P U` for U of shape ``(S,)``, a new array."""
        found = self._expected(values)
        found += self.base
        return found

    def apply(self, values: Float[np.ndarray, "state"], out: Float[np.ndarray, "state"]) -> None:
        """Write TU into `out`, both in units of the temperature, shape ``(S,)``; not in place.

        Reads the transitions once. Everything per action happens in blocks that fit in cache.
        """
        scores = self._expected(values)
        block = max(1, _IN_CACHE // self.mdp.actions)
        for first in range(0, self.mdp.states, block):
            here = slice(first, first + block)
            part = scores[here]
            part += self.base[here]
            if self.temperature > 0.0:
                _log_sum_exp(part, out[here])
            else:
                _maximum(part, out[here])

    def policy(self, values: Float[np.ndarray, "state"]) -> Policy:
        r"""Return :math:`\pi(a|s) \propto \mu(a|s) e^{q(s,a)/\tau}`, or the first best action."""
        scores = self.scores(values)
        if self.temperature > 0.0:
            return Policy(log_normalise(scores))
        return Policy(log_certain(scores.argmax(axis=1), self.mdp.actions))

    def _expected(self, values: np.ndarray) -> np.ndarray:
        later = values if self.discount == 1.0 else self.discount * values
        return (self.mdp.transitions @ later).reshape(self.base.shape)


def _largest(values: Float[np.ndarray, "..."]) -> float:
    """Return the largest absolute value, `nan` if there is a `nan`, without a copy."""
    return float(np.maximum(values.max(), -values.min()))


def _log_sum_exp(
    scores: Float[np.ndarray, "state action"], out: Float[np.ndarray, "state"]
) -> None:
    """Write log Σ_a exp(scores) into `out`; the scores are overwritten."""
    top = np.empty_like(out)
    _maximum(scores, top)
    scores -= top[:, None]
    np.exp(scores, out=scores)
    np.matmul(scores, np.ones(scores.shape[1]), out=out)
    np.log(out, out=out)
    out += top


def _maximum(scores: Float[np.ndarray, "state action"], out: Float[np.ndarray, "state"]) -> None:
    if scores.shape[1] > _FEW_ACTIONS:
        np.max(scores, axis=1, out=out)
        return
    np.copyto(out, scores[:, 0])
    for action in range(1, scores.shape[1]):
        np.maximum(out, scores[:, action], out=out)


def _log_reference(
    reference: Policy | ArrayLike | None, shape: tuple[int, int]
) -> Float[np.ndarray, "#state action"]:
    if reference is None:
        return np.full((1, shape[1]), -np.log(shape[1]))
    policy = reference.checked() if isinstance(reference, Policy) else Policy.of(reference)
    logs = policy.log_probabilities
    if logs.shape != shape:
        raise InvalidProblem(
            f"the reference policy has shape {logs.shape}, the process {shape[0]} states and "
            f"{shape[1]} actions",
            f"pass one distribution over actions per state, shape {shape}",
        )
    return logs
