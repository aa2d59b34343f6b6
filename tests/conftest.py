"""Shapes are checked at run time, Hypothesis runs under a named profile, data may be absent.

The checks make numerical tests two to three times as long. Without them run tests marked
`unchecked`, the runs with seeded faults, and everything if NLHF_UNCHECKED is set.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from jaxtyping import install_import_hook

from tests.runtime_types import next_test  # the hook below names its module

if "NLHF_UNCHECKED" not in os.environ:
    install_import_hook("nlhf", "tests.runtime_types.checked")

_SLOW_MACHINE = [HealthCheck.too_slow]
settings.register_profile(
    "dev", deadline=None, max_examples=50, suppress_health_check=_SLOW_MACHINE
)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=_SLOW_MACHINE,
)
settings.register_profile(
    "nightly", deadline=None, max_examples=2000, suppress_health_check=_SLOW_MACHINE
)
# For runs of which only the verdict counts: nothing is shrunk or explained.
settings.register_profile(
    "verdict",
    settings.get_profile("ci"),
    phases=(Phase.explicit, Phase.generate),
    report_multiple_bugs=False,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


collect_ignore = []
"""What cannot even be read here; the summary says so."""

if find_spec("torch") is None:
    collect_ignore = ["lm", "training", "cli/test_train_command.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out as a whole."""
    if collect_ignore:
        left_out = ", ".join(f"tests/{name}" for name in collect_ignore)
        terminalreporter.write_line(f"NOT RUN, as torch is not installed: {left_out}")


def pytest_runtest_setup() -> None:
    """Have the types of the first calls of every function checked in each test."""
    next_test()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test marked `unchecked` in a process of its own, without the type checks."""
    if "NLHF_UNCHECKED" in os.environ or pyfuncitem.get_closest_marker("unchecked") is None:
        return None
    alone = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", ""]
    ran = subprocess.run(
        [*alone, pyfuncitem.nodeid],
        cwd=pyfuncitem.config.rootpath,
        env={**os.environ, "NLHF_UNCHECKED": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout
    return True


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real preference data, or a visible skip."""
    folder = os.environ.get("NLHF_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data: set NLHF_TEST_DATA to the folder that holds convarg/ and llmbar/")
    return Path(folder)
