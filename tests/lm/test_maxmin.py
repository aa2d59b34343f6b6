"""MaxMin on a language model is the MaxMin game of all its responses."""

import warnings

import numpy as np
import pytest
import torch

import nlhf
from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.certificates import certify
from nlhf.errors import InvalidData, InvalidProblem, Unnormalised, Unsupported
from nlhf.games.group_rewards import Offsets
from nlhf.lm.draws import Sampled
from nlhf.lm.engine import Engine
from nlhf.lm.enumerate import Enumeration, TableReward
from nlhf.lm.maxmin import LanguageMaxMinGame, exact_maxmin
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.spaces.ambiguity import KLBall
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream
from tests.lm.tiny import LEAVES, PROMPTS, VOCABULARY, moved, tiny_model

SELDOM = Audit(every=1_000_000)


def random_rewards(seed: int, groups: int) -> np.ndarray:
    """Rewards between 0 and 1, independent between groups, prompts and responses."""
    return np.random.default_rng(seed).random((groups, len(PROMPTS), LEAVES))


def tables(rewards: np.ndarray) -> list[TableReward]:
    return [TableReward(reward, VOCABULARY) for reward in rewards]


def game_of(model, rewards, *, temperature=0.1, realiser=None, **settings) -> LanguageMaxMinGame:
    realiser = PolicyGradient(Stream(0)) if realiser is None else realiser
    given = {"offsets": Offsets.REFERENCE} | settings
    return LanguageMaxMinGame(model, PROMPTS, tables(rewards), temperature, realiser, **given)


@pytest.mark.parametrize("offsets", [Offsets.AS_GIVEN, Offsets.REFERENCE, (0.3, -0.1, 0.0)])
def test_payoffs_from_all_responses_are_those_of_the_exact_game(offsets):
    model = tiny_model("gpt2", 1)
    listed = Enumeration(model, PROMPTS, VOCABULARY)
    game = game_of(model, random_rewards(0, 3), offsets=offsets, draws=listed.draws)
    exact = exact_maxmin(listed, game)
    strategy, weights = moved(model, 5), Policy.of([0.2, 0.5, 0.3])
    found = game.operator((strategy, weights), Stream(1)).payoffs
    expected = exact.operator((listed.policy(strategy), weights)).payoffs
    apart = listed.payoff(found[0]).leaves - expected[0].leaves  # offsets given may be in it
    np.testing.assert_allclose(apart, apart[0, 0], atol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-9)
    if isinstance(offsets, Offsets):
        np.testing.assert_allclose(game.offsets, exact.offsets, atol=1e-9)
    assert game.lipschitz == pytest.approx(exact.lipschitz, rel=1e-9)
    assert not game.offset_errors.any()


def test_sampled_utilities_are_unbiased_and_offsets_err_as_much_as_they_say():
    """False alarms: six standard normal numbers beyond 4.5, one in 20,000."""
    model = tiny_model("llama", 2)
    listed = Enumeration(model, PROMPTS, VOCABULARY)
    rewards = random_rewards(1, 3)
    game = game_of(model, rewards, offset_draws=Sampled(400), draws=Sampled(800))
    exact = exact_maxmin(listed, game)
    strategy = moved(model, 3)
    drawn = game.draws.responses(model, strategy, PROMPTS, Stream(4))
    errors = game.each_reward(drawn).std(axis=2, ddof=1) / 800**0.5
    utilities = game.utilities(drawn) - game.offsets
    expected = exact.utilities(listed.policy(strategy)) - exact.offsets
    assert (np.abs(utilities - expected) < 4.5 * np.hypot(*errors.T) / len(PROMPTS)).all()
    assert (np.abs(game.offsets - exact.offsets) < 4.5 * game.offset_errors).all()
    assert (game.offset_errors > 0.0).all()


def test_one_draw_of_the_reference_says_nothing_of_its_error():
    rewards = random_rewards(1, 2)
    game = game_of(tiny_model("llama", 2), rewards, offset_draws=Sampled(1))
    assert np.isinf(game.offset_errors).all()
    assert np.isfinite(game.offsets).all()


