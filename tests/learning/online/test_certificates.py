"""What a run claims of its policies, against the truth."""

from itertools import cycle

import numpy as np
import pytest

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.estimation.classes.bradley_terry import BradleyTerryClass
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.linear import LinearClass
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.low_rank import LowRankClass
from nlhf.estimation.classes.tabular import TabularClass
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.judging import certified_gap
from nlhf.learning.online.explorers import Enhancer, OnPolicy, Optimist, Uniform
from nlhf.learning.online.learning import learn_online
from nlhf.learning.online.oracles import ModelOracle
from nlhf.learning.online.runs import population_eluder
from nlhf.streams import Stream
from tests.learning.drawn import problem, skew
from tests.learning.online.worlds import EXPLORERS, world

LINKS = list(Link)
ROUNDING = 1e-12


def check(one):
    """No bound of a run is violated; counts standings with a gap that is neither 0 nor vacuous."""
    informative = 0
    for standing, true in zip(one.run.standings, one.true_gaps(), strict=True):
        assert true <= standing.gap.high + ROUNDING
        assert true <= standing.certificate.high + ROUNDING
        assert -true >= standing.value.low - ROUNDING
        informative += true > 1e-6
    return informative


@pytest.mark.parametrize("link", LINKS)
def test_no_certificate_is_violated_on_the_event(link):
    seen = [(w.event, check(w) if w.event else 0) for w in (world(s, link) for s in range(8))]
    # The event fails with probability at most δ = 0.05: in 6 or more of 8 with one of 5e-7.
    assert sum(event for event, _ in seen) > 2
    assert sum(informative for _, informative in seen) > 2


@pytest.mark.parametrize("link", LINKS)
def test_no_certificate_is_violated_in_decision_processes(link):
    one = world(4, link, markov=True)
    if one.event:
        check(one)


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(("markov", "count"), [(False, 200), (True, 50)])
def test_no_certificate_is_violated_on_500_instances(link, markov, count):
    worlds = [world(1000 + seed, link, markov=markov) for seed in range(count)]
    for one in worlds:
        if one.event:
            check(one)
    # The event fails with probability at most δ = 0.05. Five standard deviations above that: a
    # false alarm in 4e-5 at 50 instances, in 1e-5 at 200.
    allowed = 0.05 * count + 5.0 * np.sqrt(0.05 * 0.95 * count)
    assert sum(not one.event for one in worlds) <= allowed


class TooSure(FiniteClass):
    """A class with a thousandth of the radius."""

    def radius(self, delta: float) -> float:
        return 1e-3 * super().radius(delta)


def test_certificates_with_the_radius_cut_are_violated_somewhere():
    def sure(models):
        return TooSure(models.tables, models.link)

    def fooled(seed):
        one = world(seed, Link.PROBABILITY, rounds=2, queries=3, models=sure)
        pairs = zip(one.true_gaps(), one.run.standings, strict=True)
        return any(true > standing.gap.high + 1e-6 for true, standing in pairs)

    assert any(map(fooled, range(24)))


@pytest.mark.parametrize(("link", "explorer"), list(zip(cycle(LINKS), EXPLORERS, strict=False)))
def test_the_judge_is_never_wider_than_the_certificate_and_the_gap_is_the_smaller(link, explorer):
    run = world(3, link, explorer=explorer, rounds=3, queries=20).run
    for one in run.standings:
        assert certified_gap(one.value).high <= one.certificate.high + ROUNDING
        assert one.gap.high == min(one.certificate.high, -one.value.low)
    assert run.best.gap.high == run.gaps.min()
    assert len(run.standings) == len(run.rounds) + 1


def test_certificates_hold_whatever_the_ridge_is():
    drawn = problem(5, samples=1)
    truth, units = drawn.truth, drawn.models.link.units
    for ridge in (1e-6, 1e-2, 10.0):
        run = learn_online(
            drawn.setting, drawn.models, ModelOracle(truth), rounds=3, queries=40, ridge=ridge
        )
        assert {one.ridge for one in run.standings} == {ridge}
        for one in run.standings:
            true = drawn.setting.exploitability(truth, one.policy, units).value
            assert true <= one.certificate.high + ROUNDING


def test_log_odds_too_large_for_a_radius_are_learned_with_what_the_judge_says():
    table = np.zeros((2, 1, 2, 2))
    table[:, 0, 0, 1] = 800.0, -800.0
    models = FiniteClass(table - table.swapaxes(-1, -2), Link.LOG_ODDS)
    setting = BanditSetting(np.full((1, 2), 0.5), 0.1)
    oracle = ModelOracle(models.tables[0], Link.LOG_ODDS)
    run = learn_online(setting, models, oracle, rounds=1, queries=5)
    assert run.last.radius == run.last.certificate.high == np.inf
    assert 0.0 < run.best.gap.high < 801.0
    known = FiniteClass(models.tables[:1], Link.LOG_ODDS)
    assert learn_online(setting, known, oracle, rounds=1, queries=5).best.gap.high < 1e-9


def test_with_many_answers_the_truth_is_certified_as_nearly_unexploitable():
    drawn = problem(8, samples=1, temperature=0.2)
    oracle = ModelOracle(drawn.truth)
    run = learn_online(drawn.setting, drawn.models, oracle, rounds=2, queries=100_000)
    assert run.gaps[0] > 0.01
    assert run.best.gap.high < 1e-9


