"""Shapes are checked at run time, Hypothesis runs under a named profile, data may be absent."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

import tests.runtime_types  # noqa: F401  named by the hook below

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
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real preference data, or a visible skip."""
    folder = os.environ.get("NLHF_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data: set NLHF_TEST_DATA to the folder that holds convarg/ and llmbar/")
    return Path(folder)
