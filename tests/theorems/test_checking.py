"""The machinery on statements whose truth is known."""

from dataclasses import replace
from importlib import import_module
from math import inf, nan

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from nlhf.errors import HypothesisViolated
from nlhf.streams import Stream
from nlhf.theorems import (
    Counterexample,
    Expected,
    Hypothesis,
    Margin,
    Verdict,
    check,
    verify,
)
from tests.theorems.toys import FALSE, TRUE, Point, bump_margin, points, product_margin, with_margin


def summary(report):
    """Everything in a report but the time."""
    return (
        report.verdict,
        report.instances,
        report.undecided,
        report.rejected,
        report.violations,
        report.tightest,
        report.witness,
        report.parts,
        report.controls,
        report.certified,
    )


def test_a_true_statement_is_not_falsified_and_its_control_bites():
    report = check(TRUE, 200)
    assert report.verdict == Verdict.NOT_FALSIFIED
    assert report.as_expected
    assert report.complaints == ()
    assert report.instances > 100
    assert report.controls[0].bites == report.controls[0].instances >= 20


def test_the_search_reaches_the_tight_end_of_a_true_statement():
    """xy ≤ 1 is tight at (1, 1); 200 random points come no closer than 0.02 or so."""
    assert check(TRUE, 400).tightest < 1e-3


def test_random_points_miss_the_narrow_violation_that_the_local_search_finds():
    drawn = np.random.default_rng(0).random((2000, 2))
    assert not any(bump_margin(Point(*xy)).violated for xy in drawn)
    report = check(FALSE, 400)
    assert report.verdict == Verdict.FALSIFIED
    assert not report.as_expected
    assert bump_margin(report.witness).violated
    assert "expected not falsified, found falsified" in report.complaints[0]


def test_climbing_alone_finds_the_narrow_violation_too():
    report = check(replace(FALSE, coordinates=None), 1000)
    assert report.verdict == Verdict.FALSIFIED
    assert bump_margin(report.witness).violated


def test_the_search_works_on_every_part_of_a_claim():
    """The part that fails narrowly is always further from failing than the one that is tight."""

    def margin(point: Point) -> Margin:
        tight = Margin.equal(1.0, 1.0, scale=1.0, rounding=1e-15)
        return Margin.every({"tight": tight, "bump": bump_margin(point)})

    report = check(with_margin(margin), 600)
    assert report.verdict == Verdict.FALSIFIED
    assert {part.name: part.tightest < 0 for part in report.parts} == {
        "tight": False,
        "bump": True,
    }


def test_nothing_satisfying_the_hypotheses_is_vacuous_and_fails():
    never = Hypothesis[Point]("square", "never", lambda _: False)
    report = check(replace(TRUE, hypotheses=(never,)), 50)
    assert report.verdict == Verdict.VACUOUS
    assert report.instances == 0
    assert report.rejected > 0
    assert report.tightest == inf
    assert report.witness is None
    assert not report.as_expected


def test_rounding_that_hides_the_claim_everywhere_is_vacuous():
    report = check(with_margin(lambda point: Margin(0.5, 1.0, 0.1)), 50)
    assert report.verdict == Verdict.VACUOUS
    assert (report.instances, report.undecided > 0) == (0, True)


def test_one_part_never_tested_is_vacuous():
    def margin(point: Point) -> Margin:
        return Margin.every({"seen": Margin(0.5, 1.0, 0.0), "hidden": Margin(0.5, 1.0, 0.1)})

    assert check(with_margin(margin), 50).verdict == Verdict.VACUOUS


@pytest.mark.parametrize(
    ("rounding", "verdict"), [(1e-9, Verdict.NOT_FALSIFIED), (1e-11, Verdict.FALSIFIED)]
)
def test_rounding_is_respected(rounding, verdict):
    assert check(with_margin(lambda point: Margin(-1e-10, 1.0, rounding)), 30).verdict == verdict


def test_an_undefined_margin_falsifies():
    assert check(with_margin(lambda point: Margin(nan, 1.0, 0.0)), 30).verdict == Verdict.FALSIFIED


@pytest.mark.parametrize(
    "control",
    [points(1.001, 1.002).map(lambda p: Point(p.x, 0.5)), points()],
    ids=["claim survives", "hypothesis not violated"],
)
def test_a_control_that_does_not_bite_is_reported_and_fails(control):
    report = check(replace(TRUE, controls={"square": control}), 50)
    assert report.verdict == Verdict.NOT_FALSIFIED
    assert report.controls[0].bites == 0
    assert not report.as_expected
    assert "never breaks the claim" in report.complaints[0]


def two_parts(second):
    def margin(point: Point) -> Margin:
        return Margin.every({"product": product_margin(point), "second": second(point)})

    return margin


def test_a_part_that_no_control_breaks_is_named():
    always = with_margin(two_parts(lambda _: Margin(0.5, 1.0, 0.0)))
    report = check(always, 50)
    assert report.verdict == Verdict.NOT_FALSIFIED
    assert report.controls[0].bites > 0
    assert report.controls[0].broken == ("product",)
    (complaint,) = report.complaints
    assert "no control ever breaks the part 'second'" in complaint
    assert not report.as_expected


def test_parts_may_be_broken_by_different_controls():
    light = Hypothesis[Point]("light", "x + y <= 3", lambda point: point.x + point.y <= 3.0)

    def weight(point: Point) -> Margin:
        return Margin.at_most(point.x + point.y, 3.0, scale=1.0, rounding=1e-15)

    both = replace(
        with_margin(two_parts(weight)),
        hypotheses=(Hypothesis[Point]("square", "in it", lambda p: p.x <= 1.0), light),
        controls={
            "square": points(1.001, 1.4),
            "light": points(0.0, 1.0).map(lambda p: Point(p.x, 4.0)),
        },
    )
    report = check(both, 50)
    assert report.controls[0].broken == ("product",)
    assert set(report.controls[1].broken) == {"product", "second"}
    assert report.complaints == ()


