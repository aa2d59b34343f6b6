"""Figures of papers: a script each, inputs as the manifest says, and nothing computed."""

import ast
from functools import cache

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from paper_figs import __main__ as command
from paper_figs import drawing, inputs
from paper_figs.inputs import HERE, ROOT, StaleInput, checked_input, manifest, sha256
from paper_figs.style import COLUMN, FULL, OUT, Look

LABELS = drawing.labels()
MODULES = sorted(path.stem for path in HERE.glob("*.py"))


@cache
def drawn(label):
    script = drawing.script(label)
    return script.draw(script.data())


def test_the_manifest_names_the_figures_and_the_inputs_of_the_scripts():
    listed = manifest()
    assert sorted(listed) == list(LABELS)
    for label in LABELS:
        assert sorted(listed[label]) == sorted(drawing.script(label).INPUTS)
        assert label == drawing.script(label).LABEL


@pytest.mark.parametrize("label", LABELS)
def test_inputs_are_the_files_of_the_manifest(label):
    for name, digest in manifest()[label].items():
        assert sha256(ROOT / name) == digest


@pytest.mark.parametrize("label", LABELS)
def test_both_files_of_a_figure_are_there_and_modest(label):
    for ending in ("svg", "png"):
        assert 1000 < (OUT / f"{label}.{ending}").stat().st_size < 400_000


def test_nothing_lies_beside_the_drawings():
    assert {path.stem for path in OUT.iterdir()} == {*LABELS}


def test_captions_name_every_figure():
    text = (HERE / "README.md").read_text(encoding="utf-8")
    assert all(f"## `{label}`" in text and f"out/{label}.png" in text for label in LABELS)


@pytest.mark.parametrize("module", MODULES)
def test_figures_compute_nothing(module):
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    names = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    ]
    assert not {name.split(".")[0] for name in names} & {
        "nlhf",
        "nlhf_theory",
        "scipy",
        "benchmarks",
    }


def test_a_changed_input_is_refused_with_both_hashes(monkeypatch, tmp_path):
    monkeypatch.setattr(inputs, "ROOT", tmp_path)
    name = "benchmarks/results/impossibility.csv"
    changed = tmp_path / name
    changed.parent.mkdir(parents=True)
    changed.write_text("sweep\n")
    with pytest.raises(StaleInput) as refusal:
        checked_input("impossibility", name)
    for word in (name, sha256(changed), manifest()["impossibility"][name], "--update"):
        assert word in str(refusal.value)


def test_an_input_that_is_missing_or_not_listed_is_refused(monkeypatch, tmp_path):
    with pytest.raises(StaleInput, match="does not list it"):
        checked_input("impossibility", "README.md")
    monkeypatch.setattr(inputs, "ROOT", tmp_path)
    with pytest.raises(StaleInput, match="is not there"):
        checked_input("impossibility", "benchmarks/results/impossibility.csv")


@pytest.fixture
def old_manifest(monkeypatch, tmp_path):
    """A manifest that speaks of another impossibility.csv, and of a figure that is gone."""
    name = "benchmarks/results/impossibility.csv"
    text = inputs.MANIFEST.read_text(encoding="utf-8")
    path = tmp_path / "manifest.toml"
    path.write_text(text.replace(manifest()["impossibility"][name], 64 * "0"), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write('\n[gone]\n"gone.csv" = "1"\n')
    monkeypatch.setattr(inputs, "MANIFEST", path)
    return path


@pytest.mark.usefixtures("old_manifest")
def test_the_command_refuses_what_is_stale(tmp_path, capsys):
    out = tmp_path / "out"
    assert command.main(["impossibility", "--out", str(out)]) == 2
    assert 64 * "0" in capsys.readouterr().err
    assert not out.exists()


def test_the_command_accepts_new_inputs_when_told_and_says_which(old_manifest, tmp_path, capsys):
    stored = (HERE / "manifest.toml").read_text(encoding="utf-8")
    assert command.main(["impossibility", "--update", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert f"impossibility: benchmarks/results/impossibility.csv: {64 * '0'} -> " in said
    assert "gone: gone.csv: 1 -> dropped" in said
    assert "2 changes accepted" in said
    assert old_manifest.read_text(encoding="utf-8") == stored
    assert drawing.changes() == []


def test_what_is_accepted_is_drawn_whatever_was_asked_for(old_manifest, tmp_path):
    out = tmp_path / "out"
    assert command.main(["em_recovery", "--update", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.glob("*.svg")) == ["em_recovery.svg", "impossibility.svg"]


def test_nothing_is_accepted_while_an_input_is_missing(monkeypatch, old_manifest, tmp_path, capsys):
    before = old_manifest.read_text(encoding="utf-8")
    monkeypatch.setattr(inputs, "ROOT", tmp_path)
    assert command.main(["rates", "--update", "--out", str(tmp_path / "out")]) == 2
    assert "is not there" in capsys.readouterr().err
    assert old_manifest.read_text(encoding="utf-8") == before


def test_the_command_refuses_labels_that_there_are_not(capsys):
    with pytest.raises(SystemExit):
        command.main(["nope"])
    assert "impossibility" in capsys.readouterr().err
    with pytest.raises(ValueError, match="choose from"):
        drawing.script("nope")


@pytest.mark.slow
@pytest.mark.parametrize("label", LABELS)
def test_the_stored_drawing_is_the_one_of_the_script_and_its_inputs(label, tmp_path):
    stored = (OUT / f"{label}.svg").read_bytes()
    if f"Matplotlib v{matplotlib.__version__},".encode() not in stored:
        pytest.skip("drawn by another version of Matplotlib, whose bytes may differ")
    files = drawing.draw(label, tmp_path)
    assert [file.name for file in files] == [f"{label}.svg", f"{label}.png"]
    assert files[0].read_bytes() == stored


@pytest.mark.parametrize("label", LABELS)
def test_a_figure_has_a_width_of_print_and_legible_words_that_it_holds_whole(label):
    figure = drawn(label)
    width, height = figure.get_size_inches()
    assert width in (COLUMN, FULL)
    words = [text for text in figure.findobj(Text) if text.get_text().strip()]
    assert min(text.get_fontsize() for text in words) >= 7.0
    box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    assert box.x0 >= 0.0
    assert box.y0 >= 0.0
    assert box.x1 <= width
    assert box.y1 <= height


def looks(value):
    if isinstance(value, Look):
        yield value
    elif isinstance(value, dict | tuple | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from looks(one)


@pytest.mark.parametrize("label", LABELS)
def test_series_differ_by_more_than_colour(label):
    for name, value in vars(drawing.script(label)).items():
        if name.isupper() and isinstance(value, dict):
            found = [(look.dashes, look.marker, look.hollow) for look in looks(value)]
            assert len(found) == len(set(found)), name


@pytest.mark.parametrize("label", LABELS)
def test_no_panel_is_empty(label):
    for axes in drawn(label).axes:
        assert axes.has_data() or axes.texts
