"""Records are the same after a journey through a file, and instances can be pasted."""

import json
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.theorems import Expected, Hypothesis, Margin, check, plain, record
from nlhf.theorems.records import restored, source
from tests.theorems.toys import FALSE, TRUE, Point, with_margin


class Shape(Enum):
    ROUND = 1
    FLAT = (2, 3)


def through_a_file(found):
    return restored(json.loads(json.dumps(plain(found), allow_nan=False)))


@pytest.mark.parametrize(
    "theorem",
    [
        TRUE,
        FALSE,
        replace(TRUE, hypotheses=(Hypothesis("square", "never", lambda _: False),)),
        replace(TRUE, constants={"a": 0.1, "b": 2.0}),
        with_margin(lambda p: Margin(nan if p.x > 1 else 1.0, 1.0, 0.0)),
    ],
    ids=["true", "false", "vacuous", "constants", "undefined"],
)
def test_a_record_survives_a_journey_through_json(theorem):
    found = record(check(theorem, 60))
    again = through_a_file(found)
    assert plain(again) == plain(found)
    assert type(again.verdict) is type(found.verdict)
    assert type(again.expected) is type(found.expected)
    assert again.complaints == found.complaints
    assert again.as_expected == found.as_expected
    for part, back in zip(found.parts, again.parts, strict=True):
        assert back == part


def test_a_record_keeps_what_the_report_saw():
    report = check(FALSE, 300)
    found = record(report)
    assert (found.instances, found.tightest) == (report.instances, report.tightest)
    assert found.witness == {"x": report.witness.x, "y": report.witness.y}
    assert eval(found.witness_source) == found.witness
    (part,), (control,) = found.parts, found.controls
    assert len(part.margins) == report.instances
    assert min(part.margins) == pytest.approx(report.tightest, rel=1e-5)
    assert len(control.margins) == control.instances


def test_every_part_keeps_its_own_margins():
    def margin(point: Point) -> Margin:
        return Margin.every({"near": Margin(0.25, 1.0, 0.0), "far": Margin(3.0, 1.0, 0.0)})

    found = record(check(with_margin(margin), 30))
    assert {part.name: set(part.margins) for part in found.parts} == {"near": {0.25}, "far": {3.0}}
    assert set(found.controls[0].margins) == {0.25}


def test_the_worst_violation_of_a_control_is_the_one_beyond_all_others():
    (control,) = check(TRUE, 200).controls
    assert control.bites == control.instances
    assert control.deepest == min(control.margins) < 0
    worst = Point(control.witness.x, control.witness.y)
    assert control.deepest == 1.0 - worst.x * worst.y
    assert control.deepest_part == "claim"


def test_a_control_that_never_bites_has_no_worst_violation():
    nowhere = check(with_margin(lambda _: Margin(nan, 1.0, 0.0)), 30).controls[0]
    assert (nowhere.bites, nowhere.deepest, nowhere.witness) == (0, inf, None)
    assert all(isnan(margin) for margin in nowhere.margins)
    assert nowhere.share == 0.0


@dataclass(frozen=True)
class Instance:
    matrix: np.ndarray
    share: Fraction
    name: str
    inner: tuple


NUMBERS = st.floats(allow_nan=False) | st.integers() | st.fractions() | st.booleans()


def written_out(value):
    if isinstance(value, Instance):
        return {
            "matrix": value.matrix.tolist(),
            "share": value.share,
            "name": value.name,
            "inner": written_out(value.inner),
        }
    return value


@given(
    matrix=st.lists(st.lists(st.floats(allow_nan=False), min_size=3, max_size=3), max_size=9),
    share=st.fractions(),
    inner=st.recursive(NUMBERS, lambda of: st.lists(of) | st.tuples(of) | st.tuples(of, of)),
    name=st.text(),
)
def test_pasted_source_is_the_instance_bit_for_bit(matrix, share, inner, name):
    instance = Instance(np.array(matrix), share, name, (inner,))
    text = source(instance)
    names: dict[str, object] = {}
    exec("\n".join(line for line in text.split("\n") if line.startswith("from ")), names)
    body = "\n".join(line for line in text.split("\n") if not line.startswith("from "))
    found = eval(body, names)
    assert found == written_out(instance)
    assert repr(found["inner"]) == repr(instance.inner)


def test_undefined_numbers_can_be_pasted_too():
    names: dict[str, object] = {}
    text = source((nan, inf, -inf))
    exec(text.rsplit("\n", 1)[0], names)
    found = eval(text.rsplit("\n", 1)[1], names)
    assert isnan(found[0])
    assert found[1:] == (inf, -inf)


def test_members_of_an_enumeration_are_their_values():
    instance = (Expected.OPEN, Shape.ROUND, (Shape.FLAT,))
    assert eval(source(instance)) == ("open", 1, ((2, 3),))
    assert json.loads(json.dumps(plain(instance))) == ["open", 1, [[2, 3]]]


def test_no_number_is_broken():
    numbers = [1e-308, 0.1, -(10**100)] * 9
    text = source(numbers)
    assert eval(text) == numbers
    assert any(line.count(",") > 1 for line in text.split("\n"))


def test_long_instances_are_broken_into_lines_that_fit():
    text = source(Instance(np.eye(8) / 3, Fraction(1, 3), "x", (1,)))
    assert max(len(line) for line in text.split("\n")) <= 100
    assert len(text.split("\n")) > 8
