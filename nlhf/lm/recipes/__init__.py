"""Configurations of published experiments, as starting points: copy one, then `nlhf train` it."""

from importlib.resources import files
from pathlib import Path

from nlhf.data.text import listed
from nlhf.errors import InvalidData


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that there are."""
    here = files(__name__)
    return tuple(sorted(f.name[:-5] for f in here.iterdir() if f.name.endswith(".toml")))


def write_recipe(name: str, folder: str | Path = ".") -> Path:
    """Write the configuration of that name into a folder, where its relative paths then start.

    Raises:
        InvalidData: There is no recipe of that name, or a file of its name is there already.
    """
    if name not in recipe_names():
        raise InvalidData(f"no recipe {name!r}", f"choose among {listed(recipe_names())}")
    target = Path(folder) / f"{name}.toml"
    if target.exists():
        raise InvalidData(f"{target} is there already", "name another folder, or remove the file")
    text = (files(__name__) / target.name).read_text(encoding="utf-8")
    target.write_text(text, encoding="utf-8")
    return target
