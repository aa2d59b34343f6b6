"""Keys and values of the tokens so far, in memory that is allocated once."""

from typing import Any

import torch
from jaxtyping import Float, Int
from transformers.cache_utils import Cache, CacheLayerMixin


class PreallocatedLayer(CacheLayerMixin):
    """One layer's keys and values; a new token is written in place, nothing is copied.

    Args:
        capacity: Most positions ever held.
        copies: Rows that every row of the first call stands for.
    """

    def __init__(self, capacity: int, copies: int) -> None:
        super().__init__()
        self.capacity, self.copies = capacity, copies
        self.length = 0
        self._held: tuple[torch.Tensor, ...] = ()

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate for the rows of the first call, each repeated."""
        self._held = tuple(self._room(each) for each in (key_states, value_states))
        self.keys, self.values = self._held
        self.is_initialized = True

    def update(
        self,
        key_states: Float[torch.Tensor, "row head token width"],
        value_states: Float[torch.Tensor, "row head token width"],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append, and return all keys and values; the first call returns what it was given."""
        start, self.length = self.length, self.length + key_states.shape[2]
        given = (key_states, value_states)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            for held, states in zip(self._held, given, strict=True):
                by_row = held.reshape(len(states), self.copies, *held.shape[1:])
                by_row[:, :, :, : self.length] = states[:, None]
            return given
        for held, states in zip(self._held, given, strict=True):
            held[:, :, start : self.length] = states
        keys, values = self._held
        return keys[:, :, : self.length], values[:, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many keys the next call will see, and where they start."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return the positions held."""
        return self.length

    def get_max_length(self) -> int:
        """Return the positions there is room for."""
        return self.capacity

    def keep(self, rows: Int[torch.Tensor, "kept"]) -> None:
        """Forget all other rows."""
        self._held = tuple(held[rows] for held in self._held)
        self.keys, self.values = self._held

    def _room(self, states: torch.Tensor) -> torch.Tensor:
        rows, heads, _, width = states.shape
        return states.new_empty((rows * self.copies, heads, self.capacity, width))


def preallocated(layers: int, capacity: int, copies: int) -> Cache:
    """Return an empty cache whose first call holds one row for every `copies` later ones."""
    return Cache(layers=[PreallocatedLayer(capacity, copies) for _ in range(layers)])
