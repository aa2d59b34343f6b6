"""What the games share: references, temperatures and prompt weights."""

from collections.abc import Sequence
from functools import cached_property
from math import nan
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem, NotAllowed
from nlhf.games.payoffs import Payoff
from nlhf.numerics import PROBABILITY_TOLERANCE
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units, float_array, read_only, unwrap
from nlhf.spaces.policy import Policy
from nlhf.spaces.simplex import Simplex

_LEAST, _MOST = 1e-100, 1e100
"""Temperatures outside are no use, and their squares leave the range of float64."""


class RegularisedGame:
    """Players with finitely many decisions, each pulled towards a reference.

    Distinct player i maximises, in every context,

        ⟨π_i, g_i(π)⟩ − τ_i KL(π_i ‖ μ_i),

    with g given by `operator`. It is the base of the concrete games, not a game itself.

    Attributes:
        spaces: One space per distinct player.
        references: μ_i, one policy of full support per distinct player.
        temperatures: τ_i ≥ 0, in payoff units.
        weights: The prompt distribution, shape ``(X,)``.
        multiplicity: How many players play each strategy: 2 in self-play, else 1.
        exact_steps: Whether `prox` returns proximal points; rates of algorithms hold only then.
        units: Units of the payoff.
    """

    multiplicity: int = 1
    exact_steps: bool = True

    def __init__(
        self,
        spaces: tuple[Any, ...],
        references: tuple[Policy, ...],
        temperatures: tuple[float, ...],
        weights: Float[np.ndarray, "context"],
        units: Units,
    ) -> None:
        self.spaces = spaces
        self.references = references
        self.temperatures = temperatures
        self.weights = weights
        self.units = units

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__:
            raise NotAllowed(f"{name} of a game is fixed once it is made", "make another game")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        same = len(set(self.temperatures)) == 1
        price = f"temperature={self.temperatures[0]:g}"
        if not same:
            price = f"temperatures=({', '.join(f'{t:g}' for t in self.temperatures)})"
        return f"{type(self).__name__}({self._decisions()}, {price})"

    def _decisions(self) -> str:
        """Say in short what is decided."""
        *contexts, _ = self.references[0].log_probabilities.shape
        prompts = [f"{count} contexts" for count in contexts]
        choices = " x ".join(str(r.log_probabilities.shape[-1]) for r in self.references)
        return ", ".join([*prompts, f"{choices} responses"])

    def prox(
        self,
        evaluation: Evaluation[Any] | None,
        anchors: Sequence[tuple[Profile[Policy], float]],
    ) -> Profile[Policy]:
        """Return each player's proximal point, the game's references among the anchors.

        With exact steps, no other anchors and a positive temperature, this is the regularised
        best response.
        """
        steps = []
        for i, space in enumerate(self.spaces):
            own = [(self.references[i], self.temperatures[i])]
            payoff = None if evaluation is None else evaluation.payoffs[i]
            steps.append(space.prox(payoff, [(p[i], s) for p, s in anchors] + own).strategy)
        return tuple(steps)

    def mixture(self, weighted: Sequence[tuple[Profile[Policy], float]]) -> Profile[Policy]:
        """Return the profile in which each player mixes its strategies with these weights."""
        return tuple(
            space.mixture([(profile[i], weight) for profile, weight in weighted])
            for i, space in enumerate(self.spaces)
        )

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
        several = isinstance(strategies, tuple) or (
            isinstance(strategies, list) and len(self.spaces) > 1
        )
        items = strategies if several else (strategies,)
        profile = []
        for i, item in enumerate(unwrap("the profile", items, len(self.spaces))):
            policy = item.checked() if isinstance(item, Policy) else Policy.of(item)
            expected = self.references[i].log_probabilities.shape
            if policy.log_probabilities.shape != expected:
                raise InvalidProblem(
                    f"strategy {i} has shape {policy.log_probabilities.shape}, "
                    f"the game needs {expected}",
                    "pass one probability per action, on the last axis",
                )
            profile.append(policy)
        return tuple(profile)


class TabularGame(RegularisedGame):
    """A game whose players choose one response in every context, against a payoff matrix.

    Attributes:
        payoff: A, the payoff of the row player's response against the column player's.
    """

    def __init__(
        self,
        payoff: Payoff,
        references: tuple[Policy, ...],
        temperatures: tuple[float, ...],
        weights: Float[np.ndarray, "context"],
        units: Units,
    ) -> None:
        self.payoff = payoff
        spaces = tuple(Simplex(r.log_probabilities.shape[-1], weights) for r in references)
        super().__init__(spaces, references, temperatures, weights, units)

    @cached_property
    def lipschitz(self) -> float:
        r"""Half the range of the payoffs.

        So :math:`\|F(z)-F(z')\|_\infty \le L\|z-z'\|_1` up to a constant per player.
        """
        return self.payoff.half_range

    @cached_property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """Per context, a bound on the rounding error of an entry of a payoff."""
        return self.payoff.rounding


def responses_of(policy: Policy) -> str:
    """Say in short what a policy of a bandit decides."""
    *contexts, responses = policy.log_probabilities.shape
    return ", ".join([*(f"{count} contexts" for count in contexts), f"{responses} responses"])


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
    policy = reference.checked() if isinstance(reference, Policy) else Policy.of(reference)
    logs = policy.log_probabilities
    if shape[-logs.ndim :] != logs.shape:
        raise InvalidProblem(
            f"the reference has shape {logs.shape}, the game needs {shape} or ({responses},)",
            "pass one probability per response; leading axes may be left out",
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
        InvalidProblem: If it is no number, negative, or positive outside [1e-100, 1e100].
    """
    number = isinstance(temperature, int | float | np.floating | np.integer)
    value = float(temperature) if number else nan
    if not (value == 0.0 or _LEAST <= value <= _MOST):
        raise InvalidProblem(
            f"temperature is {temperature!r}",
            f"pass 0 for the unregularised game, or a number from {_LEAST:g} to {_MOST:g}, "
            "in payoff units",
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
    w = float_array("the weights", weights)
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
