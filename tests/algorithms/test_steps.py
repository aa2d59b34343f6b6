"""Step sizes: the largest proven one by default, and beyond it only on request."""

from math import sqrt

import numpy as np
import pytest

import nlhf
from nlhf.errors import HypothesisViolated
from tests.algorithms.games import CYCLE, LINEAR, ONE_PER_METHOD

WARM = nlhf.PreferenceGame(CYCLE, temperature=0.1)
FLAT = nlhf.PreferenceGame(CYCLE)
L = 0.4  # half of 0.9 - 0.1


def test_the_default_is_the_largest_proven_step():
    assert nlhf.MirrorDescent().eta(WARM) == pytest.approx(0.1 / L**2)
    assert nlhf.Extragradient().eta(WARM) == pytest.approx(1 / L)
    assert nlhf.OptimisticMirrorDescent().eta(WARM) == pytest.approx((sqrt(2) - 1) / L)
    uneven = nlhf.ZeroSumGame(CYCLE, temperatures=(0.3, 0.1))
    assert nlhf.MirrorDescent().eta(uneven) == pytest.approx(0.1 / L**2)


@pytest.mark.parametrize("algorithm", LINEAR, ids=repr)
def test_a_step_beyond_is_refused_by_name_and_runs_on_request(algorithm):
    kind, largest = type(algorithm), algorithm.eta(WARM)
    key = {"M": "mirror-descent", "E": "extragradient", "O": "optimistic"}[kind.__name__[0]]
    with pytest.raises(HypothesisViolated, match=rf"{key}-linear needs step_size <= .*/.*0\.4"):
        nlhf.solve(WARM, kind(1.01 * largest))
    assert nlhf.solve(WARM, kind(1.01 * largest, unproven=True)).provenance.iterations > 0
    assert nlhf.solve(WARM, kind(largest)).stop is nlhf.Stop.CERTIFIED


def test_no_step_of_mirror_descent_is_proven_at_temperature_zero():
    for algorithm in (nlhf.MirrorDescent(), nlhf.MirrorDescent(0.1), nlhf.NashEMA()):
        with pytest.raises(HypothesisViolated, match=r"temperature/L\^2 = 0/0\.4\^2 = 0"):
            nlhf.solve(FLAT, algorithm)
    with pytest.raises(HypothesisViolated, match="nash-md-rate"):
        nlhf.solve(FLAT, nlhf.NashMD())


def test_nash_md_refuses_a_step_that_overshoots_the_reference():
    with pytest.raises(HypothesisViolated, match="textbook_step <= 1/temperature = 10"):
        nlhf.solve(WARM, nlhf.NashMD(10.1))
    assert nlhf.NashMD(10.0).strength(WARM, 3) == 0.0


def test_where_nothing_depends_on_play_every_step_is_proven():
    game = nlhf.PreferenceGame(np.full((3, 3), 0.5), [0.2, 0.3, 0.5], 0.1)
    for algorithm in ONE_PER_METHOD:
        solution = nlhf.solve(game, algorithm)
        np.testing.assert_allclose(solution.policy, [0.2, 0.3, 0.5], atol=1e-12)
    assert nlhf.MirrorDescent().eta(game) == 1.0
    assert nlhf.MirrorDescent(1e6).eta(game) == 1e6


@pytest.mark.parametrize("temperature", [0.5, 5.0])
def test_default_steps_suit_payoffs_of_any_size(temperature):
    odds = nlhf.LogOddsGame(
        np.clip(CYCLE, 0.01, 0.99) ** 3 / (CYCLE**3 + CYCLE.T**3), None, temperature
    )
    assert odds.lipschitz > 3
    for algorithm in LINEAR:
        stop = nlhf.StopRule(1e-8, max_iterations=20_000)
        assert nlhf.solve(odds, algorithm, stop=stop).stop is nlhf.Stop.CERTIFIED


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: nlhf.MirrorDescent(0.0),
        lambda: nlhf.OptimisticMirrorDescent(float("nan")),
        lambda: nlhf.NashMD(-1.0),
        lambda: nlhf.NashEMA(float("inf")),
        lambda: nlhf.NashEMA(1.0, decay=1.0),
        lambda: nlhf.NashEMA(1.0, decay=-0.1),
        lambda: nlhf.ProximalPoint(strength=0.0),
        lambda: nlhf.ProximalPoint(inner_steps=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(HypothesisViolated, match="is "):
        wrong()


def test_an_average_at_temperature_zero_needs_no_permission():
    game = nlhf.PreferenceGame([[0.5, 0.9], [0.1, 0.5]])
    rule = nlhf.StopRule(gap=0.0, max_iterations=100)
    run = nlhf.solve(game, nlhf.Average(nlhf.MirrorDescent(0.1)), stop=rule)
    assert run.certificate.bound.high <= 2 * np.log(2) / (0.1 * 101) + 0.1 / 4
