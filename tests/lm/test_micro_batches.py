"""Gradients do not depend on how a batch is split, padded, or where prompts mention the end."""

import pytest
import torch

from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.lm.strategies import Checkpoint
from nlhf.streams import Stream
from tests.lm.independent import accumulated, gradient, relative
from tests.lm.tiny import ARCHITECTURES, moved, tiny_model

END = 3
MENTIONING = Prompts.of([[END, 1, END, 0], [END], [2, 0]])
COUNT = 5


def model_and_responses(kind, dtype=torch.float64):
    model = tiny_model(kind, dtype=dtype, end=END, limit=4)
    model.begin(moved(model, 1, 0.1))
    drawn = model.sample(model.reference, MENTIONING, COUNT, Stream(3))
    assert len(set(drawn.lengths.flatten().tolist())) > 2, "responses of several lengths"
    return model, drawn


def loss(logs):
    """Not a sum over responses: a pair's slope depends on other rows of the batch."""
    differences = logs[:, :, None] - logs[:, None, :]
    return (differences - 0.3).square().sigmoid().mean() + (0.1 * logs.sum(dim=1)).cos().sum()


def split_gradient(model, responses, micro_batch) -> tuple[float, torch.Tensor]:
    model.micro_batch = micro_batch
    for p in model.trainable().values():
        p.grad = None
    return model.accumulate(responses, loss), accumulated(model)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_every_split_into_micro_batches_has_the_same_gradient(kind, dtype, tolerance):
    model, drawn = model_and_responses(kind, dtype)
    value, whole = split_gradient(model, drawn, 100)
    scale = float(whole.abs().max())
    for micro_batch in (1, 2, 3, 4, 7, 14, 15):
        again, found = split_gradient(model, drawn, micro_batch)
        assert again == pytest.approx(value, abs=tolerance)
        assert float((found - whole).abs().max()) < tolerance * max(1.0, scale)


def unpadded(module, prompt, response) -> torch.Tensor:
    """log π(y|x) of one row alone, from its full logits."""
    logits = module(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
    logs = torch.log_softmax(logits, dim=-1)
    first = len(prompt) - 1
    return torch.stack([logs[first + t, token] for t, token in enumerate(response)]).sum()


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_padding_changes_neither_loss_nor_gradient(kind):
    # The independent route scores every row by itself: nothing is padded there.
    model, drawn = model_and_responses(kind)
    rows = [
        torch.stack(
            [
                unpadded(model.module, prompt, drawn.tokens[x, r, : drawn.lengths[x, r]].tolist())
                for r in range(COUNT)
            ]
        )
        for x, prompt in enumerate(MENTIONING.tokens)
    ]
    expected = loss(torch.stack(rows))
    exact = gradient(model, expected)
    value, found = split_gradient(model, drawn, 4)
    assert value == pytest.approx(float(expected.detach()), abs=1e-12)
    assert relative(found, exact) < 1e-10


def test_what_fills_the_padding_has_no_influence():
    model, drawn = model_and_responses("gpt2")
    _, found = split_gradient(model, drawn, 4)
    positions = torch.arange(drawn.tokens.shape[2])
    tokens = torch.where(positions < drawn.lengths[..., None], drawn.tokens, 2)
    model.pad = 1
    other = Responses(MENTIONING, tokens, drawn.lengths, drawn.weights)
    assert relative(split_gradient(model, other, 4)[1], found) < 1e-12


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_sampling_ends_at_the_end_token_of_the_response_and_counts_it(kind):
    model, drawn = model_and_responses(kind)
    ended = 0
    for x in range(len(MENTIONING)):
        for r in range(COUNT):
            length = int(drawn.lengths[x, r])
            said = drawn.tokens[x, r, :length].tolist()
            assert END not in said[:-1]
            assert said[-1] == END or length == model.limit
            ended += said[-1] == END
    assert ended > 0
    fresh = Responses(MENTIONING, drawn.tokens, drawn.lengths, uniform_weights(3, COUNT))
    scored = model.log_probabilities(model.reference, fresh)
    torch.testing.assert_close(scored, drawn.known[model.reference.key], rtol=0, atol=1e-10)


def test_responses_to_a_prompt_do_not_depend_on_the_batch():
    model, drawn = model_and_responses("llama")
    alone = model.sample(model.reference, MENTIONING.take([1]), COUNT, Stream(3))
    width = alone.tokens.shape[2]
    counted = torch.arange(width) < alone.lengths[0][:, None]
    assert torch.equal(alone.lengths[0], drawn.lengths[1])
    assert torch.equal(alone.tokens[0][counted], drawn.tokens[1, :, :width][counted])


def test_gradients_add_up():
    model, drawn = model_and_responses("llama")
    _, once = split_gradient(model, drawn, 4)
    model.accumulate(drawn, loss)
    assert relative(accumulated(model), 2.0 * once) < 1e-12


def test_the_present_weights_are_a_strategy_without_a_copy():
    model, _ = model_and_responses("llama")
    name, parameter = next(iter(model.trainable().items()))
    present = model.present("now")
    assert isinstance(present, Checkpoint)
    assert present.weights[name].data_ptr() == parameter.data_ptr()
