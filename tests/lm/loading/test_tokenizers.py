"""Tokenizers write every text, end every response, and are refused without an end token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from nlhf.errors import InvalidData, InvalidProblem
from nlhf.lm.loading.tokenizers import (
    END_OF_TEXT,
    check_vocabulary,
    load_tokenizer,
    train_tokenizer,
)
from tests.lm.loading.conftest import TEXTS


def tokens(tokenizer, text):
    return tokenizer(text)["input_ids"]


@given(text=st.text(max_size=40))
def test_every_text_is_written_and_read_back(tokenizer, text):
    assert tokenizer.decode(tokens(tokenizer, text), clean_up_tokenization_spaces=False) == text


def test_training_is_a_function_of_the_texts(tokenizer):
    again = train_tokenizer(iter(TEXTS), 300)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert len(again) == 300
    assert tokens(again, TEXTS[0]) == tokens(tokenizer, TEXTS[0])
    assert len(tokens(again, TEXTS[0])) < len(TEXTS[0])


def test_the_end_token_is_token_0_and_is_put_nowhere_by_itself(tokenizer):
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == tokenizer.pad_token_id == 0
    assert 0 not in tokens(tokenizer, TEXTS[0])
    assert tokens(tokenizer, f"{END_OF_TEXT}The sky")[0] == 0


def test_a_saved_tokenizer_is_loaded_as_it_was(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path, chat_template="tulu")
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert tokens(loaded, "  The séa ☃") == tokens(tokenizer, "  The séa ☃")
    assert loaded.eos_token_id == 0
    assert "<|assistant|>" in loaded.chat_template


def bare(**special):
    vocabulary = {"<unk>": 0, "a": 1, "</s>": 2, "<turn>": 3, "<pad>": 4}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "<unk>")), **special
    )


def test_a_tokenizer_without_end_token_is_refused_unless_one_is_named(tmp_path):
    bare().save_pretrained(tmp_path)
    with pytest.raises(InvalidProblem, match=r"no end token(.|\n)*end_token"):
        load_tokenizer(tmp_path)
    with pytest.raises(InvalidProblem, match=r"'</t>' is not one of the 5 tokens"):
        load_tokenizer(tmp_path, end_token="</t>")
    assert load_tokenizer(tmp_path, end_token="<turn>").eos_token_id == 3


def test_the_end_token_pads_only_where_there_is_no_padding_token(tmp_path):
    bare(eos_token="</s>").save_pretrained(tmp_path / "without")
    bare(eos_token="</s>", pad_token="<pad>").save_pretrained(tmp_path / "with")
    assert load_tokenizer(tmp_path / "without").pad_token_id == 2
    assert load_tokenizer(tmp_path / "with").pad_token_id == 4


def test_a_folder_without_a_tokenizer_is_said_to_have_none(tmp_path):
    with pytest.raises(InvalidData, match="no tokenizer"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tokenizer, model):
    with pytest.raises(InvalidProblem, match="300 tokens, the model 31"):
        check_vocabulary(tokenizer, model.config)
    model.config.vocab_size = 300
    check_vocabulary(tokenizer, model.config)


def test_what_nothing_can_be_learnt_from_is_refused():
    with pytest.raises(InvalidProblem, match="256 bytes"):
        train_tokenizer(TEXTS, 256)
    for texts in ([], ["", ""]):
        with pytest.raises(InvalidData, match="no character"):
            train_tokenizer(texts, 300)
    with pytest.raises(InvalidData, match="text 1 is 7"):
        train_tokenizer(iter(["a", 7]), 300)
