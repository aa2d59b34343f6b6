"""The studies of learning: families are the stated ones, and numbers are what they are called."""

import itertools
import json

import numpy as np
import pytest

from benchmarks.provenance import RESULTS
from benchmarks.studies import learning_offline, learning_online
from benchmarks.studies.learning_families import FAMILIES, problem
from benchmarks.studies.learning_offline import CoveragePoint, coverage_study
from benchmarks.studies.learning_online import RunPoint, Standing, queries_needed
from benchmarks.studies.learning_results import (
    Estimate,
    Measured,
    Summary,
    ratio_of_means,
    slopes,
    summaries,
)
from benchmarks.studies.learning_unilateral import (
    MARGIN,
    MODELS,
    unilateral,
    worst_gaps,
    wrong_probability,
)
from benchmarks.studies.learning_unilateral import (
    queries_needed as unilateral_queries,
)
from benchmarks.tables import read_table, write_table
from nlhf.analysis.sweeps import run_sweep
from nlhf.learning.bandits import BanditSetting

SHAPES = {
    "bandit": (1000, 4, 6),
    "process": (100, 3, 6),
    "rivals": (1000, 1, 9),
    "traps": (256, 2, 8),
    "dense": (256, 2, 8),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_the_stated_ones(family):
    drawn = problem(family, 5)
    tables = drawn.models.tables
    assert (*tables.shape[:3],) == SHAPES[family]
    assert np.array_equal(tables, -tables.swapaxes(2, 3))
    assert np.abs(tables).max() <= 0.45
    assert np.array_equal(problem(family, 5).truth, drawn.truth)
    assert not np.array_equal(problem(family, 6).truth, drawn.truth)


def test_distances_in_the_family_of_scales_are_log_uniform():
    drawn = problem("bandit", 5)
    others = np.delete(drawn.models.tables, drawn.true, axis=0)
    scale = np.sqrt(((others - drawn.truth) ** 2).sum(axis=(1, 2, 3)) / (4 * 6 * 5))
    # Cuts shorten the largest only. 999 uniform numbers leave their law by 0.07 (Kolmogorov)
    # with a probability below 1e-3; the stream is fixed.
    share = np.sort(np.log(scale / 0.001) / np.log(300.0))
    assert np.abs(share - np.linspace(0.0, 1.0, 999)).max() < 0.07


def test_a_trap_loses_and_a_suspect_that_is_none_wins():
    tables = problem("traps", 5).models.tables
    sizes = np.abs(tables)[..., ~np.eye(8, dtype=bool)]
    assert ((sizes <= 0.1) | ((sizes >= 0.3) & (sizes <= 0.4))).all()
    # Whether one of four suspects in a prompt is a trap changes half of the models.
    strong = np.where(np.abs(tables) >= 0.3, np.sign(tables), 0.0)
    patterns = {model.tobytes() for model in strong}
    assert len(patterns) == 256


def test_the_closed_form_of_the_rare_response_and_its_exponent():
    for temperature in (0.05, 0.3):
        policy = BanditSetting(np.full((1, 2), 0.5), temperature).solve(MODELS.tables[0])
        assert policy.probabilities[0, 1] == pytest.approx(
            1.0 / (1.0 + np.exp(MARGIN / temperature)), rel=1e-9
        )


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_probability_of_the_wrong_model_is_that_of_all_sequences(size):
    informative = 0.3
    law = {1: informative * (0.5 + MARGIN), -1: informative * (0.5 - MARGIN), 0: 1.0 - informative}
    total = sum(
        np.prod([law[step] for step in steps]) * (0.5 if sum(steps) == 0 else float(sum(steps) < 0))
        for steps in itertools.product(law, repeat=size)
    )
    assert wrong_probability(size, informative) == pytest.approx(total, rel=1e-12)


def test_data_of_the_equilibrium_alone_leave_half_the_margin_at_temperature_0():
    found = worst_gaps(1000)
    assert found["plug-in"] == pytest.approx(MARGIN, abs=1e-12)
    # No policy is better: against p it is max(p, 1 - p) times the margin.
    assert found["version space"] == pytest.approx(MARGIN / 2.0, abs=1e-8)


def test_queries_needed_are_the_least():
    informative = 2.0 * np.exp(3.0) / (1.0 + np.exp(3.0)) ** 2
    needed = unilateral_queries(0.1)
    assert (
        wrong_probability(needed, informative) <= 0.05 < wrong_probability(needed - 1, informative)
    )


def test_a_point_of_the_study_of_coverage():
    found = {
        (one.method, one.measure): one.value for one in coverage_study(CoveragePoint(1, 50, 3))
    }
    for method in ("plug-in", "version space", "bonus", "restricted"):
        assert 0.0 <= found[method, "gap"] <= 1.0
        assert found[method, "broken"] == float(
            found[method, "certificate"] < found[method, "gap"] - 1e-12
        )
    # The version space's certificate is the smallest possible on its event, to its accuracy.
    assert found["version space", "certificate"] <= found["plug-in", "certificate"] + 1e-6


def test_a_run_is_a_row_a_round_and_one_more(tmp_path):
    points = [RunPoint("dense", explorer, 2, 3, 7) for explorer in ("enhancer", "on-policy")]
    found = run_sweep(learning_online.run, points, tmp_path / "rows.jsonl").require().values
    assert [one.answers for one in found] == [0, 3, 6] * 2
    assert found[0].gap == found[3].gap  # of the same problem, before any answer
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["point"]["explorer"] == "on-policy"


def test_queries_are_counted_until_the_gap_stays_small():
    def standings(explorer, gaps):
        return [
            Standing("traps", explorer, 8, 0, 8 * t, gap, 1.0, False) for t, gap in enumerate(gaps)
        ]

    found = queries_needed(
        standings("enhancer", [0.2, 0.005, 0.02, 0.01, 0.0])
        + standings("on-policy", [0.0, 0.0, 0.0, 0.0, 0.02])
        + standings("uniform", [0.0, 0.0, 0.0, 0.0, 0.0])
    )
    numbers = {(one.method, one.measure): one.value for one in found}
    assert numbers["enhancer", "queries"] == 24.0
    assert numbers["enhancer", "unfinished"] == 0.0
    assert (numbers["on-policy", "queries"], numbers["on-policy", "unfinished"]) == (32.0, 1.0)
    assert numbers["uniform", "queries"] == 0.0


def test_tables_come_back_as_they_were_written(tmp_path):
    found = [
        Measured("size", "bandit", float(n), method, "gap", seed, factor * (1 + seed / 10) / n)
        for n in (10, 100, 1000)
        for method, factor in (("plug-in", 3.0), ("version space", 1.0))
        for seed in range(4)
    ]
    rows = summaries(found)
    assert rows[0] == Summary(
        "size", "bandit", 10.0, "plug-in", "gap", 4, 0.345, 0.3225, 0.345, 0.3675
    )
    write_table(tmp_path / "rows.csv", rows)
    text = (tmp_path / "rows.csv").read_text()
    assert text.startswith("# revision: ")
    assert read_table(tmp_path / "rows.csv", Summary)[0].mean == pytest.approx(0.345)
    estimates = slopes(found, "size", 100.0)
    assert [one.method for one in estimates] == ["plug-in", "version space"]
    assert all(one.low <= one.value == pytest.approx(-1.0) for one in estimates)
    here = [one for one in found if one.x == 10.0]
    ratio = ratio_of_means(here, "gap", "plug-in", "version space", "n = 10")
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((3.0, 3.0, 3.0))


def test_stored_numbers_of_the_construction_are_what_is_computed():
    stored = read_table(RESULTS / "learning_offline.csv", Summary)
    mine = {
        (one.x, one.method, one.measure): one.mean for one in stored if one.study == "unilateral"
    }
    assert mine == {
        (one.x, one.method, one.measure): pytest.approx(one.value, rel=1e-5) for one in unilateral()
    }


def test_stored_certificates_hold_where_the_event_does():
    for name in ("learning_offline", "learning_online"):
        stored = read_table(RESULTS / f"{name}.csv", Summary)
        event = {
            (one.study, one.family, one.x): one.mean for one in stored if one.method == "event"
        }
        broken = [one for one in stored if one.measure == "broken"]
        assert broken
        for one in broken:
            assert one.mean <= 1.0 - event.get((one.study, one.family, one.x), 1.0)


def test_stored_estimates_are_of_the_stated_numbers_of_replicates():
    stored = read_table(RESULTS / "learning_offline_estimates.csv", Estimate)
    assert {one.replicates for one in stored if one.study == "size"} == {
        learning_offline.REPLICATES
    }
    stored = read_table(RESULTS / "learning_online_estimates.csv", Estimate)
    ratios = [one for one in stored if one.study == "queries"]
    assert {one.replicates for one in ratios} == {learning_online.INSTANCES} == {50}
    assert all(one.low <= one.value <= one.high for one in (*stored, *ratios))
