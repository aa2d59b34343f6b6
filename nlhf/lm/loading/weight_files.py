"""Where the weights of a model lie, and whether they are whole, before anything is loaded."""

import json
from pathlib import Path

from nlhf.data.text import listed
from nlhf.errors import InvalidData, NotAllowed

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_CONFIGURATION = ("*.json", "*.txt", "*.model", "*.jinja")
_WEIGHTS = ("model.safetensors", "model-*.safetensors")
_POINTER = b"version https://git-lfs"


def local_folder(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    weights: bool = True,
    code: bool = False,
) -> Path:
    """Return the folder of a model: the one that is named, or a copy of the hub's repository.

    Args:
        name_or_path: A folder, or an id such as ``gpt2`` or ``allenai/tulu-2-7b``.
        revision: Branch, tag or commit on the hub; its main branch by default.
        weights: Fetch the safetensors too. Pickled weights are never fetched.
        code: Fetch Python files too.

    Raises:
        InvalidData: There is no such folder, or the hub gives nothing under that id.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    name = str(name_or_path)
    if path.exists() or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise InvalidData(
            f"{name} is not a folder",
            "give the folder that holds config.json, or an id of the hub such as gpt2",
        )
    return _from_hub(name, revision, weights=weights, code=code)


def _from_hub(name: str, revision: str | None, *, weights: bool, code: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    patterns = [*_CONFIGURATION, *(_WEIGHTS if weights else ()), *(("*.py",) if code else ())]
    try:
        found = snapshot_download(name, revision=revision, allow_patterns=patterns)
    except (HfHubHTTPError, OSError, ValueError) as error:
        at = "" if revision is None else f" at revision {revision}"
        raise InvalidData(
            f"{name}{at} is neither a folder here nor to be had from the hub "
            f"({type(error).__name__}: {str(error).splitlines()[0]})",
            "check the id; without a network, download the repository elsewhere and give its "
            "folder; for a gated one, log in first by `hf auth login`",
        ) from error
    return Path(found)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files of a model after checking that they are whole.

    Only headers are read: of every shard in the index its presence, its size, and that it holds the
    tensors the index says. The weights themselves stay on disk.

    Raises:
        NotAllowed: The weights are pickled: opening them could run any code.
        InvalidData: There are no weights, or a shard is missing, cut or not the index's.
    """
    if (folder / INDEX).is_file():
        return _sharded(folder)
    if (folder / SINGLE).is_file():
        tensor_names(folder / SINGLE)
        return (folder / SINGLE,)
    _refuse_pickles(folder)
    if (folder / "adapter_config.json").is_file():
        raise InvalidData(
            f"{folder} holds an adapter, not a model",
            "give the model that it was trained on, named in adapter_config.json",
        )
    stray = sorted(path.name for path in folder.glob("*.safetensors"))
    what = f"{listed(stray)} but no {INDEX}" if stray else f"neither {SINGLE} nor {INDEX}"
    raise InvalidData(
        f"{folder} holds {what}",
        "fetch the folder again as a whole, or write it by save_pretrained",
    )


def _refuse_pickles(folder: Path) -> None:
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if not pickled:
        return
    raise NotAllowed(
        f"{folder} holds pickled weights only ({listed(pickled)}); opening a pickle can run any "
        "code, so nlhf reads safetensors alone",
        "give a revision of the repository with safetensors (on the hub often a pull request of "
        "its conversion bot: revision='refs/pr/1'), or, if you trust the file, convert it once: "
        f"AutoModelForCausalLM.from_pretrained({str(folder)!r}).save_pretrained('converted')",
    )


def _sharded(folder: Path) -> tuple[Path, ...]:
    try:
        places = json.loads((folder / INDEX).read_bytes())["weight_map"]
        shards = sorted({str(shard) for shard in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(
            f"{folder / INDEX} is not an index of shards ({type(error).__name__}: {error})",
            "fetch the file again",
        ) from error
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise InvalidData(
            f"{folder}: {len(missing)} of {len(shards)} shards are missing: {listed(missing)}",
            "fetch the missing files into the folder",
        )
    held = {shard: tensor_names(folder / shard) for shard in shards}
    astray = [name for name, shard in places.items() if name not in held[shard]]
    if astray:
        raise InvalidData(
            f"{folder / places[astray[0]]} does not hold {astray[0]}, which {INDEX} places there "
            f"({len(astray)} such of {len(places)} tensors)",
            "the shards are of another version than the index: fetch the folder again as a whole",
        )
    return tuple(folder / shard for shard in shards)


def tensor_names(path: Path) -> frozenset[str]:
    """Return the names of the tensors of a safetensors file, of which only the header is read.

    Raises:
        InvalidData: The file is cut, or is none.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            return frozenset(opened.keys())
    except (SafetensorError, OSError) as error:
        with path.open("rb") as file:
            pointer = file.read(len(_POINTER)) == _POINTER
        what = "a Git LFS pointer, not the file" if pointer else f"cut or damaged ({error})"
        raise InvalidData(
            f"{path} is {what}; it has {path.stat().st_size} bytes",
            "run `git lfs pull`" if pointer else "fetch this file again",
        ) from error
