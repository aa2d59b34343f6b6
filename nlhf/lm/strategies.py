"""Strategies of language models: handles to immutable weights, and mixtures of them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from nlhf.errors import HypothesisViolated

BASE = "base"
"""Key of the weights that a model came with."""


@runtime_checkable
class Strategy(Protocol):
    """A distribution over responses to every prompt, known by its key."""

    @property
    def key(self) -> str:
        """What tells it from other strategies of the same model."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The model with these values of its trainable weights.

    Only what is trained is held: adapters, or all weights of a model trained in full. Nobody
    writes to the tensors. They are freed with the last handle.

    Attributes:
        key: Digest of the weights; `BASE` for those that the model came with.
        weights: The tensors by name; empty for the base of a model with adapters, which then is
            the model with its adapters off.
    """

    key: str
    weights: Mapping[str, torch.Tensor]

    @classmethod
    def of(
        cls, weights: Mapping[str, torch.Tensor], agreed: Callable[[str], str] = str
    ) -> "Checkpoint":
        """Return the handle to copies of the weights, keyed by what they hold.

        Args:
            weights: The tensors by name, or the parts of them that this process holds.
            agreed: Makes the processes' digests one key.
        """
        kept = {name: value.detach().clone() for name, value in weights.items()}
        return cls(agreed(digest(kept)), kept)

    def __repr__(self) -> str:
        return f"Checkpoint({self.key[:8]})"


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Play one of several strategies for the whole response, each with its probability.

    Which one is drawn for every response on its own, so that responses are independent and the
    spread over prompts is all the spread there is.

    Attributes:
        weighted: The strategies with their probabilities, which sum to 1.
    """

    weighted: tuple[tuple[Strategy, float], ...]

    @property
    def key(self) -> str:
        """Key made of those of the strategies and their probabilities."""
        return combined("mixture", self.weighted)


@dataclass(frozen=True, slots=True, eq=False)
class GeometricMixture:
    r"""The sequence-level geometric mixture :math:`\pi(y) \propto \prod_i \pi_i(y)^{w_i}`.

    Its normaliser is not known, so only ratios of its probabilities are. Exponents sum to 1. It
    is sampled by drawing `candidates` responses from the first strategy for every one wanted and
    taking one of them with the probability of its weight :math:`\prod_i \pi_i^{w_i}/\pi_1`: exact
    as candidates grow, and exact at once where the strategies are equal.

    Attributes:
        weighted: The strategies with their exponents.
        candidates: Responses drawn for every one that is kept.
    """

    weighted: tuple[tuple[Strategy, float], ...]
    candidates: int = 8

    @property
    def key(self) -> str:
        """Key made of those of the strategies and their exponents."""
        return combined("geometric", self.weighted)


@dataclass(frozen=True, slots=True, eq=False)
class TokenwiseMixture:
    r"""The mixture of next-token distributions, renormalised token by token: an approximation.

    .. math:: \pi(t|s) = \prod_i \pi_i(t|s)^{w_i} / \sum_{t'} \prod_i \pi_i(t'|s)^{w_i}.

    It is not the geometric mixture of sequences (theorem `tokenwise-mixture`); it is what other
    software plays under that name. It can be sampled and scored exactly as it is.

    Attributes:
        weighted: The strategies with their exponents.
    """

    weighted: tuple[tuple[Strategy, float], ...]

    @property
    def key(self) -> str:
        """Key made of those of the strategies and their exponents."""
        return combined("tokenwise", self.weighted)


def shares(strengths: tuple[float, ...]) -> tuple[float, ...]:
    """Return non-negative numbers over their sum.

    Raises:
        HypothesisViolated: If one is negative or all are zero.
    """
    total = sum(strengths)
    if not total > 0.0 or any(s < 0.0 for s in strengths):
        raise HypothesisViolated(
            f"strengths or weights need to be non-negative with a positive sum, got {strengths}",
            "give at least one strategy a positive one",
        )
    return tuple(s / total for s in strengths)


def digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Return a digest of names, types, shapes and values."""
    told = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        told.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        told.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return told.hexdigest()


def combined(kind: str, weighted: tuple[tuple[Strategy, float], ...]) -> str:
    """Return the key of a mixture of strategies."""
    parts = "|".join(f"{strategy.key}:{weight!r}" for strategy, weight in weighted)
    return hashlib.sha256(f"{kind}|{parts}".encode()).hexdigest()
