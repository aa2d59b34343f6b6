"""Published classifiers as rewards: batches, labels and formats make no difference to a text."""

import pytest
import torch
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from nlhf.errors import InvalidData, InvalidProblem
from nlhf.lm.loading.chat import set_chat_template
from nlhf.lm.loading.classifiers import ClassifierReward
from nlhf.lm.loading.tokenizers import train_tokenizer
from tests.lm.loading.conftest import TEXTS

PROMPTS = ["The sky", "The sea", "Tell me", "The sky", "I am"]
SAID = [" is blue.", " is deep and green and high, please.", " of it.", " is blue.", ""]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    config = DistilBertConfig(
        vocab_size=300, max_position_embeddings=40, dim=16, hidden_dim=32, n_layers=1, n_heads=2,
        num_labels=3, initializer_range=0.3,
    )  # fmt: skip
    config.id2label = {0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE"}
    config.label2id = {name: place for place, name in config.id2label.items()}
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    train_tokenizer(TEXTS, 300).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scalar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scalar")
    config = LlamaConfig(
        vocab_size=300, max_position_embeddings=60, hidden_size=16, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2, num_labels=1, initializer_range=1.0,
        bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer = train_tokenizer(TEXTS, 300)
    set_chat_template(tokenizer, "tulu")
    tokenizer.save_pretrained(folder)
    return folder


def test_the_reward_is_the_log_odds_of_the_label(labelled):
    reward = ClassifierReward(str(labelled), label="POSITIVE")
    scores = reward(PROMPTS, SAID)
    plain = DistilBertForSequenceClassification.from_pretrained(labelled).eval()
    for prompt, said, score in zip(PROMPTS, SAID, scores, strict=True):
        ids = torch.tensor([reward.tokenizer(prompt + said)["input_ids"]])
        with torch.no_grad():
            p = plain(ids).logits.double().softmax(dim=1)[0, 2]
        assert score == pytest.approx(float(p.log() - (1 - p).log()), abs=1e-5)


@pytest.mark.parametrize("chat", [False, True])
def test_batches_do_not_matter_even_where_texts_end_with_the_padding_token(scalar, chat):
    one = ClassifierReward(str(scalar), chat=chat, batch=1)(PROMPTS, [*SAID[:4], " ok"])
    many = ClassifierReward(str(scalar), chat=chat, batch=8)(PROMPTS, [*SAID[:4], " ok"])
    assert one == pytest.approx(many, abs=1e-5)
    assert many[0] == many[3] != many[1]


def test_the_reward_is_read_at_the_end_token(scalar):
    reward = ClassifierReward(str(scalar), chat=True)
    text = "<|endoftext|><|user|>\nThe sky\n<|assistant|>\n is blue.<|endoftext|>"
    ids = torch.tensor([reward.tokenizer(text)["input_ids"]])
    plain = LlamaForSequenceClassification.from_pretrained(scalar).eval()
    with torch.no_grad():
        hidden = plain.model(ids).last_hidden_state[0, -1]
        expected = float(plain.score(hidden))
    assert reward(PROMPTS[:1], SAID[:1])[0] == pytest.approx(expected, abs=1e-5)


def test_labels_that_are_not_there_are_named(labelled, scalar):
    for name, label in ((labelled, "GOOD"), (labelled, None), (scalar, "POSITIVE")):
        with pytest.raises(InvalidProblem, match="has no label"):
            ClassifierReward(str(name), label=label)(["The sky"], [" is"])


def test_texts_that_are_too_long_are_named(labelled):
    with pytest.raises(InvalidData, match=r"text 1 has \d+ tokens .* takes 40"):
        ClassifierReward(str(labelled), label="POSITIVE")(["a", "The sky" * 40], [" b", " c"])


def test_nothing_is_loaded_before_the_first_call(tmp_path):
    reward = ClassifierReward(str(tmp_path / "nowhere"))
    with pytest.raises(InvalidData, match="not a folder"):
        reward(["a"], ["b"])
