"""What the model reads of a conversation, against the formats as published."""

import pytest

from nlhf.errors import InvalidData, NotAllowed
from nlhf.lm.loading.chat import (
    Message,
    as_assistant,
    as_user,
    readable,
    render_prompt,
    render_response,
    set_chat_template,
)
from nlhf.lm.loading.tokenizers import train_tokenizer
from tests.lm.loading.conftest import TEXTS

END = "<|endoftext|>"
TURNS = (Message("system", "Be brief."), Message("user", "Sky?"))
ANSWER = (Message("assistant", "Blue."),)

OTHER_END = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}[/turn]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
WITHOUT_END = OTHER_END.replace("[/turn]", "\n")
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
REWRITING = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"


@pytest.fixture
def chat():
    tokenizer = train_tokenizer(TEXTS, 300)
    set_chat_template(tokenizer, "tulu")
    return tokenizer


def test_tulu_prompts_read_as_its_model_card_says(chat):
    assert render_prompt(chat, as_user("Sky?"), "") == f"{END}<|user|>\nSky?\n<|assistant|>\n"
    assert render_prompt(chat, TURNS, "") == (
        f"{END}<|system|>\nBe brief.\n<|user|>\nSky?\n<|assistant|>\n"
    )


def test_earlier_answers_are_ended_as_in_training(chat):
    turns = (*TURNS[1:], *ANSWER, Message("user", "Sea?"))
    assert render_prompt(chat, turns, "") == (
        f"{END}<|user|>\nSky?\n<|assistant|>\nBlue.{END}\n<|user|>\nSea?\n<|assistant|>\n"
    )


def test_a_prompt_that_begins_the_answer_is_continued(chat):
    prompt = (Message("user", "Sky?"), Message("assistant", "Bl"))
    assert render_prompt(chat, prompt, "") == f"{END}<|user|>\nSky?\n<|assistant|>\nBl"
    assert render_response(chat, prompt, as_assistant("ue."), "") == "ue."


@pytest.mark.parametrize("answer", ["Blue.", "  Blue. ", "Blue.\n\nAnd:\n", "user"])
def test_the_response_is_what_is_said_without_the_end(chat, answer):
    assert render_response(chat, TURNS, as_assistant(answer), "") == answer


def test_a_template_that_ends_turns_otherwise_names_its_token(chat):
    set_chat_template(chat, OTHER_END)
    with pytest.raises(NotAllowed, match=r"row 3: .*\[/turn\].*endoftext(.|\n)*end_token"):
        render_response(chat, TURNS, ANSWER, "row 3")
    set_chat_template(chat, OTHER_END.replace("[/turn]", END))
    assert render_response(chat, TURNS, ANSWER, "row 3") == "Blue."


def test_a_template_without_end_token_leaves_what_is_said(chat):
    set_chat_template(chat, WITHOUT_END)
    assert render_response(chat, TURNS, ANSWER, "row 3") == "Blue."


def test_templates_that_refuse_or_rewrite_are_named_with_the_row(chat):
    with pytest.raises(InvalidData, match=r"row 3: .*user, tool \(there is no role tool\)"):
        render_prompt(chat, (*TURNS[1:], Message("tool", "1")), "row 3")
    set_chat_template(chat, STRICT)
    with pytest.raises(InvalidData, match=r"row 3: .*no system"):
        render_prompt(chat, TURNS, "row 3")
    set_chat_template(chat, REWRITING)
    with pytest.raises(InvalidData, match=r"row 3: .*otherwise"):
        render_response(chat, TURNS, ANSWER, "row 3")


def test_without_a_template_a_conversation_is_refused():
    with pytest.raises(NotAllowed, match=r"row 3: .*no chat template(.|\n)*tulu"):
        render_prompt(train_tokenizer(TEXTS, 300), TURNS, "row 3")


def test_a_template_is_a_known_name_or_jinja(chat):
    with pytest.raises(InvalidData, match=r"'tulip'(.|\n)*tulu"):
        set_chat_template(chat, "tulip")


def test_judges_read_plain_words_where_one_speaks_alone():
    assert readable("Sky?") == readable(as_user("Sky?")) == "Sky?"
    assert readable(TURNS) == "system: Be brief.\nuser: Sky?"
