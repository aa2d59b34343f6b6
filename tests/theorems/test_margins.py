from dataclasses import replace
from math import inf, nan

import pytest

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.theorems import Counterexample, Expected, Margin
from tests.theorems.toys import TRUE, Point, points


def test_a_margin_is_signed_and_an_equality_is_never_positive():
    assert Margin.at_most(1.0, 3.0, scale=4.0, rounding=0.0).scaled == 0.5
    assert Margin.at_most(3.0, 1.0, scale=4.0, rounding=0.0).scaled == -0.5
    assert Margin.equal(3.0, 1.0, scale=1.0, rounding=0.0).value == -2.0
    assert Margin.equal(1.0, 3.0, scale=1.0, rounding=0.0).value == -2.0


@pytest.mark.parametrize(("rounding", "violated"), [(1e-11, False), (1e-12, False), (9e-13, True)])
def test_only_a_value_below_minus_rounding_is_a_violation(rounding, violated):
    assert Margin(-1e-12, 1.0, rounding).violated is violated


def test_an_undefined_margin_is_a_violation():
    assert Margin(nan, 1.0, 0.0).violated
    assert Margin(-inf, 1.0, 0.0).violated
    assert not Margin(inf, 1.0, 0.0).violated


def test_broken_parts_are_those_that_a_defined_value_violates():
    parts = {"fails": Margin(-1.0, 1.0, 0.0), "holds": Margin(1.0, 1.0, 0.0)}
    both = Margin.every({**parts, "undefined": Margin(nan, 1.0, 0.0)})
    assert both.violated
    assert both.broken == ("fails",)
    assert Margin(-inf, 1.0, 0.0).broken == ("claim",)
    assert Margin(nan, 1.0, 0.0).broken == ()


def test_rounding_as_large_as_the_scale_decides_nothing_but_a_violation():
    assert not Margin(0.5, 1.0, 0.1).decisive
    assert Margin(0.5, 1.0, 1e-4).decisive
    assert Margin(-0.5, 1.0, 0.1).decisive


def test_a_claim_of_parts_has_the_margin_of_the_part_nearest_to_failing():
    easy, tight = Margin(5.0, 1.0, 0.0), Margin(1e-3, 1.0, 0.0)
    both = Margin.every({"easy": easy, "tight": tight})
    assert (both.value, both.excess) == (tight.value, tight.excess)
    assert dict(both.named) == {"easy": easy, "tight": tight}
    assert tight.named == (("claim", tight),)
    assert Margin.every({"easy": easy, "broken": Margin(-1.0, 1.0, 0.0)}).violated


@pytest.mark.parametrize(("scale", "rounding"), [(0.0, 0.0), (-1.0, 0.0), (inf, 0.0), (1.0, -1.0)])
def test_a_margin_without_a_scale_is_refused(scale, rounding):
    with pytest.raises(InvalidProblem, match="scale"):
        Margin(0.0, scale, rounding)


@pytest.mark.parametrize(
    "key", ["", "Upper", "a b", "a/b", "..", "a--b", "-a", "é", "con", "lpt1", "a\n", '"']
)
def test_a_key_that_cannot_name_a_file_everywhere_is_refused(key):
    with pytest.raises(InvalidProblem, match="cannot name a file"):
        replace(TRUE, key=key)


def test_a_theorem_needs_a_control_for_every_hypothesis():
    with pytest.raises(InvalidProblem, match="no control for"):
        replace(TRUE, controls={})
    with pytest.raises(InvalidProblem, match="not among its hypotheses"):
        replace(TRUE, controls={"square": points(), "circle": points()})
    with pytest.raises(InvalidProblem, match="no control"):
        replace(TRUE, hypotheses=(), controls={})


def test_a_counterexample_belongs_to_refuted_statements_and_only_there():
    counterexample = Counterexample("x = 2", lambda: True, "x = 2")
    with pytest.raises(InvalidProblem, match="counterexample"):
        replace(TRUE, expected=Expected.REFUTED)
    with pytest.raises(InvalidProblem, match="counterexample"):
        replace(TRUE, counterexample=counterexample)
    refuted = replace(TRUE, expected=Expected.REFUTED, counterexample=counterexample, controls={})
    assert refuted.counterexample is counterexample


def test_violating_one_hypothesis_means_satisfying_all_others():
    assert TRUE.violates_only("square", Point(2.0, 0.5))
    assert not TRUE.violates_only("square", Point(0.5, 0.5))
    with pytest.raises(HypothesisViolated, match="circle"):
        TRUE.violates_only("circle", Point(0.5, 0.5))
