"""The test suite is tested: every seeded fault makes it fail, and without a fault it passes."""

from pathlib import Path

import pytest

from tests.mutations.faults import FAULTS
from tests.mutations.run import object_to

ROOT = Path(__file__).resolve().parents[2]


def test_there_are_enough_faults_in_solver_certificates_and_theorems():
    assert len(FAULTS) >= 20
    assert len({fault.key for fault in FAULTS}) == len(FAULTS)
    places = {fault.file.split("/")[1] for fault in FAULTS}
    assert {"exact", "certificates.py", "theorems", "games", "spaces"} <= places
    assert sum(fault.file.startswith("theory/") for fault in FAULTS) >= 3


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_the_text_to_replace_is_still_there(fault):
    assert (ROOT / fault.file).read_text().count(fault.old) == 1
    for path in fault.tests:
        assert (ROOT / path.split("::")[0]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_the_fault_is_caught(fault):
    assert object_to(fault.tests, fault)


@pytest.mark.slow
@pytest.mark.parametrize("tests", sorted({fault.tests for fault in FAULTS}), ids=" ".join)
def test_control_without_a_fault_nobody_objects(tests):
    assert not object_to(tests, None)
