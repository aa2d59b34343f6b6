"""The benchmark of MaxMin: both routes on the same games, each judged."""

from benchmarks.cases import Groups
from benchmarks.solvers.maxmin import METHODS, draw, maxmin
from benchmarks.suites import MAXMIN


def test_every_route_is_run_on_the_same_games_and_certified():
    case = Groups(3, 5, 2, 0.1, tuple(METHODS), repeats=2)
    rows = list(maxmin(case))
    assert [row.method for row in rows] == list(METHODS)
    for row in rows:
        assert len(row.numbers["seconds_each"]) == len(row.numbers["processor_seconds_each"]) == 2
        assert row.numbers["duality_gap_largest"] <= (1e-10 if row.method == "exact" else 1e-6)
        assert row.status in ("ok", "inaccurate")
    assert rows[0].numbers["times_the_first"] == 1.0


def test_the_size_that_is_claimed_is_measured_and_games_differ():
    sizes = {(case.groups, case.responses, case.contexts) for case in MAXMIN}
    assert sizes == {(5, 200, 20)}
    assert {"exact", "cvxpy"} <= {name for case in MAXMIN for name in case.methods}
    first, second = (draw(MAXMIN[0], number).rewards for number in (0, 1))
    assert first.shape == (5, 20, 200)
    assert (first != second).mean() > 0.99
