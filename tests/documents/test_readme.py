"""Every code block of the README runs, and what it names is there; CI pastes its installations."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nlhf
from nlhf.theorems import Expected, installed_theorems

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(), flags=re.M | re.S)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "bash"]
WORDS = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"]
LONG = ("nlhf verify &&", "nlhf learn")
"""The whole ledger takes minutes, the tour of all commands one; their own tests are quick."""


def test_every_block_is_of_a_language_that_is_run_here():
    assert {language for language, _ in BLOCKS} == {"python", "bash"}
    assert len(PYTHON) >= 3
    assert len(SHELL) >= 3


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_python_blocks_run(code, tmp_path):
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path, timeout=120
    )


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, marks=[pytest.mark.slow] if any(x in code for x in LONG) else [])
        for code in SHELL
    ],
    ids=lambda code: code.strip()[-40:],
)
def test_shell_blocks_run_from_the_installed_package(code, tmp_path):
    # Installing needs a network and a fresh environment, and the tests are these: CI pastes both.
    steps = [step.strip() for step in code.split("&&")]
    commands = [step for step in steps if not step.startswith(("pip install", "pytest"))]
    folder = str(Path(sys.executable).parent)
    path = folder + os.pathsep + os.environ["PATH"]
    for command in commands:
        assert command.startswith("nlhf ")
        subprocess.run(
            command.split(), check=True, cwd=tmp_path, timeout=600, env={**os.environ, "PATH": path}
        )


def test_the_blocks_that_ci_pastes_are_marked():
    text = README.read_text()
    assert re.search(r"<!-- main job -->\n```bash\npip install \. && ", text)
    assert re.search(
        r"<!-- tests -->\n```bash\npip install .*\[data,interop,sweeps,lm,dev\].* && pytest", text
    )


def test_relative_links_lead_somewhere_and_pictures_say_what_they_show():
    text = README.read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert len(links) >= 10
    assert [link for link in links if not (README.parent / link).exists()] == []
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", text)
    assert pictures
    for described, path in pictures:
        assert len(described) > 20
        assert (README.parent / path).stat().st_size < 200_000


def test_links_to_sections_of_this_page_exist():
    text = README.read_text()
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_files_that_are_named_exist():
    """Paths in the text, besides links: results, folders, the changelog."""
    folders = "benchmarks|notebooks|paper_figs|theory|tests"
    named = re.findall(rf"`((?:{folders})/[\w./]+)`", README.read_text())
    assert [path for path in named if not (README.parent / path).exists()] == []


def test_a_stranger_can_read_it_in_ten_minutes():
    assert len(README.read_text().splitlines()) < 360


def test_the_ledger_is_described_as_it_is():
    text, ledger = README.read_text(), installed_theorems()
    assert f"the ledger of {len(ledger)} statements" in text
    refuted = {theorem.key for theorem in ledger if theorem.expected is Expected.REFUTED}
    assert {key for key in refuted if f"`{key}`" not in text} == set()
    assert re.search(rf"{WORDS[len(refuted)]} statements, .* refuted", text, flags=re.S)


def test_the_symbols_are_those_of_the_code():
    """Names in the first column of the symbol table are attributes and arguments that exist."""
    game = nlhf.PreferenceGame([[0.5, 0.7], [0.3, 0.5]], temperature=0.1)
    for name in ("reference", "temperature", "lipschitz"):
        assert f"| `{name}`" in README.read_text()
        assert hasattr(game, name)
    for method, name in [(nlhf.Extragradient, "step_size"), (nlhf.ProximalPoint, "strength")]:
        assert f"| `{name}`" in README.read_text()
        assert name in inspect.signature(method).parameters
