"""`nlhf learn` as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest

from nlhf.cli import main

QUICK = ["--bootstrap", "50", "--candidates", "10"]
HEADER = "prompt_id,response_a,response_b,annotator,label\n"
TASTES = {"tea": ("abcd", (0, 1, 2, 3)), "[red]cake\x1b[31m": ("xyz", (1, 0, -1))}

pytestmark = pytest.mark.filterwarnings("ignore::nlhf.errors.Approximate")


@pytest.fixture(scope="module")
def votes(tmp_path_factory) -> Path:
    """Thirty raters answer every pair of two prompts once."""
    lines, generator = [HEADER], np.random.default_rng(7)
    for rater in range(30):
        for prompt, (names, tastes) in TASTES.items():
            for i, first in enumerate(names):
                for j, second in enumerate(names[:i]):
                    draw, ahead = generator.random(), tastes[i] - tastes[j]
                    label = "a" if draw < 1.0 / (1.0 + np.exp(-ahead)) else "b"
                    label = "tie" if draw > 0.98 else label
                    lines.append(f"{prompt},{first},{second},r{rater},{label}\n")
    path = tmp_path_factory.mktemp("learn") / "votes.csv"
    path.write_text("".join(lines))
    return path


def test_the_table_says_what_is_certain_of_every_policy(votes, capsys):
    assert main(["learn", "offline", str(votes), *QUICK]) == 0
    text = capsys.readouterr().out
    for word in ("reference", "plug-in", "bonus", "restricted", "version-space"):
        assert word in text
    assert "Class bradley-terry: fitted to" in text
    assert "Class 10 candidates: fitted to" in text
    assert "Event of probability 0.95" in text
    assert "what the reference has without any votes" in text
    assert "one population" in text


def test_methods_are_those_that_were_asked_for(votes, capsys):
    arguments = ["--class", "tabular", "--method", "bonus", "restricted", *QUICK]
    assert main(["learn", "offline", str(votes), *arguments]) == 0
    text = capsys.readouterr().out
    assert "version-space" not in text
    assert "candidates" not in text
    assert "restricted has a certified gap of" in text


@pytest.mark.parametrize("kind", ["low-rank", "finite"])
def test_the_document_is_whole_and_agrees_with_itself(votes, capsys, kind):
    capsys.readouterr()
    assert main(["learn", "offline", str(votes), "--class", kind, "--json", *QUICK]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["preference_class"] == kind
    assert found["config"]["method"] == ["plug-in", "bonus", "restricted", "version-space"]
    assert found["votes"]["training"] + found["votes"]["held_out"] == 30 * 9
    assert found["units"] == "win probability"
    assert len(found["classes"]) == (1 if kind == "finite" else 2)
    finite = found["classes"][-1]
    assert 1 <= finite["members"] <= 10
    classes = {one["name"]: one for one in found["classes"]}
    assert [p["name"] for p in found["policies"]][:2] == ["reference", "plug-in"]
    for policy in found["policies"]:
        own = classes[policy["class"]]
        bare = own["certified_gap_of_reference_without_votes"]
        assert policy["vacuous"] == (policy["certified_gap"] >= bare - 1e-6)
        assert policy["void"] == own["misfit"]["refuted"]
        for each, size in zip(policy["policy"], (4, 3), strict=True):
            assert len(each) == size
            assert sum(each) == pytest.approx(1.0, abs=1e-12)
        rate = policy["held_out"]["win_rate"]
        assert rate["low"] <= rate["value"] <= rate["high"]
    # With 24 answers a pair, or so, learned policies beat the reference.
    assert found["policies"][1]["held_out"]["win_rate"]["low"] > 0.5


def test_rounds_are_printed_with_certificates_that_hold(votes, capsys):
    capsys.readouterr()
    arguments = ["--rounds", "3", "--queries", "50", *QUICK]
    assert main(["learn", "online", "--oracle", str(votes), *arguments]) == 0
    text = capsys.readouterr().out
    assert "enhancer explorer, 50 questions a round" in text
    assert "here 4 of 4 do" in text  # δ = 0.05 and a class that contains the truth
    assert "The true gap takes the shares of the votes" in text


def test_a_resumed_run_says_what_an_uninterrupted_one_says(votes, capsys, tmp_path, monkeypatch):
    from nlhf.learning.online import learning

    arguments = ["learn", "online", "--oracle", str(votes), "--rounds", "3", "--queries", "20"]
    arguments += ["--class", "tabular", "--explorer", "uniform", "--json", *QUICK]
    assert main(arguments) == 0
    whole = json.loads(capsys.readouterr().out)
    asked, count = learning.asked, iter(range(9))

    def interrupted(*given):
        if next(count) == 1:
            raise KeyboardInterrupt
        return asked(*given)

    monkeypatch.setattr(learning, "asked", interrupted)
    arguments += ["--checkpoint", str(tmp_path / "run")]
    assert main(arguments) == 130
    assert capsys.readouterr().out == ""
    monkeypatch.undo()
    assert main(arguments) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert resumed["standings"] == whole["standings"]
    assert [one["after_round"] for one in whole["standings"]] == [0, 1, 2, 3]
    assert whole["standings"][-1]["eluder_increment"] is None
    assert main([*arguments, "--queries", "21"]) == 2
    assert "checkpoint of a run with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "ending", "more"),
    [
        (["offline"], "png", ["--method", "bonus"]),
        (["online", "--oracle"], "svg", ["--rounds", "2", "--queries", "20"]),
    ],
)
def test_the_pictures_are_made(votes, tmp_path, how, ending, more):
    picture = tmp_path / f"picture.{ending}"
    assert main(["learn", *how, str(votes), "--plot", str(picture), *more, *QUICK]) == 0
    start = picture.read_bytes()[:2000]
    assert start.startswith(b"\x89PNG") or b"<svg" in start


def test_comparisons_without_raters_are_votes(tmp_path, capsys):
    path = tmp_path / "votes.jsonl"
    rows = [
        {"prompt": "p", "chosen": chosen, "rejected": rejected}
        for _ in range(20)
        for chosen, rejected in (("a", "b"), ("b", "c"), ("a", "c"), ("c", "a"))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["learn", "offline", str(path), "--method", "bonus", *QUICK]) == 0
    captured = capsys.readouterr()
    assert "both ways" not in captured.err


def test_a_rater_who_answers_both_ways_is_named(votes, tmp_path, capsys):
    path = tmp_path / "more.csv"
    path.write_text(votes.read_text() + "tea,a,b,torn,a\ntea,b,a,torn,a\n")
    assert main(["learn", "offline", str(path), "--method", "bonus", *QUICK]) == 0
    error = capsys.readouterr().err
    assert "both ways, the first of them 'torn' on 'a' and 'b' of prompt 'tea'" in error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        (HEADER, ["no votes"]),
        (HEADER + "x,a,b,w,a\nx,b,a,w,a\n", ["2 votes answer 1 questions", "collect more"]),
        (HEADER + "x,a,b,w,better\n", ["better", "tie"]),
        (HEADER + "x,a,a,w,a\n", ["itself"]),
    ],
)
@pytest.mark.parametrize("how", [["offline"], ["online", "--oracle"]])
def test_bad_votes_end_in_one_error_and_exit_code_2(tmp_path, capsys, content, words, how):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    assert main(["learn", *how, str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error:") == 1
    assert "Fix:" in captured.err
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--delta", "0"], "--delta is 0"),
        (["--delta", "1.5"], "--delta is 1.5"),
        (["--temperature", "-1"], "temperature is -1"),
        (["--held-out", "1"], "between 0 and 1"),
        (["--candidates", "0"], "0 candidates"),
        (["--bootstrap", "2"], "at least 40"),
        (["--bound", "0"], "bound"),
        (["--class", "low-rank", "--rank", "3"], "rank is 3"),
        (["--class", "tabular", "--payoff", "log-odds"], "no bound in the tabular class"),
        (["--seed", "-1"], "seed is -1"),
        (["--plot", "picture.pdf"], ".svg"),
    ],
)
def test_bad_arguments_end_in_one_error(votes, capsys, arguments, word):
    assert main(["learn", "offline", str(votes), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error:") == 1
    assert word in captured.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--rounds", "0"], "--rounds is 0"),
        (["--queries", "0"], "--queries is 0"),
        (["--delta", "1"], "--delta is 1"),
        (["--checkpoint", "/nowhere/at/all"], "/nowhere/at/all cannot be written"),
    ],
)
def test_bad_arguments_of_rounds_end_in_one_error(votes, capsys, arguments, word):
    given = ["--oracle", str(votes), *QUICK, *arguments]
    assert main(["learn", "online", *given]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error:") == 1
    assert word in captured.err


def test_files_without_votes_are_named(tmp_path, capsys):
    np.save(tmp_path / "p.npy", np.array([[0.5, 0.9], [0.1, 0.5]]))
    assert main(["learn", "offline", str(tmp_path / "p.npy")]) == 2
    assert "holds no votes one by one" in capsys.readouterr().err
    assert main(["learn", "offline", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_the_tables_fit_their_console(votes, capsys, monkeypatch):
    monkeypatch.setattr("nlhf.cli.learned._WIDTH", 60)
    assert main(["learn", "offline", str(votes), "--method", "bonus", *QUICK]) == 0
    text = capsys.readouterr().out
    tables = [line for line in text.splitlines() if line[:1] in "┏┃┡│└"]
    assert max(map(len, tables)) <= 60


@pytest.mark.slow
def test_real_votes_are_learned_from(real_data, capsys):
    capsys.readouterr()
    path = str(real_data / "convarg" / "votes.csv")
    assert main(["learn", "offline", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["votes"]["training"] + found["votes"]["held_out"] == 44_375
    assert len(found["prompts"]) == 16
    by_name = {policy["name"]: policy for policy in found["policies"]}
    assert by_name["plug-in"]["held_out"]["win_rate"]["low"] > 0.5
    assert main(["learn", "online", "--oracle", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for one in found["standings"]:
        assert one["true_gap"] <= one["certified_gap"] + 1e-9
