"""Preference games in FrozenLake and Taxi, to the gap that is asked for."""

import pytest

import nlhf
from benchmarks.cases import Toy
from benchmarks.solvers.environments import game
from nlhf.games.majority import majority_graph

pytest.importorskip("gymnasium")


@pytest.mark.parametrize(
    "case",
    [
        Toy("FrozenLake8x8-v1", 0.005),
        Toy("FrozenLake8x8-v1", 0.0005),
        Toy("Taxi-v4", 0.01),
        pytest.param(Toy("Taxi-v4", 0.001), marks=pytest.mark.slow),
    ],
    ids=lambda case: f"{case.environment}-{case.temperature}",
)
def test_the_exact_equilibrium_is_certified(case):
    played = game(case)
    assert nlhf.certify(played, played.start()).bound.low > 1e-6  # the reference is none
    solution = nlhf.solve(played)
    assert solution.stop is nlhf.Stop.SOLVER
    solution.require(1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", [Toy("FrozenLake8x8-v1", 0.005), Toy("Taxi-v4", 0.01)])
def test_extragradient_gets_there_too(case):
    played = game(case)
    run = nlhf.solve(played, nlhf.Extragradient(), stop=nlhf.StopRule(gap=1e-8))
    assert run.stop is nlhf.Stop.CERTIFIED
    exact = nlhf.solve(played).profile[0]
    # τ KL(π‖π*) is at most half the duality gap.
    bound = run.certificate.bound.high / 2 / played.temperature
    assert played.spaces[0].divergence(run.profile[0], exact).value <= bound


def test_the_step_preference_is_intransitive():
    played = game(Toy("FrozenLake8x8-v1", 0.005, horizon=2))
    factors = played.step
    few = factors.left[:6] @ factors.right[:6].T + 0.5
    assert few + few.T == pytest.approx(1.0, abs=1e-12)
    assert majority_graph(few).cycle
