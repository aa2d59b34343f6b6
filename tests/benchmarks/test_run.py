"""The benchmark machinery: rows, resumption, failures, ratios, and what must not pass unseen."""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import pictures, run
from benchmarks.cases import (
    Case,
    Comparison,
    Footprint,
    Scaling,
    Startup,
    Study,
    key,
    methods_of,
)
from benchmarks.measure import IN_FRESH_PROCESSES, IN_THIS_PROCESS
from benchmarks.peers import PEERS
from benchmarks.rows import Row, read_rows
from benchmarks.run import run_cases
from benchmarks.scaling.axes import AXES
from benchmarks.solvers import comparison, plot
from benchmarks.solvers.comparison import METHODS, draw
from benchmarks.solvers.instances import FAMILIES, REFERENCES
from benchmarks.suites import SUITES, cases_of
from benchmarks.turns import Answer
from nlhf import PreferenceGame, certify

SMALL = Comparison("tournament", 4, 6, 0.1, ("exact", "cvxpy"), repeats=2, sample=2)


ALL = (*cases_of("full", smoke=False), *cases_of("smoke", smoke=True))


def rows_of(folder: Path, *cases: Case) -> list[Row]:
    return list(run_cases("test", cases, folder, lambda *_: None))


def test_every_case_names_things_that_exist() -> None:
    for case in ALL:
        assert type(case) in {*IN_THIS_PROCESS, *IN_FRESH_PROCESSES}
        if isinstance(case, Comparison):
            assert case.family in FAMILIES
            assert case.reference in REFERENCES
            assert set(case.methods) <= set(METHODS)
            assert case.methods[0] == "exact"
        elif isinstance(case, Footprint):
            assert case.rank > 0 or case.family in FAMILIES
        elif isinstance(case, Scaling):
            assert case.method in PEERS or case.method in AXES[case.axis]


def test_smoke_runs_every_suite_and_every_study_of_full() -> None:
    for name, suite in SUITES.items():
        assert suite.smoke, name
        assert {type(case) for case in suite.smoke} == {type(case) for case in suite.full}
        assert suite.about
        assert suite.minutes > 0.0
    studies = {case.name for case in cases_of("smoke", smoke=True) if isinstance(case, Study)}
    assert studies == {c.name for c in cases_of("full", smoke=False) if isinstance(c, Study)}
    assert {"headline", "impossibility", "enumerable_games", "movie_reviews"} <= studies


def test_the_full_suite_measures_what_is_claimed() -> None:
    full = cases_of("full", smoke=False)
    comparisons = [case for case in full if isinstance(case, Comparison)]

    def has(n: int, x: int, temperature: float, method: str) -> bool:
        return any(
            (c.responses, c.contexts, c.temperature) == (n, x, temperature) and method in c.methods
            for c in comparisons
        )

    assert has(200, 1, 0.01, "cvxpy")
    assert has(32, 1000, 0.1, "cvxpy")
    assert has(32, 10_000, 0.1, "exact")
    assert has(2000, 1, 0.01, "extragradient")
    assert has(30, 1, 0.01, "pygambit")
    for temperature in (0.1, 0.01):
        assert Footprint("low_rank", 1_000_000, 1, temperature, rank=16) in full
        assert Footprint("uniform", 2000, 1, temperature) in full
    assert Startup("import nlhf") in full


def test_keys_are_unique_and_change_with_every_field() -> None:
    keys = [key(case) for case in cases_of("full", smoke=False)]
    assert len(set(keys)) == len(keys)
    changes: Mapping[str, Any] = {
        "family": "uniform",
        "responses": 5,
        "contexts": 7,
        "temperature": 0.2,
        "methods": ("exact",),
        "reference": "tiny_reference",
        "repeats": 3,
        "sample": 1,
        "seed": 1,
    }
    assert set(changes) == {field.name for field in fields(Comparison)}
    others = {key(replace(SMALL, **{name: value})) for name, value in changes.items()}
    assert len(others | {key(SMALL)}) == len(changes) + 1


