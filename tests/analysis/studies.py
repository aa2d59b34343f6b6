"""Functions that the tests of sweeps evaluate; workers import them from here."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_info

import nlhf


@dataclass(frozen=True, slots=True)
class Draw:
    seed: int
    size: int
    law: str = "normal"


@dataclass(frozen=True, slots=True)
class Moments:
    mean: float
    norm: float
    ends: tuple[float, float]
    threads: int
    process: int


@dataclass(frozen=True, slots=True)
class Piece:
    index: int
    value: float


@dataclass(slots=True)
class Movable:
    seed: int


@dataclass(frozen=True, slots=True)
class Doubled:
    size: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.size)


def moments(point: Draw) -> list[Moments]:
    rng = nlhf.Stream(point.seed).child("study", point.law).generator()
    matrix = getattr(rng, point.law)(size=(point.size, point.size))
    product = matrix @ matrix.T  # how BLAS adds up depends on its number of threads
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    found = Moments(
        mean=matrix.mean(),  # a NumPy number comes back as a float
        norm=float(np.linalg.norm(product)),
        ends=(float(product.min()), float(product.max())),
        threads=max(blas),
        process=os.getpid(),
    )
    return [found]


def pieces(point: Draw) -> list[Piece]:
    values = nlhf.Stream(point.seed).generator().normal(size=point.size)
    return [Piece(index, float(value)) for index, value in enumerate(values)]


def fails_while_the_file_is_there(point: Draw) -> list[Piece]:
    """Fails at even seeds, as long as the file that the point names exists."""
    if point.seed % 2 == 0 and os.path.exists(point.law):
        raise ValueError(f"no even seeds, got {point.seed}")
    return [Piece(0, float(point.seed))]


def kills_its_process(point: Draw) -> list[Piece]:
    """Dies without a word at the seed 3, as long as the file that the point names exists."""
    if point.seed == 3 and os.path.exists(point.law):
        os._exit(9)
    return [Piece(0, float(point.seed))]


def returns_an_array(point: Draw) -> list[Moments]:
    return [Moments(np.ones(2), 0.0, (0.0, 0.0), 1, 1)]  # type: ignore[arg-type]


def promises_pieces(point: Draw) -> list[Piece]:
    return [point]  # type: ignore[list-item]


def doubled(point: Draw) -> list[Doubled]:
    return [Doubled(point.size)]


def loads_a_library(point: Draw) -> list[Piece]:
    """SciPy brings a BLAS of its own."""
    import scipy.linalg  # noqa: F401

    return [Piece(0, max(float(pool["num_threads"]) for pool in threadpool_info()))]


def says_nothing(point: Draw):  # type: ignore[no-untyped-def]
    return [point]


def returns_no_dataclass(point: Draw) -> list[float]:
    return [float(point.seed)]


def made_here() -> Callable[[Draw], list[Piece]]:
    def inner(point: Draw) -> list[Piece]:
        return [Piece(0, 0.0)]

    return inner
