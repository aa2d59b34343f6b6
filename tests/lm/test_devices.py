"""A device computes what the CPU computes: in float64 a whole run is the same to rounding."""

import pytest
import torch

from nlhf.algorithms.extragradient import Extragradient
from nlhf.lm.draws import Sampled
from nlhf.lm.engine import Engine
from nlhf.lm.enumerate import TablePreference
from nlhf.lm.games import LanguageGame
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.streams import Stream
from tests.lm.tiny import PROMPTS, VOCABULARY, causal_module, intransitive


class On(Engine):
    """One process on a given device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def prepared(self, module):
        return module.to(self._device)


def model_on(device, kind: str, dtype=torch.float64) -> LanguageModel:
    module = causal_module(kind, 0).to(dtype)
    return LanguageModel(module, end=None, pad=0, limit=3, micro_batch=5, engine=On(device))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_samples_and_scores_are_those_of_the_cpu(device, kind):
    here, there = model_on(torch.device("cpu"), kind), model_on(device, kind)
    ours, theirs = (m.sample(m.reference, PROMPTS, 16, Stream(3)) for m in (here, there))
    assert torch.equal(ours.tokens, theirs.tokens.cpu())
    assert theirs.tokens.device.type == device.type
    drawn = theirs.known.pop(there.reference.key)
    scored = there.log_probabilities(there.reference, theirs)
    torch.testing.assert_close(scored, drawn, rtol=0, atol=1e-10)
    own = here.log_probabilities(here.reference, ours)
    torch.testing.assert_close(scored.cpu(), own, rtol=0, atol=1e-10)


@pytest.mark.parametrize("realiser", [PairwiseRegression, PolicyGradient])
def test_a_run_ends_where_it_ends_on_the_cpu(device, realiser):
    finals = []
    for where in (torch.device("cpu"), device):
        model = model_on(where, "gpt2")
        fitted = realiser(Stream(1), Optimisation(steps=2, learning_rate=1e-3), Sampled(6))
        table = TablePreference(intransitive(0, 2.0), VOCABULARY)
        game = LanguageGame(model, PROMPTS, table, 0.1, fitted, opponents=Sampled(3))
        method = Extragradient(1.0)
        state = method.init(game, game.start())
        for step in range(2):
            state = method.step(game, state, Stream(2).child(step))
        finals.append(method.profile(state)[0].weights)
    for name, value in finals[0].items():
        torch.testing.assert_close(finals[1][name].cpu(), value, rtol=0, atol=1e-7)
    start = model_on(torch.device("cpu"), "gpt2").reference.weights
    moved = max(float((start[name] - value).abs().max()) for name, value in finals[0].items())
    assert moved > 1e-3  # a control
