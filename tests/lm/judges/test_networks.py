"""Reward heads, cross-encoder, skew form and ensembles on tiny random transformers."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

from nlhf.errors import HypothesisViolated, InvalidData, Unsupported
from nlhf.lm.judges.base import BradleyTerryPreference, PreferenceModel, RewardModel
from nlhf.lm.judges.bilinear import SkewBilinear
from nlhf.lm.judges.cross_encoder import CrossEncoder, Markers
from nlhf.lm.judges.encoding import Encoder
from nlhf.lm.judges.ensemble import PreferenceEnsemble, RewardEnsemble
from nlhf.lm.judges.reward_heads import BradleyTerryReward, MixtureReward
from nlhf.streams import Stream
from tests.lm.judges.tiny import (
    PAD,
    VOCABULARY,
    Table,
    gpt2,
    llama,
    random_responses,
    randomised,
    with_rubbish,
)

MARKERS = Markers((11,), (10, 9), (8,))
FIRST, SECOND = (random_responses(1).among(*ends) for ends in ((0, 2), (1, 4)))


def cross(backbone, **settings):
    return CrossEncoder.on(backbone, markers=MARKERS, pad=PAD, stream=Stream(3), **settings)


def skew(backbone, **settings):
    return SkewBilinear.on(backbone, blocks=2, pad=PAD, stream=Stream(3), **settings)


def mixture(backbone, **settings):
    return MixtureReward.on(backbone, 3, pad=PAD, stream=Stream(3), **settings)


def single(backbone, **settings):
    reward = BradleyTerryReward.on(backbone, pad=PAD, stream=Stream(3), **settings)
    return BradleyTerryPreference(reward)


MODELS = pytest.mark.parametrize("build", [cross, skew, mixture, single])
BACKBONES = pytest.mark.parametrize("backbone", [gpt2, llama])


@MODELS
@BACKBONES
def test_preferences_are_complementary_probabilities(build, backbone):
    model = build(backbone())
    there, back = model.preferences(FIRST, SECOND), model.preferences(SECOND, FIRST)
    assert isinstance(model, PreferenceModel)
    assert there.shape == (3, 2, 3)
    assert there.dtype == np.float64
    np.testing.assert_allclose(there + back.swapaxes(1, 2), 1.0, rtol=0, atol=2.3e-16)
    assert np.ptp(there) > 0.01


@MODELS
def test_a_response_against_itself_is_even(build):
    own = build(gpt2()).preferences(FIRST, FIRST)
    np.testing.assert_array_equal(own[:, [0, 1], [0, 1]], 0.5)


@MODELS
@BACKBONES
def test_padding_and_micro_batches_change_nothing(build, backbone):
    whole = build(backbone()).preferences(FIRST, SECOND)
    module = backbone().double()
    exact = build(module).preferences(FIRST, SECOND)
    np.testing.assert_allclose(whole, exact, atol=2e-6)
    for micro_batch in (1, 3):
        parts = build(backbone().double(), micro_batch=micro_batch)
        found = parts.preferences(with_rubbish(FIRST), with_rubbish(SECOND))
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)


@MODELS
def test_margins_are_the_log_odds_of_the_preferences(build):
    model = build(gpt2(double=True))
    network = model.reward if build is single else model
    pair = FIRST.among(0, 1), SECOND.among(2, 3)
    odds = 1 / (1 + np.exp(-network.margins(*pair).detach().numpy()))
    if build is mixture:
        odds = odds @ model.shares()[:, None]
    np.testing.assert_allclose(odds[:, 0], model.preferences(*pair)[:, 0, 0], rtol=1e-12)


def test_control_a_single_order_of_a_cross_encoder_likes_a_place():
    model = cross(gpt2(double=True))
    rows = [MARKERS.written((1,), (2,), (3,)), MARKERS.written((1,), (3,), (2,))]
    assert abs(float(model(rows).detach().sum())) > 0.05


def test_a_reward_is_the_head_at_the_last_token_of_the_unpadded_sequence():
    backbone = gpt2(double=True)
    model = BradleyTerryReward.on(backbone, pad=PAD, stream=Stream(3))
    found = model.rewards(FIRST)
    for x in range(3):
        for y in range(2):
            length = int(FIRST.lengths[x, y])
            row = [*FIRST.prompts.tokens[x], *FIRST.tokens[x, y, :length].tolist()]
            hidden = backbone(torch.tensor([row])).last_hidden_state[0, -1]
            assert found[x, y] == pytest.approx(
                float((model.head.weight[0] @ hidden).detach()), rel=1e-10
            )
    assert isinstance(model, RewardModel)


def test_the_mixture_preference_is_that_of_a_random_rater():
    model = mixture(gpt2())
    model.set_proportions(np.array([0.6, 0.3, 0.1]))
    each = [BradleyTerryPreference(model.group(u)).preferences(FIRST, SECOND) for u in range(3)]
    expected = 0.6 * each[0] + 0.3 * each[1] + 0.1 * each[2]
    np.testing.assert_allclose(model.preferences(FIRST, SECOND), expected, rtol=1e-12)
    assert "proportions" in model.state_dict()


def test_a_mixture_reads_responses_once_for_all_groups_until_its_weights_change():
    model = mixture(gpt2())
    passes = []
    model.encoder.backbone.register_forward_hook(lambda *_: passes.append(1))
    before = [model.group(u).rewards(FIRST) for u in range(3)]
    assert len(passes) == 1
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model.margins(FIRST.among(0, 1), FIRST.among(1, 2)).sum().backward()
    optimiser.step()
    passes.clear()
    after = [model.group(u).rewards(FIRST) for u in range(3)]
    assert len(passes) == 1
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    assert (model.group(0).rewards(SECOND).shape, len(passes)) == ((3, 3), 2)


def test_the_heads_do_not_depend_on_the_global_generator():
    backbone = gpt2()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    one = skew(backbone)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(one.head.weight, skew(backbone).head.weight)


def cycle_features():
    """Three responses whose skew form is rock-paper-scissors; 5 is the prompt."""
    angles = 2 * np.pi * np.arange(3) / 3
    table = np.zeros((6, 2))
    table[1:4] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return table


def test_a_skew_form_represents_a_cycle_and_a_reward_cannot():
    model = SkewBilinear.on(Table(cycle_features()), blocks=1, pad=PAD, stream=Stream(0))
    with torch.no_grad():
        model.head.weight.copy_(2.0 * torch.eye(2))
    responses = random_responses(0, prompts=1, responses=3, longest=1, vocabulary=6)
    responses.tokens[0, :, 0] = torch.tensor([1, 2, 3])
    found = model.preferences(responses, responses)[0]
    assert found[0, 1] > 0.9
    assert found[1, 2] > 0.9
    assert found[2, 0] > 0.9


def test_a_skew_form_contains_bradley_terry():
    features = np.arange(6.0)[:, None]
    model = SkewBilinear.on(Table(features), blocks=1, pad=PAD, stream=Stream(0))
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[0.5], [0.0]]))
        model.head.bias.copy_(torch.tensor([0.0, 1.0]))
    responses = random_responses(0, prompts=1, responses=2, longest=1, vocabulary=6)
    responses.tokens[0, :, 0] = torch.tensor([4, 1])
    found = model.preferences(responses, responses)[0, 0, 1]
    assert found == pytest.approx(1 / (1 + np.exp(-1.5)), rel=1e-14)


def test_ensembles_report_the_mean_and_the_spread():
    rewards = [BradleyTerryReward.on(gpt2(k), pad=PAD, stream=Stream(k)) for k in range(3)]
    each = np.stack([BradleyTerryPreference(r).preferences(FIRST, SECOND) for r in rewards])
    ensemble = PreferenceEnsemble([BradleyTerryPreference(r) for r in rewards])
    np.testing.assert_allclose(ensemble.preferences(FIRST, SECOND), each.mean(axis=0))
    spread = ensemble.uncertainty(FIRST, SECOND)
    np.testing.assert_allclose(spread, np.sqrt(((each - each.mean(axis=0)) ** 2).sum(axis=0) / 2))
    other = ensemble.uncertainty(SECOND, FIRST).swapaxes(1, 2)
    np.testing.assert_allclose(spread, other, atol=1e-15)
    mean = RewardEnsemble(rewards)
    assert isinstance(mean, RewardModel)
    np.testing.assert_allclose(
        mean.rewards(FIRST), np.mean([r.rewards(FIRST) for r in rewards], axis=0)
    )
    np.testing.assert_allclose(mean.uncertainty(FIRST, FIRST)[:, 0, 0], 0.0, atol=1e-15)
    with pytest.raises(HypothesisViolated, match="an ensemble of 1"):
        PreferenceEnsemble([ensemble])


def test_a_published_classifier_becomes_a_reward_model():
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=32, n_embd=16, n_layer=1, n_head=2, num_labels=1
    )
    config.pad_token_id = PAD
    module = randomised(GPT2ForSequenceClassification(config))
    model = BradleyTerryReward.of_classifier(module, pad=PAD)
    length = int(FIRST.lengths[0, 0])
    row = [*FIRST.prompts.tokens[0], *FIRST.tokens[0, 0, :length].tolist()]
    expected = float(module(torch.tensor([row])).logits[0, 0].detach())
    assert model.rewards(FIRST)[0, 0] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(Unsupported, match="no linear layer `score`"):
        BradleyTerryReward.of_classifier(gpt2(), pad=PAD)


@pytest.mark.parametrize("build", [cross, skew, single])
def test_rows_longer_than_the_context_are_named(build):
    model = build(gpt2(context=4))
    with pytest.raises(InvalidData, match=r"row \d, .* tokens with the prompt, the context is 4"):
        model.preferences(FIRST, SECOND)


@MODELS
def test_networks_that_overflow_name_the_row(build):
    module = gpt2()
    with torch.no_grad():
        module.ln_f.bias.fill_(float("nan"))
    with pytest.raises(InvalidData, match=r"row 0, .* is nan"):
        build(module).preferences(FIRST, SECOND)


def test_a_backbone_with_a_language_model_head_is_refused():
    class Headed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = gpt2()
            self.config = self.inner.config

        def forward(self, input_ids, attention_mask):
            return object()

    with pytest.raises(HypothesisViolated, match="without last_hidden_state"):
        Encoder(Headed(), pad=PAD)([(1, 2)])
