"""Tokens of prompts and pairs are those a policy would read and write."""

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from nlhf.errors import Approximate, InvalidData, InvalidProblem, NotAllowed
from nlhf.lm.loading.chat import set_chat_template
from nlhf.lm.loading.datasets import preferences_of, prompts_of
from nlhf.lm.loading.records import table_of
from nlhf.lm.loading.tokenise import tokenise_pairs, tokenise_prompts
from nlhf.lm.loading.tokenizers import train_tokenizer
from tests.lm.loading.conftest import TEXTS

END = "<|endoftext|>"
PAIRS = [
    {"prompt": "The sky is", "chosen": " blue and high.", "rejected": " green."},
    {"prompt": "Tell me", "chosen": " of it.", "rejected": " nothing at all, please."},
]


def ids(tokenizer, text):
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def pairs_of(*records):
    return preferences_of(table_of(records))


def prompts_data(*texts):
    return prompts_of(table_of([{"prompt": text} for text in texts]))


def response(side, row):
    return tuple(side.tokens[row, 0, : side.lengths[row, 0]].tolist())


def test_a_response_is_its_tokens_and_one_end_token(tokenizer):
    pairs = tokenise_pairs(pairs_of(*PAIRS), tokenizer, context=64, limit=32)
    for row, record in enumerate(PAIRS):
        assert pairs.chosen.prompts.tokens[row] == ids(tokenizer, record["prompt"])
        for side, text in ((pairs.chosen, "chosen"), (pairs.rejected, "rejected")):
            assert response(side, row) == (*ids(tokenizer, record[text]), 0)
            assert side.weights.tolist() == [[1.0], [1.0]]
    assert pairs.chosen.prompts.texts == ("The sky is", "Tell me")
    assert pairs.chosen.prompts.rows == (0, 1)


def test_an_end_token_that_is_written_out_is_not_doubled(tokenizer):
    record = PAIRS[0] | {"chosen": f" blue.{END}"}
    pairs = tokenise_pairs(pairs_of(record), tokenizer, context=64, limit=32)
    assert response(pairs.chosen, 0) == (*ids(tokenizer, " blue."), 0)


def test_an_end_token_within_a_response_is_refused_and_in_a_prompt_kept(tokenizer):
    record = PAIRS[0] | {"rejected": f" blue{END} no."}
    with pytest.raises(InvalidData, match=r"row 1 .*rejected has the end token within"):
        tokenise_pairs(pairs_of(PAIRS[0], record), tokenizer, context=64, limit=32)
    prompts = tokenise_prompts(prompts_data(f"{END}Sky{END}"), tokenizer, context=64, limit=32)
    assert prompts.tokens == ((0, *ids(tokenizer, "Sky"), 0),)


def test_a_long_response_is_cut_without_an_end_token_and_said_so(tokenizer):
    with pytest.warns(Approximate) as caught:
        pairs = tokenise_pairs(pairs_of(*PAIRS), tokenizer, context=64, limit=3)
    for warning, column in zip(caught, ("chosen", "rejected"), strict=True):
        said = f"row 0 (counted from 0): {column} is cut at 3 tokens (2 such of 2 pairs)"
        assert said in str(warning.message)
    for row, record in enumerate(PAIRS):
        assert response(pairs.chosen, row) == ids(tokenizer, record["chosen"])[:3]


def test_a_response_of_just_the_limit_keeps_its_end(tokenizer):
    limit = len(ids(tokenizer, PAIRS[0]["chosen"])) + 1
    pairs = tokenise_pairs(pairs_of(PAIRS[0]), tokenizer, context=64, limit=limit)
    assert response(pairs.chosen, 0)[-1] == 0


def test_prompts_without_room_are_named_with_length_and_limit(tokenizer):
    long = "The sky " * 20
    length = len(ids(tokenizer, long))
    with pytest.raises(
        InvalidData, match=rf"row 1 .* {length} tokens; 56 .* 64 .* 8 \(2 such of 3"
    ):
        tokenise_prompts(prompts_data("a", long, long), tokenizer, context=64, limit=8)
    tokenise_prompts(prompts_data(long), tokenizer, context=length + 8, limit=8)
    with pytest.raises(InvalidData, match="row 0 "):
        tokenise_prompts(prompts_data(long), tokenizer, context=length + 7, limit=8)


