"""What every class of preference models offers: a fit, and a set that holds the truth."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from nlhf.data.preference_data import PreferenceData
from nlhf.estimation.classes.links import Link
from nlhf.results import read_only


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One model of a class.

    Attributes:
        table: T, shape ``(L, m, m)``, skew.
        link: What T says of preferences.
        log_likelihood: Of the data it was fitted to, in nats.
        parameters: Its parameters; the number of the model in a finite class.
    """

    table: Float[np.ndarray, "stage outcome outcome"]
    link: Link
    log_likelihood: float
    parameters: Float[np.ndarray, "..."]

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", read_only(self.table))
        object.__setattr__(self, "parameters", read_only(self.parameters))


@dataclass(frozen=True, slots=True, eq=False)
class Confidence:
    r"""What is known of the true payoffs T* with probability at least 1 - δ: the event.

    Attributes:
        model: The maximum-likelihood estimate :math:`\hat T`.
        delta: δ.
        radius: ρ: on the event :math:`\sum_i (T^*(z_i) - \hat T(z_i))^2 \le \rho`.
        width: Shape ``(L, m, m)``, symmetric: on the event :math:`|T^* - \hat T| \le` width in
            every cell.
        largest: Shape ``(L, m, m)``, symmetric: no payoff of the class is larger in size.
        statement: What is proved of the event, and where.
    """

    model: Model
    delta: float
    radius: float
    width: Float[np.ndarray, "stage outcome outcome"]
    largest: Float[np.ndarray, "stage outcome outcome"]
    statement: str

    def __post_init__(self) -> None:
        for name in ("width", "largest"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def lowest(self) -> Float[np.ndarray, "stage outcome outcome"]:
        """The least that payoffs are on the event: the estimate less the width, in the class."""
        return np.maximum(self.model.table - self.width, -self.largest)


@dataclass(frozen=True, slots=True, eq=False)
class FiniteConfidence(Confidence):
    """A version space: the models that the data do not exclude.

    Attributes:
        members: Their numbers in the class, in order.
        in_sample: Of every model of the class, its squared error in the sample from the estimate.
        tables: All tables of the class, shape ``(K, L, m, m)``; not copied.
    """

    members: Int[np.ndarray, " member"]
    in_sample: Float[np.ndarray, " model"]
    tables: Float[np.ndarray, "model stage outcome outcome"]

    def __post_init__(self) -> None:
        Confidence.__post_init__(self)
        for name in ("members", "in_sample"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


@runtime_checkable
class PreferenceClass(Protocol):
    """A set of models, one of which is taken to be the truth."""

    @property
    def link(self) -> Link:
        """How payoffs become probabilities."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(L, m), the numbers of stages and of outcomes."""
        ...

    def fit(self, data: PreferenceData) -> Model:
        """Return the model of largest likelihood."""
        ...

    def confidence(self, data: PreferenceData, delta: float) -> Confidence:
        """Return what is known of the truth with probability at least 1 - δ.

        Args:
            data: Comparisons; which ones were made may depend on earlier answers. The event is that
                of all sample sizes at once, as the data grow.
            delta: δ.
        """
        ...