def test_an_undefined_margin_is_no_bite_of_a_control():
    def margin(point: Point) -> Margin:
        return Margin(nan if point.x > 1.0 else 0.5, 1.0, 0.0)

    report = check(with_margin(margin), 50)
    assert report.controls[0].instances >= 20
    assert (report.controls[0].bites, report.controls[0].broken) == (0, ())
    assert "never breaks the claim" in report.complaints[0]


def test_a_part_that_is_undefined_beside_one_that_fails_is_not_broken():
    report = check(with_margin(two_parts(lambda p: Margin(nan if p.x > 1.0 else 0.5, 1, 0.0))), 50)
    assert report.controls[0].bites > 0
    assert report.controls[0].broken == ("product",)
    assert "'second'" in report.complaints[0]


def test_control_instances_that_violate_another_hypothesis_do_not_count():
    heavy = Hypothesis[Point]("light", "x + y < 3", lambda point: point.x + point.y < 3.0)
    both = replace(
        TRUE,
        hypotheses=(*TRUE.hypotheses, heavy),
        controls={"square": points(2.0, 3.0), "light": points(2.0, 3.0)},
    )
    assert [control.instances for control in check(both, 50).controls] == [0, 0]


def test_the_same_stream_gives_the_same_report_whatever_ran_before():
    first = check(TRUE, 120, Stream(7))
    check(FALSE, 60, Stream(8))
    assert summary(check(TRUE, 120, Stream(7))) == summary(first)
    assert summary(check(TRUE, 120, Stream(9)))[5:7] != summary(first)[5:7]


def test_reports_do_not_depend_on_the_company():
    together = verify((TRUE, FALSE), 80, Stream(3))
    assert [summary(report) for report in together] == [
        summary(check(theorem, 80, Stream(3))) for theorem in (TRUE, FALSE)
    ]


@pytest.mark.parametrize("budget", [1, 2, 7, 50, 300])
def test_the_budget_is_what_is_evaluated(budget):
    report = check(replace(TRUE, sharp=(Point(1.0, 1.0),)), budget)
    assert 1 <= report.instances <= budget + 1
    assert report.instances + report.rejected >= 0.9 * budget


def test_a_strategy_of_few_instances_ends_early():
    few = st.sampled_from([Point(0.0, 0.0), Point(0.5, 0.5), Point(1.0, 1.0)])
    report = check(replace(TRUE, instances=few, coordinates=None), 100)
    assert report.verdict == Verdict.NOT_FALSIFIED
    assert report.instances == 3


def test_sharp_cases_are_always_evaluated():
    report = check(replace(TRUE, sharp=(Point(1.0, 1.0),)), 1)
    assert report.tightest == 0.0
    assert report.witness == Point(1.0, 1.0)


def test_a_refuted_statement_needs_its_counterexample_to_pass():
    refuted = replace(
        FALSE,
        expected=Expected.REFUTED,
        counterexample=Counterexample("(0.3, 0.7)", lambda: True, ""),
        controls={},
    )
    assert check(refuted, 400).as_expected
    unproved = replace(refuted, counterexample=Counterexample("(0, 0)", lambda: False, ""))
    assert check(unproved, 400).complaints == ("its counterexample failed the exact check",)


def test_a_refuted_statement_that_is_not_falsified_is_not_as_expected():
    survivor = replace(
        TRUE, expected=Expected.REFUTED, counterexample=Counterexample("none", lambda: True, "")
    )
    assert not check(survivor, 50).as_expected


def test_an_open_statement_is_as_expected_while_it_is_not_falsified():
    assert check(replace(TRUE, expected=Expected.OPEN), 50).as_expected
    assert not check(replace(FALSE, expected=Expected.OPEN), 400).as_expected


def test_an_error_inside_a_margin_surfaces_as_itself():
    def margin(point: Point) -> Margin:
        raise ZeroDivisionError("in the margin")

    with pytest.raises(ZeroDivisionError, match="in the margin"):
        check(with_margin(margin), 20)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(HypothesisViolated, match="budget is 0"):
        check(TRUE, 0)


def test_progress_rises_to_the_end():
    seen: list[tuple[str, float]] = []
    verify((TRUE, FALSE), 40, Stream(0), lambda key, share: seen.append((key, share)))
    for theorem in (TRUE, FALSE):
        shares = [share for key, share in seen if key == theorem.key]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert len(shares) > 40


START = 271828182845000
"""No constant of the package or its tests is near."""

NEAR = st.integers(START, START + 10**6)


def drawn_by_the_engine_alone() -> set[int]:
    drawn: set[int] = set()

    @settings(max_examples=500, database=None, phases=(Phase.generate,))
    @given(NEAR)
    def draw(number):
        drawn.add(number)

    draw()
    return drawn


def test_constants_of_loaded_modules_are_not_drawn(tmp_path, monkeypatch):
    """Hypothesis draws them; a search that did would change with whatever else is imported."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    drawn: set[int] = set()

    def point(number: int) -> Point:
        drawn.add(number)
        return Point((number - START) / 10**6, 0.5)

    near = replace(TRUE, instances=NEAR.map(point), coordinates=None)
    first = summary(check(near, 400))
    assert list(here.iterdir()) == []
    constant = START + 141421
    (tmp_path / "constants_here.py").write_text(f"A = {constant}\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_module("constants_here")
    assert constant in drawn_by_the_engine_alone()  # the control; and it remembers
    assert summary(check(near, 400)) == first
    assert constant not in drawn
    assert constant in drawn_by_the_engine_alone()  # and is left as it was
