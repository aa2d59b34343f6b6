"""Enumerated language models are the token trees and games that they are said to be."""

from itertools import product

import numpy as np
import pytest
import torch

from nlhf.certificates import exploitability
from nlhf.errors import InvalidProblem
from nlhf.games.preference import PreferenceGame
from nlhf.lm.draws import Sampled
from nlhf.lm.enumerate import Enumeration, TablePreference, leaves
from nlhf.lm.games import LanguageGame
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.spaces.policy import Policy
from nlhf.spaces.tree import TokenTree
from nlhf.streams import Stream
from tests.lm.tiny import (
    ARCHITECTURES,
    HORIZON,
    LEAVES,
    PROMPTS,
    VOCABULARY,
    causal_module,
    intransitive,
    moved,
    tiny_model,
)

ALL = list(product(range(VOCABULARY), repeat=HORIZON))


def by_full_logits(module, prompt, response, temperature=1.0) -> float:
    """log π(y|x) from the logits of the whole sequence, in float64."""
    with torch.no_grad():
        logits = module(input_ids=torch.tensor([[*prompt, *response]])).logits[0].double()
    logs = torch.log_softmax(logits / temperature, dim=-1)
    first = len(prompt) - 1
    return sum(float(logs[first + t, token]) for t, token in enumerate(response))


