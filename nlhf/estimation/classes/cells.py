"""Comparisons counted cell by cell, and what they leave out."""

import warnings

import numpy as np
from jaxtyping import Float

from nlhf.data.preference_data import PreferenceData
from nlhf.errors import Degenerate, InvalidData, InvalidProblem, Unsupported


def checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return (L, m) after checking that there are stages and outcomes.

    Raises:
        InvalidProblem: Otherwise.
    """
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in shape)
    if len(shape) != 2 or not whole or min(shape) < 1:
        raise InvalidProblem(
            f"the shape is {shape}", "give (stages, outcomes), two positive integers"
        )
    return int(shape[0]), int(shape[1])


def checked_bound(bound: float) -> float:
    """Return B after checking that it is positive and finite.

    Raises:
        InvalidProblem: Otherwise.
    """
    if not (np.isfinite(bound) and bound > 0.0):
        raise InvalidProblem(f"the bound is {bound!r}", "give a positive number")
    return float(bound)


def checked_data(data: PreferenceData, shape: tuple[int, int]) -> PreferenceData:
    """Return the data after checking that they compare outcomes of the given shape.

    Raises:
        InvalidData: Otherwise.
    """
    if data.pairs.shape != shape:
        raise InvalidData(
            f"the data have (stages, outcomes) = {data.pairs.shape}, the class has {shape}",
            "use data and a class of one problem",
        )
    return data


def counted(data: PreferenceData) -> Float[np.ndarray, "stage outcome outcome"]:
    """Return how often the one outcome won against the other in every cell, ties half.

    Comparisons of an outcome with itself say nothing and are left out.

    Raises:
        Unsupported: If a pair is compared in several cells at once: trajectories.
    """
    pairs = data.pairs
    if pairs.stage.shape[1] > 1:
        raise Unsupported(
            f"every pair is compared in {pairs.stage.shape[1]} cells at once, so that no cell has "
            "votes of its own",
            "use LinearClass or BradleyTerryClass for trajectories",
        )
    stages, outcomes = pairs.shape
    wins = np.zeros((stages, outcomes, outcomes))
    stage, first, second = pairs.stage[:, 0], pairs.first[:, 0], pairs.second[:, 0]
    np.add.at(wins, (stage, first, second), data.wins)
    np.add.at(wins, (stage, second, first), data.counts - data.wins)
    every = np.arange(outcomes)
    wins[:, every, every] = 0.0
    return wins


def warn_of_silence(data: PreferenceData, stacklevel: int) -> None:
    """Warn of the stages at which no two different outcomes were compared.

    Warns:
        Degenerate: With the numbers of the stages.
    """
    pairs = data.pairs
    informative = (data.counts > 0.0)[:, None] & (pairs.first != pairs.second)
    heard = np.zeros(pairs.shape[0], dtype=bool)
    heard[pairs.stage[informative]] = True
    silent = np.flatnonzero(~heard)
    if len(silent) > 0 and pairs.shape[1] > 1:
        names = ", ".join(str(stage) for stage in silent[:10]) + (
            ", ..." if len(silent) > 10 else ""
        )
        warnings.warn(
            f"no two outcomes were compared at {len(silent)} of {pairs.shape[0]} stages: {names}; "
            "payoffs there are taken to be 0, and may be anything that the class allows",
            Degenerate,
            stacklevel=stacklevel + 1,
        )
