"""Prompt files hold the beginnings of texts, and are read back as they were."""

import json

import pytest

from nlhf.errors import InvalidData
from nlhf.lm.loading.datasets import prompts_of, read_prompts
from nlhf.lm.loading.prompt_files import beginnings, write_prompts
from nlhf.lm.loading.records import table_of
from tests.lm.loading.conftest import TEXTS


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


def test_prompts_are_the_first_tokens_of_texts(texts, tokenizer):
    prompts = beginnings(texts, tokenizer, 5)
    for prompt, text in zip(prompts.prompts, TEXTS, strict=True):
        assert text.startswith(prompt)
        assert tokenizer(prompt)["input_ids"] == tokenizer(text)["input_ids"][:5]
    assert prompts.rows == (0, 1, 2)


def test_texts_that_are_too_short_or_missing_are_named(texts, tokenizer):
    with pytest.raises(InvalidData, match=r"line 1: text has \d+ tokens, fewer than 99"):
        beginnings(texts, tokenizer, 99)
    with pytest.raises(InvalidData, match="no column review"):
        beginnings(texts, tokenizer, 5, column="review")


def test_written_prompts_are_read_back(tmp_path):
    chat = [{"role": "user", "content": "Sky?\u2028"}]
    data = prompts_of(table_of([{"prompt": "séa", "group": 1}, {"prompt": chat, "group": "b"}]))
    write_prompts(data, tmp_path / "p.jsonl")
    again = read_prompts(tmp_path / "p.jsonl")
    assert again.prompts == data.prompts
    assert again.groups == data.groups == ("1", "b")