def test_groups_are_compared_by_the_least_of_means_and_not_the_mean_of_least_rewards():
    """Control: two groups that each love another response, and both can live with a third.

    The mean of least rewards is maximised by the third alone, which is not MaxMin.
    """
    model = tiny_model("llama", 0)
    listed = Enumeration(model, PROMPTS, VOCABULARY)
    rewards = np.full((2, len(PROMPTS), LEAVES), -1.0)
    half = LEAVES // 2
    rewards[:, :, half:] = 0.4
    rewards[0, :, : half // 2], rewards[0, :, half // 2 : half] = 1.0, 0.0
    rewards[1, :, : half // 2], rewards[1, :, half // 2 : half] = 0.0, 1.0
    game = game_of(model, rewards, temperature=0.05, offsets=Offsets.AS_GIVEN, draws=listed.draws)
    exact = exact_maxmin(listed, game)
    least = game.utilities(listed.draws.responses(model, model.reference, PROMPTS, Stream(0))).min()
    leaf = np.exp(listed.log_probabilities(model.reference))
    assert least == pytest.approx((rewards * leaf).sum(axis=2).mean(axis=1).min(), abs=1e-9)
    assert least > (rewards.min(axis=0) * leaf).sum(axis=1).mean() + 0.02
    best = nlhf.solve(exact).profile[0]
    per_response = exact.best_response(listed.payoff(_least(tables(rewards))))
    assert exact.primal(best) > exact.primal(per_response) + 0.05


def _least(rewards: list[TableReward]):
    class Least:
        def values(self, responses):
            return torch.as_tensor(np.min([r.rewards(responses) for r in rewards], axis=0))

    return Least()


def test_a_common_part_of_the_rewards_of_a_prompt_moves_nothing_under_reference_offsets():
    model = tiny_model("gpt2", 0)
    rewards = random_rewards(2, 2)
    shift = np.array([[3.0, -7.0], [0.5, 11.0]])[:, :, None]
    profile = (moved(model, 1), Policy.of([0.5, 0.5]))
    found = [
        game_of(model, table, prompts_per_step=1).operator(profile, Stream(3)).payoffs[1]
        for table in (rewards, rewards + shift)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)


def test_group_weights_of_mirror_descent_move_by_exponential_weights():
    model = tiny_model("gpt2", 0)
    listed = Enumeration(model, PROMPTS, VOCABULARY)
    game = game_of(
        model,
        random_rewards(3, 3),
        draws=listed.draws,
        offsets=Offsets.AS_GIVEN,
        proportions=[0.6, 0.3, 0.1],
        realiser=PolicyGradient(Stream(0), Optimisation(steps=1), listed.draws, audit=SELDOM),
    )
    method = MirrorDescent(0.7, unproven=True)
    state = method.init(game, game.start())
    utilities = exact_maxmin(listed, game).utilities(listed.policy(model.reference))
    weights = method.profile(method.step(game, state, Stream(0)))[1]
    grown = np.array([0.6, 0.3, 0.1]) * np.exp(-0.7 * utilities)
    np.testing.assert_allclose(weights.probabilities, grown / grown.sum(), atol=1e-9)


class Part(Engine):
    """One of two processes, which keeps what it would send."""

    def __init__(self, rank: int) -> None:
        self.world, self.rank = 2, rank
        self.sent: list[torch.Tensor] = []

    def share(self, count: int) -> range:
        return range(self.rank, count, 2)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        self.sent.append(values)
        return values


def test_utilities_are_sums_over_processes_before_groups_are_compared():
    rewards = random_rewards(4, 2)
    model = tiny_model("gpt2", 0)
    listed = Enumeration(model, PROMPTS, VOCABULARY)
    whole = game_of(model, rewards, draws=listed.draws, offsets=(0.1, 0.2))
    sums = []
    for rank in range(2):
        engine = Part(rank)
        part = tiny_model("gpt2", 0, engine=engine)
        game = game_of(part, rewards, draws=listed.draws, offsets=(0.1, 0.2))
        game.operator(game.start(), Stream(0))
        sums.append(engine.sent[-1].numpy())
    total = np.sum(sums, axis=0)
    expected = whole.operator(whole.start(), Stream(0)).payoffs[1]
    np.testing.assert_allclose(-total[:-1] / total[-1], expected, atol=1e-12)


def test_the_weights_stay_in_the_ambiguity_set():
    model = tiny_model("gpt2", 0)
    ball = KLBall([0.8, 0.2], 0.05)
    game = game_of(model, random_rewards(5, 2), ambiguity=ball, group_temperature=0.0)
    payoffs = game.operator(game.start(), Stream(0))
    moved_to = game.spaces[1].prox(payoffs.payoffs[1] * 1e3, [(ball.centre, 1.0)]).strategy
    assert ball.excess(moved_to) <= 1e-9
    assert not np.allclose(moved_to.probabilities, [0.8, 0.2])


def test_what_makes_groups_comparable_is_chosen_by_name_or_number_or_warned_about():
    model, rewards = tiny_model("gpt2", 0), random_rewards(0, 2)
    with pytest.warns(Unnormalised, match="2 groups"):
        game_of(model, rewards, offsets=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        game_of(model, rewards[:1], offsets=None)
    with pytest.raises(Unsupported, match="best policy of every group"):
        game_of(model, rewards, offsets=Offsets.REGRET)
    with pytest.raises(InvalidProblem, match="2 groups"):
        game_of(model, rewards, offsets=(0.0, np.nan))
    with pytest.raises(InvalidProblem, match="no group"):
        game_of(model, rewards[:0])


def test_a_reward_that_is_no_number_is_named_with_its_row():
    model, rewards = tiny_model("gpt2", 0), random_rewards(0, 2)
    rewards[1, 1] = np.nan
    game = game_of(model, rewards, offsets=Offsets.AS_GIVEN)
    with pytest.raises(InvalidData, match="row 1, response 0"):
        game.operator(game.start(), Stream(0))


def test_no_certificate_is_given_for_a_language_model():
    game = game_of(tiny_model("gpt2", 0), random_rewards(0, 2))
    with pytest.raises(Unsupported, match="deviation_gain"):
        game.as_profile(game.start())


def lack(kind: str, seed: int, realiser: str, exact: bool, iterations: int) -> float:
    """How much less than the MaxMin value the policy at the end of a run secures."""
    model = tiny_model(kind, seed, torch.float32)
    listed = Enumeration(model, PROMPTS, VOCABULARY)
    steps = 10  # group weights follow utilities at once: those need the most responses
    optimisation = Optimisation(steps=steps, learning_rate=1e-2, planned=2 * steps * iterations)
    looks = listed.draws if exact else Sampled(256)
    made = {"regression": PairwiseRegression, "gradient": PolicyGradient}[realiser]
    game = game_of(
        model,
        random_rewards(1000 + seed, 3),
        realiser=made(Stream(seed), optimisation, looks, audit=SELDOM),
        draws=listed.draws if exact else Sampled(1024),
        offset_draws=listed.draws if exact else Sampled(8192),
    )
    method = Extragradient(2.0, unproven=True)
    state = method.init(game, game.start())
    for step in range(iterations):
        state = method.step(game, state, Stream(seed).child("step", step))
    truth = exact_maxmin(listed, game)
    policy, weights = method.profile(state)
    certificate = certify(truth, (listed.policy(policy), weights))
    value = truth.primal(nlhf.solve(truth).profile[0])
    short = value - truth.primal(listed.policy(policy))
    assert short <= certificate.bound.high + 1e-9
    return short


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("seed", "realiser"), [(0, "regression"), (0, "gradient"), (2, "regression"), (4, "regression")]
)
def test_the_maxmin_value_is_reached_within_a_hundredth(seed, realiser):
    # On GPT-2: a Llama cannot tell the prompt [2] from [2] answered by 2, so it lacks policies.
    assert lack("gpt2", seed, realiser, True, iterations=30) <= 0.01
