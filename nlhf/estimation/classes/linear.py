"""Payoffs that are linear in known features."""

from math import log

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.data.preference_data import PreferenceData
from nlhf.errors import InvalidProblem
from nlhf.estimation.classes.cells import checked_bound, checked_data
from nlhf.estimation.classes.links import Link, checked_delta
from nlhf.estimation.classes.models import Confidence, Model
from nlhf.estimation.classes.regions import (
    Region,
    least_squares_region,
    log_odds_region,
    mixture_cost,
)
from nlhf.estimation.classes.rows import MARGIN, Maximum, Rows, maximise_in_ball
from nlhf.numerics import COMPLEMENT_TOLERANCE
from nlhf.results import float_array, read_only


class LinearClass:
    r"""Payoffs :math:`T_l(a, b) = \langle\theta, \phi_l(a, b)\rangle`, :math:`\|\theta\|_2 \le B`.

    A pair of trajectories has the mean of its cells' features. The fit is the maximum of the
    likelihood over the ball; the log-likelihood is concave with either link, so the Kuhn-Tucker
    conditions, which are checked, prove it. The confidence set holds for data collected in any
    way and for all sample sizes at once, see `nlhf.estimation.classes.regions`: likelihood ratios
    with the log-odds link, least squares with the probability link.

    Args:
        features: φ, shape ``(L, m, m, d)``, skew in the outcomes; see `difference_features` and
            `wedge_features`.
        bound: B > 0.
        link: What payoffs say of preferences. With the probability link B times the longest
            feature must be at most 1/2 - 0.001.

    Attributes:
        features: φ.
        bound: B.
        link: The link.

    Raises:
        InvalidProblem: If the features are not finite or not skew, B is not positive, or the class
            has probabilities out of range.
    """

    def __init__(self, features: ArrayLike, bound: float, link: Link = Link.PROBABILITY) -> None:
        self.link = Link(link)
        self.features = read_only(_checked_features(features))
        self.bound = checked_bound(bound)
        self._lengths = np.linalg.norm(self.features, axis=-1)
        largest = self.bound * float(self._lengths.max())
        if self.link is Link.PROBABILITY and largest > 0.5 - MARGIN:
            raise InvalidProblem(
                f"the class has payoffs of size {largest:.6g}, B = {self.bound:g} times the "
                f"longest feature, but |P - 1/2| must stay below {0.5 - MARGIN:g}",
                "scale the features down, lower the bound, or use the log-odds link",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(L, m), the numbers of stages and of outcomes."""
        return self.features.shape[0], self.features.shape[1]

    def fit(self, data: PreferenceData) -> Model:
        """Return the model of largest likelihood; its parameters are θ.

        Raises:
            InvalidData: If the data are of another shape.
            SolverFailed: If the Kuhn-Tucker conditions do not hold at the solver's answer.
        """
        return self._model(maximise_in_ball(self._rows(data), self.bound))

    def confidence(self, data: PreferenceData, delta: float) -> Confidence:
        """Return what is known of the truth; see `PreferenceClass`.

        Raises:
            HypothesisViolated: If δ is not between 0 and 1.
            InvalidData: If the data are of another shape.
            SolverFailed: If the Kuhn-Tucker conditions do not hold at the solver's answer.
        """
        nats = -log(checked_delta(delta))
        rows = self._rows(data)
        maximum = maximise_in_ball(rows, self.bound)
        model = self._model(maximum)
        region = self._region(rows, maximum, nats)
        stages, outcomes = self.shape
        width = region.width(self.features.reshape(-1, self.features.shape[-1]))
        width = width.reshape(stages, outcomes, outcomes)
        width = np.minimum(width, self.bound * self._lengths + np.abs(model.table))
        source = (
            "likelihood ratios mixed over a Gaussian"
            if self.link is Link.LOG_ODDS
            else "least squares mixed over a Gaussian"
        )
        return Confidence(
            model=model,
            delta=float(delta),
            radius=region.radius,
            width=np.maximum(width, width.swapaxes(1, 2)),
            largest=self.bound * self._lengths,
            statement=f"the truth is linear in the {self.features.shape[-1]} features with "
            f"parameters of length at most {self.bound:g}: {source} and Ville's inequality, any "
            "design, all sample sizes at once",
        )

    def _region(self, rows: Rows, maximum: Maximum, nats: float) -> Region:
        if self.link is Link.PROBABILITY:
            return least_squares_region(rows, maximum.theta, nats, self.bound)
        lengths = np.linalg.norm(rows.features, axis=1)
        return log_odds_region(
            rows,
            maximum.theta,
            nats + maximum.gap + mixture_cost(rows, maximum.theta, self.bound),
            self.bound + float(np.linalg.norm(maximum.theta)),
            self.bound * lengths,
        )

    def _rows(self, data: PreferenceData) -> Rows:
        data = checked_data(data, self.shape).condensed()
        pairs = data.pairs
        each = self.features[pairs.stage, pairs.first, pairs.second].mean(axis=1)
        return Rows(each, data.counts, data.wins, self.link)

    def _model(self, maximum: Maximum) -> Model:
        table = self.features @ maximum.theta
        return Model(table, self.link, maximum.log_likelihood, maximum.theta)


def _checked_features(features: ArrayLike) -> Float[np.ndarray, "stage outcome outcome feature"]:
    array = float_array("the features", features)
    if array.ndim != 4 or array.shape[1] != array.shape[2] or 0 in array.shape:
        raise InvalidProblem(
            f"the features have shape {array.shape}",
            "pass a non-empty array (stage, outcome, outcome, feature); a single prompt is one "
            "stage",
        )
    size = float(np.abs(array).max())
    if not np.isfinite(size):
        raise InvalidProblem(f"a feature is {size}", "pass finite features")
    off = np.abs(array + array.swapaxes(1, 2))
    if off.max() > COMPLEMENT_TOLERANCE * size:
        at, i, j, k = (int(n) for n in np.unravel_index(int(off.argmax()), off.shape))
        raise InvalidProblem(
            f"feature {k} of ({at}, {i}, {j}) is {array[at, i, j, k]:.6g}, and of ({at}, {j}, {i}) "
            f"{array[at, j, i, k]:.6g}: their sum is not 0",
            "features are skew in the outcomes; see difference_features and wedge_features",
        )
    return np.asarray((array - array.swapaxes(1, 2)) / 2.0)
