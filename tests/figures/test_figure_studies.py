"""The studies behind figures: they run, and what they stored says what theorems say."""

import io

import numpy as np
import pytest

from benchmarks.provenance import RESULTS, ROOT
from benchmarks.sizes import Size
from benchmarks.studies import convarg, em_recovery, maxmin_shares, rates
from benchmarks.studies.headline import outcomes
from benchmarks.studies.impossibility import COLUMNS, Point, row, write
from benchmarks.tables import read_rows
from nlhf.algorithms.loop import StopRule


def column(rows, name):
    return np.array([float(one[name]) for one in rows])


def stored(name):
    return read_rows(RESULTS / f"{name}.csv")


def test_the_sweeps_of_the_gap_are_what_the_study_writes_and_say_what_the_theorem_says():
    rows = stored("impossibility")
    assert {one["sweep"] for one in rows} == {"epsilon", "share", "beta"}
    for sweep in ("epsilon", "share", "beta"):
        mine = [one for one in rows if one["sweep"] == sweep]
        gap = column(mine, "gap")
        assert column(mine, "misspecification").max() <= 1e-12
        assert (column(mine, "segment") <= gap * (1 + 1e-9)).all()
        assert (column(mine, "repaired") <= gap).all()
        assert (column(mine, "transcribed") > gap).any()
    assert (column(mine, "squared") > gap).any()  # of the sweep of β
    table = io.StringIO()
    write(table)
    fresh = [line for line in table.getvalue().splitlines() if not line.startswith("#")]
    assert fresh[0] == ",".join(COLUMNS)
    for new, old in zip(fresh[1:], rows, strict=True):
        numbers = [float(value) for value in new.split(",")[1:]]
        assert np.allclose(numbers, [float(old[k]) for k in COLUMNS[1:]], rtol=1e-6, atol=1e-14)


def test_a_row_of_the_sweeps_has_one_number_a_column():
    assert len(row(Point("epsilon", 0.5, 0.2, 1.0))) == len(COLUMNS)


