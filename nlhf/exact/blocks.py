"""Products of simplices stored side by side: blockwise softmax and its covariance."""

from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from jaxtyping import Float

from nlhf.numerics import log_normalise


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """One simplex per player, concatenated on the last axis.

    Attributes:
        sizes: Number of actions of each player.
        strengths: Positive weight of each player, such that the payoff operator times it is skew:
            the temperatures.
        slices: Where each player's actions lie.
    """

    sizes: tuple[int, ...]
    strengths: tuple[float, ...]
    slices: tuple[slice, ...] = field(init=False)

    def __post_init__(self) -> None:
        ends = accumulate(self.sizes)
        slices = tuple(slice(e - n, e) for e, n in zip(ends, self.sizes, strict=True))
        object.__setattr__(self, "slices", slices)

    def softmax(
        self, logits: Float[np.ndarray, "context action"]
    ) -> Float[np.ndarray, "context action"]:
        """Return the distribution of every player."""
        if len(self.sizes) == 1:
            shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
            shifted /= shifted.sum(axis=-1, keepdims=True)
            return shifted
        return np.concatenate([np.exp(log_normalise(logits[:, b])) for b in self.slices], axis=-1)

    def centre(
        self, z: Float[np.ndarray, "context action"], v: Float[np.ndarray, "context action"]
    ) -> Float[np.ndarray, "context action"]:
        """Return v minus its mean under z, block by block."""
        if len(self.sizes) == 1:
            return v - np.einsum("xa,xa->x", z, v)[:, None]
        parts = [v[:, b] - np.einsum("xa,xa->x", z[:, b], v[:, b])[:, None] for b in self.slices]
        return np.concatenate(parts, axis=-1)

    def weigh(self, v: Float[np.ndarray, "context action"]) -> Float[np.ndarray, "context action"]:
        """Return v times its player's strength."""
        if len(self.sizes) == 1:
            return v
        return v * np.repeat(np.array(self.strengths) / max(self.strengths), self.sizes)

    def moved(
        self, p: Float[np.ndarray, "context action"], q: Float[np.ndarray, "context action"]
    ) -> Float[np.ndarray, "context"]:
        """Return the largest total variation distance of any player's distributions."""
        each = [0.5 * np.abs(p[:, b] - q[:, b]).sum(axis=-1) for b in self.slices]
        return np.asarray(np.max(each, axis=0))
