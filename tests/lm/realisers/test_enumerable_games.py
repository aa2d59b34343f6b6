"""Every equilibrium method with every realiser ends at the equilibrium of games known exactly."""

import numpy as np
import pytest
import torch

from benchmarks.language.enumerable_games import (
    PROMPTS,
    EnumerableGame,
    intransitivity,
    reached,
    run,
    settings,
)
from nlhf.algorithms.extragradient import Extragradient
from nlhf.certificates import exploitability
from nlhf.lm.draws import Enumerated, Sampled
from nlhf.lm.enumerate import Enumeration, TablePreference
from nlhf.lm.games import LanguageGame
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.streams import Stream
from tests.lm.tiny import VOCABULARY, intransitive

SHORT, ITERATIONS, STEPS = 2, 8, 16
OPTIMISATION = Optimisation(steps=STEPS, learning_rate=0.01, planned=2 * ITERATIONS * STEPS)
LISTED = Enumerated(VOCABULARY)


def play(realiser, opponents=LISTED, temperature=0.1) -> tuple[float, float]:
    """Exploitability of reference and last iterate in a game of responses of two tokens."""
    model = EnumerableGame(0).model()
    model.limit = SHORT
    table = TablePreference(intransitive(3, 2.0, VOCABULARY**SHORT), VOCABULARY)
    game = LanguageGame(model, PROMPTS, table, temperature, realiser, opponents=opponents)
    bridge = Enumeration(model, PROMPTS, VOCABULARY)
    exact = bridge.exact_game(game)
    method = Extragradient(0.4 / temperature**0.75 / 0.1**0.25, unproven=True)
    state = method.init(game, game.start())
    for k in range(ITERATIONS):
        state = method.step(game, state, Stream(1).child("step", k))
    ends = [model.reference, method.profile(state)[0]]
    before, after = (exploitability(exact, (bridge.policy(s),)).bound.value for s in ends)
    return before, after


KINDS = [PairwiseRegression, pytest.param(PolicyGradient, marks=pytest.mark.slow)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_game_ends_at_its_equilibrium_with_exact_payoffs(kind):
    audit = Audit(LISTED, every=5)
    realiser = kind(Stream(0), OPTIMISATION, LISTED, audit=audit)
    before, after = play(realiser)
    assert after < 0.001 < 0.03 < before
    # What the realiser says of its steps is exact here, and small at the end.
    residuals = [report.residual for report in realiser.reports]
    assert all(each.low == each.value == each.high for each in residuals)
    assert residuals[-1].value < 0.01 < residuals[0].value


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_game_ends_near_its_equilibrium_with_sampled_payoffs(kind):
    realiser = kind(Stream(0), OPTIMISATION, Sampled(64), audit=Audit(LISTED, every=10**9))
    before, after = play(realiser, Sampled(64))
    assert after < min(0.01, 0.3 * before)


def token_terms(model, seen) -> torch.Tensor:
    """log π(y_t | x, y_<t), shape (prompt, response, token), of the weights now in the model."""
    found = []
    for x, prompt in enumerate(seen.prompts.tokens):
        tokens = seen.tokens[x]
        rows = torch.cat([torch.tensor(prompt).expand(len(tokens), -1), tokens], dim=1)
        logits = model.module(input_ids=rows).logits[:, len(prompt) - 1 : -1]
        logs = torch.log_softmax(logits, dim=-1)
        found.append(logs.gather(-1, tokens[..., None])[..., 0])
    return torch.stack(found)


def test_the_games_of_the_benchmark_are_intransitive_and_their_references_far_from_uniform():
    for number in range(10):
        game = EnumerableGame(number)
        preference = game.preference()
        np.testing.assert_allclose(preference + preference.swapaxes(1, 2), 1.0, atol=1e-12)
        condorcet, misfit = intransitivity(preference)
        assert not condorcet
        assert misfit > 0.05
    for number in (0, 5):
        game = EnumerableGame(number)
        bridge = Enumeration(game.model(), PROMPTS, VOCABULARY)
        assert np.ptp(bridge.log_probabilities(bridge.model.reference), axis=1).min() > 1.5


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("number", "method", "realiser", "payoffs"),
    [
        *((0, method, "regression", "exact") for method in settings(0.1, "exact")),
        (0, "extragradient", "policy gradient", "exact"),
        (8, "extragradient", "regression", "exact"),
        (8, "proximal point", "regression", "exact"),
        (0, "extragradient", "regression", "sampled"),
        (0, "proximal point", "regression", "sampled"),
    ],
)
def test_methods_end_at_the_equilibrium(number, method, realiser, payoffs):
    # A few of the benchmark's runs; all of them, also those that fall short, are in its table.
    torch.set_num_threads(1)
    row = run(EnumerableGame(number), method, realiser, payoffs)
    assert reached(row), f"{row['reference_exploitability']:.2g} to {row['exploitability']:.2g}"
