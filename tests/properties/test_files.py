"""Files that are replaced: the old content or the new, never a part."""

import os

import pytest

from nlhf.errors import NotAllowed
from nlhf.files import append_to_file, replace_file


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file"
    for text in ("first", "secönd", b"\x00third"):
        replace_file(path, text)
        assert path.read_bytes() == (text if isinstance(text, bytes) else text.encode())
        assert os.listdir(tmp_path) == ["file"]


def test_what_fails_half_way_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotAllowed, match="file cannot be written: No space left on device"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_two_who_write_one_file_at_once_both_succeed(tmp_path, monkeypatch):
    path, fsync = tmp_path / "file", os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        replace_file(path, "of another")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    replace_file(path, "of one")
    assert path.read_text() == "of one"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interruption_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, "old")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_appending_makes_the_file_and_keeps_what_is_there(tmp_path):
    path = tmp_path / "file"
    append_to_file(path, "ä\n")
    append_to_file(path, b"b\n")
    assert path.read_text(encoding="utf-8") == "ä\nb\n"


@pytest.mark.parametrize("write", [replace_file, append_to_file])
def test_a_folder_that_is_not_there_is_named(write, tmp_path):
    with pytest.raises(NotAllowed, match="file cannot be written: No such file"):
        write(tmp_path / "none" / "file", "text")
