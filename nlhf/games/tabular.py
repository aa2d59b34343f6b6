"""What the games on finite response sets share: references, temperatures and prompt weights."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.numerics import PROBABILITY_TOLERANCE
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units, read_only, unwrap
from nlhf.spaces.simplex import Policy, Simplex


class TabularGame:
    """Players with finitely many responses in each of finitely many contexts.

    Distinct player i maximises, in every context,

        ⟨π_i, g_i(π)⟩ − τ_i KL(π_i ‖ μ_i),

    with g given by `operator`. It is the base of the concrete games, not a game itself.

    Attributes:
        references: μ_i, one policy of full support per distinct player.
        temperatures: τ_i ≥ 0, in payoff units.
        weights: The prompt distribution, shape ``(X,)``.
        multiplicity: How many players play each strategy: 2 in self-play, else 1.
        units: Units of the payoff.
    """

    multiplicity: int = 1

    def __init__(
        self,
        references: tuple[Policy, ...],
        temperatures: tuple[float, ...],
        weights: Float[np.ndarray, "context"],
        units: Units,
    ) -> None:
        self.references = references
        self.temperatures = temperatures
        self.weights = weights
        self.units = units
        self.spaces = tuple(
            Simplex(reference.log_probabilities.shape[-1], weights) for reference in references
        )

    def prox(
        self,
        evaluation: Evaluation[np.ndarray] | None,
        anchors: Sequence[tuple[Profile[Policy], float]],
    ) -> Profile[Policy]:
        """Return each player's proximal point, the game's references among the anchors.

        With no other anchors and a positive temperature this is the regularised best response.
        """
        steps = []
        for i, space in enumerate(self.spaces):
            own = [(self.references[i], self.temperatures[i])]
            payoff = None if evaluation is None else evaluation.payoffs[i]
            steps.append(space.prox(payoff, [(p[i], s) for p, s in anchors] + own).strategy)
        return tuple(steps)

    def start(self) -> Profile[Policy]:
        """Return the references."""
        return self.references

    def as_profile(self, strategies: object) -> Profile[Policy]:
        """Return a validated profile from policies or from arrays of probabilities.

        Args:
            strategies: A profile (tuple of policies or arrays, one per distinct player); for a
                self-play game also a single policy or array. Arrays hold probabilities.

        Raises:
            InvalidProblem: If the number of players or a shape does not fit the game.
        """
        items = strategies if isinstance(strategies, tuple) else (strategies,)
        profile = []
        for i, item in enumerate(unwrap("the profile", items, len(self.spaces))):
            policy = item if isinstance(item, Policy) else Policy.of(item)
            expected = self.references[i].log_probabilities.shape
            if policy.log_probabilities.shape != expected:
                raise InvalidProblem(
                    f"strategy {i} has shape {policy.log_probabilities.shape}, "
                    f"the game needs {expected}",
                    "pass one probability per response, contexts first",
                )
            profile.append(policy)
        return tuple(profile)


def checked_reference(
    reference: ArrayLike | Policy | None, contexts: tuple[int, ...], responses: int
) -> Policy:
    """Return the reference policy, uniform by default, broadcast over the contexts.

    Raises:
        InvalidProblem: If the shape does not fit or an entry is zero, negative or not finite.
    """
    shape = (*contexts, responses)
    if reference is None:
        return Policy(np.full(shape, -np.log(responses)))
    policy = reference if isinstance(reference, Policy) else Policy.of(reference)
    logs = policy.log_probabilities
    if logs.shape[-1] != responses or logs.ndim > len(shape):
        raise InvalidProblem(
            f"the reference has shape {logs.shape}, the game needs {shape} or ({responses},)",
            "pass one probability per response",
        )
    if np.isneginf(logs).any():
        where = tuple(int(i) for i in np.argwhere(np.isneginf(logs))[0])
        raise InvalidProblem(
            f"reference entry {where} is 0: the KL term forbids that response for ever",
            "remove the response from the game, or give it a small positive probability",
        )
    return policy if logs.shape == shape else Policy(np.broadcast_to(logs, shape))


def checked_temperature(temperature: float) -> float:
    """Return the temperature as a float.

    Raises:
        InvalidProblem: If it is negative, infinite or not a number.
    """
    value = float(temperature)
    if not isfinite(value) or value < 0.0:
        raise InvalidProblem(
            f"temperature is {value!r}",
            "pass a finite number >= 0 in payoff units; 0 is the unregularised game",
        )
    return value


def checked_weights(
    weights: ArrayLike | None, contexts: tuple[int, ...]
) -> Float[np.ndarray, "context"]:
    """Return the prompt distribution, uniform by default.

    Raises:
        InvalidProblem: If it has the wrong length, a negative entry, or does not sum to 1.
    """
    count = contexts[0] if contexts else 1
    if weights is None:
        return read_only(np.full(count, 1.0 / count))
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (count,) or not (np.isfinite(w).all() and (w >= 0).all()):
        raise InvalidProblem(
            f"weights have shape {w.shape} and minimum {w.min() if w.size else float('nan')!r}",
            f"pass {count} finite non-negative numbers, one per context",
        )
    if abs(w.sum() - 1.0) > PROBABILITY_TOLERANCE:
        raise InvalidProblem(
            f"weights sum to {w.sum():.12g} (tolerance {PROBABILITY_TOLERANCE:g})",
            "divide them by their sum",
        )
    return read_only(w / w.sum())
