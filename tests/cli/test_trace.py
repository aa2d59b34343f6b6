"""`nlhf solve --algorithm` with traces and checkpoints: what is written, and what is refused."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nlhf.analysis.methods import METHODS
from nlhf.cli import main
from nlhf.cli.progress import stages
from nlhf.cli.traces import TraceFile


@pytest.fixture
def votes(tmp_path) -> Path:
    path = tmp_path / "votes.csv"
    assert main(["example", str(path)]) == 0
    return path


@pytest.fixture
def matrix(tmp_path) -> Path:
    p = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])
    np.save(tmp_path / "p.npy", p)
    return tmp_path / "p.npy"


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_trace_ends_at_the_gap_that_is_reported(votes, tmp_path, capsys):
    trace = tmp_path / "run.jsonl"
    capsys.readouterr()
    arguments = ["--algorithm", "egpo", "--trace", str(trace), "--json"]
    assert main(["solve", str(votes), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    header, *rows = lines_of(trace)
    assert header["config"]["algorithm"] == "egpo"
    assert header["config"]["trace"] == str(trace)
    assert "numpy" in header["versions"]
    gaps = {p["prompt"]: p["certificate"]["duality_gap"] for p in found["prompts"]}
    runs = {tuple(row["prompts"]) for row in rows}
    assert {name for run in runs for name in run} == set(gaps)
    for run in runs:
        own = [row for row in rows if tuple(row["prompts"]) == run]
        assert [row["iteration"] for row in own] == sorted({row["iteration"] for row in own})
        assert all(a["seconds"] <= b["seconds"] for a, b in pairwise(own))
        assert {row["knows"] for row in own} == {"exact"}
        assert own[-1]["gap"] == max(gaps[name] for name in run)
    assert found["iterations"] == max(row["iteration"] for row in rows)


def test_a_run_goes_on_until_every_prompt_is_certified(votes, capsys):
    capsys.readouterr()
    for gap in ("1e-3", "1e-6", "1e-12"):
        assert main(["solve", str(votes), "--algorithm", "egpo", "--gap", gap, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["every_duality_gap_at_most"] <= float(gap)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reaches_the_exact_solution(matrix, name, capsys):
    common = [str(matrix), "--temperature", "0.5", "--json"]
    assert main(["solve", *common]) == 0
    exact = json.loads(capsys.readouterr().out)["prompts"][0]["policy"]
    assert main(["solve", *common, "--algorithm", name, "--gap", "1e-7"]) == 0
    found = json.loads(capsys.readouterr().out)["prompts"][0]["policy"]
    np.testing.assert_allclose(found, exact, atol=1e-3)


def test_help_lists_every_method(capsys):
    for command in ("solve", "compare"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        text = capsys.readouterr().out.replace("│", " ").replace("\n", " ")
        for name in METHODS:
            assert name in " ".join(text.split())


def test_a_step_beyond_the_proven_range_needs_a_word(matrix, capsys):
    arguments = ["solve", str(matrix), "--algorithm", "extragradient"]
    assert main([*arguments, "--step-size", "3.0"]) == 2
    error = capsys.readouterr().err
    assert "step_size 3 is not proven" in error
    assert "1/L" in error
    assert main([*arguments, "--step-size", "3.0", "--unproven"]) == 0
    assert main([*arguments, "--step-size", "0.5"]) == 0
    assert main([*arguments, "--step-size", "-1"]) == 2


def test_temperature_zero_is_not_hidden_and_averages_are_at_hand(matrix, capsys):
    arguments = ["solve", str(matrix), "--temperature", "0", "--gap", "1e-2"]
    assert main([*arguments, "--algorithm", "omd"]) == 2
    assert "no step size is proven here" in capsys.readouterr().err
    averaged = ["--algorithm", "onpo", "--step-size", "0.5", "--unproven", "--average"]
    assert main([*arguments, *averaged]) == 0
    assert "Average(inner=OptimisticMirrorDescent" in capsys.readouterr().out


def test_a_budget_that_is_too_small_exits_with_3(matrix, tmp_path):
    trace = tmp_path / "run.jsonl"
    arguments = ["--algorithm", "omd", "--max-iterations", "7", "--trace", str(trace)]
    assert main(["solve", str(matrix), *arguments]) == 3
    assert [row["iteration"] for row in lines_of(trace)[1:]] == [0, 7]


def test_an_existing_file_is_left_alone(matrix, tmp_path, capsys):
    trace = tmp_path / "run.jsonl"
    trace.write_text("mine\n")
    assert main(["solve", str(matrix), "--algorithm", "egpo", "--trace", str(trace)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert trace.read_text() == "mine\n"


def test_a_trace_that_cannot_be_written_is_said_before_any_work(tmp_path, capsys):
    missing = str(tmp_path / "none" / "run.jsonl")
    assert main(["solve", "no-such-file.csv", "--algorithm", "egpo", "--trace", missing]) == 2
    error = capsys.readouterr().err
    assert missing in error
    assert "no-such-file" not in error


def test_a_failure_before_the_first_iteration_leaves_no_trace(matrix, tmp_path, capsys):
    trace = tmp_path / "run.jsonl"
    arguments = ["--algorithm", "egpo", "--step-size", "99", "--trace", str(trace)]
    assert main(["solve", str(matrix), *arguments]) == 2
    assert not trace.exists()


def test_an_interrupted_run_keeps_its_rows(tmp_path):
    from nlhf.results import TraceRow

    path = tmp_path / "run.jsonl"

    def interrupted() -> None:
        with TraceFile(path, {}) as trace:
            trace.add(("x",), TraceRow(0, 0.0, float("inf")))
            assert len(lines_of(path)) == 2  # flushed as it goes
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert lines_of(path)[1]["gap"] is None


@pytest.mark.parametrize(
    "option",
    [
        ["--trace", "run.jsonl"],
        ["--checkpoint", "run.bin"],
        ["--step-size", "1"],
        ["--unproven"],
        ["--average"],
    ],
)
def test_options_of_an_algorithm_need_one(matrix, capsys, option, monkeypatch):
    monkeypatch.chdir(matrix.parent)
    assert main(["solve", str(matrix), *option]) == 2
    assert f"{option[0]} belongs to an algorithm's run" in capsys.readouterr().err
    assert not Path("run.jsonl").exists()


def test_unknown_algorithms_are_answered_with_those_there_are(matrix, capsys):
    assert main(["solve", str(matrix), "--algorithm", "extra-gradient"]) == 2
    error = capsys.readouterr().err
    assert "'extragradient' is close" in error
    assert "nash-md" in error


def test_a_run_is_resumed_from_its_checkpoint_and_its_trace_is_whole(matrix, tmp_path, capsys):
    common = ["solve", str(matrix), "--algorithm", "omd", "--json"]
    capsys.readouterr()
    assert main(common) == 0
    whole = json.loads(capsys.readouterr().out)
    saved = ["--checkpoint", str(tmp_path / "run.bin")]
    assert main([*common, *saved, "--max-iterations", "20"]) == 3
    capsys.readouterr()
    trace = tmp_path / "run.jsonl"
    assert main([*common, *saved, "--trace", str(trace)]) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert resumed["prompts"][0]["policy"] == whole["prompts"][0]["policy"]
    assert resumed["iterations"] == whole["iterations"]
    iterations = [row["iteration"] for row in lines_of(trace)[1:]]
    assert iterations == sorted(set(iterations))
    assert iterations[0] == 0


def test_a_checkpoint_holds_one_run(votes, tmp_path, capsys):
    arguments = ["--algorithm", "egpo", "--checkpoint", str(tmp_path / "run.bin")]
    assert main(["solve", str(votes), *arguments]) == 2
    assert "3 or 4 responses, hence are 2 runs" in capsys.readouterr().err


def test_progress_is_silent_where_nobody_watches(capsys):
    with stages() as progress:
        progress("reading", 0, 1)
        for k in range(5):
            progress.iterating("a [red] prompt", k, 0.1**k, 10)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_command_of_an_interrupted_run_can_be_given_again(matrix, tmp_path, capsys):
    trace, saved = tmp_path / "run.jsonl", tmp_path / "run.bin"
    arguments = ["solve", str(matrix), "--algorithm", "omd", "--checkpoint", str(saved)]
    arguments += ["--trace", str(trace)]
    assert main([*arguments, "--max-iterations", "20"]) == 3
    before = lines_of(trace)
    assert main(arguments) == 0
    rows = lines_of(trace)
    assert rows[0]["config"]["max_iterations"] != before[0]["config"]["max_iterations"]
    iterations = [row["iteration"] for row in rows[1:]]
    assert iterations == sorted(set(iterations))
    assert {row["iteration"] for row in before[1:]} <= set(iterations)


def test_a_resumed_run_neither_replaces_other_files_nor_loses_rows_in_a_failure(
    matrix, tmp_path, capsys
):
    trace, saved, other = tmp_path / "run.jsonl", tmp_path / "run.bin", tmp_path / "notes.txt"
    common = ["solve", str(matrix), "--checkpoint", str(saved)]
    assert main([*common, "--algorithm", "omd", "--trace", str(trace)]) == 0
    other.write_text("mine\n")
    assert main([*common, "--algorithm", "omd", "--trace", str(other)]) == 2
    assert other.read_text() == "mine\n"
    before = trace.read_text()
    another = ["--algorithm", "egpo", "--step-size", "99", "--trace", str(trace)]
    assert main([*common, *another]) == 2
    assert trace.read_text() == before


def test_names_are_read_in_capitals_too(matrix, capsys):
    assert main(["solve", str(matrix), "--algorithm", "EGPO"]) == 0
    assert main(["solve", str(matrix), "--algorithm", "Exact"]) == 0


def test_errors_name_options_of_the_command_line(matrix, capsys):
    solve = ["solve", str(matrix), "--algorithm"]
    for arguments in (
        ["omd", "--step-size", "99"],
        ["omd", "--temperature", "0"],
        ["nash-md", "--unproven"],
    ):
        assert main([*solve, *arguments]) == 2
        error = capsys.readouterr().err
        assert "--unproven" in error
        assert "unproven=True" not in error
        assert "None" not in error