def features(rng, shape, count):
    stages, outcomes = shape
    x = rng.normal(size=(stages, outcomes, outcomes, count))
    x = x - x.swapaxes(1, 2)
    return x / np.linalg.norm(x, axis=-1).max()


def linear(rng, setting, bound, count, models=15):
    """Candidates that are linear in features of length at most 1; parameters of at most B."""
    phi = features(rng, setting.shape, count)
    theta = rng.normal(size=(models, count))
    theta *= bound * rng.random(models)[:, None] / np.linalg.norm(theta, axis=1)[:, None]
    return FiniteClass(np.einsum("lijd,kd->klij", phi, theta))


@pytest.mark.parametrize("markov", [False, True])
def test_the_eluder_coefficient_of_linear_candidates_obeys_the_elliptical_potential(markov):
    dimension, bound, ridge, rounds = 2, 0.4, 1e-3, 2 if markov else 8
    setting = problem(2, markov=markov, samples=1, temperature=0.1).setting
    models = linear(np.random.default_rng(4), setting, bound, dimension)
    oracle = ModelOracle(models.tables[0])
    run = learn_online(setting, models, oracle, rounds=rounds, queries=50, ridge=ridge)
    spread = ridge / (4.0 * bound**2)
    times = np.arange(1, rounds + 1)
    potential = 2.0 * dimension * np.log(1.0 + times / (spread * dimension))
    assert (population_eluder(setting, models, run) <= potential).all()
    assert run.eluder[0] == pytest.approx(population_eluder(setting, models, run)[0])


def test_comparing_a_policy_with_itself_adds_nothing_to_the_eluder_coefficient():
    for explorer in (OnPolicy(), Uniform()):
        run = world(4, Link.PROBABILITY, explorer=explorer, rounds=3).run
        np.testing.assert_allclose(run.eluder, 0.0, atol=1e-20)
    assert world(4, Link.PROBABILITY, explorer=Enhancer(), rounds=3).run.eluder[0] > 0.0


def test_some_round_is_as_certain_as_the_eluder_coefficient_says():
    one = world(6, Link.PROBABILITY, explorer=Enhancer(), rounds=8, queries=200)
    gammas = np.array([r.gamma for r in one.run.rounds])
    least = np.minimum.accumulate(np.minimum(gammas, 1.0) ** 2)
    assert (least <= one.run.eluder / np.arange(1, 9) + ROUNDING).all()


def classes():
    rng = np.random.default_rng(7)
    shape = (2, 3)
    phi = features(rng, shape, 2)
    yield TabularClass(shape), skew(rng, (2, 3, 3), 0.3)
    yield LinearClass(phi, 0.4), phi @ np.array([0.2, -0.1])
    yield LinearClass(phi, 2.0, Link.LOG_ODDS), phi @ np.array([1.0, -0.5])
    rewards = rng.normal(size=shape)
    yield BradleyTerryClass(shape, 6.0), rewards[:, :, None] - rewards[:, None, :]
    circle = 0.3 * np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    yield LowRankClass(shape, 2, 0.4, starts=0), np.stack([circle, circle.T])


@pytest.mark.parametrize(("models", "truth"), list(classes()))
@pytest.mark.parametrize("explorer", [Enhancer(), Optimist()])
def test_infinite_classes_are_learned_by_their_widths(models, truth, explorer):
    setting = BanditSetting(np.full((2, 3), 1 / 3), 0.1)
    oracle = ModelOracle(truth, models.link)
    run = learn_online(setting, models, oracle, rounds=2, queries=100, explorer=explorer)
    for one in run.standings:
        true = setting.exploitability(truth, one.policy, models.link.units).value
        assert true <= one.gap.high + ROUNDING
        assert certified_gap(one.value).high <= one.certificate.high + ROUNDING


@pytest.mark.parametrize(
    "wrong",
    [
        {"delta": 0.0},
        {"delta": 1.0},
        {"rounds": 0},
        {"queries": 0},
        {"queries": True},
        {"ridge": 0.0},
        {"ridge": -1.0},
    ],
)
def test_arguments_out_of_range_are_refused(wrong):
    drawn = problem(1, samples=1)
    arguments = {"rounds": 1, "queries": 5} | wrong
    with pytest.raises(HypothesisViolated):
        learn_online(drawn.setting, drawn.models, ModelOracle(drawn.truth), **arguments)


def test_a_class_of_another_shape_is_refused():
    setting = BanditSetting(np.full((2, 3), 1 / 3), 0.1)
    table = np.zeros((1, 3, 3))
    with pytest.raises(InvalidProblem, match=r"\(1, 3\).*\(2, 3\)"):
        learn_online(setting, FiniteClass(table[None]), ModelOracle(table), rounds=1, queries=1)


def test_the_same_stream_gives_the_same_run_and_another_one_another():
    first, again = (world(9, Link.PROBABILITY, rounds=3).run for _ in range(2))
    assert (first.gaps == again.gaps).all()
    assert (first.data.wins == again.data.wins).all()
    drawn = problem(9, samples=1)
    runs = [
        learn_online(
            drawn.setting,
            drawn.models,
            ModelOracle(drawn.truth),
            rounds=2,
            queries=200,
            explorer=Uniform(),
            stream=Stream(seed),
        )
        for seed in (0, 1)
    ]
    assert runs[0].data.wins.tolist() != runs[1].data.wins.tolist()
