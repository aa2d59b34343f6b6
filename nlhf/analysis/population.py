"""Populations of groups whose preferences are Bradley-Terry with linear rewards."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.numerics import PROBABILITY_TOLERANCE
from nlhf.results import float_array, read_only
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    r"""Groups of people, each with a linear reward of its own, on one finite set of responses.

    Group u has the reward :math:`r_u(i) = \langle\phi_u,\psi_i\rangle` and prefers response i to j
    with probability :math:`\sigma(r_u(i) - r_u(j))`. A comparison is of a pair drawn from a law ρ,
    by a person of group u with probability :math:`\eta_u`. Shifting all features changes nothing
    but the radius; `centred` makes their mean 0. The constructor takes its arrays on trust; `of`
    checks them.

    Attributes:
        features: ψ, one row a response.
        parameters: φ, one row a group, in logits per feature.
        proportions: η.
        temperature: β, the weight of the divergence from the reference, in logits.
        reference: μ.
        pair_law: ρ as a symmetric matrix with an empty diagonal whose entries sum to 1; the pair
            {i, j} has the probability ρ(i, j) + ρ(j, i).
    """

    features: Float[np.ndarray, "response feature"]
    parameters: Float[np.ndarray, "group feature"]
    proportions: Float[np.ndarray, "group"]
    temperature: float
    reference: Policy
    pair_law: Float[np.ndarray, "response response"]

    def __post_init__(self) -> None:
        for name in ("features", "parameters", "proportions", "pair_law"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def of(
        cls,
        features: ArrayLike,
        parameters: ArrayLike,
        *,
        temperature: float,
        proportions: ArrayLike | None = None,
        reference: Policy | None = None,
        pair_law: ArrayLike | None = None,
    ) -> "Population":
        """Return a population; what is not given is uniform.

        Args:
            features: ψ, shape ``(n, d)``.
            parameters: φ, shape ``(U, d)``.
            temperature: β.
            proportions: η, shape ``(U,)``.
            reference: μ.
            pair_law: ρ, shape ``(n, n)``; the order within a pair is forgotten.

        Raises:
            InvalidProblem: If the shapes do not fit, a number is not finite, or a distribution
                is none.
        """
        matrix = _matrix("features", features)
        groups = _matrix("parameters", parameters)
        n, count = len(matrix), len(groups)
        if n < 2 or 0 in groups.shape or matrix.shape[1] != groups.shape[1]:
            raise InvalidProblem(
                f"{n} responses have {matrix.shape[1]} features, {count} groups have "
                f"{groups.shape[1]}",
                "give at least two responses, one group, and as many parameters as features",
            )
        known = isinstance(temperature, int | float | np.integer | np.floating)
        if not (known and 0.0 < temperature < np.inf):
            raise InvalidProblem(
                f"the temperature is {temperature!r}", "give a positive finite number"
            )
        law = _uniform_pairs(n) if pair_law is None else float_array("pair_law", pair_law)
        shares = np.full(count, 1.0 / count) if proportions is None else proportions
        shares = float_array("proportions", shares)
        _require_distribution("proportions", shares, (count,))
        _require_distribution("pair_law", law, (n, n))
        if law.diagonal().any():
            alike = int(np.flatnonzero(law.diagonal())[0])
            raise InvalidProblem(
                f"pair_law compares response {alike} with itself, with the probability "
                f"{law[alike, alike]:.6g}",
                "leave the diagonal empty",
            )
        if reference is None:
            reference = Policy.of(np.full(n, 1.0 / n))
        if not isinstance(reference, Policy):
            raise InvalidProblem(
                f"the reference is a {type(reference).__name__}, not a policy",
                "give nlhf.Policy.of(probabilities)",
            )
        shape = reference.log_probabilities.shape
        if shape != (n,):
            raise InvalidProblem(
                f"the reference has shape {shape}, the population {n} responses",
                "give one probability a response",
            )
        return cls(
            matrix, groups, shares, float(temperature), reference.checked(), (law + law.T) / 2
        )

    @classmethod
    def cross_polytope(
        cls, parameters: ArrayLike, *, temperature: float, proportions: ArrayLike | None = None
    ) -> "Population":
        """Return the family of responses ±e_1, ..., ±e_d, of which only opposites are compared.

        The reference is uniform, and so is the choice among the d pairs {e_k, −e_k}. Their
        differences 2e_k are linearly independent, so that every mixture of groups is
        Bradley-Terry again: the pooled model is well specified.

        Args:
            parameters: φ, shape ``(U, d)``.
            temperature: β.
            proportions: η; uniform by default.

        Raises:
            InvalidProblem: If the arrays define no population.
        """
        groups = _matrix("parameters", parameters)
        d = groups.shape[1]
        features = np.concatenate([np.eye(d), -np.eye(d)])
        law = np.zeros((2 * d, 2 * d))
        law[np.arange(d), np.arange(d) + d] = 1.0 / max(d, 1)
        return cls.of(
            features, groups, temperature=temperature, proportions=proportions, pair_law=law
        )

    @property
    def centred(self) -> "Population":
        """The same population with features of mean 0: no preference or policy changes."""
        return Population(
            self.features - self.features.mean(axis=0),
            self.parameters,
            self.proportions,
            self.temperature,
            self.reference,
            self.pair_law,
        )

    @property
    def compared(self) -> Int[np.ndarray, "pair 2"]:
        """The pairs i < j that are ever compared."""
        return np.argwhere(np.triu(self.pair_law, 1) > 0.0)

    @property
    def pair_weights(self) -> Float[np.ndarray, "pair"]:
        """The probability of each compared pair."""
        i, j = self.compared.T
        return np.asarray(2.0 * self.pair_law[i, j])

    @property
    def differences(self) -> Float[np.ndarray, "pair feature"]:
        """The features of i less those of j, z = ψ_i − ψ_j, of the compared pairs."""
        i, j = self.compared.T
        return np.asarray(self.features[i] - self.features[j])


def _matrix(name: str, values: ArrayLike) -> np.ndarray:
    array = float_array(name, values)
    if array.ndim != 2 or not np.isfinite(array).all():
        unknown = int((~np.isfinite(array)).sum())
        raise InvalidProblem(
            f"{name} have shape {array.shape}, and {unknown} entries that are not finite",
            "give a finite matrix, one row a response or a group",
        )
    return array


def _uniform_pairs(responses: int) -> Float[np.ndarray, "response response"]:
    law = np.ones((responses, responses)) - np.eye(responses)
    return np.asarray(law / law.sum())


def _require_distribution(
    name: str, weights: Float[np.ndarray, "..."], shape: tuple[int, ...]
) -> None:
    if weights.shape != shape:
        raise InvalidProblem(f"{name} has shape {weights.shape}", f"give shape {shape}")
    low, off = float(weights.min()), float(weights.sum() - 1.0)
    if not (low >= 0.0 and abs(off) <= PROBABILITY_TOLERANCE):
        raise InvalidProblem(
            f"{name} has the least entry {low:.6g} and the sum 1 {off:+.3g} "
            f"(tolerance {PROBABILITY_TOLERANCE:g})",
            "give non-negative numbers that sum to 1",
        )
