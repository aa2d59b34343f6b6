"""The loop: when it stops, what it tells, and where its randomness comes from."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import nlhf
from nlhf.algorithms.loop import iterate
from nlhf.errors import Unsupported
from nlhf.results import Stop
from tests.algorithms.games import CYCLE, ONE_PER_METHOD, SampledGame, run

WARM = nlhf.PreferenceGame(CYCLE, [0.6, 0.3, 0.1], 0.1)


@pytest.mark.parametrize("algorithm", ONE_PER_METHOD, ids=repr)
def test_the_same_stream_gives_the_same_iterates_and_another_gives_others(algorithm):
    game = SampledGame(CYCLE, temperature=0.1)
    rule = nlhf.StopRule(gap=0.0, max_iterations=25)

    def end(seed):
        return nlhf.solve(game, algorithm, stop=rule, stream=nlhf.Stream(seed)).log_policy

    np.testing.assert_array_equal(end(1), end(1))
    assert np.abs(end(1) - end(2)).max() > 1e-3


@pytest.mark.parametrize(
    ("algorithm", "evaluations"),
    [(ONE_PER_METHOD[i], n) for i, n in enumerate((1, 2, 1, 1, 1, 1, 1, 1, 2))],
    ids=repr,
)
def test_a_step_evaluates_the_payoffs_as_often_as_it_says(algorithm, evaluations, monkeypatch):
    calls = []
    exact = nlhf.PreferenceGame.operator
    monkeypatch.setattr(
        nlhf.PreferenceGame, "operator", lambda *args: calls.append(1) or exact(*args)
    )
    run(algorithm, WARM, 10)
    assert len(calls) == 10 * evaluations


@pytest.mark.parametrize("slow", [nlhf.NashMD(), nlhf.Average(nlhf.Extragradient())], ids=repr)
def test_a_gap_that_falls_as_slowly_as_one_over_the_steps_never_stalls(slow):
    impatient = nlhf.StopRule(gap=1e-12, max_iterations=2000, judge_every=20, patience=3)
    solution = nlhf.solve(WARM, slow, stop=impatient)
    assert solution.stop is Stop.BUDGET
    gaps = {row.iteration: row.gap for row in solution.trace.rows}
    assert gaps[2000] > gaps[200] / 200  # it is that slow


def test_a_run_at_the_limit_of_rounding_stalls():
    solution = nlhf.solve(WARM, nlhf.Extragradient(), stop=nlhf.StopRule(gap=0.0))
    assert solution.stop is Stop.STALLED
    assert solution.certificate.bound.high < 1e-13


def test_a_stalled_run_had_its_patience():
    solution = nlhf.solve(WARM, nlhf.NashMD(1.0), stop=nlhf.StopRule(patience=30, judge_every=7))
    gaps = [row.gap for row in solution.trace.rows]
    assert solution.stop is Stop.STALLED
    assert min(gaps[-30:]) > 0.998 * min(gaps[:-30])
    assert 30 < len(gaps) <= 121  # four times its patience: the transient is over in a quarter
    assert solution.trace.rows[-1].iteration == 7 * (len(gaps) - 1)


@pytest.mark.parametrize(("peak", "judged"), [(1, 9), (2, 17), (3, 17), (4, 9)])
def test_a_run_stalls_if_half_its_gaps_are_as_large_as_the_quarter_before(peak, judged):
    # The gap is lowest at the start, so the patience of 8 is over with 9 gaps, with 17, and so on.
    # A peak among the last 5 of 9, or before the 2 that precede these, says nothing of a fall.
    real = nlhf.certify(WARM, WARM.start())
    gaps = iter([1.0 if k == 0 else 9.0 if k == peak else 5.0 for k in range(40)])

    def judge(profile):
        value = next(gaps)
        return replace(real, bound=replace(real.bound, value=value, low=value, high=value))

    rule = nlhf.StopRule(gap=0.0, judge_every=1, patience=8)
    run = iterate(WARM, nlhf.NashMD(1.0), judge, rule, nlhf.Stream(0))
    assert run.stop is Stop.STALLED
    assert len(run.trace.rows) == judged


def test_patience_starts_again_where_the_gap_falls():
    # The gap falls once, at the seventh of the certificates: idle for 8 with 15, for 24 with 31,
    # and not before that is the quarter before the last half without the larger gaps.
    real = nlhf.certify(WARM, WARM.start())
    gaps = iter([5.0] * 6 + [4.0] * 40)

    def judge(profile):
        value = next(gaps)
        return replace(real, bound=replace(real.bound, value=value, low=value, high=value))

    rule = nlhf.StopRule(gap=0.0, judge_every=1, patience=8)
    run = iterate(WARM, nlhf.NashMD(1.0), judge, rule, nlhf.Stream(0))
    assert (run.stop, len(run.trace.rows)) == (Stop.STALLED, 31)


def test_every_judged_row_is_observed_as_it_comes():
    seen = []

    class EnoughError(Exception):
        pass

    def observe(row):
        seen.append(row)
        if row.iteration == 8:
            raise EnoughError

    with pytest.raises(EnoughError):
        nlhf.solve(WARM, nlhf.MirrorDescent(), stop=nlhf.StopRule(judge_every=4), observe=observe)
    assert [row.iteration for row in seen] == [0, 4, 8]
    seen.clear()
    whole = nlhf.solve(WARM, nlhf.MirrorDescent(), observe=seen.append)
    assert tuple(seen) == whole.trace.rows
    assert all(a.seconds <= b.seconds for a, b in pairwise(seen))


def test_certificates_are_made_only_when_the_rule_needs_them(monkeypatch):
    from nlhf import solving

    judged = []
    exact = solving.certify
    monkeypatch.setattr(solving, "certify", lambda *args: judged.append(1) or exact(*args))
    rule = nlhf.StopRule(gap=0.0, max_iterations=50, judge_every=1000)
    assert nlhf.solve(WARM, nlhf.Extragradient(), stop=rule).stop is Stop.BUDGET
    assert len(judged) == 2


def test_a_start_of_ones_own():
    rule = nlhf.StopRule(max_iterations=0)
    solution = nlhf.solve(WARM, nlhf.Extragradient(), stop=rule, start=[0.2, 0.2, 0.6])
    np.testing.assert_allclose(solution.policy, [0.2, 0.2, 0.6], atol=1e-15)
    exact = nlhf.solve(WARM)
    again = nlhf.solve(WARM, nlhf.MirrorDescent(), start=exact.profile)
    assert again.provenance.iterations == 0
    with pytest.raises(nlhf.NlhfError, match="shape"):
        nlhf.solve(WARM, nlhf.Extragradient(), start=[0.5, 0.5])


def test_no_time_is_a_budget():
    rule = nlhf.StopRule(gap=0.0, max_seconds=0.0)
    solution = nlhf.solve(WARM, nlhf.Extragradient(), stop=rule)
    assert solution.stop is Stop.BUDGET
    assert solution.provenance.iterations == 0


@pytest.mark.parametrize(
    "option",
    [
        {"stop": nlhf.StopRule()},
        {"stream": nlhf.Stream(1)},
        {"start": [1.0, 0.0, 0.0]},
        {"observe": print},
        {"checkpoint": nlhf.Checkpoint("never.made")},
    ],
    ids=lambda option: next(iter(option)),
)
def test_the_exact_solver_has_no_use_for_a_run_s_options(option):
    with pytest.raises(Unsupported, match=f"{next(iter(option))} belong to an algorithm"):
        nlhf.solve(WARM, **option)


def test_a_swinging_gap_under_a_falling_envelope_does_not_stall():
    # Nash-MD's gap swings with log t at low temperatures: after a dip, its lowest value stays so
    # for longer than everything before.
    p = [[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]]
    game = nlhf.PreferenceGame(p, temperature=0.05)
    rule = nlhf.StopRule(gap=0.0, max_iterations=2_000, judge_every=5)
    run = nlhf.solve(game, nlhf.NashMD(), stop=rule)
    assert run.stop is nlhf.Stop.BUDGET
    gaps = [row.gap for row in run.trace.rows]
    swings = sum(b > a for a, b in pairwise(gaps))
    assert swings > 50  # else there was nothing to be patient with


@pytest.mark.slow
def test_a_method_with_a_rate_has_not_stalled_before_its_promise_is_over():
    # At this temperature mirror descent turns for thousands of steps before the gap first falls.
    game = nlhf.PreferenceGame(CYCLE, temperature=0.006)
    rule = nlhf.StopRule(gap=1e-3, max_iterations=200_000, judge_every=100, patience=5)
    assert nlhf.solve(game, nlhf.MirrorDescent(), stop=rule).stop is Stop.CERTIFIED
