"""Skew features of pairs of outcomes."""

import numpy as np
from jaxtyping import Float


def difference_features(
    features: Float[np.ndarray, "stage outcome feature"],
) -> Float[np.ndarray, "stage outcome outcome feature"]:
    r"""Return :math:`\phi(a, b) = x_a - x_b`: payoffs are differences of linear rewards.

    Args:
        features: x, of every outcome at every stage, shape ``(L, m, r)``.
    """
    return np.asarray(features[:, :, None] - features[:, None])


def wedge_features(
    features: Float[np.ndarray, "stage outcome feature"],
) -> Float[np.ndarray, "stage outcome outcome wedge"]:
    r"""Return :math:`\phi_{ij}(a, b) = x_{ai}x_{bj} - x_{aj}x_{bi}` for i < j.

    With known features x every bilinear skew payoff :math:`x_a^\top S x_b`, :math:`S^\top = -S`,
    is linear in these: :math:`\sum_{i<j} S_{ij}\phi_{ij}(a, b)`. It has rank at most r, and with
    r ≥ 2 it can be cyclic.

    Args:
        features: x, of every outcome at every stage, shape ``(L, m, r)``; r ≥ 2.
    """
    i, j = np.triu_indices(features.shape[-1], k=1)
    products = features[:, :, None, i] * features[:, None, :, j]
    return np.asarray(products - products.swapaxes(1, 2))
