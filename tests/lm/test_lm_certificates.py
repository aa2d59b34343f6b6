"""A deviation gives a lower bound on exploitability: never above the exact one, and informative."""

import numpy as np
import pytest
from scipy.stats import binom

from nlhf.certificates import exploitability
from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.certificates import (
    DeviationGain,
    _betting,
    deviation_gain,
    further,
    largest_gain,
    resampling_gain,
)
from nlhf.lm.draws import Sampled
from nlhf.lm.enumerate import Enumeration, TablePreference
from nlhf.lm.games import LanguageGame
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.results import Bound, Knows, Units
from nlhf.streams import Stream
from tests.lm.tiny import PROMPTS, VOCABULARY, intransitive, moved, tiny_model


def setting(seed: int = 0, temperature: float = 0.1):
    model = tiny_model("llama", seed)
    listed = Enumeration(model, PROMPTS, VOCABULARY)
    table = TablePreference(intransitive(seed, 2.0), VOCABULARY)
    realiser = PolicyGradient(Stream(0))
    game = LanguageGame(model, PROMPTS, table, temperature, realiser, opponents=listed.draws)
    return listed, game, listed.exact_game(game)


def exact_gain(listed, exact, strategy, deviation) -> float:
    """J(d, π) - J(π, π) from the matrices of the game."""
    d, p, mu = (
        np.exp(listed.log_probabilities(one))
        for one in (deviation, strategy, listed.model.reference)
    )
    wins = np.einsum("xi,xij,xj->x", d, exact.preference, p)
    price = (p * np.log(p / mu)).sum(axis=1) - (d * np.log(d / mu)).sum(axis=1)
    return float((wins - 0.5 + exact.temperature * price).mean())


def test_with_all_responses_listed_the_gain_is_that_of_the_exact_game():
    listed, game, exact = setting()
    strategy, deviation = moved(listed.model, 1), moved(listed.model, 2)
    found = deviation_gain(game, strategy, deviation, listed.draws, Stream(0))
    assert found.gain == pytest.approx(exact_gain(listed, exact, strategy, deviation), abs=1e-9)
    bound, truth = found.exploitability, exploitability(exact, (listed.policy(strategy),)).bound
    assert bound.knows is Knows.LOWER
    assert bound.confidence == 1.0
    assert bound.high == np.inf
    assert bound.value == max(0.0, found.gain) <= truth.high + 1e-9


def test_a_deviation_that_is_none_gains_exactly_nothing():
    listed, game, _ = setting()
    same = moved(listed.model, 1)
    found = deviation_gain(game, same, same, Sampled(16), Stream(3), block=4)
    assert found.gain == found.error == found.exploitability.value == 0.0


def test_a_proximal_step_further_finds_half_of_the_exploitability():
    listed, game, exact = setting()
    reference = listed.model.reference
    realiser = PairwiseRegression(
        Stream(1),
        Optimisation(steps=50, learning_rate=2e-2, planned=50),
        listed.draws,
        audit=Audit(every=10**6),
    )
    deviation = further(game, reference, realiser, Stream(2))
    truth = exploitability(exact, (listed.policy(reference),)).bound.value
    found = deviation_gain(game, reference, deviation, listed.draws, Stream(0))
    assert 0.5 * truth < found.exploitability.value <= truth + 1e-9


def test_resampling_many_candidates_finds_most_of_the_exploitability_without_training():
    listed, game, exact = setting(temperature=0.2)
    policy = moved(listed.model, 4, 0.05)
    truth = exploitability(exact, (listed.policy(policy),)).bound.value
    found = resampling_gain(game, policy, Stream(5), blocks=24, candidates=64, opponents=512)
    assert 0.4 * truth < found.gain < truth + 4.0 * found.error
    assert found.exploitability.value <= found.gain


def test_the_least_value_that_no_bettor_refutes_is_below_the_mean_as_often_as_it_says():
    """Bernoulli numbers with means that tempt a normal approximation; false alarm 1e-4."""
    generator, runs = np.random.default_rng(0), 200
    for mean in (0.02, 0.97):
        drawn = (generator.random((runs, 40)) < mean).astype(float) * 3.0 - 2.0
        above = sum(_betting(row, -2.0, 1.0, 0.9) > 3.0 * mean - 2.0 for row in drawn)
        assert above <= binom.ppf(1 - 1e-4 / 2, runs, 0.1)
    lows = [_betting(np.full(n, 0.3), -1.0, 1.0, 0.95) for n in (10, 100, 1000, 4000)]
    assert lows == sorted(lows)
    assert 0.29 < lows[-1] < 0.3


