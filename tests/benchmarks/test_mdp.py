"""The rows on planning: what is counted, what is compared, and what must not pass unseen."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import run
from benchmarks.cases import Case, Planning, Sweeps
from benchmarks.clock import Laps
from benchmarks.rows import Row
from benchmarks.run import run_cases
from benchmarks.solvers import mdp
from benchmarks.solvers.mdp import PLANNERS, Plan, sparse_process
from benchmarks.suites import MDPS, SUITES, cases_of

PLANS = Planning(40, 3, 4, 0.1, horizon=6, repeats=2)
SWEEPS = Sweeps(200, 3, 4, 0.1, horizon=2, repeats=2)


@pytest.fixture(autouse=True)
def small_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdp, "LARGE_COPY", 1000)


def run_case(folder: Path, case: Case) -> dict[str, Row]:
    return {row.method: row for row in run_cases("test", [case], folder, lambda *_: None)}


def test_what_is_claimed_is_measured() -> None:
    assert Sweeps(100_000, 10, 10, 0.1) in MDPS
    assert any(isinstance(case, Planning) for case in MDPS)
    assert set(MDPS) <= set(cases_of("full", smoke=False))
    for suite in SUITES.values():
        for case in (*suite.full, *suite.smoke):
            if isinstance(case, Planning):
                assert "hard" in case.methods
                assert set(case.methods) <= set(PLANNERS)


def test_processes_have_distinct_successors_and_distributions() -> None:
    matrix, rewards = sparse_process(PLANS)
    assert matrix.shape == (120, 40)
    assert (np.diff(matrix.indptr) == 4).all()
    assert matrix.has_canonical_format
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-15)
    assert rewards.shape == (40, 3)


def test_planners_agree_and_state_what_their_time_is(tmp_path: Path) -> None:
    pytest.importorskip("mdptoolbox")
    rows = run_case(tmp_path, PLANS)
    assert [row.status for row in rows.values()] == ["ok"] * 3
    soft, hard, theirs = (rows[name].numbers for name in ("soft", "hard", "pymdptoolbox"))
    assert theirs["largest_difference_from_hard"] <= 1e-12
    assert hard["largest_difference_from_hard"] == 0.0
    allowed = soft["largest_that_the_temperature_allows"]
    assert 0 < soft["largest_difference_from_hard"] <= allowed
    assert soft["times_the_first"] == 1.0
    for numbers in (soft, hard, theirs):
        assert 0 < numbers["seconds_to_construct"] < max(numbers["seconds_each"])
        assert 0 < numbers["seconds_to_run"] < max(numbers["seconds_each"])
    assert "x soft" in run.describe(rows["pymdptoolbox"])
    assert "to construct" in run.describe(rows["soft"])


def test_control_a_fast_planner_with_wrong_values_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(case: Planning) -> Plan:
        lap = Laps([1e-9], [1e-9])
        return Plan(lap, lap, np.zeros((case.horizon + 1, case.states)))

    monkeypatch.setattr(mdp, "PLANNERS", {**PLANNERS, "hasty": hasty})
    rows = run_case(tmp_path, replace(PLANS, methods=("soft", "hard", "hasty")))
    assert rows["hasty"].numbers["largest_difference_from_hard"] > 0.1


def test_an_absent_pymdptoolbox_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mdptoolbox.mdp", None)
    rows = run_case(tmp_path, PLANS)
    assert rows["pymdptoolbox"].status == "absent"
    assert rows["soft"].status == rows["hard"].status == "ok"


def test_the_bytes_of_a_sweep_are_those_it_cannot_do_without(tmp_path: Path) -> None:
    row = run_case(tmp_path, SWEEPS)["sweeps"]
    numbers = row.numbers
    rows, entries = 200 * 3, 200 * 3 * 4
    assert numbers["bytes_per_sweep"] == entries * (8 + 4) + (rows + 1) * 4 + rows * 8 + 2 * 200 * 8
    assert numbers["bytes_per_second"] * numbers["seconds"] == pytest.approx(
        numbers["bytes_per_sweep"]
    )
    shares = [
        numbers["bytes_per_sweep"] / each / numbers["copy_bytes_per_second"]
        for each in numbers["seconds_each"]
    ]
    assert 0.1 * min(shares) < numbers["share_of_copy_bandwidth"] < 10 * max(shares)
    assert "copy of as many bytes" in run.describe(row)
