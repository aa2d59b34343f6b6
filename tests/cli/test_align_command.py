"""`nlhf align` as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest

from nlhf.cli import main

QUICK = ["--bootstrap", "50", "--restarts", "2"]
HEADER = "prompt_id,response_a,response_b,annotator,label\n"

pytestmark = pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")


TASTES = ((0, 1, 2, 3), (3, 2, 1, 0), (3, 0, 0, 3))


def write_votes(path: Path, group_of: list[int]) -> Path:
    """Every rater answers every pair of two prompts four times."""
    lines = [HEADER]
    generator = np.random.default_rng(7)
    for rater, group in enumerate(group_of):
        for prompt, names in (("tea", "abcd"), ("[red]cake\x1b[31m", "xyz")):
            for i, first in enumerate(names):
                for j, second in enumerate(names[:i]):
                    ahead = TASTES[group][i] - TASTES[group][j]
                    for draw in generator.random(4):
                        label = "a" if draw < 1.0 / (1.0 + np.exp(-ahead)) else "b"
                        label = "tie" if draw > 0.98 else label
                        lines.append(f"{prompt},{first},{second},r{rater},{label}\n")
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def votes(tmp_path_factory) -> Path:
    """Thirty raters, a third of whom like the reverse."""
    path = tmp_path_factory.mktemp("align") / "votes.csv"
    return write_votes(path, [int(rater % 3 == 0) for rater in range(30)])


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    return write_votes(tmp_path_factory.mktemp("align") / "three.csv", [r % 3 for r in range(24)])


def test_the_tables_say_what_every_group_has_of_every_policy(votes, capsys):
    assert main(["align", str(votes), "--groups", "2", *QUICK]) == 0
    text = capsys.readouterr().out
    for word in ("reference", "single reward", "Nash", "MaxMin", "best for 0", "best for 1"):
        assert word in text
    assert "Group 0: 66.7% of 30 raters" in text
    assert "Win rate against the reference, held-out votes" in text
    assert "the groups predict held-out votes better" in text
    assert "MaxMin over single reward, held-out votes: worst group +" in text
    assert "Choice: MaxMin judges all prompts together" in text


def test_auto_shows_the_numbers_of_groups_that_were_tried(votes, capsys):
    assert main(["align", str(votes), *QUICK]) == 0
    text = capsys.readouterr().out
    assert "Numbers of groups, training votes" in text
    assert "-BIC/2" in text
    assert "Group 1: 33.3% of 30 raters" in text
    assert "Group 2" not in text


def test_one_group_is_said_to_be_one(votes, capsys):
    assert main(["align", str(votes), "--groups", "1", *QUICK]) == 0
    text = capsys.readouterr().out
    assert "One group: MaxMin is single reward." in text
    assert "Log-likelihood" not in text


def test_the_document_is_whole_and_agrees_with_itself(votes, capsys):
    capsys.readouterr()
    assert main(["align", str(votes), "--groups", "2", "--json", *QUICK]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["certified"] is True
    assert found["exit_code"] == 0
    assert found["config"]["groups"] == 2
    assert found["config"]["offsets"] == "reference"
    assert found["groups_chosen"] is None
    assert {"reading", "groups", "solving", "judging"} <= found["timings"].keys()
    assert found["votes"]["training"] + found["votes"]["held_out"] == 30 * 9 * 4
    assert [p["prompt"] for p in found["prompts"]] == ["tea", "[red]cake\x1b[31m"]
    gamma = np.array(found["responsibilities"])
    assert gamma.shape == (len(found["annotators"]), 2)
    assert gamma.sum(axis=1) == pytest.approx(1.0)
    sizes = [4, 3]
    for group in found["groups"]:
        assert [len(rewards) for rewards in group["rewards"]] == sizes
        assert 0.0 < group["share_of_the_busiest_rater"] < 1.0
    assert len(found["single_reward"]) == 2
    assert found["maxmin"]["duality_gap_high"] <= 1e-8
    assert sum(found["maxmin"]["group_weights"]) == pytest.approx(1.0)
    names = [policy["name"] for policy in found["policies"]]
    assert names == ["reference", "single reward", "Nash", "MaxMin", "best for 0", "best for 1"]
    assert found["gains_over"] == "single reward"
    for policy in found["policies"]:
        for each, size in zip(policy["policy"], sizes, strict=True):
            assert len(each) == size
            assert sum(each) == pytest.approx(1.0, abs=1e-12)
        held, model = policy["held_out"], policy["model"]
        rates = [entry["value"] for entry in held["win_rate"]]
        assert held["worst"]["value"] == min(rates)
        assert held["mean"]["value"] == pytest.approx(np.mean(rates))
        assert held["worst"]["low"] <= held["worst"]["high"]
        assert model["worst_win_rate"] == min(model["win_rate"])
        assert held["gain"].keys() == {"group 0", "group 1", "worst", "mean"}
    single = found["policies"][1]["held_out"]["gain"]
    assert all(entry["value"] == 0.0 for entry in single.values())


def test_the_document_of_a_chosen_number_holds_the_candidates(votes, capsys):
    capsys.readouterr()
    assert main(["align", str(votes), "--json", "--bootstrap", "0", "--restarts", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    chosen = found["groups_chosen"]
    assert chosen["groups"] == 2 == len(found["groups"])
    assert [one["groups"] for one in chosen["candidates"]] == [1, 2, 3, 4, 5]
    assert min(one["behind"] for one in chosen["candidates"]) == 0.0
    assert found["policies"][1]["held_out"]["worst"]["low"] is None  # nothing was resampled


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_made(votes, tmp_path, ending):
    picture = tmp_path / f"align.{ending}"
    assert main(["align", str(votes), "--groups", "2", "--plot", str(picture), *QUICK]) == 0
    start = picture.read_bytes()[:2000]
    assert start.startswith(b"\x89PNG") or b"<svg" in start


def test_hard_assignment_and_other_offsets(votes, capsys):
    capsys.readouterr()
    arguments = ["--groups", "2", "--assignment", "hard", "--offsets", "regret", "--json", *QUICK]
    assert main(["align", str(votes), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(np.ravel(found["responsibilities"])) == {0.0, 1.0}
    # Measured by regret, nobody has more than with the policy that is best for him.
    for policy in found["policies"]:
        net = np.array(policy["model"]["utility"]) - 0.2 * policy["kl_from_reference"]
        assert (net <= 1e-9).all()
    for u in range(2):
        own = found["policies"][4 + u]
        net = own["model"]["utility"][u] - 0.2 * own["kl_from_reference"]
        assert net == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_tables_fit_their_console(three, capsys, monkeypatch, columns):
    capsys.readouterr()
    monkeypatch.setattr("nlhf.cli.alignments._WIDTH", columns)
    assert main(["align", str(three), "--groups", "3", *QUICK]) == 0
    text = capsys.readouterr().out
    tables = [line for line in text.splitlines() if line[:1] in "┏┃┡│└"]
    assert max(map(len, tables)) <= columns
    assert any("worst" in line for line in tables)
    assert ("every group: with --json" in text) == (columns < 80)
    assert any("–" in line for line in tables) == (columns >= 80)  # the intervals


def test_exit_code_3_if_a_gap_is_larger_than_asked_for(votes, capsys):
    assert main(["align", str(votes), "--groups", "2", "--gap", "0", *QUICK]) == 3
    assert "duality gaps at most" in capsys.readouterr().out


def test_comparisons_with_groups_are_votes_with_raters(tmp_path, capsys):
    path = tmp_path / "votes.jsonl"
    rows = [
        {"prompt": "p", "chosen": chosen, "rejected": rejected, "group": f"g{rater}"}
        for rater in range(8)
        for chosen, rejected in (("a", "b"), ("b", "c"), ("a", "c"), ("c", "a"))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["align", str(path), "--groups", "1", *QUICK]) == 0
    assert "of 8 raters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        (HEADER, ["no votes"]),
        (
            "prompt_id,response_a,response_b,label\nx,a,b,a\n",
            ["none names its rater", "nlhf solve"],
        ),
        (HEADER + "x,a,b,w,a\nx,a,b,v,b\n", ["none is held out"]),
        (HEADER + "x,a,b,w,better\n", ["better", "tie"]),
    ],
)
def test_bad_votes_end_in_one_error_and_exit_code_2(tmp_path, capsys, content, words):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    assert main(["align", str(path), "--groups", "2"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error:") == 1
    assert "Fix:" in captured.err
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--temperature", "0"], "temperature is 0"),
        (["--held-out", "1"], "between 0 and 1"),
        (["--groups", "0"], "0 groups"),
        (["--groups", "99"], "99 groups of 30 raters"),
        (["--ridge", "-1"], "ridge"),
        (["--restarts", "0"], "restarts"),
        (["--bootstrap", "-1"], "-1 resamples"),
        (["--bootstrap", "2"], "at least 40"),
        (["--temperature", "1e-300"], "from 1e-99"),
        (["--plot", "folder.png"], "is a folder"),
        (["--gap", "-1"], "--gap is -1"),
        (["--plot", "picture.pdf"], ".svg"),
    ],
)
def test_bad_arguments_end_in_one_error(votes, capsys, arguments, word, tmp_path, monkeypatch):
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["align", str(votes), "--groups", "2", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error:") == 1
    assert word in captured.err


def test_files_without_raters_are_named(tmp_path, capsys):
    np.save(tmp_path / "p.npy", np.array([[0.5, 0.9], [0.1, 0.5]]))
    assert main(["align", str(tmp_path / "p.npy")]) == 2
    assert "holds no votes of named raters" in capsys.readouterr().err
    assert main(["align", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_without_resamples_there_are_no_intervals_and_no_verdict(votes, capsys):
    assert main(["align", str(votes), "--groups", "2", "--bootstrap", "0", "--restarts", "2"]) == 0
    text = capsys.readouterr().out
    assert "nan" not in text
    assert "95 %" not in text
    assert "no interval, so no verdict" in text


def test_raters_with_one_vote_are_warned_about(votes, tmp_path, capsys):
    path = tmp_path / "more.csv"
    path.write_text(votes.read_text() + "".join(f"tea,a,b,guest{k},a\n" for k in range(5)))
    capsys.readouterr()
    assert main(["align", str(path), "--groups", "2", *QUICK]) == 0
    assert "warning: 5 of 35 raters have one vote" in capsys.readouterr().err


def test_ties_only_end_in_an_error_or_a_warning(tmp_path, capsys):
    path = tmp_path / "ties.csv"
    pairs = ("a,b", "b,c", "a,c")
    path.write_text(HEADER + "".join(f"x,{pair},r{k},tie\n" for k in range(6) for pair in pairs))
    assert main(["align", str(path), "--groups", "2", *QUICK]) == 2
    assert "tie" in capsys.readouterr().err
