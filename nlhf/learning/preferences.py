"""Payoffs of any size as preferences, for solvers of preference games."""

import numpy as np
from jaxtyping import Float


def as_preferences(
    tables: Float[np.ndarray, "*model stage outcome outcome"],
) -> tuple[Float[np.ndarray, "*model stage outcome outcome"], float]:
    r"""Return :math:`\tfrac12 + cT` and c, which is 1 where all |T| are at most 1/2.

    The game of T at temperature τ has the equilibria of that of the preferences at cτ.
    """
    scale = min(1.0, 0.5 / max(float(np.abs(tables).max()), 1e-300))
    return 0.5 + scale * tables, scale
