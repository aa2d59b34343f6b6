"""Finite classes of preference models."""

from functools import cached_property
from math import log, sqrt

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.data.preference_data import PreferenceData
from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.estimation.classes.cells import checked_data
from nlhf.estimation.classes.links import Link, checked_delta, checked_tables
from nlhf.estimation.classes.models import FiniteConfidence, Model
from nlhf.numerics import log_of
from nlhf.results import chosen, float_array, read_only


class FiniteClass:
    r"""K candidate models, of which the truth is taken to be one.

    The radius of its version space is provable for data collected in any way, adaptively too.
    With :math:`BC = \sqrt{pp^*} + \sqrt{(1-p)(1-p^*)}`, the likelihood ratios satisfy
    :math:`E \prod_i \sqrt{p/p^*}(y_i) / BC_i \le 1` for every model, so by Ville's inequality and
    a union over K models, with probability at least 1 - δ the estimate has
    :math:`\sum_i -\log BC(\hat P, P^*)(z_i) \le \log(K/\delta)`; and

    * with the probability link :math:`-\log BC \ge \frac12 (p - p^*)^2`: ρ = 2 log(K/δ);
    * with the log-odds link and |T| ≤ B, :math:`-\log BC \ge (T - T^*)^2/(8(2 + e^B + e^{-B}))`:
      ρ = 8 (2 + e^B + e^-B) log(K/δ).

    The products are martingales, so by Ville's inequality the event holds for all sample sizes at
    once, and learning in rounds needs no more. A radius of log(K/δ) is not enough
    (mle-radius-without-2 in the ledger).

    Args:
        tables: Payoffs T_k, shape ``(K, L, m, m)``, each skew.
        link: What payoffs say of preferences.

    Attributes:
        tables: The payoffs.
        link: The link.

    Raises:
        InvalidProblem: If a shape does not fit, a table is not skew, or too large for its link, or
            there is no such link.
    """

    def __init__(self, tables: ArrayLike, link: Link = Link.PROBABILITY) -> None:
        self.link = chosen(Link, link, "the link")
        self.tables = read_only(checked_tables(tables, self.link, axes=4))

    @classmethod
    def of_preferences(cls, preferences: ArrayLike, link: Link = Link.PROBABILITY) -> "FiniteClass":
        """Return the class of the given preferences P, shape ``(K, L, m, m)``.

        Raises:
            InvalidProblem: If one is no preference, or has a log-odds that is infinite.
        """
        p = float_array("the preferences", preferences)
        centred = checked_tables(p - 0.5, Link.PROBABILITY, axes=4)
        if chosen(Link, link, "the link") is Link.PROBABILITY:
            return cls(centred, link)
        logs = log_of(np.clip(p, 0.0, 1.0))
        return cls(logs - logs.swapaxes(-1, -2), link)

    @property
    def size(self) -> int:
        """K, the number of models."""
        return len(self.tables)

    @property
    def shape(self) -> tuple[int, int]:
        """(L, m), the numbers of stages and of outcomes."""
        return self.tables.shape[1], self.tables.shape[2]

    @cached_property
    def bound(self) -> float:
        """B, the largest payoff in size."""
        return float(max(self.tables.max(), -self.tables.min()))

    def log_likelihoods(self, data: PreferenceData) -> Float[np.ndarray, " model"]:
        """Return the log-likelihood of every model, in nats; it may be -inf."""
        return self.link.log_likelihood(self._payoffs(data), data.counts, data.wins)

    def fit(self, data: PreferenceData) -> Model:
        """Return the model of largest likelihood; of several the first.

        Raises:
            InvalidData: If every model says that the data cannot be.
        """
        return self._fitted(data, self._payoffs(data))

    def radius(self, delta: float) -> float:
        """Return ρ, in squared payoff units.

        Raises:
            HypothesisViolated: If δ is not between 0 and 1.
        """
        nats = log(self.size / checked_delta(delta))
        if self.link is Link.PROBABILITY:
            return 2.0 * nats
        with np.errstate(over="ignore"):
            flatness = 2.0 + float(np.exp(self.bound) + np.exp(-self.bound))
        return 8.0 * flatness * nats

    def confidence(self, data: PreferenceData, delta: float) -> FiniteConfidence:
        r"""Return the version space :math:`\{k : \sum_i (T_k - \hat T)^2(z_i) \le \rho\}`.

        Its width is the largest :math:`|T_k - \hat T|` of its members: nowhere more than
        :math:`\beta\Gamma` with :math:`\beta^2 = \lambda + \rho` and the uncertainty Γ of the
        whole class, whatever λ is.

        Raises:
            HypothesisViolated: If δ is not between 0 and 1.
            InvalidData: If every model says that the data cannot be.
        """
        radius = self.radius(delta)
        payoffs = self._payoffs(data)
        model = self._fitted(data, payoffs)
        centre = int(model.parameters)
        errors = (payoffs - payoffs[centre]) ** 2 @ data.counts
        members = np.flatnonzero(errors <= radius)
        width = np.zeros(model.table.shape)
        for member in members:
            np.maximum(width, np.abs(self.tables[member] - model.table), out=width)
        return FiniteConfidence(
            model=model,
            delta=float(delta),
            radius=radius,
            width=width,
            largest=np.full(width.shape, self.bound),
            statement=f"maximum likelihood over {self.size} models, any design, all n at once "
            "(mle-radius)",
            members=members,
            in_sample=errors,
            tables=self.tables,
        )

    def uncertainty(
        self, data: PreferenceData, model: Model, ridge: float
    ) -> Float[np.ndarray, "stage outcome outcome"]:
        r"""Return the uncertainty of every cell: how models differ there, over how they do in data.

        .. math:: \Gamma = \max_k |T_k - \hat T| \big/ \sqrt{\lambda + \textstyle\sum_i
                  (T_k - \hat T)^2(z_i)}

        Args:
            data: The sample that the errors in the denominator are of.
            model: :math:`\hat T`.
            ridge: λ > 0, in squared payoff units.

        Raises:
            HypothesisViolated: If λ is not positive.
        """
        if not ridge > 0.0:
            raise HypothesisViolated(f"the ridge is {ridge!r}", "give λ > 0, such as the radius")
        found = np.zeros(model.table.shape)
        errors = (self._payoffs(data) - data.pairs.payoffs(model.table)) ** 2
        for table, error in zip(self.tables, errors @ data.counts, strict=True):
            np.maximum(found, np.abs(table - model.table) / sqrt(ridge + error), out=found)
        return found

    def _payoffs(self, data: PreferenceData) -> Float[np.ndarray, "model pair"]:
        return checked_data(data, self.shape).pairs.payoffs(self.tables)

    def _fitted(self, data: PreferenceData, payoffs: Float[np.ndarray, "model pair"]) -> Model:
        logs = self.link.log_likelihood(payoffs, data.counts, data.wins)
        best = int(np.argmax(logs))
        if np.isneginf(logs[best]):
            sure = (data.wins > 0.0) & (0.5 + payoffs[best] <= 0.0)
            sure |= (data.wins < data.counts) & (0.5 + payoffs[best] >= 1.0)
            row = int(np.argmax(sure))
            raise InvalidData(
                f"every one of the {self.size} models gives the data probability 0: model {best} "
                f"is certain about pair {row}, which the first won {data.wins[row]:g} of "
                f"{data.counts[row]:g} times",
                "the truth is not among them: add models, or keep preferences away from 0 and 1",
            )
        return Model(self.tables[best], self.link, float(logs[best]), np.array(float(best)))
