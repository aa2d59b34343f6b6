"""What the best deviation of one player gains: the piece that every certificate is made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class Improvement:
    """The best deviation of one player from its policy, the others staying as they are.

    Attributes:
        gain: What it gains in each context, in payoff units.
        rounding: Bound on the error of `gain`, in each context.
        response: The deviation.
    """

    gain: Float[np.ndarray, "context"]
    rounding: Float[np.ndarray, "context"]
    response: Policy
