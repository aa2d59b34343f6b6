"""Data sets in TRL's formats are read as written or refused with the row; nothing is dropped."""

import json
import sys
from types import SimpleNamespace

import pytest

from nlhf.errors import Degenerate, InvalidData, MissingExtra
from nlhf.lm.loading.chat import Message, as_assistant, as_user
from nlhf.lm.loading.datasets import preferences_of, prompts_of, read_preferences, read_prompts
from nlhf.lm.loading.records import table_of


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


STANDARD = {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}
IMPLICIT = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
CHAT = {
    "prompt": [user("Sky?")], "chosen": [assistant("Blue.")], "rejected": [assistant("Green.")],
}  # fmt: skip
IMPLICIT_CHAT = {
    "chosen": [user("Sky?"), assistant("Blue.")], "rejected": [user("Sky?"), assistant("Green.")],
}  # fmt: skip
FORMATS = {
    "standard": STANDARD,
    "implicit": IMPLICIT,
    "conversational": CHAT,
    "implicit conversational": IMPLICIT_CHAT,
}


def as_triple(pairs):
    return pairs.prompts[0], pairs.chosen[0], pairs.rejected[0]


PLAIN_TRIPLE = ("The sky is", " blue.", " green.")
CHAT_TRIPLE = (as_user("Sky?"), as_assistant("Blue."), as_assistant("Green."))


@pytest.mark.parametrize("name", FORMATS)
def test_the_four_formats_of_preferences_say_the_same(name):
    expected = CHAT_TRIPLE if "conv" in name else PLAIN_TRIPLE
    assert as_triple(preferences_of(table_of([FORMATS[name]]))) == expected


def written_as_lines(path, records):
    path = path.with_suffix(".jsonl")
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return path


def written_as_json(path, records):
    path = path.with_suffix(".json")
    path.write_text(json.dumps(records, indent=1))
    return path


def written_as_parquet(path, records):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = path.with_suffix(".parquet")
    parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return path


WRITERS = [written_as_lines, written_as_json, written_as_parquet]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_container_holds_every_format(write, name, tmp_path):
    expected = CHAT_TRIPLE if "conv" in name else PLAIN_TRIPLE
    pairs = read_preferences(write(tmp_path / "data", [FORMATS[name]] * 3))
    assert len(pairs) == 3
    assert pairs.rows == (0, 1, 2)
    assert as_triple(pairs.take([2])) == expected


@pytest.mark.parametrize("write", WRITERS)
def test_prompts_are_read_with_their_groups(write, tmp_path):
    records = [{"prompt": "Sky?\u2028", "group": 1}, {"prompt": "Sea?", "group": 20}]
    prompts = read_prompts(write(tmp_path / "data", records))
    assert prompts.prompts == ("Sky?\u2028", "Sea?")
    assert prompts.groups == ("1", "20")
    assert prompts.take([1]).rows == (1,)
    assert prompts.take([1]).as_chat().prompts == (as_user("Sea?"),)


def test_who_preferred_and_by_how_much_is_kept():
    extra = {"group": "P", "annotator": 7, "margin": 2}
    pairs = preferences_of(table_of([STANDARD | extra, STANDARD | extra | {"annotator": "x"}]))
    assert pairs.groups == ("P", "P")
    assert pairs.annotators == ("7", "x")
    assert pairs.margins == (2.0, 2.0)
    part = pairs.take([1])
    assert (part.groups, part.annotators, part.margins, part.rows) == (("P",), ("x",), (2.0,), (1,))
    without = preferences_of(table_of([STANDARD]))
    assert (without.groups, without.annotators, without.margins) == ((), (), ())


def test_the_prompts_of_pairs_are_listed_once_under_their_first_row():
    sea = STANDARD | {"prompt": "The sea is"}
    prompts = preferences_of(table_of([STANDARD, sea, STANDARD, sea])).prompt_data()
    assert prompts.prompts == ("The sky is", "The sea is")
    assert prompts.rows == (0, 1)


def test_plain_pairs_become_turns_on_request():
    pairs = preferences_of(table_of([STANDARD])).as_chat()
    assert as_triple(pairs) == (
        (Message("user", "The sky is"),),
        (Message("assistant", " blue."),),
        (Message("assistant", " green."),),
    )