def by_next_tokens(module, prompts, temperature=1.0) -> np.ndarray:
    """The next-token policy at every prefix of the tree, each from a pass of its own."""
    prefixes = [p for h in range(HORIZON) for p in product(range(VOCABULARY), repeat=h)]
    rows = []
    for prompt in prompts.tokens:
        with torch.no_grad():
            logits = [
                module(input_ids=torch.tensor([[*prompt, *p]])).logits[0, -1] for p in prefixes
            ]
        rows.append(torch.log_softmax(torch.stack(logits).double() / temperature, dim=-1).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_log_probability_of_every_response_is_that_of_the_full_logits(kind, dtype):
    model = tiny_model(kind, dtype=dtype, temperature=1.3)
    bridge = Enumeration(model, PROMPTS, VOCABULARY)
    strategy = moved(model, 1)
    found = model.log_probabilities(strategy, bridge.responses)
    with model.playing(strategy) as module:
        expected = [[by_full_logits(module, x, y, 1.3) for y in ALL] for x in PROMPTS.tokens]
    tolerance = 1e-12 if dtype is torch.float64 else 2e-6
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(torch.logsumexp(found, dim=1), 0.0, atol=tolerance)
    assert np.ptp(expected) > 3.0, "a uniform model would test little"


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_policy_on_the_tree_is_the_next_token_policy_at_every_prefix(kind):
    model = tiny_model(kind, temperature=0.7)
    bridge = Enumeration(model, PROMPTS, VOCABULARY)
    strategy = moved(model, 2)
    with model.playing(strategy) as module:
        expected = by_next_tokens(module, PROMPTS, 0.7)
    np.testing.assert_allclose(bridge.policy(strategy).log_probabilities, expected, atol=1e-12)
    tree = TokenTree(VOCABULARY, HORIZON, contexts=2)
    np.testing.assert_allclose(
        tree.leaf_log_probabilities(expected), bridge.log_probabilities(strategy), atol=1e-12
    )


def test_leaves_are_numbered_as_the_tree_numbers_them():
    bridge = Enumeration(tiny_model(), PROMPTS, VOCABULARY)
    assert [tuple(y) for y in bridge.responses.tokens[1].tolist()] == ALL
    assert leaves(bridge.responses, VOCABULARY).tolist() == [list(range(LEAVES))] * 2


def game_and_bridge(kind="llama", seed=0, opponents=None):
    model = tiny_model(kind, seed)
    bridge = Enumeration(model, PROMPTS, VOCABULARY)
    table = TablePreference(intransitive(seed, 2.0), VOCABULARY)
    game = LanguageGame(
        model,
        PROMPTS,
        table,
        0.1,
        PolicyGradient(Stream(0)),
        opponents=bridge.draws if opponents is None else opponents,
    )
    return game, bridge


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_game_on_the_tree_is_the_game_on_the_model(kind):
    game, bridge = game_and_bridge(kind)
    exact = bridge.exact_game(game)
    strategy = moved(game.model, 3)
    policy = bridge.policy(strategy)

    ours = bridge.payoff(game.operator((strategy,), Stream(0)).payoffs[0]).leaves
    theirs = exact.operator((policy,)).payoffs[0].leaves
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(
        exact.reference.log_probabilities, bridge.policy(game.model.reference).log_probabilities
    )
    # And once more as a bandit of whole responses, with probabilities from the full logits.
    with game.model.playing(strategy) as module:
        logs = [[by_full_logits(module, x, y) for y in ALL] for x in PROMPTS.tokens]
    with game.model.playing(game.model.reference) as module:
        reference = [[by_full_logits(module, x, y) for y in ALL] for x in PROMPTS.tokens]
    flat = PreferenceGame(intransitive(0, 2.0), Policy.proportional(np.array(reference)), 0.1)
    expected = exploitability(flat, (Policy.proportional(np.array(logs)),)).bound.value
    assert exploitability(exact, (policy,)).bound.value == pytest.approx(expected, abs=1e-12)
    assert expected > 0.01


def test_payoffs_against_sampled_opponents_average_to_the_exact_ones():
    # Entries are means of 8,000 variables in [0, 1]: by Hoeffding's inequality one of the 128 is
    # off by more than e with probability at most 256 exp(-16,000 e^2) = 1e-6.
    game, bridge = game_and_bridge(opponents=Sampled(1000))
    strategy = moved(game.model, 3)
    exact = bridge.exact_game(game).operator((bridge.policy(strategy),)).payoffs[0].leaves
    draws = [
        bridge.payoff(game.operator((strategy,), Stream(5).child(i)).payoffs[0]).leaves
        for i in range(8)
    ]
    error = np.abs(np.mean(draws, axis=0) - exact)
    assert error.max() < np.sqrt(np.log(256 / 1e-6) / 16_000)
    assert np.std(draws, axis=0).max() > 1e-3


def test_one_evaluation_is_realised_once():
    game, bridge = game_and_bridge(opponents=Sampled(4))
    payoff = game.operator((game.model.reference,), Stream(0)).payoffs[0]
    np.testing.assert_array_equal(bridge.payoff(payoff).leaves, bridge.payoff(payoff).leaves)
    other = game.operator((game.model.reference,), Stream(1)).payoffs[0]
    combined = bridge.payoff(2.0 * payoff - other).leaves
    expected = 2.0 * bridge.payoff(payoff).leaves - bridge.payoff(other).leaves
    np.testing.assert_allclose(combined, expected, atol=1e-14)
    assert np.abs(bridge.payoff(other).leaves - bridge.payoff(payoff).leaves).max() > 0.01


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_sampling_frequencies_are_the_exact_probabilities(kind):
    # Pearson's statistic has 2 * 63 degrees of freedom; cells below 5 expected are pooled. A
    # correct sampler exceeds the critical value with probability 1e-6.
    from scipy.stats import chi2

    model = tiny_model(kind, temperature=1.5)
    bridge = Enumeration(model, PROMPTS, VOCABULARY)
    strategy, count = moved(model, 4, 0.1), 6_000
    drawn = model.sample(strategy, PROMPTS, count, Stream(11).child("frequencies"))
    statistic, freedom = 0.0, 0
    for x in range(2):
        expected = count * np.exp(bridge.log_probabilities(strategy)[x])
        seen = np.bincount(leaves(drawn, VOCABULARY)[x], minlength=LEAVES)
        rare = expected < 5.0
        cells = np.append(expected[~rare], expected[rare].sum())
        found = np.append(seen[~rare], seen[rare].sum())
        statistic += ((found - cells) ** 2 / np.maximum(cells, 1e-12)).sum()
        freedom += len(cells) - 1
    assert statistic < chi2.isf(1e-6, freedom)
    assert freedom > 60
    # The log-probabilities that sampling kept are those of scoring.
    at = np.take_along_axis(bridge.log_probabilities(strategy), leaves(drawn, VOCABULARY), axis=1)
    np.testing.assert_allclose(drawn.known[strategy.key], at, atol=1e-10)


def test_responses_that_may_end_early_are_refused():
    model = tiny_model(end=3)
    with pytest.raises(InvalidProblem, match="end early"):
        Enumeration(model, PROMPTS, VOCABULARY)
    with pytest.raises(InvalidProblem, match="predicts 4 tokens"):
        Enumeration(tiny_model(), PROMPTS, 5)
    game, _ = game_and_bridge()
    with pytest.raises(InvalidProblem, match="2 prompts"):
        Enumeration(game.model, Prompts.of([[1]]), VOCABULARY).exact_game(game)


def test_responses_that_end_share_all_probability_with_the_prefixes_that_do_not():
    # Complete responses end with the token 3 and nothing counts after; cut ones are prefix
    # events. Prompts contain the end token, which ends nothing there.
    model = tiny_model("gpt2", end=3)
    complete = [y for h in range(HORIZON) for y in product(range(3), repeat=h)]
    listed = [(*y, 3) for y in complete] + list(product(range(3), repeat=HORIZON))
    tokens = torch.zeros((2, len(listed), HORIZON), dtype=torch.long)
    lengths = torch.tensor([[len(y) for y in listed]] * 2)
    for r, y in enumerate(listed):
        tokens[:, r, : len(y)] = torch.tensor(y)
    prompts = Prompts.of([[3, 1, 3], [3]])
    responses = Responses(prompts, tokens, lengths, uniform_weights(2, len(listed)))
    logs = model.log_probabilities(moved(model, 5), responses)
    np.testing.assert_allclose(torch.logsumexp(logs, dim=1), 0.0, atol=1e-12)


def test_the_head_of_the_tiny_models_is_what_the_tests_believe():
    for kind in ARCHITECTURES:
        assert causal_module(kind, 0)(input_ids=torch.tensor([[0]])).logits.shape[-1] == VOCABULARY
