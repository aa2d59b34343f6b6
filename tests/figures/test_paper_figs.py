"""Figures of papers: a script each, inputs as the manifest says, and nothing computed."""

import ast
import importlib
import io

import matplotlib
import numpy as np
import pytest

from benchmarks.impossibility import COLUMNS, row, write
from paper_figs.style import HERE, OUT, ROOT, checked_input, manifest, sha256

SCRIPTS = sorted(path.stem for path in HERE.glob("fig_*.py"))


def test_every_figure_of_the_manifest_has_a_script_and_every_script_is_there():
    assert [f"fig_{label}" for label in sorted(manifest())] == SCRIPTS


@pytest.mark.parametrize("label", sorted(manifest()))
def test_inputs_are_the_files_of_the_manifest(label):
    for name, digest in manifest()[label].items():
        assert sha256(ROOT / name) == digest


@pytest.mark.parametrize("label", sorted(manifest()))
def test_both_files_of_a_figure_are_there_and_modest(label):
    for ending in ("svg", "png"):
        assert 1000 < (OUT / f"{label}.{ending}").stat().st_size < 400_000


def test_other_inputs_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("paper_figs.style.ROOT", tmp_path)
    changed = tmp_path / "benchmarks" / "results" / "impossibility.csv"
    changed.parent.mkdir(parents=True)
    changed.write_text("sweep\n")
    with pytest.raises(ValueError, match="the manifest says"):
        checked_input("impossibility", "benchmarks/results/impossibility.csv")


@pytest.mark.parametrize("script", [*SCRIPTS, "style"])
def test_figures_compute_nothing(script):
    tree = ast.parse((HERE / f"{script}.py").read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    assert not imported & {"nlhf", "nlhf_theory", "scipy", "benchmarks"}


def test_drawing_keeps_every_point_of_every_curve():
    figure = importlib.import_module("paper_figs.fig_impossibility")
    sweeps = figure.data()
    drawn = figure.draw(sweeps)
    for axes, panel in zip(drawn.axes, figure.PANELS, strict=True):
        assert len(axes.lines) == len(figure.CURVES)
        for line, curve in zip(axes.lines, figure.CURVES, strict=True):
            columns = sweeps[panel.sweep]
            assert np.array_equal(line.get_xdata(), columns[panel.column])
            assert np.array_equal(line.get_ydata(), columns[curve.column])


def test_the_results_are_what_the_benchmark_writes_and_say_what_the_theorem_says():
    figure = importlib.import_module("paper_figs.fig_impossibility")
    sweeps = figure.data()
    assert set(sweeps) == {"epsilon", "share", "beta"}
    for columns in sweeps.values():
        gap = columns["gap"]
        assert columns["misspecification"].max() <= 1e-12
        assert (columns["segment"] <= gap * (1 + 1e-9)).all()
        assert (columns["repaired"] <= gap).all()
        assert (columns["transcribed"] > gap).any()
    assert (sweeps["beta"]["squared"] > sweeps["beta"]["gap"]).any()
    table = io.StringIO()
    write(table)
    fresh = [line for line in table.getvalue().splitlines() if not line.startswith("#")]
    assert fresh[0] == ",".join(COLUMNS)
    stored = (ROOT / "benchmarks/results/impossibility.csv").read_text().splitlines()
    stored = [line for line in stored if not line.startswith("#")]
    for new, old in zip(fresh[1:], stored[1:], strict=True):
        numbers = [np.array(line.split(",")[1:], dtype=float) for line in (new, old)]
        assert np.allclose(*numbers, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("label", sorted(manifest()))
def test_the_stored_drawing_is_the_one_of_the_script_and_its_inputs(label, tmp_path):
    stored = (OUT / f"{label}.svg").read_bytes()
    if f"Matplotlib v{matplotlib.__version__},".encode() not in stored:
        pytest.skip("drawn by another version of Matplotlib, whose bytes may differ")
    importlib.import_module(f"paper_figs.fig_{label}").main([str(tmp_path)])
    assert (tmp_path / f"{label}.svg").read_bytes() == stored


def test_a_row_has_one_number_a_column():
    from benchmarks.impossibility import Point

    assert len(row(Point("epsilon", 0.5, 0.2, 1.0))) == len(COLUMNS)
