"""Hypothesis strategies and fixed families of games, easy and hard."""

import numpy as np
from hypothesis import strategies as st


def complete(upper: np.ndarray) -> np.ndarray:
    """Return the preference matrix whose entries above the diagonal are given."""
    p = np.triu(upper, 1)
    return p + np.tril(1.0 - np.swapaxes(p, -1, -2), -1) + 0.5 * np.eye(p.shape[-1])


@st.composite
def preferences(draw, min_n: int = 2, max_n: int = 6) -> np.ndarray:
    """Any preference matrix: interior, tournaments, ties and near-certain votes mixed."""
    n = draw(st.integers(min_n, max_n))
    entry = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5, 1.0, 1e-6, 1 - 1e-6]))
    values = draw(st.lists(entry, min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2))
    upper = np.zeros((n, n))
    upper[np.triu_indices(n, 1)] = values
    return complete(upper)


@st.composite
def distributions(draw, n: int, least: float = 1e-9) -> np.ndarray:
    """A distribution of full support, entries spread over decades."""
    exponents = draw(st.lists(st.floats(np.log10(least), 0.0), min_size=n, max_size=n))
    weights = 10.0 ** np.array(exponents)
    return weights / weights.sum()


temperatures = st.sampled_from([10.0, 1.0, 0.3, 0.1, 0.03, 0.01])
