"""How a payoff becomes the probability of being preferred."""

from enum import StrEnum

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.numerics import COMPLEMENT_TOLERANCE, log_of, log_sigmoid, sigmoid
from nlhf.results import Units, float_array


class Link(StrEnum):
    """What a table of payoffs T, with T + Tᵀ = 0, says of preferences."""

    PROBABILITY = "probability"
    """P = 1/2 + T: the payoff is the win probability less 1/2, of size at most 1/2."""
    LOG_ODDS = "log-odds"
    """P = 1/(1 + e^-T): the payoff is the log-odds of winning."""

    @property
    def units(self) -> Units:
        """Units of the payoff."""
        return Units.WIN_PROBABILITY if self is Link.PROBABILITY else Units.LOG_ODDS

    def probability(self, payoff: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Return the probability that the first is preferred."""
        return 0.5 + payoff if self is Link.PROBABILITY else sigmoid(payoff)

    def log_likelihood(
        self,
        payoff: Float[np.ndarray, "*model pair"],
        counts: Float[np.ndarray, " pair"],
        wins: Float[np.ndarray, " pair"],
    ) -> Float[np.ndarray, "*model"]:
        """Return Σ wins log P + (counts - wins) log(1 - P), in nats; 0 log 0 is 0."""
        if self is Link.LOG_ODDS:
            return np.asarray(log_sigmoid(payoff) @ wins + log_sigmoid(-payoff) @ (counts - wins))
        total = np.zeros(payoff.shape[:-1])
        for votes, sign in ((wins, 1.0), (counts - wins, -1.0)):
            logs = log_of(np.clip(0.5 + sign * payoff, 0.0, 1.0))
            total += np.where(votes > 0.0, votes * np.where(votes > 0.0, logs, 0.0), 0.0).sum(-1)
        return total


def checked_tables(
    tables: object, link: Link, axes: int
) -> Float[np.ndarray, "*model stage outcome outcome"]:
    """Return payoffs as an array after checking that they are skew, and small enough.

    What is skew up to rounding is made exactly so: bounds on what policies secure rest on it.

    Args:
        tables: Payoffs with the given number of axes, the last three (stage, outcome, outcome).
        link: Probabilities bound the payoff by 1/2.
        axes: 3 for one table, 4 for several.

    Raises:
        InvalidProblem: If the shape does not fit, an entry is not finite or beyond the bound, or
            T + Tᵀ is not 0 within 1e-9 of the largest entry.
    """
    array = float_array("the payoffs", tables)
    if array.ndim != axes or array.shape[-1] != array.shape[-2] or 0 in array.shape:
        wanted = "(stage, outcome, outcome)" if axes == 3 else "(model, stage, outcome, outcome)"
        raise InvalidProblem(
            f"the payoffs have shape {array.shape}",
            f"pass a non-empty array {wanted}; a single prompt is one stage",
        )
    models, exact = array.reshape(-1, *array.shape[-3:]), True
    for number, table in enumerate(models):
        name = f"model {number}: " if axes == 4 else ""
        size = float(np.abs(table).max())
        if not np.isfinite(size):
            raise InvalidProblem(f"{name}a payoff is {size}", "pass finite payoffs")
        if link is Link.PROBABILITY and size > 0.5 + COMPLEMENT_TOLERANCE:
            raise InvalidProblem(
                f"{name}a payoff is {size:.9g} in size, but |P - 1/2| is at most 1/2",
                "pass P - 1/2, or name the log-odds link",
            )
        off = np.abs(table + table.swapaxes(-1, -2))
        exact = exact and not off.any()
        if off.max() > COMPLEMENT_TOLERANCE * max(size, 1e-300):
            stage, i, j = (int(k) for k in np.unravel_index(int(off.argmax()), off.shape))
            raise InvalidProblem(
                f"{name}T[{stage}, {i}, {j}] + T[{stage}, {j}, {i}] = {table[stage, i, j]:.6g} + "
                f"{table[stage, j, i]:.6g}, not 0",
                "payoffs are skew: what the first gains the second loses; subtract 1/2 from "
                "win probabilities",
            )
    return array if exact else np.asarray((array - array.swapaxes(-1, -2)) / 2.0)


def checked_delta(delta: float) -> float:
    """Return δ after checking that it is a probability strictly between 0 and 1.

    Raises:
        HypothesisViolated: Otherwise.
    """
    number = isinstance(delta, int | float | np.floating) and not isinstance(delta, bool)
    if not (number and 0.0 < delta < 1.0):
        raise HypothesisViolated(
            f"delta is {delta!r}",
            "give the probability with which the confidence set may fail, between 0 and 1, such "
            "as 0.05",
        )
    return float(delta)