def test_a_bound_without_assumptions_leaves_wild_log_ratios_alone():
    listed, game, exact = setting()
    far = moved(listed.model, 6, 1.0)
    truth = exploitability(exact, (listed.policy(far),)).bound.value
    found = resampling_gain(game, far, Stream(1), blocks=16, candidates=4, limit=1.0)
    assert found.exploitability.value <= truth
    assert "no assumption" in found.method


def test_a_sample_of_a_mixture_is_not_claimed_to_be_all_responses():
    # The shares of its members differ, and with them once did the weights, by rounding.
    listed, game, _ = setting()
    mixed = game.mixture([((moved(listed.model, 1),), 0.2), ((moved(listed.model, 2),), 0.8)])[0]
    found = deviation_gain(game, mixed, moved(listed.model, 1), Sampled(24), Stream(3))
    assert found.exploitability.confidence == 0.95
    assert found.error > 0.0
    bounded = resampling_gain(game, mixed, Stream(0), blocks=4, candidates=2, limit=1.0)
    assert "no assumption" in bounded.method


def test_a_judge_whose_answers_break_the_bound_is_refused():
    class Wild:
        def preferences(self, first, second):
            return np.full((*first.shape, second.shape[1]), 1.5)

    model = tiny_model()
    wild = LanguageGame(model, PROMPTS, Wild(), 0.1, PolicyGradient(Stream(0)))
    with pytest.raises(InvalidData, match=r"row 0.*1\.5, not a probability"):
        resampling_gain(wild, model.reference, Stream(0), blocks=2, candidates=2, limit=1.0)


def test_what_is_known_of_several_deviations_holds_for_all_of_them_at_once():
    def one(low: float) -> DeviationGain:
        bound = Bound(low, Knows.LOWER, Units.WIN_PROBABILITY, low, np.inf, 0.98)
        return DeviationGain(bound, low, 0.0, "given")

    best = largest_gain([one(0.1), one(0.3), one(0.2)])
    assert best.exploitability.value == 0.3
    assert best.exploitability.confidence == pytest.approx(0.94)
    with pytest.raises(HypothesisViolated):
        largest_gain([])


def test_numbers_out_of_range_are_refused():
    listed, game, _ = setting()
    here = listed.model.reference
    with pytest.raises(HypothesisViolated, match="blocks"):
        deviation_gain(game, here, here, Sampled(8), Stream(0), block=8)
    with pytest.raises(HypothesisViolated, match="confidence"):
        deviation_gain(game, here, here, Sampled(8), Stream(0), block=2, confidence=1.0)
    with pytest.raises(HypothesisViolated, match="of 2 prompts"):
        deviation_gain(game, here, here, Sampled(8), Stream(0), block=2, prompts=3)
    with pytest.raises(HypothesisViolated, match="candidates"):
        resampling_gain(game, here, Stream(0), candidates=1)
    with pytest.raises(HypothesisViolated, match="without assumptions"):
        resampling_gain(game, here, Stream(0), limit=1.0, prompts=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_sampled_bounds_exceed_what_they_bound_as_seldom_as_they_say(seed):
    """At confidence 0.9, 200 runs: false alarm 1e-3 for each of the three counts."""
    listed, game, exact = setting(seed)
    policy, deviation = moved(listed.model, 1, 0.1), moved(listed.model, 2, 0.1)
    gain = exact_gain(listed, exact, policy, deviation)
    truth = exploitability(exact, (listed.policy(policy),)).bound.value
    own, resampled, free = 0, 0, 0
    for run in range(200):
        stream = Stream(seed).child("run", run)
        found = deviation_gain(game, policy, deviation, Sampled(96), stream, confidence=0.9)
        quantile = found.gain - found.error * 1.36343  # Student's of 12 blocks
        own += quantile > gain
        soft = resampling_gain(game, policy, stream, blocks=16, confidence=0.9)
        resampled += soft.exploitability.value > truth
        bounded = resampling_gain(game, policy, stream, blocks=16, limit=2.0, confidence=0.9)
        free += bounded.exploitability.value > truth
    most = binom.ppf(1 - 1e-3, 200, 0.1)
    assert own <= most
    assert resampled <= most
    assert free <= most
