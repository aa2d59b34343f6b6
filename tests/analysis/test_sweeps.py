"""Sweeps: the same numbers whoever computes them, and nothing twice."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest

import nlhf
from nlhf.analysis.sweeps import run_sweep
from nlhf.errors import InvalidData, InvalidProblem, NotAllowed, Unsupported
from tests.analysis import studies
from tests.analysis.studies import Draw

POINTS = [Draw(seed, size) for seed in range(4) for size in (3, 40)] + [Draw(0, 5, "random")]


def numbers(sweep):
    """What does not depend on where it was computed."""
    return [replace(value, process=0) for value in sweep.require().values]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run_sweep(studies.moments, POINTS, tmp_path_factory.mktemp("sweep") / "rows.jsonl")


def test_values_are_those_of_the_function_in_the_order_of_the_points(alone):
    assert [row.point for row in alone.rows] == POINTS
    rng = nlhf.Stream(2).child("study", "normal").generator()
    matrix = rng.normal(size=(3, 3))
    (value,) = alone.rows[POINTS.index(Draw(2, 3))].values
    assert value.mean == matrix.mean()
    assert value.ends == (float((matrix @ matrix.T).min()), float((matrix @ matrix.T).max()))


def test_two_processes_compute_the_same_numbers_to_the_last_bit(alone, tmp_path):
    both = run_sweep(studies.moments, POINTS, tmp_path / "rows.jsonl", workers=2)
    assert numbers(both) == numbers(alone)
    processes = {value.process for value in both.values}
    assert processes.isdisjoint({value.process for value in alone.values})
    assert all(value.threads == 1 for value in (*both.values, *alone.values))


def test_the_order_of_the_points_changes_no_number(alone, tmp_path):
    backwards = run_sweep(studies.moments, POINTS[::-1], tmp_path / "rows.jsonl")
    assert numbers(backwards)[::-1] == numbers(alone)


@pytest.mark.slow
def test_a_dask_cluster_of_two_workers_computes_the_same_numbers(alone, tmp_path):
    from dask.distributed import Client, LocalCluster

    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        LocalCluster(**local, local_directory=str(tmp_path)) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        spread = run_sweep(studies.moments, POINTS, tmp_path / "rows.jsonl")
    assert numbers(spread) == numbers(alone)
    assert {value.process for value in spread.values}.isdisjoint(
        {value.process for value in alone.values}
    )


def test_rows_say_where_they_come_from(alone, tmp_path):
    path = tmp_path / "rows.jsonl"
    sweep = run_sweep(studies.moments, POINTS[:1], path, revision="r1")
    (line,) = lines(path)
    (row,) = sweep.rows
    assert line["function"] == row.function == "tests.analysis.studies.moments"
    assert line["revision"] == row.revision == "r1"
    assert line["seed"] == row.seed == POINTS[0].seed
    assert line["point"] == {"seed": 0, "size": 3, "law": "normal"}
    assert ("numpy", np.__version__) in row.provenance.versions
    assert row.provenance.seconds > 0.0
    assert row.time.endswith("Z")
    assert row.key != alone.rows[0].key  # of another revision


def test_finished_points_are_read_and_not_computed_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    first = run_sweep(studies.pieces, POINTS[:3], path)
    before = path.read_text()
    assert run_sweep(studies.pieces, POINTS[:3], path).values == first.values
    assert path.read_text() == before
    more = run_sweep(studies.pieces, POINTS, path)
    assert path.read_text().startswith(before)
    assert len(lines(path)) == len(POINTS)
    assert more.values[: len(first.values)] == first.values
    assert [piece.index for piece in more.rows[0].values] == [0, 1, 2]


def test_another_revision_is_another_sweep_in_the_same_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    for revision in ("old", "new", "old"):
        sweep = run_sweep(studies.pieces, POINTS, path, revision=revision)
        assert {row.revision for row in sweep.rows} == {revision}
    assert len(lines(path)) == 2 * len(POINTS)


def test_failures_are_rows_and_are_tried_again(tmp_path):
    path, flag = tmp_path / "rows.jsonl", tmp_path / "flag"
    flag.touch()
    points = [Draw(seed, 1, str(flag)) for seed in range(4)]
    sweep = run_sweep(studies.fails_while_the_file_is_there, points, path, workers=2)
    assert [row.point.seed for row in sweep.rows] == [1, 3]
    assert [row.point.seed for row in sweep.failures] == [0, 2]
    assert "ValueError: no even seeds, got 2 (studies.py:" in sweep.failures[1].error
    with pytest.raises(NotAllowed, match=r"2 of 4 points failed, the first at .*seed=0"):
        sweep.require()
    flag.unlink()
    mended = run_sweep(studies.fails_while_the_file_is_there, points, path).require()
    assert [value.value for value in mended.values] == [0.0, 1.0, 2.0, 3.0]
    assert len(lines(path)) == 6


KILLED = """
import sys
from pathlib import Path
from nlhf.analysis.sweeps import run_sweep
from tests.analysis.studies import Draw, kills_its_process
points = [Draw(seed, 1, sys.argv[2]) for seed in range(6)]
run_sweep(kills_its_process, points, Path(sys.argv[1]), revision="r")
"""


def test_a_killed_sweep_goes_on_and_a_cut_line_is_computed_again(tmp_path):
    path, flag = tmp_path / "rows.jsonl", tmp_path / "flag"
    flag.touch()
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(flag)], cwd=root, check=False
    )
    assert done.returncode == 9
    assert [line["seed"] for line in lines(path)] == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:-20])
    flag.unlink()
    points = [Draw(seed, 1, str(flag)) for seed in range(6)]
    sweep = run_sweep(studies.kills_its_process, points, path, revision="r").require()
    assert [value.value for value in sweep.values] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert [line["seed"] for line in lines(path)] == [0, 1, 2, 3, 4, 5]


def test_progress_counts_what_was_finished_before(tmp_path):
    path = tmp_path / "rows.jsonl"
    run_sweep(studies.pieces, POINTS[:2], path)
    seen = []
    run_sweep(studies.pieces, POINTS[:4], path, progress=lambda *now: seen.append(now))
    assert seen == [("tests.analysis.studies.pieces", done, 4) for done in (2, 3, 4)]


def test_values_that_a_file_would_change_are_failures(tmp_path):
    sweep = run_sweep(studies.returns_an_array, POINTS[:1], tmp_path / "rows.jsonl")
    assert "Moments.mean is of type ndarray" in sweep.failures[0].error


def test_values_of_another_class_than_promised_are_failures(tmp_path):
    path = tmp_path / "rows.jsonl"
    for _ in range(2):
        sweep = run_sweep(studies.promises_pieces, POINTS[:1], path)
        assert "a value is of type Draw, not Piece" in sweep.failures[0].error


def test_what_a_class_derives_is_derived_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    for _ in range(2):
        (value,) = run_sweep(studies.doubled, POINTS[:1], path).values
        assert value.twice == 2 * value.size


def test_rows_of_a_class_that_has_changed_are_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    run_sweep(studies.pieces, POINTS[:1], path, revision="r")
    path.write_text(path.read_text().replace('"index"', '"number"'))
    with pytest.raises(InvalidData, match=r"the fields \['number', 'value'\], Piece has"):
        run_sweep(studies.pieces, POINTS[:1], path, revision="r")


LOADS_LATE = """
import sys
from pathlib import Path
from nlhf.analysis.sweeps import run_sweep
from tests.analysis.studies import Draw, loads_a_library
assert "scipy.linalg" not in sys.modules
found = run_sweep(loads_a_library, [Draw(0, 1)], Path(sys.argv[1])).require()
assert found.values[0].value == 1.0, found.values
"""


def test_libraries_that_the_function_loads_have_one_thread_too(tmp_path):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-c", LOADS_LATE, str(tmp_path / "rows.jsonl")]
    subprocess.run(command, cwd=root, check=True, env=environment)


def test_a_file_of_another_sweep_is_left_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    run_sweep(studies.pieces, POINTS, path)
    before = path.read_bytes()
    with pytest.raises(InvalidData, match=r"line 1 .*studies\.pieces, not of .*studies\.moments"):
        run_sweep(studies.moments, POINTS, path)
    assert path.read_bytes() == before


HALF_A_ROW = '{"function": "tests.analysis.studies.pieces"}\n'


@pytest.mark.parametrize(
    "text", ["no JSON\nand more", "[1, 2]\n", "{}\n", HALF_A_ROW, "a note without a line's end"]
)
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidData, match=r"line 1 of .* is no row of a sweep"):
        run_sweep(studies.pieces, POINTS, path)
    assert path.read_text() == text


@pytest.mark.parametrize("kept", [1, 7, 8, 20, 400])
def test_a_line_may_be_cut_anywhere(tmp_path, kept):
    path = tmp_path / "rows.jsonl"
    run_sweep(studies.pieces, POINTS[:2], path, revision="r")
    whole = path.read_bytes()
    first, second = whole.splitlines(keepends=True)
    path.write_bytes(first + second[: min(kept, len(second) - 1)])
    assert len(run_sweep(studies.pieces, POINTS[:2], path, revision="r").rows) == 2
    assert [line["key"] for line in lines(path)] == [
        json.loads(one)["key"] for one in (first, second)
    ]


def test_equal_points_are_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(InvalidProblem, match=r"points 1 and 9 are alike: Draw\(seed=0, size=40"):
        run_sweep(studies.pieces, [*POINTS, POINTS[1]], path)
    assert not path.exists()


@pytest.mark.parametrize("point", [studies.Movable(1), (1, 2), Draw(1, [2])])
def test_points_that_may_change_are_refused(tmp_path, point):
    with pytest.raises(InvalidProblem, match=r"no frozen dataclass|Draw\.size is of type list"):
        run_sweep(studies.pieces, [point], tmp_path / "rows.jsonl")


@pytest.mark.parametrize("function", [lambda point: point, studies.made_here(), str.upper])
def test_functions_that_workers_cannot_find_are_refused(tmp_path, function):
    with pytest.raises(Unsupported, match="is no function of a module"):
        run_sweep(function, POINTS, tmp_path / "rows.jsonl")


def test_a_function_that_its_module_has_under_another_name_is_refused(tmp_path, monkeypatch):
    function = studies.pieces
    monkeypatch.setattr(studies, "pieces", studies.moments)
    with pytest.raises(Unsupported, match=r"studies\.pieces cannot be sent to workers"):
        run_sweep(function, POINTS, tmp_path / "rows.jsonl")


@pytest.mark.parametrize("function", [studies.says_nothing, studies.returns_no_dataclass])
def test_a_function_says_what_it_returns(tmp_path, function):
    with pytest.raises(Unsupported, match="does not say of which dataclass it returns"):
        run_sweep(function, POINTS, tmp_path / "rows.jsonl")


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(InvalidProblem, match="0 workers"):
        run_sweep(studies.pieces, POINTS, tmp_path / "rows.jsonl", workers=0)