def word_tokenizer(**special):
    """A tokenizer in the way of sentence pieces: `▁` before a word, and once before a text."""
    pieces = ["<unk>", "<s>", "</s>", "▁sky", "sky", "▁blue", "blue", "\n", "▁", ":"]
    inner = Tokenizer(models.Unigram([(p, -1.0 - len(p) * 0.01) for p in pieces], unk_id=0))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", **special)


def test_what_the_tokenizer_puts_before_texts_stands_before_prompts_alone():
    tokenizer = word_tokenizer(eos_token="</s>")
    record = {"prompt": "sky:", "chosen": "blue", "rejected": "sky"}
    pairs = tokenise_pairs(pairs_of(record), tokenizer, context=64, limit=32)
    assert pairs.chosen.prompts.tokens == ((1, 3, 9),)
    assert 1 not in response(pairs.chosen, 0)


def test_a_response_is_written_as_it_follows_its_prompt():
    tokenizer = word_tokenizer(eos_token="</s>")
    alone = ids(tokenizer, "blue")
    record = {"prompt": "sky:", "chosen": "blue", "rejected": " blue"}
    pairs = tokenise_pairs(pairs_of(record), tokenizer, context=64, limit=32)
    assert alone == (5,)
    assert response(pairs.chosen, 0) == (6, 2)
    assert response(pairs.rejected, 0) == (5, 2)


def test_a_token_across_the_seam_does_not_change_the_prompt(tokenizer):
    whole = ids(tokenizer, "The sky")
    prompt, rest = "The s", "ky"
    assert whole[: len(ids(tokenizer, prompt))] != ids(tokenizer, prompt)
    record = {"prompt": prompt, "chosen": rest, "rejected": " no"}
    pairs = tokenise_pairs(pairs_of(record), tokenizer, context=64, limit=32)
    assert pairs.chosen.prompts.tokens == (ids(tokenizer, prompt),)
    assert response(pairs.chosen, 0) == (*ids(tokenizer, rest), 0)


def test_conversations_go_through_the_template_and_get_no_second_beginning():
    tokenizer = train_tokenizer(TEXTS, 300)
    set_chat_template(tokenizer, "tulu")
    pairs = tokenise_pairs(pairs_of(*PAIRS).as_chat(), tokenizer, context=128, limit=64)
    assert pairs.chosen.prompts.tokens[0] == ids(
        tokenizer, f"{END}<|user|>\nThe sky is\n<|assistant|>\n"
    )
    assert tokenizer.decode(response(pairs.chosen, 0)) == f" blue and high.{END}"
    assert pairs.chosen.prompts.texts[0] == "The sky is"


def test_annotators_are_numbered_by_first_appearance(tokenizer):
    named = [PAIRS[0] | {"annotator": name} for name in ("z", "a", "z")]
    pairs = tokenise_pairs(pairs_of(*named), tokenizer, context=64, limit=32)
    assert pairs.annotators.tolist() == [0, 1, 0]
    unnamed = tokenise_pairs(pairs_of(*PAIRS), tokenizer, context=64, limit=32)
    assert unnamed.annotators.tolist() == [0, 0]


def test_tokenizers_without_end_token_or_template_are_refused():
    data = prompts_data("sky")
    with pytest.raises(InvalidProblem, match="no end token"):
        tokenise_prompts(data, word_tokenizer(), context=64, limit=8)
    with pytest.raises(NotAllowed, match=r"row 0 .*no chat template"):
        tokenise_prompts(data.as_chat(), word_tokenizer(eos_token="</s>"), context=64, limit=8)


def test_a_prompt_without_tokens_is_refused():
    inner = Tokenizer(models.WordLevel({"a": 0, "</s>": 1}, "<unk>"))
    inner.normalizer = normalizers.Replace("b", "")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
    with pytest.raises(InvalidData, match=r"row 1 .*no tokens"):
        tokenise_prompts(prompts_data("a", "b"), tokenizer, context=8, limit=4)


def test_padding_is_never_read(tokenizer):
    pairs = tokenise_pairs(pairs_of(*PAIRS), tokenizer, context=64, limit=32)
    side = pairs.rejected
    assert side.tokens.shape[2] == int(side.lengths.max())
    at = torch.arange(side.tokens.shape[2]) >= side.lengths[..., None]
    assert bool((side.tokens[at] == tokenizer.pad_token_id).all())
