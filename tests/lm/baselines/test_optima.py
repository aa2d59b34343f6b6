"""The baselines stop where their population optima are, and go there."""

from itertools import permutations

import numpy as np
import pytest
import torch

from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.errors import HypothesisViolated, InvalidData, InvalidProblem
from nlhf.lm.baselines.direct import fit_dpo, fit_ipo
from nlhf.lm.baselines.supervised import fit_supervised
from nlhf.lm.draws import Enumerated, Sampled, every_response
from nlhf.lm.enumerate import TableReward
from nlhf.lm.games import RewardGame
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.trained import Audit
from nlhf.lm.responses import Responses
from nlhf.streams import Stream
from tests.lm.independent import accumulated
from tests.lm.tiny import PROMPTS, VOCABULARY, moved, tiny_model

STAY = Optimisation(steps=1, learning_rate=1e-12)
GO = Optimisation(steps=150, learning_rate=0.02, planned=150)


def one_token(seed=0):
    """A model of single tokens, its responses, and a strategy that a baseline should find."""
    model = tiny_model("gpt2", seed, limit=1)
    listed = every_response(PROMPTS, VOCABULARY, 1, model.device)
    goal = moved(model, 1, 0.05)
    ratio = model.log_probabilities(goal, listed) - model.log_probabilities(model.reference, listed)
    assert float(ratio.abs().max()) > 0.3
    return model, listed, goal, ratio


def gathered(listed: Responses, at: torch.Tensor, weights: torch.Tensor) -> Responses:
    """The listed responses of these numbers, with these weights."""
    shape = (2, len(at))
    normal = weights / weights.sum(dim=1, keepdim=True)
    return Responses(listed.prompts, listed.tokens[:, at], torch.ones(shape, dtype=int), normal)


def labelled(listed, preference) -> tuple[Responses, Responses]:
    """All ordered pairs, each weighted by the probability that the first is preferred."""
    pairs = torch.tensor(list(permutations(range(VOCABULARY), 2)))
    weights = preference[:, pairs[:, 0], pairs[:, 1]]
    return gathered(listed, pairs[:, 0], weights), gathered(listed, pairs[:, 1], weights)


def bradley_terry(listed, ratio, temperature) -> tuple[Responses, Responses]:
    """Population data of the reward for which the goal is optimal, β log(π/μ)."""
    reward = temperature * ratio
    return labelled(listed, torch.sigmoid(reward[:, :, None] - reward[:, None, :]))


def around_a_circle(listed, ratio, temperature) -> tuple[Responses, Responses]:
    """Population data of a preference that no reward explains, with g = τ log(π/μ) + const."""
    reward = temperature * ratio
    circle = torch.zeros(VOCABULARY, VOCABULARY, dtype=torch.float64)
    for i in range(VOCABULARY):
        circle[i, (i + 1) % VOCABULARY] = 0.2
        circle[(i + 1) % VOCABULARY, i] = -0.2
    preference = 0.5 + reward[:, :, None] - reward[:, None, :] + circle
    assert float(preference.min()) > 0.0
    assert float(preference.max()) < 1.0
    return labelled(listed, preference)


FITS = {"dpo": (fit_dpo, bradley_terry, 0.5), "ipo": (fit_ipo, around_a_circle, 0.05)}


@pytest.mark.parametrize("name", FITS)
def test_a_direct_fit_rests_at_its_population_optimum_and_nowhere_near(name):
    fit, data, temperature = FITS[name]
    model, listed, goal, ratio = one_token()
    chosen, rejected = data(listed, ratio, temperature)
    fit(model, chosen, rejected, temperature, STAY, Stream(0), start=goal)
    at_goal = float(accumulated(model).norm())
    fit(model, chosen, rejected, temperature, STAY, Stream(0))
    assert at_goal < 1e-10 * float(accumulated(model).norm())
    fit(model, chosen, rejected, 1.5 * temperature, STAY, Stream(0), start=goal)
    assert float(accumulated(model).norm()) > 1e-3, "the temperature is not a mere scale"


@pytest.mark.parametrize("name", FITS)
def test_a_direct_fit_finds_its_population_optimum(name):
    fit, data, temperature = FITS[name]
    model, listed, goal, ratio = one_token()
    chosen, rejected = data(listed, ratio, temperature)
    found = fit(model, chosen, rejected, temperature, GO, Stream(0))
    expected = model.log_probabilities(goal, listed).exp()
    got = model.log_probabilities(found.strategy, listed).exp()
    assert float((got - expected).abs().max()) < 2e-3
    assert len(found.losses) == 150
    assert found.losses[-1] < found.losses[0]


