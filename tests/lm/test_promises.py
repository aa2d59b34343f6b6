"""Responses that are promised are those that would have been drawn at once."""

import numpy as np
import pytest
import torch

from nlhf.errors import Unsupported
from nlhf.lm.draws import Sampled
from nlhf.lm.games import LanguageGame
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.responses import Prompts
from nlhf.lm.strategies import TokenwiseMixture
from nlhf.streams import Stream
from tests.lm.tiny import ARCHITECTURES, PROMPTS, moved, tiny_model


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_promise_is_kept_with_the_next_draw_and_holds_what_sampling_gives(kind):
    model = tiny_model(kind)
    policy = moved(model, 1)
    mixture = TokenwiseMixture(((policy, 0.5), (model.reference, 0.5)))
    alone = [
        model.sample(mixture, PROMPTS, 7, Stream(1)),
        model.sample(policy, PROMPTS, 3, Stream(2)),
    ]
    promise = model.promise(mixture, PROMPTS, 7, Stream(1))
    beside = model.sample(policy, PROMPTS, 3, Stream(2))
    assert promise.kept is not None
    for found, expected, key in zip(
        (promise.now(), beside), alone, (mixture.key, policy.key), strict=True
    ):
        assert torch.equal(found.tokens, expected.tokens)
        assert torch.allclose(found.known[key], expected.known[key], rtol=0.0, atol=1e-12)


def test_promises_are_kept_alone_if_nobody_draws_and_dropped_if_nobody_looks():
    model = tiny_model()
    wanted = model.promise(model.reference, PROMPTS, 2, Stream(1))
    model.promise(model.reference, PROMPTS.take([0]), 2, Stream(3))
    assert torch.equal(
        wanted.now().tokens, model.sample(model.reference, PROMPTS, 2, Stream(1)).tokens
    )
    drawn = model.drawn_tokens
    model.promise(model.reference, PROMPTS, 5, Stream(2))
    model.sample(model.reference, PROMPTS, 1, Stream(4))
    assert model.drawn_tokens == drawn + len(PROMPTS) * model.limit


def test_a_promise_is_not_mistaken_for_other_prompts_with_the_same_row_numbers():
    model = tiny_model()
    held_out = Prompts.of([[3, 3], [1, 1, 1]])
    alone = model.sample(model.reference, PROMPTS, 3, Stream(5))
    promise = model.promise(model.reference, PROMPTS, 3, Stream(5))
    model.sample(model.reference, held_out, 2, Stream(6))
    assert promise.now().prompts.tokens == PROMPTS.tokens
    assert torch.equal(promise.now().tokens, alone.tokens)


def test_a_promise_that_cannot_be_kept_is_refused_and_breaks_no_other():
    model = tiny_model()
    promise = model.promise(model.reference, PROMPTS, 3, Stream(5))
    nested = TokenwiseMixture(((TokenwiseMixture(((model.reference, 1.0),)), 1.0),))
    with pytest.raises(Unsupported, match="token-wise mixture of a TokenwiseMixture"):
        model.promise(nested, PROMPTS, 1, Stream(1))
    assert promise.now().shape == (2, 3)


def test_a_single_response_learns_by_the_others_as_baseline():
    class Fixed:
        def preferences(self, first, second):
            wins = (first.tokens[:, :, 0] > 1).double().numpy()[:, :, None]
            return np.broadcast_to(wins, (*first.shape, second.shape[1]))

    model = tiny_model()
    realiser = PolicyGradient(Stream(0), draws=Sampled(1))
    game = LanguageGame(model, PROMPTS, Fixed(), 0.1, realiser, opponents=Sampled(1))
    evaluation = game.operator(game.start(), Stream(1))
    (after,) = game.prox(evaluation, [(game.start(), 1.0)])
    assert after.key != model.reference.key
    assert isinstance(model, LanguageModel)
