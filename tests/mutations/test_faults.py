"""The test suite is tested: every seeded fault makes it fail, and without a fault it passes."""

from pathlib import Path

import pytest

from tests.mutations.faults import FAULTS
from tests.mutations.run import objections

ROOT = Path(__file__).resolve().parents[2]
PARTS = 4
"""Runs that the control is split into: all that one of them loads is loaded once."""


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
    assert objections(fault.tests, fault)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_control_without_a_fault_nobody_objects(part):
    tests = sorted({test for fault in FAULTS for test in fault.tests})
    assert objections(tests[part::PARTS], None) == ()
