"""Scaling: planted powers come back as slopes, and every stored point is drawn."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import report
from benchmarks.cases import Scaling, key
from benchmarks.rows import Row, append_rows
from benchmarks.run import run_cases
from benchmarks.scaling import plot
from benchmarks.scaling.axes import AXES
from benchmarks.scaling.slopes import MEMORY, TIME, Slope, newest, slopes
from benchmarks.tables import read_table

SIZES = (10, 30, 100, 300, 1000)
BASE = 50 * 2**20
ORIGIN = {"revision": "0" * 40, "cpu": "c", "cores": 2, "versions": {"cvxpy": "1.9"}}


def planted(axis: str, method: str, time: float, memory: float, factor: float = 1.0) -> list[Row]:
    rows = []
    for value in SIZES:
        case = Scaling(axis, value, method)
        seconds = factor * 1e-6 * value**time
        numbers: dict[str, Any] = {
            "processor_seconds": seconds,
            "processor_seconds_each": [0.9 * seconds, seconds, 1.2 * seconds],
            "peak_memory_bytes": BASE + factor * 5e2 * value**memory,
        }
        rows.append(
            Row(key(case), "t", "Scaling", case.instance, asdict(case), method, "ok", "", numbers,
                (0.0, 1.0), ORIGIN)
        )  # fmt: skip
    return rows


ROWS = [
    *planted("responses n", "exact", 2.5, 2.0),
    *planted("responses n", "cvxpy", 3.0, 2.0, factor=7.0),
]


def test_a_planted_power_is_the_slope_and_the_ratio_is_at_the_largest_size() -> None:
    found = {(one.method, one.measure): one for one in slopes(ROWS)}
    assert found["exact", TIME].slope == pytest.approx(2.5)
    assert found["cvxpy", TIME].slope == pytest.approx(3.0)
    assert found["cvxpy", TIME].times_ours == pytest.approx(7.0 * 1000**0.5)
    assert found["cvxpy", MEMORY].slope == pytest.approx(2.0, abs=0.02)
    assert found["exact", TIME].first == 100
    assert np.isnan(found["exact", MEMORY].slope)  # two sizes lie far enough above the smallest
    assert found["exact", MEMORY].times_ours == 1.0
    assert found["cvxpy", MEMORY].times_ours == pytest.approx(
        (BASE + 35e8) / (BASE + 5e8), rel=1e-6
    )


def test_a_point_measured_again_counts_once_and_anew() -> None:
    old = [replace(row, numbers=row.numbers | {"processor_seconds": 1e9}) for row in ROWS]
    assert slopes([*old, *ROWS]) == slopes(ROWS)
    assert slopes([*ROWS, *old]) != slopes(ROWS)


def test_every_stored_point_is_drawn_and_legends_tell_the_slopes(tmp_path: Path) -> None:
    append_rows(tmp_path, ROWS)
    report.write(tmp_path)
    times, memory = plot.picture(tmp_path).axes
    assert (tmp_path / "scaling.svg").stat().st_size > 10_000
    for axes, name, unit in ((times, "processor_seconds", 1), (memory, "peak_memory_bytes", 2**20)):
        drawn = {
            (float(x), float(y))
            for line in axes.lines
            for x, y in zip(*line.get_data(), strict=True)
        }
        assert drawn == {(row.case["value"], row.numbers[name] / unit) for row in ROWS}
    said = [text.get_text() for text in times.get_legend().get_texts()]
    assert said == ["nlhf exact: slope 2.50", "cvxpy + CLARABEL: slope 3.00"]
    stored = read_table(tmp_path / plot.SLOPES, Slope)
    assert [one.slope for one in stored] == pytest.approx(
        [s.slope for s in slopes(ROWS)], rel=1e-5, nan_ok=True
    )
    assert (
        "| responses n | *cvxpy* | processor seconds | 3.00 |"
        in (tmp_path / "scaling.md").read_text()
    )


def test_every_method_that_is_drawn_has_a_look() -> None:
    for axis, methods in AXES.items():
        assert axis in plot._TITLES
        assert set(methods) <= set(plot._LOOKS)
    assert len({look[1:] for look in plot._LOOKS.values()}) >= 5


def test_a_size_is_measured_in_a_process_that_holds_it(tmp_path: Path) -> None:
    cases = [Scaling("contexts X", value, "exact", repeats=2) for value in (2, 4000)]
    few, many = run_cases("test", cases, tmp_path, lambda *_: None)
    assert few.status == many.status == "ok"
    assert len(many.numbers["processor_seconds_each"]) == 2
    held = 4000 * 32 * 32 * 8
    assert many.numbers["peak_memory_bytes"] > few.numbers["peak_memory_bytes"] + held
    assert newest([few, many])["contexts X", "exact"] == {2: few, 4000: many}


def test_tables_hold_every_method_beside_the_first_with_versions(tmp_path: Path) -> None:
    numbers = {"seconds": 2.0, "processor_seconds": 1.5e-3, "duality_gap_largest": 3e-9}
    rows = [
        Row("k", "t", "Comparison", "a game", {}, method, status, "", numbers | more, (0.5, 3.0),
            ORIGIN)
        for method, status, more in (
            ("exact", "ok", {"first": "exact", "times_the_first_in_processor_time": 1.0}),
            ("cvxpy", "2 inaccurate", {"times_the_first_in_processor_time": 41.3}),
            ("pygambit", "absent", {}),
        )
    ]  # fmt: skip
    text = report.solvers(rows)
    assert "| a game | exact | 1.5 ms | 2 s |  | gap 3e-09 |" in text
    assert "|  | *cvxpy* | 1.5 ms | 2 s | 41.3 | gap 3e-09; 2 inaccurate |" in text
    assert "pygambit" not in text
    assert "cvxpy 1.9" in text
    assert "from 3.0 to 3.0" in text
    assert json.dumps(np.nan) not in text