BAD_PAIRS = {
    "no chosen": ({"chosen": None}, "row 1 .*chosen is None"),
    "a number": ({"rejected": 3}, "row 1 .*rejected is 3"),
    "not a number": ({"prompt": float("nan")}, "row 1 .*prompt is nan"),
    "empty chosen": ({"chosen": " \n"}, "row 1 .*chosen is empty"),
    "empty rejected": ({"rejected": ""}, "row 1 .*rejected is empty"),
    "empty prompt": ({"prompt": " "}, "row 1 .*prompt is empty"),
    "no messages": ({"prompt": []}, r"row 1 .*prompt is \[\]"),
    "mixed": ({"prompt": [user("Sky?")]}, "row 1 .*messages, text, text"),
    "group": ({"group": None}, "row 1 .*group is None"),
    "annotator": ({"annotator": " "}, "row 1 .*annotator is ' '"),
    "margin": ({"margin": float("inf")}, "row 1 .*margin is inf"),
    "margin as text": ({"margin": "1"}, "row 1 .*margin is '1'"),
    "images": ({"images": ["x.png"]}, "row 1 .*images is not supported"),
}


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_what_is_wrong_in_a_row_is_named_with_the_row(name):
    change, said = BAD_PAIRS[name]
    good = STANDARD | {key: "1" for key in change if key in ("group", "annotator")}
    good |= {key: 1.0 for key in change if key == "margin"}
    with pytest.raises(InvalidData, match=said):
        preferences_of(table_of([good, good | change]))
    preferences_of(table_of([good, good]))


BAD_CHATS = {
    "no answer": {"chosen": [user("Sky?")], "rejected": [user("Sky?"), assistant("Green.")]},
    "two answers": {
        "chosen": [user("Sky?"), assistant("Blue."), user("Sure?"), assistant("Yes.")],
        "rejected": [user("Sky?"), assistant("Green."), user("Sure?"), assistant("Yes.")],
    },
    "blank answer": CHAT | {"chosen": [assistant(" ")]},
    "blank question": CHAT | {"prompt": [user("")]},
    "whole conversations beside a prompt": CHAT | IMPLICIT_CHAT,
    "no content": CHAT | {"chosen": [{"role": "assistant"}]},
    "parts": CHAT | {"prompt": [{"role": "user", "content": [{"type": "image"}]}]},
    "nothing in common": {"chosen": [assistant("Blue.")], "rejected": [assistant("Green.")]},
    "text beside messages": {"chosen": "Blue.", "rejected": [assistant("Green.")]},
}


@pytest.mark.parametrize("name", BAD_CHATS)
def test_what_is_wrong_in_a_conversation_is_named_with_the_row(name):
    with pytest.raises(InvalidData, match="row 0 "):
        preferences_of(table_of([BAD_CHATS[name]]))


def test_missing_columns_are_named_with_those_there_are():
    with pytest.raises(InvalidData, match=r"no column rejected; there are 'prompt', 'chosen'"):
        preferences_of(table_of([{"prompt": "a", "chosen": "b"}]))
    with pytest.raises(InvalidData, match=r"no column prompt; there are 'text'"):
        prompts_of(table_of([{"text": "a"}]))


def test_equal_responses_are_kept_with_a_warning():
    same = STANDARD | {"rejected": " blue."}
    with pytest.warns(Degenerate, match=r"row 1 .*2 such of 3 pairs"):
        pairs = preferences_of(table_of([STANDARD, same, same]))
    assert len(pairs) == 3


def test_equal_texts_with_an_implicit_prompt_leave_no_response():
    with pytest.raises(InvalidData, match=r"row 0 .*chosen is empty"):
        preferences_of(table_of([{"chosen": "The sky", "rejected": "The sky"}]))


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"prompt": "a"}\n\n{"prompt": 4}\n')
    with pytest.raises(InvalidData, match="line 3: prompt is 4"):
        read_prompts(path)
    path.write_text('{"prompt": "a"}\n{"prompt": "b"')
    with pytest.raises(InvalidData, match="line 2: not JSON"):
        read_prompts(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b""),
        ("a.jsonl", b"\n\n"),
        ("a.jsonl", b"4\n"),
        ("a.json", b"[]"),
        ("a.json", b"[{}"),
        ("a.json", b"[[1]]"),
        ("a.parquet", b"PAR1"),
        ("a.csv", b"prompt\na\n"),
    ],
)
def test_files_that_are_not_what_they_claim_are_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=name):
        read_prompts(tmp_path / name)


def test_a_data_set_of_the_hub_is_read_by_its_library(monkeypatch):
    def load_dataset(name, subset, *, split):
        if name != "some/data":
            raise ValueError("no such data set")
        return [{"prompt": f"{subset} {split}"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert read_prompts("some/data", subset="s", split="test").prompts == ("s test",)
    with pytest.raises(InvalidData, match=r"other/data, split train: .*no such data set"):
        read_prompts("other/data")


def test_without_the_library_the_hub_is_out_of_reach(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match="pip install datasets"):
        read_prompts("some/data")


def test_real_preferences_are_read(real_data):
    for name, count in (("natural", 100), ("mtbench", 200)):
        pairs = read_preferences(real_data / "llmbar" / f"{name}.jsonl")
        assert len(pairs) == count
        assert all(a != b for a, b in zip(pairs.chosen, pairs.rejected, strict=True))
