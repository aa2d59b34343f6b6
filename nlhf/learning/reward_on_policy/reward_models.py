r"""Reward models by maximum likelihood on weighted comparisons.

Data, samples and populations alike, are an array w of shape ``(context, response, response)``: the
mass with which i was preferred to j in context x. A sample has counts in it, a population the
probability of the pair times that of the label, and masses of different origin add up.
"""

import math

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.estimation.likelihood import Likelihood, maximise, polish
from nlhf.estimation.pair_losses import PairLosses, PreferenceLoss, weighted_minimiser


def fit_tabular_reward(
    wins: Float[np.ndarray, "*batch response response"], ridge: float
) -> Float[np.ndarray, "*batch response"]:
    r"""Return the rewards, one per context and response, of largest penalised likelihood.

    .. math:: \max_r \sum_{x,i,j} w_{xij} \log\sigma(r_{xi} - r_{xj}) - \tfrac{\rho}{2}\|r\|^2

    The maximum exists, is unique, and has mean 0 in every context. Leading axes are worked
    together: contexts, and several data sets at once.

    Args:
        wins: w, at least 0.
        ridge: ρ > 0, in units of w per logit².

    Raises:
        HypothesisViolated: The ridge is not positive, a mass negative or not finite, or the last
            two axes differ.
    """
    _check(wins, ridge)
    likelihood = Likelihood(wins, ridge)
    found: np.ndarray = polish(likelihood, maximise(likelihood, np.zeros(wins.shape[:-1])))
    return found


def fit_linear_reward(
    wins: Float[np.ndarray, "context response response"],
    features: Float[np.ndarray, "context response feature"],
    ridge: float,
) -> Float[np.ndarray, " feature"]:
    r"""Return the parameters θ of largest penalised likelihood for :math:`r = \theta^\top\phi`.

    .. math::

        \min_\theta -\sum_{x,i,j} w_{xij}
        \log\sigma\big(\theta^\top(\phi_{xi} - \phi_{xj})\big) + \tfrac{\rho}{2}\|\theta\|^2

    On a population whose truth is not of this form, θ is the pseudo-true parameter: it depends on
    which pairs are compared (null-result in the ledger).

    Args:
        wins: w, at least 0.
        features: φ.
        ridge: ρ > 0.

    Raises:
        HypothesisViolated: The ridge is not positive, a mass negative or not finite, a feature not
            finite, there is no mass at all, or the shapes differ.
    """
    _check(wins, ridge)
    if features.shape[:-1] != wins.shape[:-1] or features.shape[-1] == 0:
        raise HypothesisViolated(
            f"features of shape {features.shape} for comparisons of shape {wins.shape}",
            "give one row of features for every context and response",
        )
    if not np.isfinite(features).all():
        raise HypothesisViolated("a feature that is not finite", "give finite features")
    x, i, j = np.nonzero(wins)
    if len(x) == 0:
        raise HypothesisViolated("there are no comparisons", "give at least one")
    losses = PairLosses(tuple((features[x, i] - features[x, j])[:, None]), PreferenceLoss.DPO, 1.0)
    return weighted_minimiser(losses, wins[x, i, j], ridge)


def _check(wins: np.ndarray, ridge: float) -> None:
    if not 0.0 < ridge < math.inf:
        raise HypothesisViolated(
            f"ridge {ridge!r}", "give a positive number: synthetic labels alone are separable"
        )
    if wins.ndim < 2 or wins.shape[-2] != wins.shape[-1]:
        raise HypothesisViolated(
            f"comparisons of shape {wins.shape}", "give a square matrix (response, response) each"
        )
    if not (np.isfinite(wins).all() and (wins >= 0.0).all()):
        raise HypothesisViolated(
            f"a comparison of mass {float(np.min(wins)):.3g} or one that is not finite",
            "masses are finite and at least 0",
        )
