"""Handles to weights: swapped in and out, never written to, told apart by what they hold."""

import gc
import weakref

import pytest
import torch

from nlhf.errors import HypothesisViolated, InvalidProblem, Unsupported
from nlhf.lm.draws import Enumerated
from nlhf.lm.enumerate import TableReward
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import RewardPayoff
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.trained import Audit
from nlhf.lm.strategies import Checkpoint
from nlhf.streams import Stream
from tests.lm.tiny import (
    ARCHITECTURES,
    LEAVES,
    PROMPTS,
    VOCABULARY,
    causal_module,
    moved,
    tiny_adapted,
    tiny_model,
)


def logits(module) -> torch.Tensor:
    with torch.no_grad():
        return module(input_ids=torch.tensor([[0, 1, 2, 3]])).logits


def weights_of(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.trainable().items()}


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def train(model, strategy, steps=3):
    reward = torch.linspace(0.0, 1.0, LEAVES, dtype=torch.float64).expand(2, -1).numpy()
    realiser = PolicyGradient(
        Stream(0),
        Optimisation(steps=steps, learning_rate=0.05),
        Enumerated(VOCABULARY),
        audit=Audit(every=10**9),
    )
    payoff = RewardPayoff(PROMPTS, (TableReward(reward, VOCABULARY),), (1.0,))
    realiser.realise(model, payoff, [(strategy, 0.1), (model.reference, 0.1)])


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_reference_is_the_model_as_it_came(kind):
    model = tiny_model(kind)
    untouched = logits(causal_module(kind, 0).double())
    train(model, model.reference)
    assert not torch.equal(logits(model.module), untouched)
    with model.playing(model.reference) as module:
        assert torch.equal(logits(module), untouched)


def test_playing_a_strategy_puts_back_what_was_there_even_after_an_error():
    model = tiny_model()
    model.begin(moved(model, 1))
    before = weights_of(model)
    with model.playing(moved(model, 2)) as module, model.playing(model.reference):
        assert not same(weights_of(model), before)
        assert module is model.module
    assert same(weights_of(model), before)
    with pytest.raises(KeyError, match="judge"), model.playing(model.reference):
        raise KeyError("judge")
    assert same(weights_of(model), before)


def test_training_writes_to_no_handle():
    model = tiny_model()
    start = moved(model, 1)
    kept = {name: value.clone() for name, value in start.weights.items()}
    model.begin(start)
    with torch.no_grad():
        for p in model.trainable().values():
            p.add_(1.0)
    assert same(start.weights, kept)
    shot = model.snapshot()
    kept_shot = {name: value.clone() for name, value in shot.weights.items()}
    train(model, start)
    train(model, shot)
    assert same(start.weights, kept)
    assert same(shot.weights, kept_shot)
    assert same(model.reference.weights, tiny_model().reference.weights)


def test_keys_tell_weights_apart_and_equal_weights_are_equal():
    model = tiny_model()
    a, b = moved(model, 1), moved(model, 2)
    assert a.key != b.key
    assert moved(model, 1).key == a.key
    model.begin(a)
    assert model.snapshot().key == a.key
    name = next(iter(a.weights))
    changed = dict(a.weights)
    changed[name] = changed[name].clone()
    changed[name].view(-1)[0] += 1e-9
    assert Checkpoint.of(changed).key != a.key
    reshaped = dict(a.weights)
    reshaped[name] = a.weights[name].reshape(-1)
    assert Checkpoint.of(reshaped).key != a.key


def test_weights_are_freed_with_the_last_handle():
    model = tiny_model()
    handle = moved(model, 1)
    watched = weakref.ref(next(iter(handle.weights.values())))
    with model.playing(handle) as module:
        logits(module)
    model.begin(handle)
    del handle
    gc.collect()
    assert watched() is None


def test_log_probabilities_are_computed_once():
    model = tiny_model()
    strategy = moved(model, 1)
    drawn = model.sample(strategy, PROMPTS, 3, Stream(0))
    assert set(drawn.known) == {strategy.key}
    assert model.log_probabilities(strategy, drawn) is drawn.known[strategy.key]
    reference = model.log_probabilities(model.reference, drawn)
    assert model.log_probabilities(model.reference, drawn) is reference


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_reference_of_an_adapted_model_is_its_base_whatever_the_adapters_learn(kind):
    model = tiny_adapted(kind)
    base = logits(causal_module(kind, 0).double())
    with model.playing(model.reference) as module:
        assert torch.equal(logits(module), base)
    assert torch.equal(logits(model.module), base), "fresh adapters do nothing"
    assert all("lora" in name for name in model.trainable())
    train(model, model.reference)
    assert float((logits(model.module) - base).abs().max()) > 1e-3, "the adapters have learnt"
    with model.playing(model.reference) as module:
        assert torch.equal(logits(module), base)
    assert float((logits(model.module) - base).abs().max()) > 1e-3, "and are on again"
    shot = model.snapshot()
    model.begin(model.reference)
    assert torch.equal(logits(model.module), base), "training from the reference starts at it"
    with model.playing(shot) as module:
        assert float((logits(module) - base).abs().max()) > 1e-3


