"""The games whose number of responses or of contexts grows."""

import numpy as np

from benchmarks.solvers.instances import uniform
from nlhf import Stream

RESPONSES, CONTEXTS = "responses n", "contexts X"
_TEMPERATURES = {RESPONSES: 0.01, CONTEXTS: 0.1}
_RESPONSES = 32
"""Of every context where contexts grow."""


def draw(axis: str, value: int) -> tuple[np.ndarray, float]:
    """Return matrices ``(X, n, n)`` with independent uniform entries, and a temperature."""
    rng = Stream(0).child("scaling", axis, value).generator()
    contexts, responses = (1, value) if axis == RESPONSES else (value, _RESPONSES)
    return uniform(rng, contexts, responses), _TEMPERATURES[axis]
