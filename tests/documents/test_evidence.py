"""The README's table of evidence is what was measured, and what is measured still holds."""

import json

import pytest

import nlhf
from benchmarks import beside, evidence
from benchmarks.rows import Row
from nlhf.algorithms.published import ALGORITHMS
from nlhf.analysis.comparison import default_algorithms
from nlhf.theorems import Expected, installed_theorems

DOCUMENT = json.loads(evidence.FILE.read_text())
LEDGER = {theorem.key: theorem for theorem in installed_theorems()}


def test_the_tables_in_the_readme_are_those_that_were_measured():
    """If rows were added: python -m benchmarks.evidence --render."""
    text = evidence.README.read_text()
    assert evidence.current(text) == text


def row(method, size, ratio, when="2026"):
    numbers = {"times_the_first": ratio, "first": "exact"}
    case = {"family": "uniform", "reference": "uniform_reference", "contexts": 1}
    case |= {"temperature": 0.01, "responses": size}
    origin = {"versions": {"cvxpy": "1.9"}, "time": when}
    key = f"{size}"
    return Row(key, "", "Comparison", "", case, method, "ok", "", numbers, (0.0, 0.0), origin)


def test_a_newer_row_takes_the_place_of_an_older_one_and_our_own_are_left_out():
    rows = [
        row("exact", 3, 1.0),
        row("cvxpy", 30, 2.71),
        row("cvxpy", 3, 9.0),
        row("cvxpy", 3, 0.5),
    ]
    _, _, line = beside.lines(rows)
    assert line == "| one game, τ = 0.01 | n = 3, 30 | `cvxpy` 1.9 | 0.5, 2.7 |"


def test_ratios_are_shown_to_two_digits():
    assert [beside.shown(x) for x in (0.746, 2.9324, 53.7, 126.07, 1785.1)] == [
        "0.75",
        "2.9",
        "54",
        "126",
        "1,785",
    ]


def test_every_shipped_algorithm_has_a_row():
    games = evidence.games()
    shown = [
        default_algorithms(games[column], evidence.STOP).values()
        for column in ("responses", evidence.COLD)
    ]
    assert set(ALGORITHMS.values()) <= {type(method) for row in shown for method in row}
    named = set(default_algorithms(games[evidence.COLD], evidence.STOP))
    assert named - set(evidence.METHODS) == {"mirror descent, short step"}
    assert set(DOCUMENT["contracts"]) == set(evidence.METHODS)


def test_every_theorem_named_is_in_the_ledger_and_was_seen_to_hold():
    named = {key for _, keys in evidence.METHODS.values() for key in keys}
    assert set(DOCUMENT["theorems"]) == named
    for key, found in DOCUMENT["theorems"].items():
        assert LEDGER[key].expected is Expected.HOLDS
        assert found["as expected"]
        assert found["controls"] == len(LEDGER[key].controls)


def test_what_a_run_was_promised_by_is_a_theorem_of_its_row():
    for runs in DOCUMENT["runs"].values():
        for name, found in runs.items():
            if found.get("promise"):
                assert found["promise"] in evidence.METHODS[name][1]


def test_the_language_models_are_those_of_the_study():
    assert evidence.language_models() == DOCUMENT["language models"]


def outcome(found):
    return "refused" if "refused" in found else found["certified"]


@pytest.mark.parametrize("column", list(evidence.games()))
def test_measured_again_the_same_runs_are_certified(column):
    """Digits may differ with the arithmetic of a machine; whether a run gets there may not."""
    game, recorded = evidence.games()[column], DOCUMENT["runs"][column]
    exact = nlhf.solve(game).certificate.bound.high
    assert (exact <= evidence.GAP) == recorded["exact"]["certified"]
    methods = default_algorithms(game, evidence.STOP)
    quick = {
        name: methods[name]
        for name in ("extragradient", "optimistic", "mirror descent", "Nash-EMA")
    }
    comparison = nlhf.compare(game, quick, evidence.STOP)
    found = {run.name: evidence.run_of(run) for run in comparison.runs}
    found |= {refusal.name: {"refused": refusal.reason} for refusal in comparison.refused}
    assert {name: outcome(found[name]) for name in quick} == {
        name: outcome(recorded[name]) for name in quick
    }
    for name, run in found.items():
        if outcome(run) is True:
            assert run["steps"] == pytest.approx(recorded[name]["steps"], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("column", list(evidence.games()))
def test_measured_again_every_run_ends_as_recorded(column):
    found = evidence.measured(evidence.games()[column])
    recorded = DOCUMENT["runs"][column]
    assert {name: outcome(run) for name, run in found.items()} == {
        name: outcome(run) for name, run in recorded.items()
    }


def test_a_gap_that_was_not_reached_is_told_from_one_that_was():
    assert evidence.cell({"certified": True, "steps": 1234, "gap": 1e-9}) == "1,234"
    assert evidence.cell({"certified": False, "steps": 2000, "gap": 3e-4}) == "*3e-04*"
    assert evidence.cell({"certified": True, "gap": 2e-17}) == "2e-17"
    assert evidence.cell({"refused": "because"}) == "refused"
    assert evidence.cell(None) == "–"
