"""The shape of the package: layers, light imports, public names, sizes."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nlhf"
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"errors", "files", "labels", "numerics", "streams"},
    {"results"},
    {"protocols"},
    {"spaces", "data"},
    {"games"},
    {"certificates", "exact", "algorithms", "estimation"},
    {"learning"},
    {"lm"},
    {"solving", "theorems", "testing", "training"},
    {"social_choice"},
    {"analysis"},
    {"plotting", "reporting"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SIDEWAYS_ALLOWED = [
    {"errors", "files", "labels", "numerics", "streams"},
    {"solving", "theorems", "testing"},
]


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Every module that a file imports; with `top_level_only`, those imported on import."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"relative import in {path}"
            found.add(node.module)
    return found


def layer_of(module: str) -> str:
    return module.split(".")[1]


def violations(path: Path) -> list[str]:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return []
    bad = []
    for module in imports_of(path):
        if not module.startswith("nlhf."):
            continue
        other = layer_of(module)
        sideways = any({own, other} <= group for group in SIDEWAYS_ALLOWED)
        if other != own and not sideways and LEVEL[other] >= LEVEL[own]:
            bad.append(f"{path.relative_to(ROOT)} imports {module}")
    return bad


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    assert violations(path) == []


def test_control_an_upward_import_is_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    wrong = tmp_path / "certificates.py"
    wrong.write_text("from nlhf.exact.regularised import solve_regularised\n")
    assert violations(wrong) == ["certificates.py imports nlhf.exact.regularised"]


@pytest.mark.parametrize(
    ("package", "home"),
    [("cvxpy", "exact"), ("torch", "lm"), ("transformers", "lm"), ("nlhf_theory", None)],
)
def test_heavy_packages_have_one_home(package, home):
    for path in FILES:
        if package in {name.split(".")[0] for name in imports_of(path)}:
            assert path.relative_to(PACKAGE).parts[0] == home, path


def test_nothing_slow_is_imported_at_module_level():
    slow = {"scipy", "cvxpy", "matplotlib", "pandas", "polars", "pyarrow", "hypothesis", "torch"}
    slow |= {"jinja2", "latex2mathml", "markupsafe"}
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] in {"testing", "lm"}:
            continue  # imported by test suites alone; the home of torch
        loaded = {name.split(".")[0] for name in imports_of(path, top_level_only=True)}
        assert not loaded & slow, path


@pytest.mark.parametrize("argument", ["import nlhf", "import nlhf.cli", "import nlhf.solving"])
def test_importing_loads_no_heavy_package(argument):
    code = f"{argument}; import sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "nlhf" in loaded
    assert not {"torch", "cvxpy", "matplotlib", "pandas", "scipy.optimize"} & set(loaded)


@pytest.mark.parametrize(
    ("package", "listing"),
    [("nlhf", "public_names.txt"), ("nlhf.lm", "language_model_names.txt")],
)
def test_public_names_are_the_listed_ones(package, listing):
    if package == "nlhf.lm":
        pytest.importorskip("torch")
    module = importlib.import_module(package)
    listed = (Path(__file__).parent / listing).read_text().split()
    assert sorted(module.__all__) == listed
    for name in listed:
        assert getattr(module, name) is not None


def test_every_package_is_shipped():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(init.parent.relative_to(ROOT).parts) for init in PACKAGE.rglob("__init__.py")
    }
    assert folders | {"nlhf_theory"} == set(shipped)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_fit(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            start = (
                node.body[0].lineno if ast.get_docstring(node) is None else node.body[0].end_lineno
            )
            assert node.end_lineno - start < 60, f"{path.name}:{node.name}"


def test_sources_do_not_postpone_annotations():
    for path in FILES:
        assert "from __future__ import annotations" not in path.read_text(), path
