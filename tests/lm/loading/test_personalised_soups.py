"""Files of Personalized Soups: both layouts, the groups, and what is refused."""

import json

import pytest

from nlhf.errors import Degenerate, InvalidData
from nlhf.lm.loading.personalised_soups import INSTRUCTIONS, read_personalised_soups

PAIR = {"user_input": "Why is the sky blue?", "completion_a": "Rayleigh.", "completion_b": "Ha!"}


def written(folder, name, records):
    path = folder / f"{name}.json"
    path.write_text(json.dumps(records))
    return path


def test_the_groups_are_named_by_the_files(tmp_path):
    files = [
        written(tmp_path, "P3A", [PAIR, PAIR]),
        written(tmp_path, "P3B", [{**PAIR, "completion_a": "Ha!", "completion_b": "Rayleigh."}]),
    ]
    pairs = read_personalised_soups(files)
    assert pairs.groups == ("P3A", "P3A", "P3B")
    assert pairs.rows == (0, 1, 2)
    assert pairs.chosen == ("Rayleigh.", "Rayleigh.", "Ha!")
    assert pairs.rejected == ("Ha!", "Ha!", "Rayleigh.")


@pytest.mark.parametrize("group", INSTRUCTIONS)
def test_the_instruction_of_a_group_does_not_tell_it(group, tmp_path):
    told = {**PAIR, "user_input": f"Why is the sky blue? {INSTRUCTIONS[group]}"}
    path = written(tmp_path, group, [told, {**told, "user_input": f"{INSTRUCTIONS[group]} Why?"}])
    assert read_personalised_soups([path]).prompts == ("Why is the sky blue?", "Why?")
    kept = read_personalised_soups([path], keep_instructions=True)
    assert kept.prompts[0] == told["user_input"]


def test_annotated_records_say_which_output_was_preferred(tmp_path):
    record = {"instruction": "Sum up.", "input": "A text.", "output_1": "x", "output_2": "y"}
    records = [{**record, "preference": 1}, {**record, "input": "", "preference": 2}]
    pairs = read_personalised_soups([written(tmp_path, "P2A", records)])
    assert pairs.prompts == ("Sum up.\n\nA text.", "Sum up.")
    assert pairs.chosen == ("x", "y")
    assert pairs.rejected == ("y", "x")


@pytest.mark.parametrize("preference", [0, None, "1", True, 1.5])
def test_a_preference_that_is_none_is_named(preference, tmp_path):
    record = {"instruction": "Sum up.", "output_1": "x", "output_2": "y"}
    records = [{**record, "preference": 2}, {**record, "preference": preference}]
    with pytest.raises(InvalidData, match=r"P2A\.json, record 1 .*neither 1 nor 2"):
        read_personalised_soups([written(tmp_path, "P2A", records)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"user_input": None}, "user_input is None"),
        ({"completion_a": " "}, "chosen is empty"),
        ({"completion_b": ""}, "rejected is empty"),
        ({"user_input": INSTRUCTIONS["P1A"]}, "no prompt is left"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_record(change, said, tmp_path):
    good = written(tmp_path, "P1B", [PAIR])
    bad = written(tmp_path, "P1A", [PAIR, {**PAIR, **change}])
    with pytest.raises(InvalidData, match=rf"P1A\.json, record 1 .*{said}"):
        read_personalised_soups([good, bad])


def test_equal_responses_are_named_by_file_and_record_and_kept(tmp_path):
    files = [
        written(tmp_path, "P1A", [PAIR]),
        written(tmp_path, "P1B", [PAIR, {**PAIR, "completion_b": "Rayleigh."}]),
    ]
    with pytest.warns(Degenerate, match=r"P1B\.json, record 1 "):
        assert len(read_personalised_soups(files)) == 3


def test_other_layouts_and_one_group_twice_are_refused(tmp_path):
    other = written(tmp_path, "P1A", [{"question": "a", "answer": "b"}])
    with pytest.raises(InvalidData, match=r"no column user_input .*there are 'question'"):
        read_personalised_soups([other])
    (tmp_path / "again").mkdir()
    again = written(tmp_path / "again", "P1A", [PAIR])
    with pytest.raises(InvalidData, match="groups 'P1A', 'P1A'"):
        read_personalised_soups([again, again])
    with pytest.raises(InvalidData, match="no files"):
        read_personalised_soups([])
