"""Folders that appear in one go, with a manifest by which they are known to be whole."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nlhf.errors import InvalidData

MANIFEST = "manifest.json"
_FORMAT = 1
_BLOCK = 1 << 20


class FolderWriter:
    """Writes files into a new folder, and remembers their digests.

    Args:
        folder: The folder, under a name of its own until it is finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, Any]] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def tensors(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write tensors as safetensors."""
        path = self._place(name)
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
        self._record(name)

    def document(self, name: str, document: Any) -> None:
        """Write JSON."""
        text = json.dumps(document, allow_nan=False, indent=1)
        self._place(name).write_text(text, encoding="utf-8")
        self._record(name)

    def link(self, name: str, other: Path) -> bool:
        """Take a file of another finished folder, if it has it; return whether it does."""
        known = _manifest(other).get(name)
        if known is None:
            return False
        try:
            os.link(other / name, self._place(name))
        except OSError:
            return False
        self.files[name] = known
        return True

    def _place(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _record(self, name: str) -> None:
        path = self.folder / name
        _synchronise(path)
        self.files[name] = {"sha256": _digest(path), "bytes": path.stat().st_size}


def finish_folder(writer: FolderWriter, final: Path) -> None:
    """Write the manifest and give the folder its name: from then on it is there, and whole."""
    manifest = writer.folder / MANIFEST
    manifest.write_text(json.dumps({"format": _FORMAT, "files": writer.files}, indent=1))
    _synchronise(manifest)
    for folder in {(writer.folder / name).parent for name in writer.files} | {writer.folder}:
        _synchronise(folder)
    if final.exists():
        remove_folder(final)
    os.rename(writer.folder, final)
    _synchronise(final.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that no part of it ever stands under its name."""
    gone = folder.with_name(f".gone-{folder.name}")
    shutil.rmtree(gone, ignore_errors=True)
    os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def checked_files(folder: Path) -> None:
    """Return if every file of a folder is what the manifest says.

    Raises:
        InvalidData: Naming the first file that is missing, cut or altered.
    """
    files = _manifest(folder)
    if not files:
        raise _damaged(folder / MANIFEST, "is missing or damaged")
    for name, said in files.items():
        path = folder / name
        if not path.is_file():
            raise _damaged(path, "is missing")
        size = path.stat().st_size
        if size != said["bytes"]:
            raise _damaged(path, f"has {size} bytes, not {said['bytes']}")
        if _digest(path) != said["sha256"]:
            raise _damaged(path, "has been altered: its digest is another")


def _damaged(path: Path, how: str) -> InvalidData:
    return InvalidData(f"{path} {how}", "remove this checkpoint, or restore the file")


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = said["files"] if said["format"] == _FORMAT else {}
        whole = all({"sha256", "bytes"} <= set(each) for each in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return dict(files) if whole else {}


def _digest(path: Path) -> str:
    told = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            told.update(block)
    return told.hexdigest()


def _synchronise(path: Path) -> None:
    where = os.open(path, os.O_RDONLY)
    try:
        os.fsync(where)
    finally:
        os.close(where)
