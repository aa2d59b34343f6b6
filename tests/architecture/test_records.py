"""What solvers and estimators return cannot be changed, misspelt, or compared entry by entry."""

import dataclasses
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = ["exact", "algorithms", "estimation", "certificates.py"]
PATHS = [path for place in PLACES for path in (ROOT / "nlhf").glob(f"{place}/**/*.py")]
PATHS += [ROOT / "nlhf/certificates.py"]
MUTABLE = {"nlhf.exact.branch._Walk", "nlhf.exact.branch._Correction"}
"""States of a solver's walk, which nobody else sees."""


def records():
    for path in sorted(PATHS):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for each in vars(importlib.import_module(name)).values():
            own = isinstance(each, type) and each.__module__ == name
            if own and dataclasses.is_dataclass(each):
                yield each


def name_of(record):
    return f"{record.__module__}.{record.__name__}"


RECORDS = list(records())


def test_there_are_records():
    assert len(RECORDS) > 80


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_records_are_immutable_and_have_no_other_attributes(record):
    assert record.__dataclass_params__.frozen == (name_of(record) not in MUTABLE)
    assert "__slots__" in vars(record)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_records_of_arrays_are_compared_by_identity(record):
    # An == of arrays has no truth value.
    if any("ndarray" in str(field.type) for field in dataclasses.fields(record)):
        assert record.__eq__ is object.__eq__
