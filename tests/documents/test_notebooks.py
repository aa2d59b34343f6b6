"""Every notebook runs from top to bottom in a fresh kernel, and uses public names only."""

import ast
import importlib
import importlib.util
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = ROOT / "tests" / "architecture"
GOLDEN = {
    "nlhf": set((NAMES / "public_names.txt").read_text().split()),
    "nlhf.lm": set((NAMES / "language_model_names.txt").read_text().split()),
}
LONGEST = 20
"""Lines of a function: what is longer belongs into the package, or is not for this page."""
STRICT = """
import warnings
from nlhf.errors import NlhfWarning
warnings.simplefilter("error", NlhfWarning)
"""

QUICK = ("1", "2")
"""The others take more than five seconds of processor time."""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def tree(path):
    cells = [cell.source for cell in read(path).cells if cell.cell_type == "code"]
    return ast.parse("\n\n".join(cells))


def public(module):
    """Return the public names of a module of the package, by its golden file or its __all__."""
    if module in GOLDEN:
        return GOLDEN[module] | {"lm"}
    return set(getattr(importlib.import_module(module), "__all__", ()))


def bound_to_packages(parsed):
    """Return which names stand for nlhf and nlhf.lm."""
    bound = {}
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            bound |= {a.asname or a.name: a.name for a in node.names if a.name == "nlhf"}
        if isinstance(node, ast.ImportFrom) and node.module == "nlhf":
            bound |= {a.asname or a.name: "nlhf.lm" for a in node.names if a.name == "lm"}
    return bound


def unknown_names(parsed):
    """Return every name of the package that a notebook uses and that is not public."""
    found = []
    for node in ast.walk(parsed):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nlhf":
            known = public(node.module)
            found += [f"{node.module}.{a.name}" for a in node.names if a.name not in known]
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("nlhf.")]
    bound = bound_to_packages(parsed)
    for node in ast.walk(parsed):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = bound.get(node.value.id)
            if module is not None and node.attr not in public(module):
                found.append(f"{module}.{node.attr}")
    return found


def test_the_five_are_there_and_listed():
    assert [path.stem[0] for path in NOTEBOOKS] == list("12345")
    listed = (FOLDER / "README.md").read_text()
    assert all(f"]({path.name})" in listed for path in NOTEBOOKS)


@every_notebook
def test_only_public_names_are_used(path):
    assert unknown_names(tree(path)) == []


def test_a_private_name_is_noticed():
    sneaky = ast.parse(
        "import nlhf\nfrom nlhf import lm\nfrom nlhf.data import votes_csv\n"
        "nlhf.numerics.kl_divergence\nlm.engine\nimport nlhf.games.tabular\n"
    )
    assert sorted(unknown_names(sneaky)) == [
        "nlhf.data.votes_csv",
        "nlhf.games.tabular",
        "nlhf.lm.engine",
        "nlhf.numerics",
    ]


@every_notebook
def test_it_is_stored_without_outputs_and_holds_no_program(path):
    cells = read(path).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    functions = [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef)]
    assert all(f.end_lineno - f.lineno < LONGEST for f in functions)
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "$$" in prose
    assert "## Exercise" in cells[-1].source


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[] if path.stem[0] in QUICK else [pytest.mark.slow])
        for path in NOTEBOOKS
    ],
    ids=lambda path: path.stem,
)
def test_it_runs_from_top_to_bottom_and_shows_a_picture(path, tmp_path, monkeypatch):
    if "import torch" in ast.unparse(tree(path)) and importlib.util.find_spec("torch") is None:
        pytest.skip("needs the extra [lm]")
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(variable, os.environ.get(variable, "1"))
    notebook = read(path)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    left = {file.name for file in tmp_path.iterdir()} - {".hypothesis"}  # a cache of its own
    assert not left, "a notebook leaves nothing where it is run"
