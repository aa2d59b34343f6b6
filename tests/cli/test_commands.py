"""The commands as a user runs them: what they print, their exit codes, their errors."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from nlhf.cli import main

HEADER = "prompt_id,response_a,response_b,annotator,label\n"


@pytest.fixture
def votes(tmp_path) -> Path:
    path = tmp_path / "votes.csv"
    assert main(["example", str(path)]) == 0
    return path


def test_solve_prints_a_table_that_names_every_prompt(votes, capsys):
    assert main(["solve", str(votes), "--temperature", "0.05"]) == 0
    text = capsys.readouterr().out
    for word in ("explain-the-tides", "wedding-toast", "none: witty > heartfelt > short > witty"):
        assert word in text
    assert "1 of 3 prompts has no Condorcet winner (majority cycle: 1)" in text
    assert "Every duality gap" in text


def test_json_holds_the_policies_certificates_and_timings(votes, capsys):
    capsys.readouterr()
    assert main(["solve", str(votes), "--json", "--temperature", "0.1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"reading", "estimating", "solving"} <= found["timings"].keys()
    for prompt in found["prompts"]:
        assert sum(prompt["policy"]) == pytest.approx(1.0, abs=1e-12)
        assert prompt["certificate"]["duality_gap"] <= 1e-12
        assert len(prompt["policy"]) == len(prompt["responses"])
        gap = prompt["certificate"]
        assert gap["duality_gap_low"] <= gap["duality_gap"] <= gap["duality_gap_high"]
        p, low, high = (
            np.array(m)
            for m in (prompt["preference"], prompt["pairs"]["low"], prompt["pairs"]["high"])
        )
        assert (low <= p).all()
        assert (p <= high).all()
        wins, ties = np.array(prompt["pairs"]["wins"]), np.array(prompt["pairs"]["ties"])
        assert wins.sum() + ties.sum() / 2 == prompt["votes"]
        assert sum(prompt["reference"]) == pytest.approx(1.0)
    assert found["certified"] is True
    assert found["exit_code"] == 0
    assert found["config"]["temperature"] == 0.1
    assert found["config"]["json"] is True
    assert found["config"]["plot"] is None
    assert sum(found["condorcet"]["null_distribution"]) == pytest.approx(1.0)
    assert found["condorcet"]["without_winner"] == 1


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot_writes_a_picture(votes, tmp_path, ending):
    picture = tmp_path / f"picture.{ending}"
    assert main(["solve", str(votes), "--plot", str(picture)]) == 0
    start = picture.read_bytes()[:300]
    assert start.startswith(b"\x89PNG") or b"<svg" in picture.read_bytes()[:2000]


def test_an_algorithm_that_misses_the_gap_exits_with_3(votes, capsys):
    assert main(["solve", str(votes), "--gap", "0"]) == 3
    assert "Every duality gap" in capsys.readouterr().out


def test_matrices_are_read_by_ending_and_format(tmp_path, capsys):
    p = np.array([[0.5, 0.9], [0.1, 0.5]])
    np.save(tmp_path / "p.npy", p)
    np.savetxt(tmp_path / "p.csv", p, delimiter=",")
    assert main(["solve", str(tmp_path / "p.npy"), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["prompts"][0]["policy"]
    assert main(["solve", str(tmp_path / "p.csv"), "--format", "preferences", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompts"][0]["policy"] == first


def test_the_format_is_believed_whatever_the_ending(tmp_path, capsys):
    contents = {
        "preferences": "0.5,0.9\n0.1,0.5\n",
        "wins": "0,9\n1,0\n",
        "votes": HEADER + "x,a,b,w,a\n",
        "comparisons": '{"prompt": "x", "chosen": "a", "rejected": "b"}\n',
    }
    for name, content in contents.items():
        (tmp_path / "data.txt").write_text(content)
        assert main(["solve", str(tmp_path / "data.txt"), "--format", name, "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["prompts"][0]["policy"]) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        (HEADER, ["no votes"]),
        (HEADER + "x,a,b,w,better\n", ["better", "tie"]),
        (HEADER + "x,a,a,w,a\n", ["itself"]),
        (HEADER + "x,a,b,w,a\nx,a", ["3"]),
        ("prompt_id,response_a,label\n", ["response_b"]),
    ],
)
def test_bad_votes_end_in_one_error_and_exit_code_2(tmp_path, capsys, content, words):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    assert main(["solve", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error:") == 1
    assert "Fix:" in captured.err
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--smoothing", "-1"], "smoothing"),
        (["--plot", "picture.pdf"], ".svg"),
        (["--plot", "no/such/folder/picture.png"], "folder"),
        (["--gap", "-1"], "--gap is -1"),
    ],
)
def test_bad_arguments_end_in_one_error(votes, capsys, arguments, word, monkeypatch):
    monkeypatch.chdir(votes.parent)
    assert main(["solve", str(votes), *arguments]) == 2
    assert word in capsys.readouterr().err


def test_a_missing_file_and_an_unknown_ending_are_named(tmp_path, capsys):
    assert main(["solve", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    assert main(["solve", str(tmp_path / "data.xyz")]) == 2
    assert "--format" in capsys.readouterr().err


def test_disconnected_comparisons_are_warned_about_with_their_components(tmp_path, capsys):
    path = tmp_path / "islands.csv"
    path.write_text(HEADER + "x,a,b,w,a\nx,c,d,w,a\n")
    assert main(["solve", str(path)]) == 0
    captured = capsys.readouterr()
    assert "warning:" in captured.err
    assert "components" in captured.err
    assert "4 pairs never compared, filled in by: half" in captured.out


def test_the_example_is_never_written_over_another_file(votes, capsys):
    assert main(["example", str(votes)]) == 0  # writing the same again loses nothing
    votes.write_text("mine\n")
    assert main(["example", str(votes)]) == 2
    assert votes.read_text() == "mine\n"
    assert "Fix:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [[], ["solve"], ["compare"], ["verify"], ["example"], ["bench"]]
)
def test_help_teaches_without_loading_heavy_packages(command):
    code = (
        "import sys\nfrom nlhf.cli import main\n"
        f"try:\n    main({[*command, '--help']!r})\nexcept SystemExit as end:\n"
        "    assert not end.code\n"
        "print(sorted({'torch', 'cvxpy', 'matplotlib', 'scipy.optimize'} & set(sys.modules)))"
    )
    text = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert text.strip().endswith("[]")
    assert "usage: nlhf" in text


def run(arguments: list[str], **options) -> subprocess.CompletedProcess[str]:
    code = "import sys\nfrom nlhf.cli import main\nsys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *arguments], text=True, **options)


def test_a_reader_that_goes_away_ends_the_command_quietly(votes):
    code = "import sys\nfrom nlhf.cli import main\nsys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code, "solve", str(votes), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_error(votes):
    with open("/dev/full", "w") as full:
        ended = run(["solve", str(votes)], stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 2
    assert ended.stderr.count("error:") == 1
    assert "Traceback" not in ended.stderr


def test_a_terminal_without_unicode_is_no_obstacle(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(HEADER + "π,ä,b,w,a\nπ,ä,b,w,b\n", encoding="utf-8")
    for options in ([], ["--json"]):
        ended = run(
            ["solve", str(path), *options],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert ended.returncode == 0
        assert ended.stderr == ""


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text(HEADER + "[INST] hi [/INST],[red]a,:cat:,w,a\n")
    assert main(["solve", str(path)]) == 0
    text = capsys.readouterr().out
    for name in ("[INST] hi [/INST]", "[red]a", ":cat:"):
        assert name in text


def test_a_negative_seed_is_one_error(capsys):
    assert main(["verify", "--seed", "-1"]) == 2
    assert "--seed is -1" in capsys.readouterr().err


def test_choices_about_votes_are_refused_for_preferences(tmp_path, capsys):
    np.save(tmp_path / "p.npy", np.full((2, 2), 0.5))
    for option, value in (("smoothing", "1"), ("unseen", "error")):
        assert main(["solve", str(tmp_path / "p.npy"), f"--{option}", value]) == 2
        assert f"{option} is" in capsys.readouterr().err


def test_a_single_response_is_warned_about_and_counted_apart(tmp_path, capsys):
    np.save(tmp_path / "p.npy", np.full((1, 1), 0.5))
    assert main(["solve", str(tmp_path / "p.npy")]) == 0
    captured = capsys.readouterr()
    assert "only one response" in captured.err
    assert "0 of 1 prompt have no Condorcet winner. 1 prompt with only one" in captured.out


def test_many_warnings_of_a_kind_are_cut_to_five(tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text(HEADER + "".join(f"p{k},a,b,w,a\np{k},c,d,w,a\n" for k in range(8)))
    assert main(["solve", str(path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert "and 3 more" in lines[-1]


def test_the_version_is_that_of_the_distribution(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nlhf {version('nlhf')}\n"


@pytest.mark.parametrize("command", ["solve", "compare", "verify"])
def test_help_of_a_command_has_its_exit_codes_and_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert "Exit codes: 0 if" in text
    assert "Example: nlhf" in text
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Exit codes" not in capsys.readouterr().out