def test_a_reference_taken_from_the_adapted_model_would_be_seen():
    # The control: the log-ratio to a reference with its adapters on is zero, and so is its KL.
    model = tiny_adapted("llama")
    train(model, model.reference)
    trained = model.snapshot()
    drawn = model.sample(trained, PROMPTS, 4, Stream(1))
    ratio = model.log_probabilities(trained, drawn) - model.log_probabilities(
        model.reference, drawn
    )
    assert float(ratio.abs().max()) > 1e-3
    wrong = model.log_probabilities(trained, drawn) - model.present_log_probabilities(drawn)
    assert float(wrong.abs().max()) < 1e-9


def test_dropout_is_off_wherever_a_model_is_used():
    model = tiny_adapted("gpt2")
    assert not model.module.training
    model.module.train()
    responses = model.sample(model.reference, PROMPTS, 4, Stream(1))
    first = model.present_log_probabilities(responses)
    assert torch.equal(first, model.present_log_probabilities(responses))


def test_what_cannot_be_played_is_refused():
    class Unknown:
        key = "unknown"

    model = tiny_model()
    drawn = model.sample(model.reference, PROMPTS, 2, Stream(0))
    with pytest.raises(Unsupported, match="Unknown cannot be sampled"):
        model.sample(Unknown(), PROMPTS, 2, Stream(0))
    with pytest.raises(Unsupported, match="Unknown cannot be scored"):
        model.log_probabilities(Unknown(), drawn)
    frozen = causal_module("llama", 0).requires_grad_(False)
    with pytest.raises(InvalidProblem, match="no weight of the module is trainable"):
        tiny_model().__class__(frozen, end=None, pad=0, limit=3)


def test_training_from_the_base_is_refused_where_the_adapters_already_do_something():
    model = tiny_adapted("gpt2")
    train(model, model.reference)
    again = LanguageModel(model.module, end=None, pad=0, limit=3)
    drawn = again.sample(again.reference, PROMPTS, 2, Stream(0))  # playing it is no matter
    assert drawn.shape == (2, 2)
    with pytest.raises(InvalidProblem, match="adapters that the model came with change it"):
        again.begin(again.reference)
    again.begin(again.snapshot())


def test_the_reference_stays_where_more_than_adapters_is_trained():
    model = tiny_adapted("gpt2")
    biases = [p for n, p in model.module.named_parameters() if n.endswith("ln_f.bias")]
    biases[0].requires_grad_(True)
    model = LanguageModel(model.module, end=None, pad=0, limit=3)
    with model.playing(model.reference) as module:
        base = logits(module)
    with torch.no_grad():
        biases[0].add_(torch.linspace(-1.0, 1.0, 16))
    with model.playing(model.reference) as module:
        assert torch.equal(logits(module), base)
    assert not torch.equal(logits(model.module), base)


def test_a_realiser_trains_one_model_and_forgets_what_it_is_not_restored_to():
    model = tiny_model()
    realiser = PolicyGradient(Stream(0), draws=Enumerated(VOCABULARY))
    reward = TableReward(torch.linspace(0.0, 1.0, LEAVES).expand(2, -1).numpy(), VOCABULARY)
    payoff = RewardPayoff(PROMPTS, (reward,), (1.0,))
    anchors = [(model.reference, 0.1)]
    fresh = realiser.state()
    first = realiser.realise(model, payoff, anchors).strategy
    other = tiny_model(seed=1)
    with pytest.raises(HypothesisViolated, match="asked to train another"):
        realiser.realise(other, payoff, [(other.reference, 0.1)])
    realiser.restore(model, fresh)
    assert len(realiser.reports) == 0
    assert realiser.realise(model, payoff, anchors).strategy.key == first.key


def test_gradients_at_the_adapters_only():
    model = tiny_adapted("llama")
    train(model, model.reference, steps=1)
    frozen = [p for p in model.module.parameters() if not p.requires_grad]
    assert frozen
    assert all(p.grad is None for p in frozen)
