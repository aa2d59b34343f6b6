"""Every code block of the README runs; installing is what CI does with the same text."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(), flags=re.M | re.S)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "bash"]
WHOLE_LEDGER = "nlhf verify &&"
"""It takes a minute, and the tests of the ledger check every statement anyway."""


def test_every_block_is_of_a_language_that_is_run_here():
    assert {language for language, _ in BLOCKS} == {"python", "bash"}
    assert len(PYTHON) >= 4
    assert len(SHELL) >= 4


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_python_blocks_run(code, tmp_path):
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path, timeout=120
    )


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, marks=[pytest.mark.slow] if WHOLE_LEDGER in code else [])
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
