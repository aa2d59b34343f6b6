"""`nlhf verify --report` writes a report, and says by its exit code what is in it."""

import json

import pytest

from nlhf.cli import main
from nlhf.theorems import QUICK_BUDGET


def verify(*arguments: str) -> int:
    return main(["verify", "--workers", "1", *arguments])


def test_a_report_of_a_failing_ledger_has_exit_code_1(toy_ledger, tmp_path, capsys):
    folder = tmp_path / "deep" / "out"
    keys = ("toy-product", "toy-false", "toy-refuted")
    assert verify("--only", *keys, "--budget", "400", "--report", str(folder)) == 1
    assert "2 of 3 as expected" in capsys.readouterr().out
    page, markdown = (folder / "index.html").read_text(), (folder / "report.md").read_text()
    for text in (page, markdown):
        assert "bump" not in text
        assert all(key in text for key in keys)
        assert "expected not falsified, found falsified" in text
        assert "Kurt Gödel" in text
    assert {path.stem for path in (folder / "theorems").iterdir()} == set(keys)


def test_a_second_report_evaluates_nothing_and_is_the_same(toy_ledger, tmp_path, capsys):
    arguments = ("--only", "toy-product", "--quick", "--report", str(tmp_path / "out"))
    assert verify(*arguments) == 0
    page, count = (
        (tmp_path / "out" / "index.html").read_text(),
        len((toy_ledger / "toy-product.seen").read_text().split()),
    )
    assert count >= 2 * QUICK_BUDGET - 2
    assert verify(*arguments) == 0
    assert len((toy_ledger / "toy-product.seen").read_text().split()) == count

    def without_origin(text: str) -> str:
        return text[: text.index("<dl class")] + text[text.index("</dl>") :]

    again = (tmp_path / "out" / "index.html").read_text()
    assert without_origin(again) == without_origin(page)


def test_json_and_report_go_together(toy_ledger, tmp_path, capsys):
    folder = tmp_path / "out"
    assert verify("--only", "toy-product", "--quick", "--json", "--report", str(folder)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["budget"] == QUICK_BUDGET
    assert found["theorems"][0]["key"] == "toy-product"
    assert {"key", "asked", "ours", "reason"} == set(found["differences"][0])
    assert (folder / "index.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--quick", "--budget", "50"), "both say how much"),
        (("--workers", "0"), "--workers is 0"),
        (("--budget", "0"), "budget is 0"),
        (("--seed", "-1"), "--seed is -1"),
        (("--only", "no-such-key"), "no theorem 'no-such-key'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(capsys, tmp_path, arguments, said):
    assert main(["verify", *arguments, "--report", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_set_is_refused_before_anything_runs(toy_ledger, tmp_path, capsys):
    keys = ("toy-product", "toy-costly")
    assert verify("--only", *keys, "--report", str(tmp_path / "out")) == 2
    assert "toy-costly cannot be set" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not (toy_ledger / "toy-product.seen").exists()


def test_the_report_of_some_theorems_says_that_it_is_a_part(toy_ledger, tmp_path, capsys):
    folder = tmp_path / "out"
    assert verify("--only", "toy-product", "--quick", "--report", str(folder)) == 0
    for name in ("index.html", "report.md"):
        assert "--seed 0 --only toy-product --report out" in (folder / name).read_text()


def test_a_report_cannot_go_where_a_file_is(capsys, tmp_path):
    (tmp_path / "out").write_text("")
    assert verify("--only", "gap-identity", "--quick", "--report", str(tmp_path / "out")) == 2
    assert "cannot be made" in capsys.readouterr().err