def test_rows_hold_ratios_side_by_side_and_say_where_they_come_from(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, SMALL)
    assert [row.method for row in rows] == ["exact", "cvxpy"]
    exact, convex = (row.numbers for row in rows)
    assert exact["times_the_first"] == 1.0
    assert not exact["scaled"]
    assert exact["contexts_measured"] == 6
    assert convex["scaled"]
    assert convex["contexts_measured"] == 2
    ratios = np.array(convex["seconds_each"]) / exact["seconds_each"]
    assert convex["times_the_first"] == pytest.approx(float(np.median(ratios)))
    for numbers in (exact, convex):
        assert len(numbers["processor_seconds_each"]) == len(numbers["seconds_each"]) == 2
        assert len(numbers["yardstick_seconds_each"]) == 2
    assert exact["duality_gap_largest"] <= 1e-12
    assert convex["duality_gap_largest"] <= 1e-8
    for row in rows:
        assert row.provenance["revision"]
        assert {"numpy", "cvxpy", "clarabel", "nlhf"} <= set(row.provenance["versions"])
        assert row.case["seed"] == 0
        assert len(row.load) == 2


def test_rows_of_language_models_say_the_version_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NLHF_TRL_PYTHON", raising=False)
    tokens, games = (
        rows_of(tmp_path, Scaling(axis, 4, "trl outer step"))[0]
        for axis in ("response tokens T", "responses n")
    )
    assert {"torch", "transformers"} <= set(tokens.provenance["versions"])
    assert "torch" not in games.provenance["versions"]


def test_what_is_there_is_not_measured_again(tmp_path: Path) -> None:
    first = rows_of(tmp_path, SMALL)
    assert rows_of(tmp_path, SMALL) == []
    assert [row.key for row in read_rows(tmp_path)] == [row.key for row in first]
    assert len(rows_of(tmp_path, SMALL, replace(SMALL, seed=1))) == 2


def test_another_revision_is_measured_anew(tmp_path: Path) -> None:
    rows_of(tmp_path, SMALL)
    path = tmp_path / "rows.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["provenance"]["revision"] = "another"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(rows_of(tmp_path, SMALL)) == 2
    assert len(read_rows(tmp_path)) == 4


def test_failures_and_absences_are_rows_and_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(case: Comparison) -> comparison.Method:
        def fail(game: PreferenceGame) -> Answer[Any]:
            raise FloatingPointError("on purpose")

        return fail

    monkeypatch.setenv("NLHF_PYGAMBIT_PYTHON", sys.executable)
    monkeypatch.setattr(comparison, "METHODS", {**METHODS, "broken": broken})
    case = replace(SMALL, methods=("exact", "broken", "pygambit", "cvxpy"))
    rows = {row.method: row for row in rows_of(tmp_path, case)}
    assert rows["broken"].status == "failed"
    assert "on purpose" in rows["broken"].message
    assert rows["pygambit"].status == "absent"
    assert "NLHF_PYGAMBIT_PYTHON" in rows["pygambit"].message
    assert rows["exact"].status == rows["cvxpy"].status == "ok"
    again = rows_of(tmp_path, case)  # pygambit may be there by now
    assert {row.method for row in again} == set(rows)


