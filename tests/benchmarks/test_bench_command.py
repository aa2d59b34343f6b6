"""`nlhf bench` runs the suites of the checkout it is called in, and nowhere else."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import suites
from benchmarks.cases import Comparison, Startup
from benchmarks.suites import Suite
from nlhf.cli.bench import Bench
from nlhf.errors import NotAllowed, Unsupported

ROOT = Path(__file__).resolve().parents[2]
CASE = Comparison("uniform", 3, 1, 0.1, ("exact", "cvxpy"), repeats=1)


@pytest.fixture(autouse=True)
def search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command puts the checkout on the path; the next test starts without."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def small_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Startup("import no_such_module", repeats=1)
    of = {"good": (CASE,), "bad": (CASE, broken)}
    found = {name: Suite(name, cases, cases[:1], 0.1) for name, cases in of.items()}
    monkeypatch.setattr(suites, "SUITES", found)


def test_outside_a_checkout_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Unsupported, match="git clone"):
        Bench("targets").run()


def test_in_another_checkout_than_the_installed_one_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mark in ("benchmarks/run.py", "benchmarks/suites.py", "nlhf/__init__.py"):
        path = tmp_path / mark
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotAllowed, match="wrong sources"):
        Bench("targets").run()


@pytest.mark.usefixtures("small_suites")
def test_an_unknown_suite_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(NotAllowed, match="good, bad"):
        Bench("nope").run()


@pytest.mark.usefixtures("small_suites")
def test_from_any_folder_of_the_checkout_it_prints_rows_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT / "tests")
    assert Bench("good", out=tmp_path, json=True).run() == 0
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [row["method"] for row in rows] == ["exact", "cvxpy"]
    assert (tmp_path / "rows.jsonl").read_text().splitlines() == printed.out.splitlines()
    assert Bench("good", out=tmp_path).run() == 0
    resumed = capsys.readouterr()
    assert resumed.out == ""
    assert "0 new rows" in resumed.err


@pytest.mark.usefixtures("small_suites")
def test_a_failed_measurement_is_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert Bench("bad", out=tmp_path).run() == 1
    assert "[failed]" in capsys.readouterr().out
