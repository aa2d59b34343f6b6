"""The run-time type checks of the test run: what they refuse, and that they are in force."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import jaxtyping
import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError

import nlhf
from tests.runtime_types import checked

strict = jaxtyping.jaxtyped(typechecker=checked)

Row = Float[np.ndarray, " response"]


@strict
def scaled(values: Row, factor: float, weights: Row | None = None) -> Row:
    return values * factor * (1.0 if weights is None else weights)


@strict
def doubled(values: Row) -> Row:
    return np.concatenate([values, values])


@strict
def rows(table: Float[np.ndarray, "context response"]) -> Iterator[Row]:
    yield from table


@strict
@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    first: Row
    second: Row


class Scale:
    @strict
    def __init__(self, factor: float) -> None:
        self.factor = factor

    @strict
    def __call__(self, values: Row) -> Row:
        return scaled(values, self.factor)

    @staticmethod
    @strict
    def alone(values: Row) -> float:
        return float(values.sum())

    @property
    @strict
    def wrong(self) -> str:
        return self.factor  # type: ignore[return-value]


def test_what_fits_passes_and_an_integer_is_a_float():
    np.testing.assert_array_equal(scaled(np.ones(3), 2, np.ones(3)), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(Scale(3)(np.ones(2)), [3.0, 3.0])
    assert [row.tolist() for row in rows(np.ones((2, 1)))] == [[1.0], [1.0]]
    assert Pair(np.ones(2), second=np.zeros(2)).first.sum() == 2.0


def test_every_call_has_axes_of_its_own():
    assert len(scaled(np.ones(3), 1.0)) == 3
    assert len(scaled(np.ones(4), 1.0)) == 4


@pytest.mark.parametrize(
    "call",
    [
        lambda: scaled(np.ones(3), 2.0, np.ones(4)),  # two sizes of one axis
        lambda: scaled(np.ones((1, 3)), 2.0),
        lambda: scaled(np.ones(3, dtype=int), 2.0),
        lambda: scaled([1.0], 2.0),
        lambda: scaled(np.ones(3), "2"),
        lambda: Pair(np.ones(2), np.ones(3)),
        lambda: Scale(1.0)(np.ones((2, 2))),
        lambda: Scale.alone(np.ones((2, 2))),
        lambda: Scale("1"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(call):
    with pytest.raises(TypeCheckError, match="parameter"):
        call()


def test_a_result_that_does_not_fit_is_refused():
    with pytest.raises(TypeCheckError, match="return"):
        doubled(np.ones(3))
    with pytest.raises(TypeCheckError, match="return"):
        _ = Scale(1.0).wrong


def test_a_generator_is_checked_when_it_is_called():
    with pytest.raises(TypeCheckError):
        rows(np.ones(3))


def test_a_refusal_names_the_sizes_of_the_axes():
    with pytest.raises(TypeCheckError) as caught:
        scaled(np.ones(3), 2.0, np.ones(4))
    assert "response=3" in "\n".join(caught.value.__notes__)


def test_checks_can_be_set_aside():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        assert len(doubled(np.ones(3))) == 6
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.skipif("NLHF_UNCHECKED" in os.environ, reason="NLHF_UNCHECKED is set")
def test_the_package_itself_is_checked():
    with pytest.raises(TypeCheckError):
        nlhf.solve("no game")
