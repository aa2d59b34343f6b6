"""The benchmark of MaxMin: both routes on the same games, each judged."""

from benchmarks.maxmin import METHODS, draw, maxmin
from benchmarks.suites import SUITES, Groups


def test_every_route_is_run_on_the_same_games_and_certified():
    case = Groups(3, 5, 2, 0.1, tuple(METHODS), repeats=2)
    rows = list(maxmin(case))
    assert [name for name, _, _ in rows] == list(METHODS)
    for name, status, numbers in rows:
        assert len(numbers["seconds_each"]) == len(numbers["duality_gap_each"]) == 2
        assert numbers["duality_gap_largest"] <= (1e-10 if name == "exact" else 1e-6)
        assert status == "ok" or status.endswith("inaccurate")
    assert rows[0][2]["times_the_first"] == 1.0


def test_the_size_that_is_claimed_is_measured_and_games_differ():
    sizes = {(case.groups, case.responses, case.contexts) for case in SUITES["maxmin"]}
    assert sizes == {(5, 200, 20)}
    assert {"exact", "cvxpy"} <= {name for case in SUITES["maxmin"] for name in case.methods}
    first, second = (draw(SUITES["maxmin"][0], number).rewards for number in (0, 1))
    assert first.shape == (5, 20, 200)
    assert (first != second).mean() > 0.99
