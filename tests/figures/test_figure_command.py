"""`nlhf figure` draws the figures of the checkout it is called in, and nowhere else."""

import sys

import pytest

from nlhf.cli.figure import Figure
from nlhf.errors import NotAllowed, Unsupported
from paper_figs import inputs
from paper_figs.inputs import ROOT


@pytest.fixture(autouse=True)
def search_path(monkeypatch):
    """The command puts the checkout on the path; the next test starts without."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_outside_a_checkout_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Unsupported, match="git clone"):
        Figure("impossibility").run()


def test_in_another_checkout_than_the_installed_one_it_refuses(tmp_path, monkeypatch):
    for mark in ("paper_figs/drawing.py", "nlhf/__init__.py"):
        path = tmp_path / mark
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotAllowed, match="wrong"):
        Figure("impossibility").run()


def test_an_unknown_figure_is_refused_with_the_known_ones(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(NotAllowed, match="impossibility"):
        Figure("nope").run()


def test_from_any_folder_of_the_checkout_it_draws_and_names_the_files(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(ROOT / "tests")
    assert Figure("impossibility", out=tmp_path).run() == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [str(tmp_path / f"impossibility.{ending}") for ending in ("svg", "png")]
    assert all((tmp_path / name).stat().st_size > 1000 for name in printed)


def test_stale_results_are_an_error_that_names_them(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    other = tmp_path / "manifest.toml"
    other.write_text('[impossibility]\n"benchmarks/results/impossibility.csv" = "0"\n')
    monkeypatch.setattr(inputs, "MANIFEST", other)
    with pytest.raises(NotAllowed, match=r"impossibility\.csv"):
        Figure("impossibility", out=tmp_path).run()
