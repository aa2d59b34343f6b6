"""What is recorded of random mutants is in order."""

import pytest

from tests.mutations.reporting import PLACES, RESULTS, SUMMARY, caught, read, summary

RECORDED = sorted(RESULTS.glob("random_mutants_*.jsonl"))
SAMPLES = [read(path) for path in RECORDED]


def test_the_summary_is_that_of_the_rows():
    assert SUMMARY.read_text() == summary(SAMPLES)


def test_three_hundred_mutants_were_drawn_and_nine_of_ten_caught():
    rows = SAMPLES[0].rows
    assert len(rows) == 300
    assert caught(rows, later=True) >= 0.9 * 300


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"seed {sample.origin['seed']}")
def test_every_mutant_stands_once_and_every_survivor_has_a_reason(sample):
    rows = sample.rows
    assert len({row.key for row in rows}) == len(rows)
    assert {row.outcome for row in rows} <= {"caught", "timeout", "survived"}
    for row in rows:
        assert row.file.startswith(PLACES)
        assert row.before != row.after
        assert (row.outcome == "survived") == (row.test == "") == (row.reason != "")


def test_every_place_is_drawn_from():
    for place in PLACES:
        assert any(row.file.startswith(place) for sample in SAMPLES for row in sample.rows)
