"""The gradients of realisers are the exact gradients of the objective of a proximal step."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nlhf.lm.draws import Enumerated, Sampled
from nlhf.lm.engine import Engine
from nlhf.lm.enumerate import Enumeration, TablePreference, TableReward
from nlhf.lm.games import LanguageGame
from nlhf.lm.payoffs import RewardPayoff
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.policy_gradient import objective as surrogate
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.streams import Stream
from tests.lm.independent import (
    ALL,
    accumulated,
    anchor_logs,
    gradient,
    objective,
    relative,
    response_logs,
    token_logs,
)
from tests.lm.tiny import (
    ARCHITECTURES,
    HORIZON,
    LEAVES,
    PROMPTS,
    VOCABULARY,
    intransitive,
    moved,
    tiny_adapted,
    tiny_model,
)

ONE_STEP = Optimisation(steps=1, learning_rate=1e-9)
SELDOM = Audit(draws=Enumerated(VOCABULARY), every=10**9)
EVERYTHING = Enumerated(VOCABULARY)
EXACT = {"gpt2": 1e-10, "llama": 1e-6}
"""Relative; transformers computes the norms of Llama in float32 whatever the weights are."""


def step_of(model, current, other):
    """A payoff on all leaves and three anchors, the iterate first: the step of a real game."""
    payoff = torch.as_tensor(intransitive(5, 2.0)[:, :, 7].copy())
    reward = RewardPayoff(PROMPTS, (TableReward(payoff.numpy(), VOCABULARY),), (1.0,))
    return payoff, reward, [(current, 0.2), (other, 0.05), (model.reference, 0.1)]


def exact_gradient(model, current, payoff, anchors) -> torch.Tensor:
    """The gradient of the objective at the current strategy, by autograd through all responses."""
    fixed = [(anchor_logs(model, anchor, PROMPTS), strength) for anchor, strength in anchors]
    model.begin(current)
    return gradient(model, objective(response_logs(model.module, PROMPTS), payoff, fixed))


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("adapted", [False, True])
def test_policy_gradient_is_the_exact_gradient_of_the_objective(kind, adapted):
    model = tiny_adapted(kind) if adapted else tiny_model(kind)
    current, other = moved(model, 1), moved(model, 2)
    payoff, reward, anchors = step_of(model, current, other)
    expected = exact_gradient(model, current, payoff, anchors)
    PolicyGradient(Stream(0), ONE_STEP, EVERYTHING, audit=SELDOM).realise(model, reward, anchors)
    assert relative(accumulated(model), -expected / 0.35) < EXACT[kind]
    assert float(expected.norm()) > 1e-3


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_regression_at_the_iterate_has_twice_the_policy_gradient(kind):
    model = tiny_model(kind)
    current, other = moved(model, 1), moved(model, 2)
    payoff, reward, anchors = step_of(model, current, other)
    expected = exact_gradient(model, current, payoff, anchors)
    realiser = PairwiseRegression(Stream(0), ONE_STEP, EVERYTHING, audit=SELDOM)
    realiser.realise(model, reward, anchors)
    assert relative(accumulated(model), -2.0 * expected / 0.35) < EXACT[kind]


def test_the_loss_of_regression_is_the_mean_over_pairs_of_its_definition():
    # Half the expected square of the difference of log-ratios, summed over all ordered pairs.
    model = tiny_model("gpt2")
    current, other = moved(model, 1), moved(model, 2)
    payoff, reward, anchors = step_of(model, current, other)
    realiser = PairwiseRegression(
        Stream(0), ONE_STEP, EVERYTHING, audit=Audit(draws=EVERYTHING, every=1)
    )
    realiser.realise(model, reward, anchors)
    logs = {s.key: anchor_logs(model, s, PROMPTS) for s, _ in anchors}
    aim = (payoff + sum(w * logs[s.key] for s, w in anchors)) / 0.35
    d = logs[current.key] - aim
    weights = logs[current.key].exp()
    pairs = weights[:, :, None] * weights[:, None, :] * (d[:, :, None] - d[:, None, :]) ** 2
    expected = float(0.5 * pairs.sum(dim=(1, 2)).mean())
    assert realiser.reports[0].losses[0] == pytest.approx(expected, rel=1e-10)


def test_a_comparison_game_has_the_gradient_of_its_exact_twin():
    # End to end: the game's operator and anchors, every opponent listed.
    model = tiny_model("gpt2")
    current = moved(model, 3)
    table = TablePreference(intransitive(1, 2.0), VOCABULARY)
    realiser = PolicyGradient(Stream(0), ONE_STEP, EVERYTHING, audit=SELDOM)
    game = LanguageGame(model, PROMPTS, table, 0.1, realiser, opponents=EVERYTHING)
    game.prox(game.operator((current,), Stream(1)), [((current,), 0.4)])
    found = accumulated(model)
    bridge = Enumeration(model, PROMPTS, VOCABULARY)
    exact = bridge.exact_game(game)
    payoff = torch.as_tensor(exact.operator((bridge.policy(current),)).payoffs[0].leaves.copy())
    expected = exact_gradient(model, current, payoff, [(current, 0.4), (model.reference, 0.1)])
    assert relative(found, -expected / 0.5) < 1e-10


@dataclass
class _Values:
    """A payoff that is looked up by the numbers of leaves."""

    payoff: torch.Tensor
    prompts: Prompts

    def values(self, responses: Responses) -> torch.Tensor:
        digits = torch.tensor([VOCABULARY**k for k in reversed(range(HORIZON))])
        return self.payoff[(responses.tokens * digits).sum(dim=-1)]


def test_the_sampled_gradient_is_unbiased_summed_over_all_samples_of_two():
    # All 64^2 samples of two responses, each with its probability: no statistics.
    model = tiny_model("gpt2")
    current, other = moved(model, 1), moved(model, 2)
    payoff, _, anchors = step_of(model, current, other)
    prompt = PROMPTS.take([1])
    first = torch.arange(LEAVES).repeat_interleave(LEAVES)
    second = torch.arange(LEAVES).repeat(LEAVES)
    at = torch.stack([first, second], dim=1)
    many = Prompts(prompt.tokens * len(at), ("",) * len(at), (1,) * len(at))
    logs = {s.key: anchor_logs(model, s, prompt)[0] for s, _ in anchors}
    seen = Responses(
        many,
        ALL[at],
        torch.full(at.shape, HORIZON),
        uniform_weights(*at.shape),
        {key: value[at] for key, value in logs.items()},
    )
    model.begin(current)
    loss = surrogate(model, _Values(payoff[1], many), anchors, current, seen)
    leaf = torch.zeros(at.shape, dtype=torch.float64, requires_grad=True)
    (coefficients,) = torch.autograd.grad(loss(leaf), leaf)
    chance = logs[current.key].exp()
    weights = (chance[first] * chance[second])[:, None] * coefficients * len(at)
    mean = torch.zeros(LEAVES, dtype=torch.float64).index_add(0, at.flatten(), weights.flatten())

    ours = gradient(model, (mean * response_logs(model.module, prompt)[0]).sum())
    fixed = [(logs[s.key][None], w) for s, w in anchors]
    logs_now = response_logs(model.module, prompt)
    expected = gradient(model, objective(logs_now, payoff[1:], fixed))
    assert relative(ours, -expected / 0.35) < 1e-10


def test_gradients_of_drawn_responses_average_to_the_exact_one():
    # Along the exact gradient, 20 batches of 64: a mean beyond 7.5 standard errors has a
    # false-alarm rate below 1e-6 (t distribution, 19 degrees of freedom).
    model = tiny_model("gpt2")
    current, other = moved(model, 1), moved(model, 2)
    payoff, reward, anchors = step_of(model, current, other)
    expected = -exact_gradient(model, current, payoff, anchors) / 0.35
    direction = expected / expected.norm()
    found = []
    for i in range(20):
        realiser = PolicyGradient(Stream(21).child(i), ONE_STEP, Sampled(64), audit=SELDOM)
        realiser.realise(model, reward, anchors)
        found.append(float(accumulated(model) @ direction))
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - float(expected.norm())) < 7.5 * error
    assert 2.0 * error < float(expected.norm()), "too noisy to tell"


def test_a_uniform_policy_listed_in_full_has_the_exact_gradient_too():
    # All weights are equal, as those of a sample: the leave-one-out factor would be 64/63.
    model = tiny_model("llama")
    with torch.no_grad():
        model.module.lm_head.weight.zero_()
    current = model.snapshot()
    payoff, reward, anchors = step_of(model, current, moved(model, 2))
    expected = exact_gradient(model, current, payoff, anchors)
    PolicyGradient(Stream(0), ONE_STEP, EVERYTHING, audit=SELDOM).realise(model, reward, anchors)
    assert relative(accumulated(model), -expected / 0.35) < EXACT["llama"]


class _Half(Engine):
    """One of two processes, told what both have in sum."""

    def __init__(self, both: torch.Tensor | None = None) -> None:
        self.both, self.said = both, torch.zeros(())

    def total(self, values: torch.Tensor) -> torch.Tensor:
        self.said = values
        return values if self.both is None else self.both


def test_single_responses_have_one_baseline_whatever_the_number_of_processes():
    prompts = Prompts.of([[0, 1], [2], [1, 3], [3]])

    def coefficients(rows, both=None):
        engine = _Half(both)
        model = tiny_model("llama", engine=engine)
        table = np.random.default_rng(0).normal(size=(4, LEAVES))
        chosen = prompts.take(rows)
        payoff = RewardPayoff(chosen, (TableReward(table, VOCABULARY),), (1.0,))
        seen = model.sample(model.reference, chosen, 1, Stream(0))
        anchors = [(model.reference, 0.3)]
        leaf = torch.zeros(seen.shape, dtype=torch.float64, requires_grad=True)
        loss = surrogate(model, payoff, anchors, model.reference, seen)(leaf)
        return torch.autograd.grad(loss, leaf)[0], engine.said

    whole, _ = coefficients([0, 1, 2, 3])
    both = coefficients([0, 1])[1] + coefficients([2, 3])[1]
    parts = [coefficients(rows, both)[0] for rows in ([0, 1], [2, 3])]
    assert torch.allclose(torch.cat(parts), whole, rtol=1e-12, atol=0.0)
    assert abs(float(whole.sum())) < 1e-12


def test_the_tokenwise_kl_estimator_is_seen_to_fail():
    # The control: sum_t (log-ratio_t).detach() * log p_t, as elsewhere, forgets what a token
    # does to the log-ratios of later ones. With the whole response in front it is exact.
    model = tiny_model("gpt2")
    current = moved(model, 1)
    model.begin(current)
    reference = anchor_logs(model, model.reference, PROMPTS)
    expected = gradient(
        model,
        -objective(response_logs(model.module, PROMPTS), torch.zeros(()), [(reference, 1.0)]),
    )
    tokenwise, whole = 0.0, 0.0
    for prompt in PROMPTS.tokens:
        with torch.no_grad(), model.playing(model.reference) as module:
            anchor = token_logs(module, prompt)
        logs = token_logs(model.module, prompt)
        chance = logs.sum(dim=1).exp().detach()
        ratio = (logs - anchor).detach()
        tokenwise = tokenwise + (chance[:, None] * ratio * logs).sum() / 2
        whole = whole + (chance * ratio.sum(dim=1) * logs.sum(dim=1)).sum() / 2
    assert relative(gradient(model, whole), expected) < 1e-10
    assert relative(gradient(model, tokenwise), expected) > 0.05
