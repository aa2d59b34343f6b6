"""The study of reward learning on policy: its rows are those of its cells, its report reads."""

import math

import pytest

from benchmarks.provenance import ROOT, provenance
from benchmarks.studies.reward_on_policy import CELLS, STREAM, rows
from benchmarks.studies.reward_on_policy_report import PUBLISHED, Findings, report
from nlhf.learning.reward_on_policy import BanditFamily, Labeller, help_or_hurt, study_cell


@pytest.fixture(scope="module")
def found():
    asked = (
        Labeller.REWARD,
        Labeller.SELECT_ALL,
        Labeller.CONSENSUS,
        Labeller.STRICT_CONSENSUS,
        Labeller.GOLD,
    )
    cells = tuple(
        study_cell(BanditFamily(omega), pairs, 2, STREAM, labellers=asked)
        for pairs, omega in CELLS[::4]
    )
    table = help_or_hurt((0.0, 1.0), (0.0, 0.25), 20, 2, STREAM)
    return Findings(cells, table, (("again", cells[0]),))


def test_the_cells_are_those_of_the_published_table():
    assert set(CELLS) == set(PUBLISHED)


def test_rows_hold_every_effect_of_every_cell(found):
    written = list(rows("table", found.cells))
    assert len(written) == sum(len(cell.effects) for cell in found.cells)
    first = found.cells[0].effects[0]
    assert written[0]["labeller"] == first.labeller.value
    assert math.isclose(float(written[0]["reward_change"]), first.reward_change.value, rel_tol=1e-5)


def test_the_report_shows_every_part_with_the_published_numbers(found):
    text = report(found, provenance(ROOT))
    assert "7.9507 (published 7.951)" in text
    for pairs, omega in CELLS[::4]:
        line = next(s for s in text.splitlines() if s.startswith(f"| m = {pairs}, ω = {omega:g} |"))
        for known in PUBLISHED[pairs, omega]:
            assert f"*{known:+.3f}*" in line
    columns = {s.count("|") for s in text.split("\n## ")[1].splitlines() if s.startswith("|")}
    assert len(columns) == 1