def test_a_wrong_answer_shows_in_the_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a fast method with a wrong policy is not taken for a good one."""

    def hasty(case: Comparison) -> comparison.Method:
        return lambda game: comparison.answer(np.atleast_2d(game.reference.probabilities))

    monkeypatch.setattr(comparison, "METHODS", {**METHODS, "hasty": hasty})
    rows = rows_of(tmp_path, replace(SMALL, methods=("exact", "hasty")))
    assert rows[1].numbers["duality_gap_largest"] > 0.01


def test_extragradient_reaches_its_gap_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = replace(SMALL, methods=("exact", "extragradient"), contexts=1)
    row = rows_of(tmp_path, case)[1]
    assert row.status == "ok"
    assert row.numbers["duality_gap_largest"] <= comparison.EXTRAGRADIENT_GAP
    monkeypatch.setattr(comparison, "EXTRAGRADIENT_SECONDS", 0.0)
    late = rows_of(tmp_path, replace(case, seed=1))[1]
    assert late.status == "budget"


def test_games_of_a_case_differ_and_are_reproducible() -> None:
    a, b, again = draw(SMALL, 0), draw(SMALL, 1), draw(SMALL, 0)
    assert certify(a, a.reference).bound.value == certify(again, again.reference).bound.value
    assert certify(a, a.reference).bound.value != certify(b, b.reference).bound.value


def test_a_footprint_is_taken_in_a_fresh_process(tmp_path: Path) -> None:
    row = rows_of(tmp_path, Footprint("low_rank", 500, 1, 0.1, rank=4))[0]
    assert row.status == "ok", row.message
    numbers = row.numbers
    assert numbers["duality_gap_at_most"] <= 1e-10
    assert numbers["kl_to_the_reference_nats"] > 1e-3
    imported, built = (
        numbers[f"peak_memory_bytes_after_{stage}"] for stage in ("imports", "building")
    )
    assert 10 << 20 < imported <= built <= numbers["peak_memory_bytes"] < 4 << 30


def test_the_size_of_the_launching_process_is_not_taken_for_the_solvers(tmp_path: Path) -> None:
    """Control: on Linux ``ru_maxrss`` is inherited, and would report the 800 MB held here."""
    ballast = np.ones(100_000_000)
    row = rows_of(tmp_path, Footprint("uniform", 5, 1, 0.1))[0]
    assert ballast.nbytes == 800_000_000
    assert row.numbers["peak_memory_bytes"] < ballast.nbytes / 2


def test_a_process_that_dies_is_a_row(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path,
        Footprint("no such family", 3, 1, 0.1),
        Startup("import no_such_module", repeats=1),
    )
    assert [row.status for row in rows] == ["failed", "failed"]
    assert "no such family" in rows[0].message
    assert "no_such_module" in rows[1].message


def test_importing_loads_nothing_heavy(tmp_path: Path) -> None:
    light, heavy = rows_of(tmp_path, Startup("import nlhf", repeats=2), Startup("import cvxpy", 1))
    assert light.numbers["heavy_modules_loaded"] == []
    assert heavy.numbers["heavy_modules_loaded"] == ["cvxpy"]


def test_methods_of_a_case_are_the_rows_it_leads_to() -> None:
    assert methods_of(SMALL) == ("exact", "cvxpy")
    assert methods_of(Startup("import nlhf")) == ("startup",)
    assert methods_of(Footprint("uniform", 3, 1, 0.1)) == ("footprint",)


def test_every_row_can_be_told_in_a_line(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, SMALL, Footprint("no such family", 3, 1, 0.1))
    told = [run.describe(row) for row in rows]
    assert "x exact" in told[1]
    assert "scaled from 2 contexts" in told[1]
    assert "[failed]" in told[2]


def test_the_plot_shows_every_measured_point_and_only_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = (
        replace(SMALL, family="uniform", contexts=1),
        replace(SMALL, family="uniform", contexts=4),
    )
    monkeypatch.setattr(plot, "BATCHES", few)
    monkeypatch.setattr(plot, "SIZES", few[:1])
    rows = rows_of(tmp_path, *few)
    older = [replace(row, numbers={**row.numbers, "processor_seconds": 1e6}) for row in rows]
    kept = plot.newest([*older, *rows], few)
    assert sorted(map(run.describe, kept)) == sorted(map(run.describe, rows))
    pictures.save(plot.picture(tmp_path), tmp_path / "times")
    assert (tmp_path / "times.png").stat().st_size > 10_000
    svg = (tmp_path / "times.svg").read_text()
    assert "processor seconds for the whole batch" in svg
    axes = plot.figure(rows).axes[1]
    points = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    assert points == {(row.case["contexts"], row.numbers["processor_seconds"]) for row in rows}