@pytest.mark.parametrize(
    ("study", "names"),
    [
        (rates, ["rates"]),
        (maxmin_shares, ["maxmin_shares"]),
        pytest.param(em_recovery, ["em_recovery"], marks=pytest.mark.slow),
    ],
)
def test_a_study_runs_at_the_size_of_smoke_and_writes_the_columns_that_are_stored(
    study, names, tmp_path
):
    study.record(tmp_path, Size.SMOKE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.csv" for name in names]
    for name in names:
        fresh = read_rows(tmp_path / f"{name}.csv")
        assert fresh
        assert list(fresh[0]) == list(stored(name)[0])


@pytest.mark.slow
def test_the_study_of_gpt2_runs_and_training_comes_near_the_exact_solution(tmp_path):
    study = pytest.importorskip("benchmarks.language.maxmin_shares_gpt2")
    study.record(tmp_path, Size.SMOKE)
    fresh = read_rows(tmp_path / "maxmin_shares_gpt2.csv")
    assert list(fresh[0]) == list(stored("maxmin_shares_gpt2")[0])
    by_kind = [
        column([one for one in fresh if one["realised"] == kind], "mean")
        for kind in ("GPT-2", "exact")
    ]
    assert np.abs(by_kind[0] - by_kind[1]).max() < 0.01


def test_gaps_of_runs_are_at_most_what_is_proven():
    gap, bound = (column(stored("rates"), name) for name in ("gap", "bound"))
    known = np.isfinite(bound)
    assert known.sum() > 100
    assert (gap[known] <= bound[known]).all()
    assert (gap > 0.0).all()


def test_stored_runs_begin_as_fresh_ones_do():
    found = list(
        rates.judged(0.1, rates.RESPONSES, StopRule(gap=1e-10, max_iterations=6, judge_every=1))
    )
    old = {(one["temperature"], one["method"], one["iteration"]): one for one in stored("rates")}
    compared = 0
    for one in found:
        before = old.get((f"{one.temperature:g}", one.method, str(one.iteration)))
        if before is not None and one.iteration <= 5:
            compared += 1
            assert float(before["gap"]) == pytest.approx(one.gap, rel=1e-5)
    assert compared >= 5 * 8


def test_maxmin_knows_no_shares_and_serves_both_groups_alike_and_the_worst_one_best():
    for name in ("maxmin_shares", "maxmin_shares_gpt2"):
        rows = stored(name)
        series = {}
        for one in rows:
            key = (one.get("band"), one.get("realised"), one["policy"], one["group"])
            series.setdefault(key, []).append(float(one["mean"]))
        for (band, realised, policy, group), means in series.items():
            if policy == "maxmin":
                assert np.ptp(means) == 0.0
            elif group == "minority":  # more of them, more for them, but for the training
                assert (np.diff(means) >= (-0.01 if realised == "GPT-2" else -1e-9)).all()
                fair = series[band, realised, "maxmin", group]
                assert means[0] < fair[0]


def test_stored_shares_are_the_means_of_fresh_outcomes():
    one = outcomes(0, minorities=(0.2,))[0]
    found = {(r.policy, r.group): r.mean for r in maxmin_shares.rates([one]) if r.band == "all"}
    assert found == {
        ("single", "majority"): one.single_majority,
        ("single", "minority"): one.single_minority,
        ("maxmin", "majority"): one.maxmin_majority,
        ("maxmin", "minority"): one.maxmin_minority,
    }


def test_known_rewards_are_the_best_guide_and_votes_help():
    rows = stored("em_recovery")
    for largest in ("0.8", "0.5"):
        mine = [one for one in rows if one["largest"] == largest]
        known, soft, hard = (
            column([one for one in mine if one["method"] == method], "mean")
            for method in ("known", "soft", "hard")
        )
        assert (np.diff(known) > 0.0).all()
        assert (known >= np.maximum(soft, hard) - 0.01).all()  # groups found are matched at best
        assert (known >= float(largest)).all()


def test_real_votes_have_the_equilibria_and_the_null_law_of_the_stored_tables(
    real_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("NLHF_TEST_DATA", str(real_data))
    convarg.record(tmp_path, Size.SMOKE)
    prompts = {one["prompt"]: one for one in stored("convarg")}
    for fresh in read_rows(tmp_path / "convarg.csv"):
        if fresh["prompt"] != "all":
            for name in ("votes", "condorcet", "three_cycles", "smith_set", "support"):
                assert prompts[fresh["prompt"]][name] == fresh[name]
            for name in ("reward_exploitability", "null_mean", "null_high"):
                assert float(prompts[fresh["prompt"]][name]) == pytest.approx(
                    float(fresh[name]), rel=1e-4
                )


def test_stored_lotteries_are_distributions_over_their_supports():
    prompts = [one for one in stored("convarg") if one["prompt"] != "all"]
    assert len(prompts) == 16
    played = stored("convarg_lotteries")
    for one in prompts:
        mine = [each for each in played if each["prompt"] == one["prompt"]]
        assert column(mine, "probability").sum() == pytest.approx(1.0, abs=1e-5)
        assert len(mine) == int(one["support"]) <= int(one["smith_set"])
        assert (one["condorcet"] == "winner") == (one["smith_set"] == "1")
        assert float(one["null_low"]) <= float(one["null_mean"]) <= float(one["null_high"])
        assert float(one["gap_high"]) <= 1e-9


def test_without_the_votes_the_study_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.delenv("NLHF_TEST_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="NLHF_TEST_DATA"):
        convarg.record(tmp_path, Size.SMOKE)


def test_results_say_where_they_come_from():
    for name in ("rates", "maxmin_shares", "maxmin_shares_gpt2", "em_recovery", "convarg"):
        head = (ROOT / f"benchmarks/results/{name}.csv").read_text(encoding="utf-8")[:400]
        assert head.startswith("# revision: ")
        assert "# time: " in head