def test_the_first_loss_of_dpo_is_log_two_and_of_ipo_its_target_squared():
    model, listed, _, ratio = one_token()
    for fit, expected in ((fit_dpo, np.log(2.0)), (fit_ipo, (1.0 / 0.1) ** 2)):
        chosen, rejected = bradley_terry(listed, ratio, 0.05)
        found = fit(model, chosen, rejected, 0.05, STAY, Stream(0))
        assert found.losses[0] == pytest.approx(expected, rel=1e-12)


def test_direct_fits_refuse_sides_that_do_not_belong_together():
    model, listed, _, ratio = one_token()
    chosen, rejected = bradley_terry(listed, ratio, 0.5)
    with pytest.raises(InvalidData, match="1 rejected ones"):
        fit_dpo(model, chosen, rejected.among(0, 1), 0.5, STAY, Stream(0))
    with pytest.raises(InvalidData, match="pass both sides"):
        fit_ipo(model, chosen, rejected.take([1, 0]), 0.5, STAY, Stream(0))
    with pytest.raises(InvalidProblem, match="temperature"):
        fit_dpo(model, chosen, rejected, 0.0, STAY, Stream(0))
    with pytest.raises(HypothesisViolated, match="prompts_per_step is 3"):
        fit_dpo(model, chosen, rejected, 0.5, STAY, Stream(0), prompts_per_step=3)


def test_supervised_fitting_rests_at_the_distribution_of_its_data_and_finds_it():
    model, listed, goal, _ = one_token()
    chances = model.log_probabilities(goal, listed).exp()
    data = Responses(listed.prompts, listed.tokens, listed.lengths, chances)
    fit_supervised(model, data, STAY, Stream(0), start=goal)
    at_goal = float(accumulated(model).norm())
    found = fit_supervised(model, data, GO, Stream(0), prompts_per_step=1)
    got = model.log_probabilities(found.strategy, listed).exp()
    assert float((got - chances).abs().max()) < 5e-3
    fit_supervised(model, data, STAY, Stream(0))
    assert at_goal < 1e-10 * float(accumulated(model).norm())


def test_the_supervised_loss_is_in_nats_per_token():
    model = tiny_model("gpt2", end=3, limit=4)
    drawn = model.sample(model.reference, PROMPTS, 3, Stream(1))
    found = fit_supervised(model, drawn, STAY, Stream(0))
    logs = model.log_probabilities(model.reference, drawn)
    assert found.losses[0] == pytest.approx(-float(logs.sum() / drawn.lengths.sum()), rel=1e-12)


def test_every_pass_takes_every_prompt_once():
    model = tiny_model("gpt2", limit=1)
    listed = every_response(PROMPTS, VOCABULARY, 1, model.device)
    steps = Optimisation(steps=6, learning_rate=1e-12)
    found = fit_supervised(model, listed, steps, Stream(0), prompts_per_step=1)
    each = -model.log_probabilities(model.reference, listed).mean(dim=1)
    for k in range(0, 6, 2):
        assert sorted(found.losses[k : k + 2]) == pytest.approx(sorted(each.tolist()))


def reward_game(model, ratio, draws, optimisation):
    reward = TableReward(0.3 * ratio.numpy(), VOCABULARY)
    realiser = PolicyGradient(
        Stream(4), optimisation, draws, audit=Audit(Enumerated(VOCABULARY), every=10**9)
    )
    return RewardGame(model, PROMPTS, reward, 0.3, realiser)


def test_leave_one_out_policy_gradient_rests_at_the_tilted_reference_in_every_sample():
    # There the advantage is a constant, so that any sample gives a gradient of zero.
    model, _, goal, ratio = one_token()
    game = reward_game(model, ratio, Sampled(64), STAY)
    payoff = game.operator((goal,), Stream(0))
    game.prox(payoff, [((goal,), 1.0)])
    assert float(accumulated(model).norm()) < 1e-10
    game.prox(payoff, [((model.reference,), 1.0)])
    assert float(accumulated(model).norm()) > 1e-8


def test_leave_one_out_policy_gradient_finds_the_tilted_reference():
    model, listed, goal, ratio = one_token()
    once = Optimisation(steps=1, learning_rate=0.02, planned=150)
    game = reward_game(model, ratio, Sampled(16), once)
    method = MirrorDescent(1.0, unproven=True)
    state = method.init(game, game.start())
    for k in range(150):
        state = method.step(game, state, Stream(5).child(k))
    got = model.log_probabilities(method.profile(state)[0], listed).exp()
    assert float((got - model.log_probabilities(goal, listed).exp()).abs().max()) < 0.02
