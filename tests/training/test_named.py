"""Objects of the user's code: loaded once, whatever they need of their module."""

import pytest

from nlhf.errors import InvalidData
from nlhf.training.named import named_object

CODE = """
from __future__ import annotations
from dataclasses import dataclass, field

loads = []

@dataclass
class Judge:
    names: list[str] = field(default_factory=list)

    def __call__(self, prompts, pairs):
        return [0.5 for _ in pairs]

first, second = Judge(), Judge()
"""


def test_a_file_is_run_once_for_all_that_it_holds_and_again_when_it_has_changed(tmp_path):
    path = tmp_path / "judges.py"
    path.write_text(CODE)
    loads = named_object("judges.py:loads", tmp_path, "[judge]")
    for name in ("first", "second", "first.names"):
        named_object(f"judges.py:{name}", tmp_path, "[judge]")
    assert named_object("judges.py:loads", tmp_path, "[judge]") is loads
    path.write_text(CODE + "third = Judge()")
    assert named_object("judges.py:third", tmp_path, "[judge]")([], [1]) == [0.5]
    assert named_object("judges.py:loads", tmp_path, "[judge]") is not loads


def test_what_is_not_there_is_named_and_a_file_that_raises_may_be_mended(tmp_path):
    path = tmp_path / "judges.py"
    path.write_text("number = 3")
    with pytest.raises(InvalidData, match=r"judges.py has no number.worth\n.*real"):
        named_object("judges.py:number.worth", tmp_path, "[judge]")
    path.write_text("raise SystemError('out of luck')")
    for _ in range(2):
        with pytest.raises(InvalidData, match="SystemError: out of luck"):
            named_object("judges.py:number", tmp_path, "[judge]")
    with pytest.raises(InvalidData, match="there is no file"):
        named_object("nowhere.py:number", tmp_path, "[judge]")
