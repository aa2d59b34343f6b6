import jaxtyping
import pytest


@pytest.fixture
def unchecked_types():
    """Let arrays of the wrong shape through to our own checks, as they are outside of tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
