"""Comparing two runs: planted slow-downs are found, and none where none is planted."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from benchmarks.comparing import sides
from benchmarks.comparing.changes import _tested
from benchmarks.comparing.command import compare, table
from benchmarks.rows import Row, append_rows, read_rows
from nlhf.cli.bench import Bench
from nlhf.errors import InvalidData, InvalidProblem, NotAllowed
from nlhf.streams import Stream

ROOT = Path(__file__).resolve().parents[2]
CASES, REPEATS = 40, 7
NOISE = 0.05
"""Standard deviation of the logarithm of a time; games of one case differ by as much again."""
VERSIONS = {"cvxpy": "1.9", "clarabel": "0.11"}
Factor = Callable[[int], float]


def same(case: int) -> float:
    return 1.0


def run_of(
    folder: Path,
    seed: int,
    *,
    factor: Factor = same,
    machine: str = "one",
    speed: float = 1.0,
    versions: dict[str, str] = VERSIONS,
    repeats: int = REPEATS,
    fields: tuple[str, ...] = ("processor_seconds_each", "seconds_each"),
    revision: str = "",
    noise: float = NOISE,
) -> str:
    """Write rows of two methods: ours takes `factor(case)` times as long as it did."""
    games = Stream(0).child("games").generator().normal(size=(CASES, repeats))
    rng = Stream(seed).child("noise").generator()
    rows = []
    for case in range(CASES):
        for method, slow in (("exact", factor(case)), ("cvxpy", 30.0)):
            own = games[case] if method == "exact" else games[case] / 2.0
            logs = noise * (own + rng.normal(size=repeats))
            seconds = (0.01 * speed * slow * np.exp(logs)).tolist()
            yard = (0.01 * speed * np.exp(noise * rng.normal(size=repeats))).tolist()
            numbers = {"seconds": 3.0 * float(np.median(seconds)), **dict.fromkeys(fields, seconds)}
            numbers |= {f"yardstick_{name}": yard for name in fields}
            rows.append(
                Row(
                    key=f"case-{case}",
                    suite="test",
                    kind="Comparison",
                    instance=f"game {case}",
                    case={"methods": ["exact", "cvxpy"]},
                    method=method,
                    status="ok",
                    message="",
                    numbers=numbers,
                    load=(1.0, 2.0),
                    provenance={
                        "revision": revision or f"{seed:040x}",
                        "cpu": machine,
                        "cores": 2,
                        "platform": "p",
                        "python": "3",
                        "versions": versions,
                    },
                )
            )
    folder.mkdir(exist_ok=True)
    append_rows(folder, rows)
    return str(folder)


def test_a_planted_slow_down_is_found_and_nothing_else(tmp_path: Path) -> None:
    before = run_of(tmp_path / "a", 1)
    after = run_of(tmp_path / "b", 2, factor=lambda case: 1.5 if case in (3, 17) else 1.0)
    found = compare(before, after, None, 0.1, 0.05)
    assert (found.slower, found.faster, found.tested) == (2, 0, CASES)
    assert {one.instance for one in found.changes[:2]} == {"game 3", "game 17"}
    for one in found.changes[:2]:
        assert one.verdict == "slower"
        assert one.low <= 1.5 <= one.high
        assert one.beside == "cvxpy"
        assert one.clock == "processor"
    back = compare(after, before, None, 0.1, 0.05)
    assert (back.slower, back.faster) == (0, 2)
    assert back.changes[-1].change == pytest.approx(1.0 / found.changes[0].change)


def test_where_none_is_planted_false_alarms_keep_to_their_rate(tmp_path: Path) -> None:
    """Control, at threshold 0, the hardest: 30 comparisons of 40 cases each.

    Each has an alarm with a probability of at most 0.05, so that more than 6 have one with less
    than 0.001.
    """
    alarms = 0
    for pair in range(30):
        before, after = (run_of(tmp_path / f"{pair}-{end}", 100 + 2 * pair + end) for end in (0, 1))
        found = compare(before, after, None, 0.0, 0.05)
        assert found.tested == CASES
        alarms += found.slower + found.faster > 0
    assert alarms <= 6


def test_a_slow_down_by_a_fifth_is_found_though_it_is_the_only_one(tmp_path: Path) -> None:
    """Of ten with noise of 3 %; nearly all must be, and nothing else."""
    found = 0
    for pair in range(10):
        before = run_of(tmp_path / f"{pair}-a", 300 + 2 * pair, noise=0.03)
        after = run_of(
            tmp_path / f"{pair}-b",
            301 + 2 * pair,
            noise=0.03,
            factor=lambda case: 1.2 if case == 7 else 1.0,
        )
        slower = [
            one.instance
            for one in compare(before, after, None, 0.1, 0.05).changes
            if one.verdict == "slower"
        ]
        assert slower in ([], ["game 7"])
        found += len(slower)
    assert found >= 7


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    before = run_of(tmp_path / "a", 1)
    for threshold in (0.0, 0.1):
        found = compare(before, before, None, threshold, 0.05)
        assert (found.slower, found.faster, found.tested) == (0, 0, CASES)
        assert {one.change for one in found.changes} == {1.0}


def test_where_a_clock_saw_no_time_pass_the_other_is_compared(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    before = run_of(folder, 1)
    coarse = [
        replace(row, numbers={**row.numbers, "processor_seconds_each": [0.0] * REPEATS})
        for row in read_rows(folder)
    ]
    other = tmp_path / "b"
    other.mkdir()
    append_rows(other, coarse)
    found = compare(before, str(other), None, 0.1, 0.05)
    assert {one.clock for one in found.changes} == {"wall"}
    assert found.tested == CASES


def test_a_change_within_the_threshold_is_none(tmp_path: Path) -> None:
    before = run_of(tmp_path / "a", 1)
    after = run_of(tmp_path / "b", 2, factor=lambda case: 1.15)
    assert compare(before, after, None, 0.0, 0.05).slower > CASES // 2
    assert compare(before, after, None, 0.3, 0.05).slower == 0


def test_a_slower_machine_is_said_and_makes_nothing_slower(tmp_path: Path) -> None:
    before = run_of(tmp_path / "a", 1)
    after = run_of(tmp_path / "b", 2, machine="another", speed=10.0)
    found = compare(before, after, None, 0.1, 0.05)
    assert not found.same_machine
    assert found.slower == found.faster == 0
    assert all(one.seconds_before is None for one in found.changes)
    assert "different machines" in table(found)
    again = compare(before, run_of(tmp_path / "c", 3), None, 0.1, 0.05)
    assert again.same_machine
    laps = {row.instance: row for row in read_rows(tmp_path / "c") if row.method == "exact"}
    for one in again.changes:
        assert one.clock == "processor"
        own = laps[one.instance].numbers["processor_seconds_each"]
        assert one.seconds_after == pytest.approx(float(np.median(own)))
    assert " -> " in table(again)


def test_beside_other_or_unknown_versions_of_a_package_the_yardstick_takes_its_place(
    tmp_path: Path,
) -> None:
    before = run_of(tmp_path / "a", 1)
    newer = run_of(tmp_path / "b", 2, versions={"cvxpy": "2.0", "clarabel": "0.11"})
    unknown = [run_of(tmp_path / name, seed, versions={}) for seed, name in ((3, "c"), (4, "d"))]
    for found in (compare(before, newer, None, 0.1, 0.05), compare(*unknown, None, 0.1, 0.05)):
        assert {one.beside for one in found.changes} == {"yardstick"}
        assert found.slower == 0


def test_without_processor_time_the_wall_is_compared(tmp_path: Path) -> None:
    before = run_of(tmp_path / "a", 1, fields=("seconds_each",))
    found = compare(before, run_of(tmp_path / "b", 2), None, 0.1, 0.05)
    assert {one.clock for one in found.changes} == {"wall"}


def test_too_few_repeats_are_shown_and_not_tested(tmp_path: Path) -> None:
    before = run_of(tmp_path / "a", 1, repeats=2)
    after = run_of(tmp_path / "b", 2, repeats=2, factor=lambda case: 3.0)
    found = compare(before, after, None, 0.1, 0.05)
    assert found.slower == found.tested == 0
    assert "not tested (2 repeats)" in table(found)
    assert found.changes[0].change > 2.0


@pytest.mark.parametrize("repeats", [7, 5])
def test_intervals_and_p_are_those_of_student_and_of_welch(repeats: int) -> None:
    rng = Stream(9).child("t", repeats).generator()
    first, second = rng.normal(size=7), rng.normal(0.3, 2.0, size=repeats)
    change, low, high, p = _tested(first, second)
    if repeats == 7:
        found = ttest_1samp(second - first, 0.0)
    else:
        found = ttest_ind(second, first, equal_var=False)
    assert p == pytest.approx(found.pvalue)
    assert np.log([low, high]) == pytest.approx(list(found.confidence_interval(0.95)))
    assert low < change < high


def test_repeats_without_any_spread_are_the_same_or_not() -> None:
    assert _tested(np.zeros(5), np.full(5, 0.125)) == (np.exp(0.125), *[np.exp(0.125)] * 2, 0.0)
    assert _tested(np.zeros(5), np.zeros(5)) == (1.0, 1.0, 1.0, 1.0)
    assert _tested(np.zeros(5), np.zeros(4))[3] == 1.0


def test_other_numbers_of_repeats_are_compared_unpaired(tmp_path: Path) -> None:
    before = run_of(tmp_path / "a", 1)
    after = run_of(tmp_path / "b", 2, repeats=5, factor=lambda case: 1.5 if case == 3 else 1.0)
    found = compare(before, after, None, 0.1, 0.05)
    assert found.slower == 1
    assert found.changes[0].repeats == (7, 5)


def test_revisions_name_rows_of_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    run_of(folder, 1, revision="a" * 40)
    run_of(folder, 2, revision="b" * 40, factor=lambda case: 2.0)
    assert compare("aaaaaaa", "bbbbbbb", folder, 0.1, 0.05).slower == CASES
    run_of(folder, 3, revision="b" * 40 + "+123456")
    assert compare("aaaaaaa", "b" * 40 + "+123456", folder, 0.1, 0.05).slower == 0
    with pytest.raises(NotAllowed, match="several revisions"):
        compare("aaaaaaa", "bbbbbbb", folder, 0.1, 0.05)
    with pytest.raises(NotAllowed, match="name one of: aaaaaaaaaa, bbbbbbbbbb"):
        compare("aaaaaaa", "ccccccc", folder, 0.1, 0.05)


def test_a_name_that_git_knows_is_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(tmp_path / "rows", 1, revision="d" * 40)
    monkeypatch.setattr(sides, "commit_of", lambda root, name: "d" * 40 if name == "v1" else "")
    assert compare("v1", "ddddddd", tmp_path / "rows", 0.1, 0.05).slower == 0


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    before = run_of(tmp_path / "a", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidData, match="no rows"):
        compare(before, str(tmp_path / "empty"), None, 0.1, 0.05)
    with (tmp_path / "empty" / "rows.jsonl").open("w") as file:
        file.write((tmp_path / "a/rows.jsonl").read_text()[:-20])
    with pytest.raises(InvalidData, match=f"line {2 * CASES} of .* is no row"):
        compare(before, str(tmp_path / "empty"), None, 0.1, 0.05)
    rows = [json.loads(line) for line in (tmp_path / "a/rows.jsonl").read_text().splitlines()]
    other = tmp_path / "other"
    other.mkdir()
    append_rows(other, [replace(Row(**row), key="elsewhere") for row in rows])
    with pytest.raises(NotAllowed, match="no case was timed"):
        compare(before, str(other), None, 0.1, 0.05)
    with pytest.raises(InvalidProblem, match="threshold"):
        compare(before, before, None, -0.1, 0.05)
    with pytest.raises(InvalidProblem, match="false alarms 1"):
        compare(before, before, None, 0.1, 1.0)


def test_the_command_prints_and_its_exit_code_is_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    before = run_of(tmp_path / "a", 1)
    after = run_of(tmp_path / "b", 2, factor=lambda case: 2.0)
    assert Bench(compare=(before, after), json=True).run() == 1
    told = json.loads(capsys.readouterr().out)
    assert told["slower"] == CASES
    assert told == json.loads(json.dumps(asdict(compare(before, after, None, 0.1, 0.05))))
    assert Bench(compare=(after, before)).run() == 0
    assert f"0 slower and {CASES} faster of {CASES} tested" in capsys.readouterr().out
    assert Bench(compare=(before, after), threshold=2.0).run() == 0
    with pytest.raises(NotAllowed, match="--compare"):
        Bench("targets", compare=(before, after)).run()
