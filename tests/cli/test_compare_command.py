"""`nlhf compare` as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest

from nlhf.cli import main

QUICK = ["--temperature", "0.3", "--gap", "1e-4", "--max-iterations", "300"]


@pytest.fixture
def votes(tmp_path) -> Path:
    path = tmp_path / "votes.csv"
    assert main(["example", str(path)]) == 0
    return path


def test_the_table_names_every_method_what_it_reached_and_what_was_chosen(votes, capsys):
    assert main(["compare", str(votes), *QUICK]) == 0
    text = capsys.readouterr().out
    for name in ("mirror descent", "EGPO", "ONPO", "Nash-MD", "Nash-EMA", "COMAL", "MPO"):
        assert name in text
    assert "2 prompts as one batch (those with the most responses of 3" in text
    assert "Fewest iterations:" in text


def test_the_document_is_whole_and_agrees_with_itself(votes, capsys):
    capsys.readouterr()
    assert main(["compare", str(votes), "--prompt", "wedding-toast", "--json", *QUICK]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["certified"] is True
    assert found["config"]["prompt"] == "wedding-toast"
    assert found["choice"] == "prompt wedding-toast, 4 responses"
    assert [p["prompt"] for p in found["prompts"]] == ["wedding-toast"]
    assert len(found["runs"]) == 8
    for run in found["runs"]:
        curve = run["curve"]
        assert curve["iteration"] == list(range(run["iterations"] + 1))
        assert len({len(column) for column in curve.values()}) == 1
        assert curve["gap"][-1] == run["duality_gap"]["value"]
        assert run["reached"] == (run["duality_gap"]["high"] <= 1e-4)
    by_name = {run["name"]: run for run in found["runs"]}
    assert (
        by_name["extragradient"]["promised"]["iterations"]
        >= (by_name["extragradient"]["iterations"])
    )


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_made(votes, tmp_path, ending):
    picture = tmp_path / f"compare.{ending}"
    assert main(["compare", str(votes), "--plot", str(picture), *QUICK]) == 0
    start = picture.read_bytes()[:2000]
    assert start.startswith(b"\x89PNG") or b"<svg" in start


def test_the_bias_of_nash_md_is_said(votes, capsys):
    arguments = ["--temperature", "0.3", "--gap", "1e-12", "--max-iterations", "250"]
    assert main(["compare", str(votes), "--prompt", "wedding-toast", *arguments]) == 0
    text = capsys.readouterr().out
    assert "Biased: Nash-MD, constant step rests at" in text
    assert text.count("Biased:") == 1


def test_exit_code_3_if_no_method_reaches_the_gap(votes, capsys):
    assert main(["compare", str(votes), "--gap", "0", "--max-iterations", "5"]) == 3
    assert "Fewest" not in capsys.readouterr().out


def test_methods_are_chosen_by_published_names(votes, capsys):
    capsys.readouterr()
    assert main(["compare", str(votes), "--only", "egpo", "nash-mirror-prox", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["runs"]
    assert (first["name"], second["name"]) == ("egpo", "nash-mirror-prox")
    assert first["curve"]["gap"] == second["curve"]["gap"]


def test_at_temperature_zero_refusals_are_said(votes, capsys):
    arguments = ["--temperature", "0", "--max-iterations", "200", "--gap", "1e-2"]
    assert main(["compare", str(votes), *arguments]) == 0
    text = capsys.readouterr().out
    assert "Not run: mirror descent: no step size is proven here" in text
    assert "its average (SPPO)" in text


def test_one_size_is_one_batch_and_matrices_are_read(tmp_path, capsys):
    p = np.array([[0.5, 0.9], [0.1, 0.5]])
    np.save(tmp_path / "p.npy", np.stack([p, p.T, p]))
    assert main(["compare", str(tmp_path / "p.npy"), "--only", "egpo"]) == 0
    assert "3 prompts as one batch (all 3:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", "nothing"], ["no prompt", "wedding-toast"]),
        (["--only", "egpoo"], ["'egpo' is close"]),
        (["--gap", "-1"], ["--gap is -1"]),
        (["--temperature", "-1"], ["temperature is -1"]),
        (["--max-iterations", "-1"], ["max_iterations >= 0"]),
        (["--plot", "picture.pdf"], [".svg"]),
        (["--payoff", "log-odds", "--unseen", "error", "--smoothing", "-1"], ["smoothing"]),
    ],
)
def test_bad_arguments_end_in_one_error(votes, capsys, arguments, words):
    capsys.readouterr()
    assert main(["compare", str(votes), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error:") == 1
    for word in words:
        assert word in captured.err


def test_names_of_prompts_are_printed_as_they_are(tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text(
        "prompt_id,response_a,response_b,annotator,label\n[red]x\x1b[31m,a,b,w,a\n[/],a,b,w,b\n"
    )
    assert main(["compare", str(path), *QUICK, "--only", "egpo"]) == 0
    text = capsys.readouterr().out
    assert "[red]x\\x1b[31m" in text
    assert "\x1b[31m" not in text


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 400])
def test_the_table_fits_its_console_and_keeps_what_matters(votes, capsys, monkeypatch, columns):
    capsys.readouterr()
    monkeypatch.setattr("nlhf.cli.comparisons._WIDTH", columns)
    assert main(["compare", str(votes), *QUICK]) == 0
    table = capsys.readouterr().out.partition("Runs end at")[0]
    assert max(len(line) for line in table.splitlines()) <= columns
    for word in ("algorithm", "iterations", "duality gap", "stopped", "certified"):
        assert word in table
    assert ("published as" in table) == (columns == 400)


def test_promises_in_the_document_are_keys_of_theorems(votes, capsys):
    ledger = pytest.importorskip("nlhf_theory").ALL
    capsys.readouterr()
    assert main(["compare", str(votes), "--json", *QUICK]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    keys = [run["promised"]["theorem"] for run in runs if run["promised"] is not None]
    assert "extragradient-linear" in keys
    assert set(keys) <= {theorem.key for theorem in ledger}
